//! Recovers the ledger: the log continues from this host alone.

use super::{ChainHash, Committed, Content, Ledger, LogEntry, Role, chain, records};
use crate::entry::Index;
use crate::id::VoterId;
use crate::recovery::SignedRecovery;

/// The end of the log, committed or not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Tail {
    /// The newest entry that is known to be committed.
    pub(crate) committed: Index,
    /// The index of the newest entry.
    pub(crate) last: Index,
    /// The chain's head after that entry.
    pub(crate) hash: ChainHash,
    /// The chain's heads after each entry that is not known to be committed.
    pub(crate) heads: Vec<ChainHash>,
}

impl Ledger {
    /// Describes the log up to its last entry.
    pub(crate) fn tail(&self) -> Tail {
        let (committed, mut hash) = self.head();
        let mut heads = Vec::new();
        for entry in self.log().range(committed + 1, Index::MAX, usize::MAX).unwrap_or_default() {
            hash = chain(&hash, &entry);
            heads.push(hash);
        }
        Tail { committed, last: self.last_index(), hash, heads }
    }

    /// Returns the term and the index of the last entry. Of two logs, the one whose last
    /// entry has the higher term, or the longer one in the same term, has every entry
    /// that may be committed in either.
    pub(crate) fn last(&self) -> (u64, Index) {
        let last = self.last_index();
        (self.log().term_at(last).unwrap_or_default(), last)
    }

    /// Begins a new epoch: every entry of the log counts as committed, and this host alone
    /// votes, under a new number and in a term above all that it has seen. All of that is
    /// one write.
    pub(crate) fn recover(&mut self, voter: VoterId, signed: SignedRecovery) {
        let mut log = match &self.role {
            Role::Following(log) => (**log).clone(),
            Role::Voting(consensus) => consensus.log().clone(),
        };
        // Their promises are void.
        self.unwritten.clear();
        let (last_term, last) = self.last();
        let term = log.hard().term.max(last_term) + 1;
        let entry = LogEntry { index: last + 1, term, content: Content::Recovered(Box::new(signed)) };
        self.changes.push(records::entry(&entry));
        log.append(entry);
        log.raise_term(term);
        log.set_commit(last + 1);
        self.changes.push(records::hard_state(log.hard()));
        let first = self.folded + 1 + self.arrived.len() as Index;
        let fresh = log.range(first, last + 1, usize::MAX).unwrap_or_default();
        self.arrived.extend(fresh.into_iter().map(Committed::Entry));
        self.me = voter;
        self.role = Role::Following(Box::new(log));
    }
}

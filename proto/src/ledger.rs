//! The ledger: the only shared truth, an ordered log that voters agree on and
//! that every other host follows.
//!
//! Consensus is raft-rs behind our own types; none of its types leaves this
//! folder. A host either votes (it runs consensus) or follows (it only appends
//! what others committed). Both hold the same log in the same form, so that a
//! follower that is made a voter starts consensus from the log it has.
//!
//! Invariants: only committed entries are handed out, in order, each once; a
//! message that promises something is released only after the write that makes
//! it durable is reported done; entries are hash-chained, and the chain's head
//! is the same on every host at the same index.

mod consensus;
mod follow;
mod guard;
mod log;
mod message;
mod role;
mod stored;
mod voters;

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use crate::entry::{Entry, Index};
use crate::id::VoterId;
use crate::io::WriteId;
use consensus::Consensus;
use log::Log;

pub(crate) use consensus::TICK;
pub(crate) use guard::Refused;
pub(crate) use message::RaftMessage;
pub(crate) use stored::Restored;
pub(crate) use voters::{Candidate, VoterChange, Voters, next_change};

/// Entries that one host sends another at a time when it is asked.
pub(crate) const ENTRIES_PER_ANSWER: usize = 256;
/// Entries deleted in one write: sled blocks for a second on 100,000.
const DELETED_PER_WRITE: u64 = 1_000;

/// No index, and no term, is ever so high: there is room to count on from it.
const NUMBER_MAX: u64 = 1 << 56;

/// The head of the hash chain at some index.
pub(crate) type ChainHash = [u8; 32];

/// One place in the log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct LogEntry {
    pub(crate) index: Index,
    pub(crate) term: u64,
    pub(crate) content: Content,
}

/// What stands there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Content {
    /// A new leader's first entry.
    Empty,
    /// An [`Entry`], encoded.
    Entry(Vec<u8>),
    /// Who votes from here on.
    Voters(VoterChange),
}

impl LogEntry {
    /// Whether it can stand in a log. An entry without a byte would be another
    /// one after its way through raft-rs.
    fn is_sound(&self) -> bool {
        let in_range = self.index < NUMBER_MAX && (1..NUMBER_MAX).contains(&self.term);
        in_range && self.content != Content::Entry(Vec::new())
    }
}

/// The state up to some index, to start from instead of the entries before.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Snapshot {
    pub(crate) index: Index,
    pub(crate) term: u64,
    pub(crate) hash: ChainHash,
    pub(crate) voters: Voters,
    /// The folded state, encoded.
    pub(crate) state: Vec<u8>,
}

impl Snapshot {
    /// Whether a log can start from it.
    fn is_sound(&self) -> bool {
        let number = 1..NUMBER_MAX;
        number.contains(&self.index) && number.contains(&self.term) && self.voters.is_sound()
    }
}

/// What the log now says.
#[derive(Debug)]
pub(crate) enum Committed {
    /// The next entry.
    Entry(LogEntry),
    /// A snapshot that takes the place of everything before.
    Snapshot(Snapshot),
}

impl Committed {
    fn changes_voters(&self) -> bool {
        match self {
            Committed::Entry(entry) => matches!(entry.content, Content::Voters(_)),
            Committed::Snapshot(_) => true,
        }
    }
}

/// Something for the store: key, and value or deletion.
pub(crate) type Change = (Vec<u8>, Option<Vec<u8>>);

/// What the ledger wants done.
#[derive(Debug, Default)]
pub(crate) struct Todo {
    /// To be written, in order.
    pub(crate) changes: Vec<Change>,
    /// Whether the write carries a promise.
    pub(crate) sync: bool,
    /// May be sent at once.
    pub(crate) messages: Vec<RaftMessage>,
    /// To be folded, in order.
    pub(crate) committed: Vec<Committed>,
}

enum Role {
    Following(Box<Log>),
    Voting(Box<Consensus>),
}

/// A write of consensus's that is under way.
struct Unwritten {
    write: WriteId,
    /// Consensus's own name for it.
    number: u64,
    /// Whether a term or a vote is in it.
    vows: bool,
    /// What may be sent when it is done.
    messages: Vec<RaftMessage>,
}

/// The ledger on one host.
pub(crate) struct Ledger {
    me: VoterId,
    role: Role,
    seed: u64,
    /// Entries that are kept behind the newest snapshot, for hosts that lag.
    kept: usize,
    /// As of the last folded entry.
    voters: Voters,
    hash: ChainHash,
    folded: Index,
    term_folded: u64,
    /// The last entry that changed the voters.
    voters_since: Index,
    /// Written, not yet reported done.
    unwritten: VecDeque<Unwritten>,
    /// Something was written since the last write that was synced: a power loss
    /// may take it.
    is_unsure: bool,
    /// The head before the voters changed, and the write that makes durable that
    /// they did.
    untold: Option<(WriteId, (Index, ChainHash))>,
    /// Changes that wait for the next write.
    changes: Vec<Change>,
    /// Committed while following: folded at the next look.
    arrived: VecDeque<Committed>,
    /// Entries below the log that are still in the store.
    deletable: std::ops::Range<Index>,
}

impl Ledger {
    /// An empty ledger that waits to be told what was committed.
    pub(crate) fn empty(me: VoterId, seed: u64, kept: usize) -> Self {
        let log = Log::new(log::Base::default());
        Ledger {
            me,
            role: Role::Following(Box::new(log)),
            seed,
            kept,
            voters: Voters::default(),
            hash: [0; 32],
            folded: 0,
            term_folded: 0,
            voters_since: 0,
            unwritten: VecDeque::new(),
            is_unsure: false,
            untold: None,
            changes: Vec::new(),
            arrived: VecDeque::new(),
            deletable: 0..0,
        }
    }

    /// Begins a mesh's ledger: one voter, an empty state, index 1.
    pub(crate) fn found(mut self, genesis: ChainHash, state: Vec<u8>) -> Self {
        let voters = Voters::only(self.me);
        let snapshot = Snapshot { index: 1, term: 1, hash: genesis, voters, state };
        self.install(snapshot);
        self.arrived.clear();
        self.start_voting();
        self.campaign();
        self
    }

    /// Goes on from what the store held, which is to be folded first.
    pub(crate) fn restore(mut self, restored: Restored) -> Self {
        self.voters = restored.snapshot.voters.clone();
        self.hash = restored.snapshot.hash;
        self.folded = restored.snapshot.index;
        self.term_folded = restored.snapshot.term;
        self.voters_since = restored.snapshot.index;
        let first = self.folded + 1;
        self.arrived = restored
            .entries
            .iter()
            .filter(|entry| entry.index >= first && entry.index <= restored.commit)
            .map(|entry| Committed::Entry(entry.clone()))
            .collect();
        self.role = Role::Following(Box::new(restored.into_log()));
        // The process may have died before it had synced what is found now.
        self.is_unsure = true;
        self
    }

    pub(crate) fn me(&self) -> VoterId {
        self.me
    }

    pub(crate) fn voters(&self) -> &Voters {
        &self.voters
    }

    /// No later than here these became the voters.
    pub(crate) fn voters_since(&self) -> Index {
        self.voters_since
    }

    pub(crate) fn is_voting(&self) -> bool {
        matches!(self.role, Role::Voting(_))
    }

    pub(crate) fn is_leader(&self) -> bool {
        match &self.role {
            Role::Following(_) => false,
            Role::Voting(consensus) => consensus.is_leader(),
        }
    }

    /// Who leads, if this host votes and knows.
    pub(crate) fn leader(&self) -> Option<VoterId> {
        match &self.role {
            Role::Following(_) => None,
            Role::Voting(consensus) => consensus.leader(),
        }
    }

    /// The last folded index, and the chain's head there.
    pub(crate) fn head(&self) -> (Index, ChainHash) {
        (self.folded, self.hash)
    }

    /// What others may hear of it. Who is voted out leaves when it hears that
    /// most of those that stay know, and they must still know it after a power
    /// loss: none of them could lead without it.
    pub(crate) fn told_head(&self) -> (Index, ChainHash) {
        self.untold.map_or_else(|| self.head(), |(_, head)| head)
    }

    /// Whether anything was ever committed here.
    pub(crate) fn is_empty(&self) -> bool {
        self.folded == 0
    }

    pub(crate) fn tick(&mut self) {
        if let Role::Voting(consensus) = &mut self.role {
            consensus.tick();
        }
    }

    fn campaign(&mut self) {
        if let Role::Voting(consensus) = &mut self.role {
            consensus.campaign();
        }
    }

    /// Puts an entry in order, if this host leads.
    pub(crate) fn propose(&mut self, entry: &Entry) -> bool {
        match &mut self.role {
            Role::Following(_) => false,
            Role::Voting(consensus) => consensus.propose(crate::wire::encode(entry)),
        }
    }

    /// Puts a change of the voters in order, if this host leads.
    pub(crate) fn propose_voters(&mut self, change: &VoterChange) -> bool {
        match &mut self.role {
            Role::Following(_) => false,
            Role::Voting(consensus) => consensus.propose_voters(change),
        }
    }

    /// Hands leadership over, if this host leads.
    pub(crate) fn transfer(&mut self, to: VoterId) {
        if let Role::Voting(consensus) = &mut self.role {
            consensus.transfer(to);
        }
    }

    /// How far the leader knows a voter's or learner's log to reach.
    pub(crate) fn matched(&self, voter: VoterId) -> Option<Index> {
        match &self.role {
            Role::Following(_) => None,
            Role::Voting(consensus) => consensus.matched(voter),
        }
    }

    pub(crate) fn last_index(&self) -> Index {
        self.log().last_index()
    }

    /// Takes a message of consensus from an authenticated voter.
    /// # Errors
    /// Why it was not even looked at.
    pub(crate) fn step(&mut self, message: RaftMessage) -> Result<(), Refused> {
        match &mut self.role {
            Role::Following(_) => Err(Refused::NotVoting),
            Role::Voting(consensus) => {
                guard::check(self.me, &self.voters, consensus, &message)?;
                consensus.step(message);
                Ok(())
            }
        }
    }

    fn adopt(&mut self, snapshot: &Snapshot) {
        self.voters = snapshot.voters.clone();
        self.hash = snapshot.hash;
        self.folded = snapshot.index;
        self.term_folded = snapshot.term;
        self.voters_since = snapshot.index;
    }

    /// What is to be written, sent and folded now. `write` names the write, if
    /// there is one.
    pub(crate) fn todo(&mut self, write: WriteId) -> Option<Todo> {
        let mut todo = Todo { changes: std::mem::take(&mut self.changes), ..Todo::default() };
        todo.committed.extend(self.arrived.drain(..));
        // Who was voted out may leave, and then those that stay must not have
        // forgotten that he was.
        todo.sync = todo.committed.iter().any(Committed::changes_voters);
        if let Role::Voting(consensus) = &mut self.role
            && let Some(ready) = consensus.ready()
        {
            for entry in &ready.entries {
                todo.changes.push(stored::entry(entry));
            }
            todo.changes.extend(ready.truncated.map(stored::delete_entry));
            if let Some(snapshot) = ready.snapshot {
                self.deletable.start = if self.deletable.is_empty() {
                    ready.superseded.start
                } else {
                    self.deletable.start.min(ready.superseded.start)
                };
                self.deletable.end = ready.superseded.end;
                todo.changes.extend(stored::snapshot(&snapshot));
                todo.committed.push(Committed::Snapshot(snapshot));
            }
            if let Some(hard) = ready.hard {
                todo.changes.push(stored::hard_state(hard));
            }
            let mut promises = ready.promises;
            if ready.vows || self.unwritten.iter().any(|write| write.vows) {
                // A leader may send before it has written: but the only voter leads in
                // a term, by its own vote, that it would not remember.
                promises.splice(..0, ready.messages);
            } else {
                todo.messages = ready.messages;
            }
            todo.committed.extend(ready.committed.into_iter().map(Committed::Entry));
            todo.sync = ready.sync || todo.committed.iter().any(Committed::changes_voters);
            // Even with nothing to write: promises go out in order.
            let (number, vows) = (ready.number, ready.vows);
            self.unwritten.push_back(Unwritten { write, number, vows, messages: promises });
        }
        self.delete_some(&mut todo.changes);
        if !todo.changes.is_empty() {
            todo.sync |= self.is_to_vote();
            self.is_unsure = !todo.sync;
        }
        if todo.committed.iter().any(Committed::changes_voters) {
            self.untold = Some((write, self.told_head()));
        }
        let waits = self.unwritten.back().is_some_and(|unwritten| unwritten.write == write);
        let idle = todo.changes.is_empty() && todo.messages.is_empty() && todo.committed.is_empty() && !waits;
        (!idle).then_some(todo)
    }

    /// Takes note that an entry is folded: the chain goes on, and a change of
    /// the voters takes effect.
    pub(crate) fn note_folded(&mut self, entry: &LogEntry) {
        assert_eq!(entry.index, self.folded + 1, "entries are folded in order");
        self.hash = chain(&self.hash, entry);
        self.folded = entry.index;
        self.term_folded = entry.term;
        if let Content::Voters(change) = &entry.content {
            let is_change = self.voters.apply(change);
            self.voters_since = entry.index;
            match &mut self.role {
                Role::Voting(consensus) if is_change => consensus.apply_voters(change, &self.voters),
                Role::Voting(_) | Role::Following(_) => {}
            }
        }
        if let Role::Voting(consensus) = &mut self.role {
            consensus.note_folded(entry.index);
        }
    }

    /// Takes note that a snapshot is folded.
    pub(crate) fn note_snapshot(&mut self, snapshot: &Snapshot) {
        self.adopt(snapshot);
        if let Role::Voting(consensus) = &mut self.role {
            consensus.note_folded(snapshot.index);
        }
    }

    /// The write is durable, and so are all before it: what it promised may be
    /// said.
    pub(crate) fn persisted(&mut self, write: WriteId) -> Vec<RaftMessage> {
        self.untold = self.untold.filter(|(untold, _)| *untold > write);
        let mut messages = Vec::new();
        let mut last = None;
        while let Some(unwritten) = self.unwritten.pop_front_if(|unwritten| unwritten.write <= write) {
            messages.extend(unwritten.messages);
            last = Some(unwritten.number);
        }
        if let (Role::Voting(consensus), Some(number)) = (&mut self.role, last) {
            consensus.persisted(number);
        }
        messages
    }

    /// Whether consensus needs a snapshot to hand out, or the log is long.
    pub(crate) fn wants_snapshot(&self) -> bool {
        self.log().wants_snapshot() || self.is_long()
    }

    /// Cut when it is twice as long as what is kept, so that it is rare. Only
    /// what is folded can be cut off: a leader whose disk is slow may have much
    /// more than that.
    fn is_long(&self) -> bool {
        self.folded.saturating_sub(self.log().base().index) > 2 * self.kept as Index
    }

    /// Takes the folded state as a snapshot, and drops entries that lie far
    /// enough behind it.
    pub(crate) fn take_snapshot(&mut self, state: Vec<u8>) {
        let snapshot = Snapshot {
            index: self.folded,
            term: self.term_folded,
            hash: self.hash,
            voters: self.voters.clone(),
            state,
        };
        let compacts = self.is_long();
        let log = match &mut self.role {
            Role::Following(log) => log,
            Role::Voting(consensus) => consensus.log_mut(),
        };
        if compacts {
            self.changes.extend(stored::snapshot(&snapshot));
            let dropped = log.compact(snapshot.index, self.kept);
            let base = log.base().clone();
            self.changes.push(stored::base(&base));
            let start = if self.deletable.is_empty() { dropped.start } else { self.deletable.start };
            self.deletable = start..dropped.end;
        }
        log.offer(snapshot);
    }

    /// Deletes what lies below the log, a slice at a time.
    fn delete_some(&mut self, changes: &mut Vec<Change>) {
        let end = self.deletable.end.min(self.deletable.start + DELETED_PER_WRITE);
        changes.extend((self.deletable.start..end).map(stored::delete_entry));
        self.deletable.start = end.max(self.deletable.start);
    }

    /// What a host that has everything up to `after` lacks: entries, or
    /// nothing if only a snapshot can help.
    pub(crate) fn entries_after(&self, after: Index) -> Option<Vec<LogEntry>> {
        self.log().range(after + 1, self.folded, ENTRIES_PER_ANSWER)
    }

    /// The newest snapshot of this host, if it is `after` or later.
    pub(crate) fn offered(&self, after: Index) -> Option<&Snapshot> {
        self.log().offered().filter(|snapshot| snapshot.index > after)
    }

    /// Index and hash from where the held entries start, and the entries.
    pub(crate) fn held(&self) -> (Index, ChainHash, Vec<LogEntry>) {
        let base = self.log().base();
        let entries = self.log().range(base.index + 1, self.folded, usize::MAX).unwrap_or_default();
        (base.index, base.hash, entries)
    }

    /// The held entries after an index, unless they are not held any more.
    pub(crate) fn held_after(&self, after: Index) -> Option<Vec<LogEntry>> {
        self.log().range(after + 1, self.folded, usize::MAX)
    }

    fn log(&self) -> &Log {
        match &self.role {
            Role::Following(log) => log,
            Role::Voting(consensus) => consensus.log(),
        }
    }
}

/// The chain's head after `entry`.
pub(crate) fn chain(before: &ChainHash, entry: &LogEntry) -> ChainHash {
    let mut hasher = blake3::Hasher::new();
    hasher.update(before);
    hasher.update(&crate::wire::encode(entry));
    *hasher.finalize().as_bytes()
}

#[cfg(test)]
mod tests;

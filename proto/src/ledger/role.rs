//! Whether this host votes: when consensus starts here, and when it stops.

use super::consensus::Consensus;
use super::{Ledger, Role, stored};
use crate::id::VoterId;

impl Ledger {
    /// Votes from now on, or no longer, as the folded entries say. Consensus
    /// takes what is in the log for durable, so it starts only when all that
    /// was to be written `is_written`, and the last of it synced. Returns whether
    /// there is something to write for that.
    pub(crate) fn settle_role(&mut self, is_written: bool) -> bool {
        if self.is_stopped {
            return false;
        }
        if self.voters.has(self.me) {
            if is_written && self.changes.is_empty() && self.is_unsure {
                return self.write_to_vote();
            } else if is_written && self.changes.is_empty() {
                self.start_voting();
            }
        } else if !self.is_leader() {
            // A leader that was removed hands over first, in consensus's time.
            self.stop_voting();
            self.drop_uncommitted();
        }
        false
    }

    /// Takes part in consensus, as soon as what it has is durable.
    pub(super) fn is_to_vote(&self) -> bool {
        !self.is_voting() && self.voters.has(self.me)
    }

    fn write_to_vote(&mut self) -> bool {
        let Role::Following(log) = &mut self.role else { return false };
        log.raise_term(self.term_folded);
        self.changes.push(stored::hard_state(log.hard()));
        true
    }

    /// A host that voted when it was last awake may hold entries that were
    /// never committed: a follower's log has none.
    fn drop_uncommitted(&mut self) {
        if let Role::Following(log) = &mut self.role
            && self.arrived.is_empty()
        {
            let dropped = log.truncate_after(self.folded);
            self.changes.extend(dropped.map(stored::delete_entry));
        }
    }

    /// Starts consensus if this host votes. Everything committed must be
    /// folded before.
    pub(super) fn start_voting(&mut self) {
        let Role::Following(log) = &self.role else { return };
        if !self.voters.has(self.me) || !self.arrived.is_empty() {
            return;
        }
        let mut log = (**log).clone();
        log.begin_consensus(self.folded, self.term_folded, self.voters.clone());
        if let Some(consensus) = Consensus::start(self.me, self.seed, self.folded, log) {
            self.role = Role::Voting(Box::new(consensus));
        }
    }

    /// Stops voting under this number: its promises may be another agent's, too. Goes
    /// on as a follower from what is committed.
    pub(crate) fn forget_votes(&mut self, me: VoterId) {
        self.me = me;
        self.stop_voting();
    }

    /// Takes part in nothing from now on: not in consensus, and it follows nobody.
    pub(crate) fn stop(&mut self) {
        self.stop_voting();
        self.is_stopped = true;
    }

    fn stop_voting(&mut self) {
        let Role::Voting(consensus) = &self.role else { return };
        let mut log = consensus.log().clone();
        let dropped = log.truncate_after(self.folded);
        // More may be committed than was durable here, and so was not folded: a
        // follower that believed that it has all this would take none of it.
        log.set_commit(self.folded);
        self.changes.extend(dropped.into_iter().map(stored::delete_entry));
        self.changes.push(stored::hard_state(log.hard()));
        self.unwritten.clear();
        self.role = Role::Following(Box::new(log));
    }
}

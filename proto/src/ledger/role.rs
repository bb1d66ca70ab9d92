//! Decides whether this host votes: starts consensus on this host, and stops it.

use super::consensus::Consensus;
use super::{Ledger, Role, records};
use crate::id::VoterId;

impl Ledger {
    /// Starts or stops voting, as the folded entries say. Consensus takes
    /// everything in the log as durable. So it starts only when all writes are done
    /// (`is_written`), and the last one was synced. Returns true if there is
    /// something to write first.
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
            // A leader that was removed hands over first, which takes some time.
            self.stop_voting();
            self.drop_uncommitted();
        }
        false
    }

    /// Returns true if this host will take part in consensus as soon as its log is
    /// durable.
    pub(super) fn is_to_vote(&self) -> bool {
        !self.is_voting() && self.voters.has(self.me)
    }

    fn write_to_vote(&mut self) -> bool {
        let Role::Following(log) = &mut self.role else { return false };
        log.raise_term(self.term_folded);
        self.changes.push(records::hard_state(log.hard()));
        true
    }

    /// Drops entries that were never committed. A host may hold some if it voted
    /// when it last ran; the log of a follower must have none.
    fn drop_uncommitted(&mut self) {
        if let Role::Following(log) = &mut self.role
            && self.arrived.is_empty()
        {
            let dropped = log.truncate_after(self.folded);
            self.changes.extend(dropped.map(records::delete_entry));
        }
    }

    /// Starts consensus, if this host votes. Everything that is committed must be
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

    /// Stops voting under the old number, because another agent may also have made
    /// promises under it. Continues as a follower from what is committed.
    pub(crate) fn forget_votes(&mut self, me: VoterId) {
        self.me = me;
        self.stop_voting();
    }

    /// Stops for good: this host takes no part in consensus, and follows no other. Its
    /// log stays whole, because promises and acknowledgements may rest on its end.
    pub(crate) fn stop(&mut self) {
        self.pause_voting();
        self.is_stopped = true;
    }

    fn stop_voting(&mut self) {
        let Role::Voting(consensus) = &self.role else { return };
        let mut log = consensus.log().clone();
        let dropped = log.truncate_after(self.folded);
        // More may be committed than was durable here, and so was not folded. If
        // the follower believed that it already has all of that, it would take none
        // of it.
        log.set_commit(self.folded);
        self.changes.extend(dropped.into_iter().map(records::delete_entry));
        self.changes.push(records::hard_state(log.hard()));
        self.unwritten.clear();
        self.role = Role::Following(Box::new(log));
    }
}

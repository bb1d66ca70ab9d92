//! Decides which hosts vote, and which one leads.
//!
//! # Decisions
//!
//! - Only voters are believed about who leads. Followers that repeat what they heard
//!   of each other could keep naming a host that was voted out, and would send all
//!   their proposals to it.
//! - A leader whose disk hangs for three seconds hands over. It can still send
//!   heartbeats, and would lead a mesh in which nothing is folded.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::Node;
use crate::id::VoterId;
use crate::ledger::{Candidate, next_change};
use crate::time::Time;

/// A learner may vote if its log is at most this many entries shorter than the
/// leader's.
const CAUGHT_UP_WITHIN: u64 = 64;
/// The time that a leader's disk may take for a write before the leader hands over.
/// That is enough for a busy disk, and so short that no turn is affected.
const DISK_HANGS_AFTER: Duration = Duration::from_secs(3);
/// The time from one check of the voters by the leader to the next.
pub(super) const VOTERS_EVERY: Duration = Duration::from_millis(500);

impl Node {
    /// Changes the voters, one change at a time. Besides putting entries in order,
    /// this is the leader's only duty.
    pub(super) fn change_voters(&mut self, now: Time) {
        if !self.ledger.is_leader() || self.leave_to_others_if_the_disk_hangs(now) {
            return;
        }
        // In a short log every learner would be close enough, so a learner must
        // also have answered since it was added.
        let since = self.ledger.voters_since();
        let last = self.ledger.last_index();
        let clock = self.ledger_now(now);
        let candidates: Vec<Candidate> = self
            .state
            .hosts()
            .values()
            .map(|host| Candidate {
                voter: host.record.voter,
                zone: host.record.zone.clone(),
                down_for: host.down.map(|since| clock.since(since)),
                is_caught_up: self
                    .ledger
                    .matched(host.record.voter)
                    .is_some_and(|matched| matched >= since && matched + CAUGHT_UP_WITHIN >= last),
            })
            .collect();
        let me = self.ledger.me();
        if !self.ledger.voters().outgoing.is_empty() {
            // raft-rs leaves a joint configuration by itself, unless the leader
            // that entered it is gone. Then its successor must do it.
            self.ledger.propose_voters(&Default::default());
            return;
        }
        if candidates.iter().all(|candidate| candidate.voter != me) && self.hand_over() {
            // This host was taken out of the mesh. Another host leads first, and
            // then lets this one go.
            return;
        }
        let voters_max = usize::from(self.config.voters_max);
        if let Some(change) = next_change(self.ledger.voters(), me, &candidates, voters_max) {
            tracing::info!(?change, "the voters change");
            self.ledger.propose_voters(&change);
        }
    }

    /// Hands over if the disk hangs. A leader that cannot write still sends
    /// heartbeats, but it folds and stamps nothing. Returns true if it hands over.
    fn leave_to_others_if_the_disk_hangs(&mut self, now: Time) -> bool {
        let (hangs, is_new) = self.writes.note_hanging(DISK_HANGS_AFTER, now);
        let hands_over = hangs && self.hand_over();
        if is_new {
            let seconds = DISK_HANGS_AFTER.as_secs();
            tracing::warn!(
                seconds,
                hands_over,
                "the disk has not done a write for too long: another host is to lead"
            );
        }
        hands_over
    }

    /// Hands leadership to the member whose log reaches furthest. Returns true if
    /// there is one.
    pub(super) fn hand_over(&mut self) -> bool {
        let is_there = |voter: &VoterId| {
            let host = self.mesh.voter_hosts().get(voter).filter(|host| self.mesh.members().contains(host));
            host.is_some_and(|host| self.mesh.hears(*host))
        };
        let heirs = self.ledger.voters().voters.iter().copied().filter(is_there);
        let heir = heirs.max_by_key(|voter| self.ledger.matched(*voter));
        if let Some(heir) = heir {
            self.ledger.transfer(heir);
        }
        heir.is_some()
    }

    /// Returns the leader: as consensus itself knows it, or as most voters name it.
    /// Hosts that do not vote only repeat what they hear. Among themselves they
    /// could go on naming one that no longer votes.
    pub(super) fn leader(&self) -> Option<VoterId> {
        if self.ledger.is_voting() {
            return self.ledger.leader();
        }
        let voters = self.ledger.voters();
        let mut tellers = self.voters_known();
        if tellers.is_empty() {
            tellers = self.mesh.reports().keys().copied().collect();
        }
        let told = tellers
            .iter()
            .filter(|host| self.mesh.hears(**host))
            .filter_map(|host| self.mesh.reports().get(host)?.leader)
            .filter(|leader| voters.voters.is_empty() || voters.has(*leader));
        let mut named: BTreeMap<VoterId, usize> = BTreeMap::new();
        told.for_each(|leader| *named.entry(leader).or_default() += 1);
        named.into_iter().max_by_key(|(_, times)| *times).map(|(leader, _)| leader)
    }

    /// Returns the number of voters that this host reaches, including itself, and
    /// the number of all voters. While the voters change, a majority of the outgoing ones is
    /// needed too: these are counted if it is they who are out of reach.
    pub(super) fn voters_up(&self) -> (u32, u32) {
        let voters = self.ledger.voters();
        let (up, all) = self.reached(&voters.outgoing);
        if all > 0 && up <= all / 2 { (up, all) } else { self.reached(&voters.voters) }
    }

    fn reached(&self, voters: &BTreeSet<VoterId>) -> (u32, u32) {
        let is_there = |voter: &&VoterId| {
            **voter == self.own.meta.voter
                || self.mesh.voter_hosts().get(voter).is_some_and(|host| self.mesh.hears(*host))
        };
        let number = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
        (number(voters.iter().filter(is_there).count()), number(voters.len()))
    }
}

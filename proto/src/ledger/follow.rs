//! Following: takes what others committed, without consensus.
//!
//! Every host that does not vote follows, and so does a voter that hears no leader.
//!
//! A voter that hears no leader may have been voted out while it was away, and
//! consensus would never tell it. So it pauses consensus, takes what was committed,
//! and resumes only when all of that is durable.

use super::{Committed, Ledger, Log, LogEntry, Role, Snapshot, log, records};
use crate::entry::Index;

impl Ledger {
    /// Returns true if this host takes committed entries from neighbours. Every
    /// host does that hears no leader, even a voter.
    pub(crate) fn is_following(&self) -> bool {
        !self.is_stopped && (!self.is_voting() || self.leader().is_none())
    }

    /// Takes committed entries from a neighbour. Returns the number of new ones.
    pub(crate) fn follow(&mut self, entries: Vec<LogEntry>) -> usize {
        let next = self.folded + self.arrived.len() as Index + 1;
        let is_of_use = entries.iter().any(|entry| entry.index == next);
        if self.is_empty() || !self.is_following() || !is_of_use {
            return 0;
        }
        self.pause_voting();
        let Role::Following(log) = &mut self.role else { return 0 };
        let mut new = 0;
        for entry in entries.into_iter().filter(|entry| entry.index >= next) {
            let before = log.term_at(entry.index - 1).unwrap_or_default();
            if entry.index != log.hard().commit + 1 || !entry.is_sound() || entry.term < before {
                break;
            }
            let known = log.at(entry.index).filter(|known| known.term == entry.term);
            if known.is_some_and(|known| *known != entry) {
                // Only one leader put an entry there, so one of the two hosts lies.
                break;
            }
            if known.is_none() {
                // The entries from here on were never committed.
                let dropped = log.truncate_after(entry.index - 1);
                self.changes.extend(dropped.map(records::delete_entry));
                self.changes.push(records::entry(&entry));
                log.append(entry.clone());
            }
            log.set_commit(entry.index);
            log.raise_term(entry.term);
            self.arrived.push_back(Committed::Entry(entry));
            new += 1;
        }
        self.changes.push(records::hard_state(log.hard()));
        new
    }

    /// Takes a snapshot from a neighbour, if it is ahead of this host. Returns true
    /// if it was taken.
    pub(crate) fn follow_snapshot(&mut self, snapshot: Snapshot) -> bool {
        let is_of_use = snapshot.index > self.folded && snapshot.is_sound();
        if !self.is_following() || !is_of_use || !self.arrived.is_empty() {
            return false;
        }
        self.pause_voting();
        self.install(snapshot);
        true
    }

    /// Stops consensus until everything that arrives is folded. Then it starts
    /// again from the longer log, if this host still votes. The log keeps its
    /// uncommitted entries, because they may have been promised.
    pub(super) fn pause_voting(&mut self) {
        let Role::Voting(consensus) = &self.role else { return };
        let mut log = consensus.log().clone();
        log.set_commit(self.folded);
        self.unwritten.clear();
        self.role = Role::Following(Box::new(log));
    }

    pub(super) fn install(&mut self, snapshot: Snapshot) {
        let old = self.log();
        let hard = old.hard();
        // Entries after the snapshot stay, if they belong to the same history.
        let fits = old.term_at(snapshot.index) == Some(snapshot.term);
        let kept = if fits { old.range(snapshot.index + 1, Index::MAX, usize::MAX) } else { None };
        let kept = kept.unwrap_or_default();
        let dropped = if kept.is_empty() { old.indexes() } else { old.indexes().start..snapshot.index + 1 };
        self.changes.extend(dropped.map(records::delete_entry));
        self.changes.extend(records::snapshot(&snapshot));
        let mut log = Log::new(log::Base {
            index: snapshot.index,
            term: snapshot.term,
            hash: snapshot.hash,
            voters: snapshot.voters.clone(),
        });
        kept.into_iter().for_each(|entry| log.append(entry));
        // The vote stays, even if everything else is forgotten.
        let vote = if hard.term >= snapshot.term { hard.vote } else { 0 };
        log.set_hard(records::Hard { term: hard.term.max(snapshot.term), vote, commit: snapshot.index });
        self.changes.push(records::hard_state(log.hard()));
        self.role = Role::Following(Box::new(log));
        self.replaced = Some(self.told_head());
        self.adopt(&snapshot);
        self.set_checkpoint_if_one(&snapshot);
        self.arrived.push_back(Committed::Snapshot(snapshot));
    }
}

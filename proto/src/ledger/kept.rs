//! Decides how much of the log is kept, and which part of it other hosts get.

use std::ops::Range;

use super::log::Log;
use super::raft_entry::{ChainHash, LogEntry, Seal, Snapshot};
use super::{Change, Ledger, Role, records};
use crate::entry::Index;

/// The most entries that one host sends to another in one answer.
pub(crate) const ENTRIES_PER_ANSWER: usize = 256;
/// The most entries that one write deletes: sled blocks for a second on 100,000.
const DELETED_PER_WRITE: u64 = 1_000;
/// The most entries between two checkpoints. The state of a mesh of 10,000 hosts
/// takes a few megabytes. Encoding and hashing it takes less time than folding this
/// many entries.
const CHECKPOINT_EVERY_MAX: Index = 1_024;
/// The number of checkpoints whose seals are remembered. A host can confirm any of
/// them to another.
pub(super) const SEALS_KEPT: usize = 16;

impl Ledger {
    /// Returns true if consensus needs a snapshot to send to a voter.
    pub(crate) fn wants_snapshot(&self) -> bool {
        self.log().wants_snapshot()
    }

    /// Takes the folded state as a snapshot for consensus.
    pub(crate) fn take_snapshot(&mut self, state: Vec<u8>) {
        let snapshot = self.snapshot(state);
        self.log_mut().offer(snapshot);
    }

    fn snapshot(&self, state: Vec<u8>) -> Snapshot {
        Snapshot {
            index: self.folded,
            term: self.term_folded,
            hash: self.hash,
            voters: self.voters.clone(),
            state,
        }
    }

    /// Returns the number of entries between two checkpoints. It is a power of two,
    /// so that hosts which keep fewer entries also have the checkpoints of the
    /// others. It is not more than the number of entries kept, so that a host which
    /// starts from the newest checkpoint finds all entries after it.
    fn checkpoint_every(&self) -> Index {
        let most = CHECKPOINT_EVERY_MAX.min(self.kept.max(1) as Index);
        1 << most.ilog2()
    }

    /// Returns true if it is time to seal the folded state.
    pub(crate) fn is_checkpoint_due(&self) -> bool {
        let is_new = self.newest_seal().is_none_or(|(index, _)| index < self.folded);
        is_new && self.folded.is_multiple_of(self.checkpoint_every())
    }

    /// Takes the folded state as the newest checkpoint, and seals it.
    pub(crate) fn take_checkpoint(&mut self, state: Vec<u8>) {
        let snapshot = self.snapshot(state);
        self.set_checkpoint(snapshot);
    }

    /// Stores the newest checkpoint and drops entries that are far enough before
    /// it, if the log is twice as long as what is kept. Only folded entries can be
    /// dropped; a leader whose disk is slow may have many more.
    pub(crate) fn cut(&mut self) {
        let (base, every, kept) = (self.log().base().index, self.checkpoint_every(), self.kept);
        let is_long = |snapshot: &&Snapshot| {
            let held = snapshot.index.saturating_sub(base);
            held > 0 && held + every > 2 * kept as Index
        };
        let Some(snapshot) = self.checkpoint.as_deref().filter(is_long) else { return };
        let index = snapshot.index;
        self.changes.extend(records::snapshot(snapshot));
        let dropped = self.log_mut().compact(index, kept);
        self.changes.push(records::base(self.log().base()));
        self.delete_later(dropped);
    }

    /// Takes a received snapshot as a checkpoint, if other hosts have one at its
    /// index. Consensus also sends snapshots at other indexes.
    pub(super) fn set_checkpoint_if_one(&mut self, snapshot: &Snapshot) {
        if snapshot.index == 1 || snapshot.index.is_multiple_of(self.checkpoint_every()) {
            self.set_checkpoint(snapshot.clone());
        }
    }

    fn set_checkpoint(&mut self, snapshot: Snapshot) {
        self.seals.push_back((snapshot.index, snapshot.seal()));
        if self.seals.len() > SEALS_KEPT {
            self.seals.pop_front();
        }
        self.checkpoint = Some(Box::new(snapshot));
    }

    /// Returns the newest state that other hosts can confirm.
    pub(crate) fn checkpoint(&self) -> Option<&Snapshot> {
        self.checkpoint.as_deref()
    }

    /// Returns the newest state that is held, as of its index.
    pub(crate) fn newest_snapshot(&self) -> Option<&Snapshot> {
        let offered = self.log().offered();
        self.checkpoint().into_iter().chain(offered).max_by_key(|snapshot| snapshot.index)
    }

    /// Returns the index and the seal of the newest checkpoint.
    pub(crate) fn newest_seal(&self) -> Option<(Index, Seal)> {
        self.seals.back().copied()
    }

    /// Returns the seal of the checkpoint at this index, if it is one of the last.
    pub(crate) fn seal_at(&self, index: Index) -> Option<Seal> {
        self.seals.iter().find(|(at, _)| *at == index).map(|(_, seal)| *seal)
    }

    fn log_mut(&mut self) -> &mut Log {
        match &mut self.role {
            Role::Following(log) => log,
            Role::Voting(consensus) => consensus.log_mut(),
        }
    }

    /// Notes that these entries and all before them are no longer needed.
    pub(super) fn delete_later(&mut self, entries: Range<Index>) {
        let start = match self.deletable.is_empty() {
            true => entries.start,
            false => self.deletable.start.min(entries.start),
        };
        self.deletable = start..entries.end;
    }

    /// Deletes some of the entries before the start of the log.
    pub(super) fn delete_some(&mut self, changes: &mut Vec<Change>) {
        let end = self.deletable.end.min(self.deletable.start + DELETED_PER_WRITE);
        changes.extend((self.deletable.start..end).map(records::delete_entry));
        self.deletable.start = end.max(self.deletable.start);
    }

    /// Returns the entries that a host lacks which has everything up to `after`;
    /// `None` if only a snapshot can help.
    pub(crate) fn entries_after(&self, after: Index) -> Option<Vec<LogEntry>> {
        self.log().range(after + 1, self.folded, ENTRIES_PER_ANSWER)
    }

    /// Returns the entries that are held, preceded by the index and the hash from
    /// which they start.
    pub(crate) fn held(&self) -> (Index, ChainHash, Vec<LogEntry>) {
        let base = self.log().base();
        let entries = self.log().range(base.index + 1, self.folded, usize::MAX).unwrap_or_default();
        (base.index, base.hash, entries)
    }

    /// Returns the sizes of its parts, by name.
    pub(crate) fn footprint(&self) -> [(&'static str, usize); 4] {
        let log = self.log();
        let entries = log.indexes();
        [
            ("log entries", usize::try_from(entries.end - entries.start).unwrap_or(usize::MAX)),
            ("bytes of snapshot", log.offered_bytes()),
            ("unwritten writes", self.unwritten.len() + self.changes.len()),
            ("unfolded entries", self.arrived.len()),
        ]
    }

    /// Returns the entries after an index, unless they are no longer held.
    pub(crate) fn held_after(&self, after: Index) -> Option<Vec<LogEntry>> {
        self.log().range(after + 1, self.folded, usize::MAX)
    }
}

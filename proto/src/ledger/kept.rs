//! How much of the log is kept, and what of it others are given.

use std::ops::Range;

use super::entry::{ChainHash, LogEntry, Snapshot};
use super::log::Log;
use super::{Change, Ledger, Role, stored};
use crate::entry::Index;

/// Entries that one host sends another at a time when it is asked.
pub(crate) const ENTRIES_PER_ANSWER: usize = 256;
/// Entries deleted in one write: sled blocks for a second on 100,000.
const DELETED_PER_WRITE: u64 = 1_000;

impl Ledger {
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
        if compacts {
            self.changes.extend(stored::snapshot(&snapshot));
            let kept = self.kept;
            let dropped = self.log_mut().compact(snapshot.index, kept);
            self.changes.push(stored::base(self.log().base()));
            self.delete_later(dropped);
        }
        self.log_mut().offer(snapshot);
    }

    fn log_mut(&mut self) -> &mut Log {
        match &mut self.role {
            Role::Following(log) => log,
            Role::Voting(consensus) => consensus.log_mut(),
        }
    }

    /// These entries are not needed any more, nor is any below them.
    pub(super) fn delete_later(&mut self, entries: Range<Index>) {
        let start = match self.deletable.is_empty() {
            true => entries.start,
            false => self.deletable.start.min(entries.start),
        };
        self.deletable = start..entries.end;
    }

    /// Deletes what lies below the log, a slice at a time.
    pub(super) fn delete_some(&mut self, changes: &mut Vec<Change>) {
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
}

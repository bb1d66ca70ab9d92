//! The log in memory: the entries after some base, and consensus's access to them.

use std::cell::Cell;
use std::collections::VecDeque;
use std::ops::Range;

use protobuf::Message as _;
use raft::eraftpb;
use raft::{GetEntriesContext, RaftState, Storage, StorageError};

use super::message::{conf_state, entry_to_raft, snapshot_to_raft};
use super::records::Hard;
use super::voters::Voters;
use super::{ChainHash, LogEntry, Snapshot};
use crate::entry::Index;

/// The place before the first entry of a log.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub(crate) struct Base {
    pub(crate) index: Index,
    pub(crate) term: u64,
    pub(crate) hash: ChainHash,
    pub(crate) voters: Voters,
}

/// The entries after a base. On a follower all of them are committed.
#[derive(Clone)]
pub(crate) struct Log {
    base: Base,
    entries: VecDeque<LogEntry>,
    hard: Hard,
    /// The voters as of the index at which consensus started.
    voters: Voters,
    /// The newest snapshot that can be sent to voters.
    offered: Option<Box<Snapshot>>,
    /// True if consensus asked for a snapshot, and there was none or only an old
    /// one.
    wants_snapshot: Cell<bool>,
}

impl Log {
    pub(super) fn new(base: Base) -> Self {
        let voters = base.voters.clone();
        Log {
            hard: Hard { term: base.term, vote: 0, commit: base.index },
            base,
            entries: VecDeque::new(),
            voters,
            offered: None,
            wants_snapshot: Cell::new(false),
        }
    }

    pub(super) fn base(&self) -> &Base {
        &self.base
    }

    pub(super) fn hard(&self) -> Hard {
        self.hard
    }

    pub(super) fn set_hard(&mut self, hard: Hard) {
        self.hard = hard;
    }

    pub(super) fn set_commit(&mut self, commit: Index) {
        self.hard.commit = commit;
    }

    pub(super) fn last_index(&self) -> Index {
        self.entries.back().map_or(self.base.index, |entry| entry.index)
    }

    pub(super) fn indexes(&self) -> Range<Index> {
        self.base.index + 1..self.last_index() + 1
    }

    pub(super) fn term_at(&self, index: Index) -> Option<u64> {
        if index == self.base.index { Some(self.base.term) } else { self.at(index).map(|entry| entry.term) }
    }

    pub(super) fn at(&self, index: Index) -> Option<&LogEntry> {
        let offset = index.checked_sub(self.base.index + 1)?;
        self.entries.get(usize::try_from(offset).ok()?)
    }

    /// Appends an entry. It replaces an entry at the same index, and all after it.
    pub(super) fn append(&mut self, entry: LogEntry) {
        self.truncate_after(entry.index - 1);
        assert_eq!(entry.index, self.last_index() + 1, "the log has no gap");
        self.entries.push_back(entry);
    }

    /// Drops all entries after `index`. Returns the range that was dropped.
    pub(super) fn truncate_after(&mut self, index: Index) -> Range<Index> {
        let last = self.last_index();
        while self.last_index() > index && !self.entries.is_empty() {
            self.entries.pop_back();
        }
        self.last_index() + 1..last + 1
    }

    /// Prepares the log for starting consensus: everything up to `folded` is
    /// committed, and `voters` are the voters there.
    pub(super) fn begin_consensus(&mut self, folded: Index, term: u64, voters: Voters) {
        self.voters = voters;
        self.hard.commit = folded;
        self.raise_term(term);
    }

    /// Moves to a later term. This host has not voted in a term that it only now
    /// hears of.
    pub(super) fn raise_term(&mut self, term: u64) {
        if term > self.hard.term {
            (self.hard.term, self.hard.vote) = (term, 0);
        }
    }

    /// Returns the entries from `first` to `last`, at most `max`; `None` if the
    /// first is no longer here.
    pub(super) fn range(&self, first: Index, last: Index, max: usize) -> Option<Vec<LogEntry>> {
        Some(self.from(first)?.take_while(|entry| entry.index <= last).take(max).cloned().collect())
    }

    /// Returns all entries from `first` on; `None` if it is no longer here.
    fn from(&self, first: Index) -> Option<impl Iterator<Item = &LogEntry>> {
        let skip = usize::try_from(first.checked_sub(self.base.index + 1)?).ok()?;
        Some(self.entries.iter().skip(skip))
    }

    /// Moves the base so that `keep` entries up to `index` stay. Returns the range
    /// that was dropped.
    pub(super) fn compact(&mut self, index: Index, keep: usize) -> Range<Index> {
        let first = self.base.index + 1;
        let until = index.saturating_sub(keep as Index);
        while let Some(entry) = self.entries.front()
            && entry.index <= until
        {
            self.base.hash = super::chain(&self.base.hash, entry);
            self.base.index = entry.index;
            self.base.term = entry.term;
            match &entry.content {
                super::Content::Voters(change) => {
                    self.base.voters.apply(change);
                }
                super::Content::Recovered(signed) => {
                    self.base.voters = Voters::only(signed.recovery().voter);
                }
                super::Content::Empty | super::Content::Entry(_) => {}
            }
            self.entries.pop_front();
        }
        first..self.base.index + 1
    }

    /// Replaces everything by a snapshot.
    pub(super) fn reset_to(&mut self, snapshot: &Snapshot) {
        let hard = Hard { commit: snapshot.index, ..self.hard };
        *self = Log::new(Base {
            index: snapshot.index,
            term: snapshot.term,
            hash: snapshot.hash,
            voters: snapshot.voters.clone(),
        });
        self.hard = Hard { term: hard.term.max(snapshot.term), ..hard };
    }

    pub(super) fn offer(&mut self, snapshot: Snapshot) {
        self.wants_snapshot.set(false);
        self.offered = Some(Box::new(snapshot));
    }

    /// Returns the snapshot that consensus sends to voters that lag.
    pub(super) fn offered(&self) -> Option<&Snapshot> {
        self.offered.as_deref()
    }

    pub(super) fn offered_bytes(&self) -> usize {
        self.offered.as_ref().map_or(0, |snapshot| snapshot.state.len())
    }

    pub(super) fn wants_snapshot(&self) -> bool {
        self.wants_snapshot.get()
    }
}

impl Storage for Log {
    fn initial_state(&self) -> raft::Result<RaftState> {
        let mut hard = eraftpb::HardState::default();
        (hard.term, hard.vote, hard.commit) = (self.hard.term, self.hard.vote, self.hard.commit);
        Ok(RaftState { hard_state: hard, conf_state: conf_state(&self.voters) })
    }

    fn entries(
        &self,
        low: u64,
        high: u64,
        max_size: impl Into<Option<u64>>,
        _: GetEntriesContext,
    ) -> raft::Result<Vec<eraftpb::Entry>> {
        let found = self.from(low).ok_or(raft::Error::Store(StorageError::Compacted))?;
        if high > self.last_index() + 1 {
            return Err(raft::Error::Store(StorageError::Unavailable));
        }
        // Only the entries that fit are converted, because this runs for every
        // append to a voter that lags by thousands. The first one always fits.
        let (most, mut bytes) = (max_size.into().unwrap_or(u64::MAX), 0);
        let fits = |entry: &eraftpb::Entry| {
            let is_first = bytes == 0;
            bytes += u64::from(entry.compute_size());
            is_first || bytes <= most
        };
        let found = found.take_while(|entry| entry.index < high).map(entry_to_raft);
        Ok(found.take_while(fits).collect())
    }

    fn term(&self, index: u64) -> raft::Result<u64> {
        if index < self.base.index {
            return Err(raft::Error::Store(StorageError::Compacted));
        }
        self.term_at(index).ok_or(raft::Error::Store(StorageError::Unavailable))
    }

    fn first_index(&self) -> raft::Result<u64> {
        Ok(self.base.index + 1)
    }

    fn last_index(&self) -> raft::Result<u64> {
        Ok(Log::last_index(self))
    }

    /// Returns a snapshot whose voters or learners include its receiver, because
    /// the receiver would ignore any other. Fails if there is none; a new one is
    /// made meanwhile.
    fn snapshot(&self, request_index: u64, to: u64) -> raft::Result<eraftpb::Snapshot> {
        match &self.offered {
            Some(snapshot)
                if snapshot.index >= request_index.max(self.base.index)
                    && snapshot.voters.has(crate::id::VoterId(to)) =>
            {
                Ok(snapshot_to_raft(snapshot))
            }
            Some(_) | None => {
                self.wants_snapshot.set(true);
                Err(raft::Error::Store(StorageError::SnapshotTemporarilyUnavailable))
            }
        }
    }
}

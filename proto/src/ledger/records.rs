//! The ledger in the store, which is one ordered map with one key for each thing.
//!
//! `E` and an index: an entry. `H`: what consensus promised. `B`: where the entries
//! start. `S`: the newest snapshot. (`M` and `J` belong to the node.)

use std::collections::BTreeMap;
use std::ops::Range;

use super::log::{Base, Log};
use super::{Change, LogEntry, NUMBER_MAX, Snapshot};
use crate::entry::Index;
use crate::form::{Versioned, decode_record, encode_record};

/// The promises of consensus: its term, its vote in that term, and what is
/// committed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub(crate) struct Hard {
    pub(crate) term: u64,
    pub(crate) vote: u64,
    pub(crate) commit: Index,
}

/// The ledger as read from the store.
#[derive(Debug)]
pub(crate) struct Restored {
    pub(crate) snapshot: Snapshot,
    pub(crate) entries: Vec<LogEntry>,
    pub(crate) commit: Index,
    /// Entries before the start of the log, which the process did not delete before
    /// it died.
    pub(super) left_over: Range<Index>,
    base: Base,
    hard: Hard,
}

/// The reason why the ledger cannot continue from a store. In each of these cases
/// consensus would panic, or break a promise.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum StoredError {
    #[error("the record {0} is damaged")]
    Damaged(&'static str),
    #[error("the record {0} is missing")]
    Missing(&'static str),
    #[error("entry {0} is missing")]
    Gap(Index),
    #[error("the entries end at {last}, but up to {commit} was promised")]
    Short { last: Index, commit: Index },
}

fn encode<T: Versioned>(record: &T) -> Vec<u8> {
    encode_record(record)
}

fn entry_key(index: Index) -> Vec<u8> {
    let mut key = vec![b'E'];
    key.extend_from_slice(&index.to_be_bytes());
    key
}

pub(super) fn entry(entry: &LogEntry) -> Change {
    (entry_key(entry.index), Some(encode(entry)))
}

pub(super) fn delete_entry(index: Index) -> Change {
    (entry_key(index), None)
}

pub(super) fn hard_state(hard: Hard) -> Change {
    (b"H".to_vec(), Some(encode(&hard)))
}

pub(super) fn base(base: &Base) -> Change {
    (b"B".to_vec(), Some(encode(base)))
}

/// Returns the changes that store a snapshot as the start of everything.
pub(super) fn snapshot(snapshot: &Snapshot) -> [Change; 2] {
    let start = Base {
        index: snapshot.index,
        term: snapshot.term,
        hash: snapshot.hash,
        voters: snapshot.voters.clone(),
    };
    [(b"S".to_vec(), Some(encode(snapshot))), base(&start)]
}

/// Access to single records of a store.
pub(crate) struct OnDisk<'a>(pub(crate) &'a BTreeMap<Vec<u8>, Vec<u8>>);

impl OnDisk<'_> {
    fn record<T: Versioned>(&self, key: &[u8]) -> Option<T> {
        decode_record(self.0.get(key)?).ok()
    }

    pub(crate) fn hard(&self) -> Option<Hard> {
        self.record(b"H")
    }

    pub(crate) fn entry(&self, index: Index) -> Option<LogEntry> {
        self.record(&entry_key(index))
    }

    /// Returns the index before the first entry.
    pub(crate) fn base(&self) -> Option<Index> {
        self.record(b"B").map(|base: Base| base.index)
    }

    pub(crate) fn is_snapshot(key: &[u8]) -> bool {
        key == b"S"
    }

    /// Returns the index of the snapshot.
    pub(crate) fn snapshot(&self) -> Option<Index> {
        self.record(b"S").map(|snapshot: Snapshot| snapshot.index)
    }
}

impl Restored {
    /// Reads the ledger from the store; `None` if the store holds none.
    pub(crate) fn read(stored: &BTreeMap<Vec<u8>, Vec<u8>>) -> Result<Option<Restored>, StoredError> {
        let Some(snapshot) = stored.get(b"S".as_slice()) else { return Ok(None) };
        let snapshot: Snapshot = decode_record(snapshot).map_err(|_| StoredError::Damaged("S"))?;
        let base = stored.get(b"B".as_slice()).ok_or(StoredError::Missing("B"))?;
        let base: Base = decode_record(base).map_err(|_| StoredError::Damaged("B"))?;
        let hard = stored.get(b"H".as_slice()).ok_or(StoredError::Missing("H"))?;
        let hard: Hard = decode_record(hard).map_err(|_| StoredError::Damaged("H"))?;
        if !snapshot.is_sound() || hard.term >= NUMBER_MAX {
            return Err(StoredError::Damaged(if snapshot.is_sound() { "H" } else { "S" }));
        }
        if base.index > snapshot.index {
            return Err(StoredError::Gap(snapshot.index + 1));
        }
        let entries = read_entries(stored, &base)?;
        let last = entries.last().map_or(base.index, |last| last.index);
        if last < hard.commit || last < snapshot.index {
            return Err(StoredError::Short { last, commit: hard.commit.max(snapshot.index) });
        }
        let commit = hard.commit.max(snapshot.index);
        let left_over = indexes(stored, base.index);
        Ok(Some(Restored { snapshot, entries, commit, left_over, base, hard }))
    }

    pub(super) fn into_log(self) -> Log {
        let mut log = Log::new(self.base);
        self.entries.into_iter().for_each(|entry| log.append(entry));
        log.set_hard(Hard { commit: self.commit, ..self.hard });
        log.offer(self.snapshot);
        log
    }
}

/// Returns the range from the first to the last entry in the store, up to `most`.
fn indexes(stored: &BTreeMap<Vec<u8>, Vec<u8>>, most: Index) -> Range<Index> {
    let index = |key: &Vec<u8>| Some(Index::from_be_bytes(key.get(1..)?.try_into().ok()?));
    let mut keys = stored.range(entry_key(0)..=entry_key(most)).filter_map(|(key, _)| index(key));
    let Some(first) = keys.next() else { return 0..0 };
    first..keys.next_back().unwrap_or(first) + 1
}

fn read_entries(stored: &BTreeMap<Vec<u8>, Vec<u8>>, base: &Base) -> Result<Vec<LogEntry>, StoredError> {
    let (mut entries, mut last, mut term) = (Vec::new(), base.index, base.term);
    for (_, value) in stored.range(entry_key(base.index + 1)..=entry_key(Index::MAX)) {
        let entry: LogEntry = decode_record(value).map_err(|_| StoredError::Damaged("E"))?;
        if entry.index != last + 1 {
            return Err(StoredError::Gap(last + 1));
        }
        if !entry.is_sound() || entry.term < term {
            return Err(StoredError::Damaged("E"));
        }
        (last, term) = (entry.index, entry.term);
        entries.push(entry);
    }
    Ok(entries)
}

#[cfg(test)]
mod tests;

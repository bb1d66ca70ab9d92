//! The fence: what a host keeps outside its store to find out that the store
//! has lost something.
//!
//! A store cannot tell by itself that its end is missing: a log that was cut
//! at a damaged record looks like one that was never longer. So each write
//! carries its number and a digest of all that the store then holds, and once
//! the write is synced, the same two are kept in a small file beside the store.
//! A store that ends before its fence has lost votes or entries that this host
//! promised to keep, and the host must not vote under the same number again.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::ledger::Change;
use crate::wire;

/// The record in the store; the first of all keys, far from the large snapshot
/// that sled would otherwise rewrite with it.
const KEY: &[u8] = b"A";

/// Names one state of a store. Written outside it, after the write that made it
/// is synced and before anything that the write promised is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Fence {
    /// Writes that were ever done to the store.
    writes: u64,
    /// Of all that it then held.
    digest: u128,
}

/// Everything that a node starts from.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Stored {
    /// Of the store.
    pub contents: BTreeMap<Vec<u8>, Vec<u8>>,
    /// The last one that was kept; `None` if it is missing or cannot be read.
    pub fence: Option<Fence>,
}

/// Why a store cannot be trusted to hold all that was promised from it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Loss {
    /// The file was deleted, is damaged, or belongs to another directory.
    #[error("its fence is missing or damaged, so it may have lost anything")]
    NoFence,
    /// Its end was cut off, or it was replaced by an older copy.
    #[error("it ends at write {holds}, and {synced} were synced: it lost votes or entries")]
    Behind {
        /// The last write in the store.
        holds: u64,
        /// The last write that its fence names.
        synced: u64,
    },
    /// A record is missing, stale or changed.
    #[error("it does not hold what was written to it as write {0}")]
    Altered(u64),
}

impl Fence {
    /// Bytes of its encoded form.
    pub const BYTES: usize = 24;

    /// Returns the fence that a store with these contents has if it lost nothing.
    pub fn of(contents: &BTreeMap<Vec<u8>, Vec<u8>>) -> Fence {
        contents.get(KEY).and_then(|bytes| wire::decode(bytes).ok()).unwrap_or_default()
    }

    /// Encodes it, always to the same length.
    pub fn to_bytes(self) -> [u8; Self::BYTES] {
        let mut bytes = [0; Self::BYTES];
        bytes[..8].copy_from_slice(&self.writes.to_be_bytes());
        bytes[8..].copy_from_slice(&self.digest.to_be_bytes());
        bytes
    }

    /// Decodes what [`Fence::to_bytes`] made.
    pub fn from_bytes(bytes: [u8; Self::BYTES]) -> Fence {
        let (writes, digest) = bytes.split_at(8);
        let number = |bytes: &[u8]| bytes.iter().fold(0, |number, byte| (number << 8) | u128::from(*byte));
        // Eight bytes always fit.
        Fence { writes: u64::try_from(number(writes)).unwrap_or(u64::MAX), digest: number(digest) }
    }
}

/// Keeps count of the writes and of what the store holds.
pub(super) struct Account {
    fence: Fence,
    /// The part of each record in the digest.
    parts: BTreeMap<Vec<u8>, u128>,
}

impl Account {
    /// Opens the account of a store, and checks that the store lost nothing.
    pub(super) fn open(stored: &Stored) -> Result<Account, Loss> {
        let records = stored.contents.iter().filter(|(key, _)| *key != KEY);
        let parts: BTreeMap<Vec<u8>, u128> =
            records.map(|(key, value)| (key.clone(), part(key, value))).collect();
        let fence = Fence::of(&stored.contents);
        let kept = match stored.fence {
            Some(kept) => kept,
            // A new host.
            None if stored.contents.is_empty() => Fence::default(),
            None => return Err(Loss::NoFence),
        };
        if fence.writes < kept.writes {
            return Err(Loss::Behind { holds: fence.writes, synced: kept.writes });
        }
        let digest = parts.values().fold(0, |sum, part| sum ^ part);
        if digest != fence.digest || (fence.writes == kept.writes && fence != kept) {
            return Err(Loss::Altered(fence.writes));
        }
        Ok(Account { fence, parts })
    }

    /// Counts a write and adds the record of it. Returns the fence to keep once
    /// the write is synced.
    pub(super) fn count(&mut self, changes: &mut Vec<Change>) -> Fence {
        if changes.is_empty() {
            return self.fence;
        }
        for (key, value) in changes.iter() {
            let before = match value {
                Some(value) => {
                    let part = part(key, value);
                    self.fence.digest ^= part;
                    self.parts.insert(key.clone(), part)
                }
                None => self.parts.remove(key),
            };
            self.fence.digest ^= before.unwrap_or(0);
        }
        self.fence.writes = self.fence.writes.saturating_add(1);
        changes.push((KEY.to_vec(), Some(wire::encode(&self.fence))));
        self.fence
    }
}

/// Hashes one record. Parts are summed by exclusive or, so that the digest can
/// follow each change without reading the rest of the store.
fn part(key: &[u8], value: &[u8]) -> u128 {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&(key.len() as u64).to_be_bytes()).update(key).update(value);
    let mut bytes = [0; 16];
    hasher.finalize_xof().fill(&mut bytes);
    u128::from_be_bytes(bytes)
}

#[cfg(test)]
mod tests;

//! The fence: a small file that a host keeps outside its store, to find out that
//! the store has lost something.
//!
//! A store cannot tell by itself that its end is missing: a log that was cut at a
//! damaged record looks like one that was never longer. So each write carries its
//! number and a digest of everything that the store then holds. Once the write is
//! synced, the same two values are kept in a small file beside the store. If a
//! store ends before its fence, it has lost votes or entries that this host
//! promised to keep. Then the host must not vote under the same number again.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::form;
use crate::ledger::Change;

/// The key of the record in the store. It is the first of all keys, far from the
/// large snapshot that sled would otherwise rewrite with it.
const KEY: &[u8] = b"A";

/// The identity of one state of a store. It is written outside the store after the
/// write that made that state is synced, and before anything that the write
/// promised is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Fence {
    /// The number of writes that were ever done to the store.
    pub(crate) writes: u64,
    /// The digest of everything that the store held then.
    pub(crate) digest: u128,
}

/// Everything that a node starts from.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Stored {
    /// The contents of the store.
    pub contents: BTreeMap<Vec<u8>, Vec<u8>>,
    /// The last fence that was kept; `None` if it is missing or cannot be read.
    pub fence: Option<Fence>,
}

/// The reason why a store cannot be trusted to hold everything that was promised
/// from it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Loss {
    /// The fence file was deleted, is damaged, or belongs to another directory.
    #[error("its fence is missing or damaged, so it may have lost anything")]
    NoFence,
    /// The end of the store was cut off, or the store was replaced by an older
    /// copy.
    #[error("it ends at write {holds}, and {synced} were synced: it lost votes or entries")]
    Behind {
        /// The number of the last write in the store.
        holds: u64,
        /// The number of the last write that the fence names.
        synced: u64,
    },
    /// A record is missing, outdated or changed.
    #[error("it does not hold what was written to it as write {0}")]
    Altered(u64),
}

impl Fence {
    /// The length of the encoded form, in bytes.
    pub const BYTES: usize = 24;

    /// Returns the fence that a store with these contents has if it lost nothing.
    pub fn of(contents: &BTreeMap<Vec<u8>, Vec<u8>>) -> Fence {
        contents.get(KEY).and_then(|bytes| form::decode_record(bytes).ok()).unwrap_or_default()
    }

    /// Encodes the fence, always to the same length.
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

/// Counts the writes, and keeps the digest of what the store holds.
pub(super) struct Account {
    fence: Fence,
    /// The contribution of each record to the digest.
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
            // The store of a new host has no fence.
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
        changes.push((KEY.to_vec(), Some(form::encode_record(&self.fence))));
        self.fence
    }
}

/// Hashes one record. The digest is the exclusive or of these parts, so it can
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

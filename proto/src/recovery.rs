//! Recovery: how a mesh continues when most of its voters are gone for good.
//!
//! A person decides to recover on one host that is left. That host keeps its whole
//! log, committed or not, becomes the only voter, and begins a new epoch of the
//! ledger. If a higher epoch were enough, any member could take the mesh over, so the
//! mesh's recovery key signs each recovery, and every host verifies the signature. The
//! ledger need not hold the public key: the mesh's id is the hash of it, and each host
//! got the id from the operator who let it in.
//!
//! This file holds the rules. `node/recovering.rs` applies them.

mod key;
mod refused;
mod signed_text;

use serde::{Deserialize, Serialize};

use crate::entry::Index;
use crate::form::{Version, Versioned as _};
use crate::id::{HostId, MeshId, VoterId};
use crate::time::LedgerTime;

pub use key::RecoveryKey;
pub use refused::NotRecovered;

/// The number of tail entries whose chain heads are signed. The tail of a follower is
/// what was in flight when the leader died: a few entries, or some hundred in a burst.
/// A host whose committed ledger ends in a longer tail cannot be compared, and halts.
pub const TAIL_SIGNED_MAX: usize = 1_024;
/// The longest name of the person who recovers, in bytes.
pub const BY_BYTES_MAX: usize = 256;
/// The most hosts that one recovery can give up. A mesh has at most seven voters, and as
/// many more while they change.
pub const GONE_MAX: usize = 32;
/// The number of recoveries that a host keeps. A host that missed more of them cannot
/// follow; its operator must let it join again with an empty store.
pub const RECOVERIES_MAX: usize = 16;

/// The decision that a mesh continues from one host's ledger.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Recovery {
    /// The mesh that is recovered.
    pub mesh: MeshId,
    /// The number of this recovery, counted from 1.
    pub epoch: u64,
    /// The newest entry that the host knew to be committed.
    pub committed: Index,
    /// The newest entry that the host had. It and all entries before it count as
    /// committed from now on.
    pub base: Index,
    /// The chain's head at the base.
    pub hash: [u8; 32],
    /// The chain's heads from `committed` + 1 on: at most [`TAIL_SIGNED_MAX`].
    pub tail: Vec<[u8; 32]>,
    /// The host that continues, as the only voter at first.
    pub host: HostId,
    /// Its number in consensus from now on.
    pub voter: VoterId,
    /// The voters' hosts that are given up, sorted.
    pub gone: Vec<HostId>,
    /// The time, by the ledger's clock.
    pub at: LedgerTime,
    /// The person who decided it, as the agent knows that person.
    pub by: String,
}

/// A recovery, and the proof that the mesh's recovery key stands behind it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SignedRecovery {
    pub(crate) recovery: Recovery,
    /// The public half of the key.
    pub(crate) key: [u8; 32],
    /// In two halves: serde knows no longer arrays.
    pub(crate) signature: [[u8; 32]; 2],
}

/// Names one history of a mesh. The recovered mesh and the voters that were given up
/// may both continue; these are two histories. Every frame names its sender's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Default, Hash, Serialize, Deserialize)]
pub struct History {
    /// The number of recoveries so far.
    pub epoch: u64,
    /// The first bytes of the last recovery's hash: two recoveries of one epoch contradict
    /// each other.
    pub id: u64,
}

/// The result of comparing a host's committed ledger with a recovered one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Prefix {
    /// The host's ledger is a prefix of the recovered one.
    Yes,
    /// The host's ledger holds an entry that the recovered ledger lacks.
    No,
    /// The signed chain heads do not reach so far.
    Unknown,
}

impl SignedRecovery {
    /// Returns what was decided.
    pub fn recovery(&self) -> &Recovery {
        &self.recovery
    }

    /// Encodes the signed recovery.
    pub fn to_bytes(&self) -> Vec<u8> {
        self.to_form(Version::V4)
    }

    /// Decodes what [`to_bytes`](Self::to_bytes) made, without verifying it. Returns
    /// `None` for other bytes.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        Self::from_form(bytes, Version::V4).ok()
    }

    /// Returns a hash of all that was signed.
    pub fn id(&self) -> [u8; 32] {
        *blake3::hash(&signed_text::message(&self.recovery, &self.key)).as_bytes()
    }

    /// Returns the history that begins with this recovery.
    pub fn history(&self) -> History {
        let id = self.id().first_chunk().map_or(0, |head| u64::from_be_bytes(*head));
        History { epoch: self.recovery.epoch, id }
    }

    /// Returns the number in consensus that a host takes instead of `voter`, because its
    /// promises under the old number are void. Every host can compute it, and so does
    /// not mistake such a host for one that lost its disk.
    pub fn renumbered(&self, voter: VoterId) -> VoterId {
        renumbered(&self.id(), voter)
    }

    /// Compares a ledger that is committed up to `index`, with this chain head, with the
    /// recovered one.
    pub fn prefix(&self, index: Index, hash: &[u8; 32]) -> Prefix {
        let Recovery { committed, base, hash: base_hash, tail, .. } = &self.recovery;
        let same = |known: &[u8; 32]| if known == hash { Prefix::Yes } else { Prefix::No };
        if index <= *committed {
            // Consensus guarantees that all hosts have committed the same there.
            return Prefix::Yes;
        }
        if index == *base {
            return same(base_hash);
        }
        if index > *base {
            return Prefix::No;
        }
        let signed = usize::try_from(index - committed - 1).ok().and_then(|at| tail.get(at));
        signed.map_or(Prefix::Unknown, same)
    }
}

impl Recovery {
    /// Encodes it for the signer.
    pub fn to_bytes(&self) -> Vec<u8> {
        self.to_form(Version::V4)
    }

    /// Decodes what [`to_bytes`](Self::to_bytes) made. Returns `None` for other bytes.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        Self::from_form(bytes, Version::V4).ok()
    }
}

/// See [`SignedRecovery::renumbered`].
pub(crate) fn renumbered(id: &[u8; 32], voter: VoterId) -> VoterId {
    let hash = blake3::keyed_hash(id, &voter.0.to_be_bytes());
    let number = hash.as_bytes().first_chunk().map_or(0, |head| u64::from_be_bytes(*head));
    VoterId(number.max(1))
}

#[cfg(test)]
mod tests;

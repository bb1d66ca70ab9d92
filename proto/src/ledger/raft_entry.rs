//! The entries of the log, and the snapshot that can replace its beginning.

use super::{Base, VoterChange, Voters};
use crate::entry::Index;
use crate::form::{Version, Versioned as _};
use crate::recovery::SignedRecovery;

/// The limit for indexes and terms. Real ones stay far below it, and there is room
/// to count beyond it.
pub(super) const NUMBER_MAX: u64 = 1 << 56;

/// The head of the hash chain at some index.
pub(crate) type ChainHash = [u8; 32];

/// One entry of the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct LogEntry {
    pub(crate) index: Index,
    pub(crate) term: u64,
    pub(crate) content: Content,
}

/// The content of a log entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Content {
    /// The first entry of a new leader.
    Empty,
    /// The encoded bytes of an [`Entry`](crate::entry::Entry).
    Entry(Vec<u8>),
    /// A change of the voters, from here on.
    Voters(VoterChange),
    /// The mesh was recovered: one host alone votes from here on. Verified before it
    /// was appended; consensus never carries it.
    Recovered(Box<SignedRecovery>),
}

impl LogEntry {
    /// Returns true if the entry can be in a log. An entry without any bytes would
    /// become a different one on its way through raft-rs.
    pub(super) fn is_sound(&self) -> bool {
        let in_range = self.index < NUMBER_MAX && (1..NUMBER_MAX).contains(&self.term);
        in_range && self.content != Content::Entry(Vec::new())
    }
}

/// The state up to some index, from which a host can start instead of from the
/// entries before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Snapshot {
    pub(crate) index: Index,
    pub(crate) term: u64,
    pub(crate) hash: ChainHash,
    pub(crate) voters: Voters,
    /// The folded state, encoded.
    pub(crate) state: Vec<u8>,
}

/// The digest of everything that a snapshot holds, at a checkpoint. Two hosts that
/// folded the same entries have the same seal.
pub(crate) type Seal = [u8; 32];

impl Snapshot {
    pub(crate) fn seal(&self) -> Seal {
        let Snapshot { index, term, hash, voters, state } = self;
        // Every agent takes these bytes in the same version, or the seals would differ.
        let head = Base { index: *index, term: *term, hash: *hash, voters: voters.clone() };
        let mut hasher = blake3::Hasher::new();
        hasher.update(&head.to_form(Version::V4));
        hasher.update(state);
        *hasher.finalize().as_bytes()
    }

    /// Returns true if a log can start from this snapshot.
    pub(super) fn is_sound(&self) -> bool {
        let number = 1..NUMBER_MAX;
        number.contains(&self.index) && number.contains(&self.term) && self.voters.is_sound()
    }
}

/// Returns the head of the chain after `entry`.
pub(crate) fn chain(before: &ChainHash, entry: &LogEntry) -> ChainHash {
    let mut hasher = blake3::Hasher::new();
    hasher.update(before);
    // The chain uses version 4, whichever version is written or sent, so that it is
    // the same for all agents.
    hasher.update(&entry.to_form(Version::V4));
    *hasher.finalize().as_bytes()
}

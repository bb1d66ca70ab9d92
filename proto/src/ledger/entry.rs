//! What stands in the log, and what may stand for its beginning.

use serde::{Deserialize, Serialize};

use super::{VoterChange, Voters};
use crate::entry::Index;

/// No index, and no term, is ever so high: there is room to count on from it.
pub(super) const NUMBER_MAX: u64 = 1 << 56;

/// The head of the hash chain at some index.
pub(crate) type ChainHash = [u8; 32];

/// One place in the log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct LogEntry {
    pub(crate) index: Index,
    pub(crate) term: u64,
    pub(crate) content: Content,
}

/// What stands there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Content {
    /// A new leader's first entry.
    Empty,
    /// An [`Entry`], encoded.
    Entry(Vec<u8>),
    /// Who votes from here on.
    Voters(VoterChange),
}

impl LogEntry {
    /// Whether it can stand in a log. An entry without a byte would be another
    /// one after its way through raft-rs.
    pub(super) fn is_sound(&self) -> bool {
        let in_range = self.index < NUMBER_MAX && (1..NUMBER_MAX).contains(&self.term);
        in_range && self.content != Content::Entry(Vec::new())
    }
}

/// The state up to some index, to start from instead of the entries before.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Snapshot {
    pub(crate) index: Index,
    pub(crate) term: u64,
    pub(crate) hash: ChainHash,
    pub(crate) voters: Voters,
    /// The folded state, encoded.
    pub(crate) state: Vec<u8>,
}

/// What a host says of all that a snapshot holds, at a checkpoint: two hosts that
/// folded the same say the same.
pub(crate) type Seal = [u8; 32];

impl Snapshot {
    pub(crate) fn seal(&self) -> Seal {
        let Snapshot { index, term, hash, voters, state } = self;
        let mut hasher = blake3::Hasher::new();
        hasher.update(&crate::wire::encode(&(index, term, hash, voters)));
        hasher.update(state);
        *hasher.finalize().as_bytes()
    }

    /// Whether a log can start from it.
    pub(super) fn is_sound(&self) -> bool {
        let number = 1..NUMBER_MAX;
        number.contains(&self.index) && number.contains(&self.term) && self.voters.is_sound()
    }
}

/// The chain's head after `entry`.
pub(crate) fn chain(before: &ChainHash, entry: &LogEntry) -> ChainHash {
    let mut hasher = blake3::Hasher::new();
    hasher.update(before);
    hasher.update(&crate::wire::encode(entry));
    *hasher.finalize().as_bytes()
}

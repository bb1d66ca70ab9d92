//! The reasons to refuse a recovery.

use crate::entry::Index;
use crate::id::{HostId, MeshId};

/// The reason why a recovery is refused. Nothing has changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotRecovered {
    /// It is of another mesh.
    #[error("the recovery is of mesh {of}, and this host is in mesh {mesh}")]
    OtherMesh {
        /// The mesh of the recovery.
        of: MeshId,
        /// The mesh of this host.
        mesh: MeshId,
    },
    /// Another key signed it.
    #[error("the recovery is signed by another key than this mesh's recovery key")]
    OtherKey,
    /// It was changed after it was signed, or never signed.
    #[error("the recovery's signature is wrong: it was changed after it was signed")]
    Signature,
    /// A field is out of bounds.
    #[error("the recovery is malformed")]
    Malformed,
    /// It is of an old epoch, or follows a recovery that this host does not know.
    #[error("the recovery is of epoch {of}, and this mesh is in epoch {epoch}: the next recovery is of epoch {}", .epoch + 1)]
    Epoch {
        /// The epoch of the recovery.
        of: u64,
        /// The epoch of this host.
        epoch: u64,
    },
    /// This host has accepted another recovery of the same epoch.
    #[error(
        "another recovery of epoch {epoch} was accepted here already, on {host}: two hosts were recovered apart from \
         each other. Decide which history goes on; on each host of the other one stop the agent, move the store out \
         of the data directory and start the agent again"
    )]
    Contradicts {
        /// The epoch of both.
        epoch: u64,
        /// The host of the accepted recovery.
        host: HostId,
    },
    /// A majority of the voters is connected.
    #[error("{voters_up} of {voters} voters are connected, which is a majority: the mesh needs no recovery")]
    MajorityThere {
        /// The number of voters that this host is connected to, including itself.
        voters_up: u32,
        /// The number of all voters.
        voters: u32,
    },
    /// A reachable host has more of the ledger.
    #[error(
        "host {host} is reachable and has more of the ledger (entry {theirs}, this host has entry {ours}): recover the \
         mesh there, or entries that were acknowledged may be lost"
    )]
    Further {
        /// The host that has more of the ledger.
        host: HostId,
        /// The newest entry that it has.
        theirs: Index,
        /// The newest entry that this host has.
        ours: Index,
    },
    /// Something that was signed has changed since.
    #[error("{0} has changed since the recovery was signed")]
    Moved(&'static str),
}

impl NotRecovered {
    /// Returns the code that JSON carries.
    pub const fn code(&self) -> &'static str {
        match self {
            NotRecovered::OtherMesh { .. } => "RECOVERY_OTHER_MESH",
            NotRecovered::OtherKey => "RECOVERY_OTHER_KEY",
            NotRecovered::Signature => "RECOVERY_SIGNATURE",
            NotRecovered::Malformed => "RECOVERY_MALFORMED",
            NotRecovered::Epoch { .. } => "RECOVERY_EPOCH",
            NotRecovered::Contradicts { .. } => "RECOVERY_CONTRADICTS",
            NotRecovered::MajorityThere { .. } => "RECOVERY_NOT_NEEDED",
            NotRecovered::Further { .. } => "RECOVERY_FURTHER_HOST",
            NotRecovered::Moved(_) => "RECOVERY_MOVED",
        }
    }
}

//! What a node is told when it starts. Checked once, here.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::group::Tag;
use crate::id::{HostId, MeshId};

/// Voters in a mesh of five hosts and more, unless told otherwise.
pub const VOTERS_DEFAULT: u8 = 5;

/// Entries of the ledger that a host keeps, unless told otherwise: some hundred
/// turns, and a few megabytes.
pub const LOG_KEPT_DEFAULT: usize = 4_096;

/// What a node is told when it starts.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Config {
    /// Who this host is.
    pub host: HostId,
    /// Which mesh it belongs to.
    pub mesh: MeshId,
    /// Its name for people.
    pub name: String,
    /// What groups select it by.
    pub tags: BTreeSet<Tag>,
    /// Where it stands; empty if unsaid.
    pub zone: String,
    /// Where it can be dialled, as multiaddresses.
    pub addresses: Vec<String>,
    /// Whether it begins the mesh's ledger if its store is empty. At most one
    /// host of a mesh may ever be told so: two beginnings are two meshes.
    pub founds: bool,
    /// Seeds all chance in the node.
    pub seed: u64,
    /// 1, 3, 5 or 7.
    pub voters_max: u8,
    /// The newest wire version that it says it speaks: [`crate::wire::WIRE`],
    /// unless it plays an agent of an older release.
    pub wire: u16,
    /// Entries that are kept for hosts that lag; who lags further behind gets
    /// the state itself. The log is cut when it is twice as long.
    pub log_kept: usize,
}

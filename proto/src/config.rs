//! The configuration that a node gets when it starts.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::group::Tag;
use crate::id::{HostId, MeshId};

/// The default number of voters, in a mesh of at least five hosts.
pub const VOTERS_DEFAULT: u8 = 5;

/// The default number of ledger entries that a host keeps: some hundred turns, and
/// a few megabytes.
pub const LOG_KEPT_DEFAULT: usize = 4_096;

/// The configuration that a node gets when it starts.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Config {
    /// The id of this host.
    pub host: HostId,
    /// The mesh that it belongs to.
    pub mesh: MeshId,
    /// The host's name for people.
    pub name: String,
    /// The tags by which groups select the host.
    pub tags: BTreeSet<Tag>,
    /// The zone that the host stands in; empty if not given.
    pub zone: String,
    /// The multiaddresses at which the host can be dialled.
    pub addresses: Vec<String>,
    /// True if the host begins the mesh's ledger when its store is empty. At most
    /// one host of a mesh may ever have this: two beginnings make two meshes.
    pub founds: bool,
    /// The seed of all randomness in the node.
    pub seed: u64,
    /// The most voters: 1, 3, 5 or 7.
    pub voters_max: u8,
    /// The newest wire version that the host claims to speak. It is
    /// [`crate::wire::WIRE`], unless the host plays an agent of an older release.
    pub wire: u16,
    /// The number of entries to keep for hosts that lag. A host that lags further
    /// behind gets the whole state instead. The log is cut when it is twice as
    /// long.
    pub log_kept: usize,
}

//! The hosts that keep copies of a bundle before its deployment is submitted. The
//! submitter may die the moment after.

use super::Node;
use super::duties::by_rank;
use crate::id::{Digest, HostId};

/// The number of hosts besides the submitter's that are to hold a copy.
pub const COPIES: usize = 2;

impl Node {
    /// Returns the hosts to ask to keep a copy of the bundle, best first: those that
    /// this host reaches and that are alive by the ledger. The order differs from
    /// bundle to bundle, so that the same hosts do not keep all. Some of the hosts may
    /// refuse, so there are more than [`COPIES`] if the mesh has them.
    pub fn keepers(&self, digest: Digest) -> Vec<HostId> {
        let is_alive = |host: &HostId| self.state.host(*host).is_some_and(|known| known.down.is_none());
        let alive = self.mesh.neighbours().into_iter().filter(is_alive).collect();
        by_rank(alive, &digest.0)
    }
}

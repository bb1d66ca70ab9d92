//! A revision: a bundle pinned by its digest. *What* to install.

use serde::{Deserialize, Serialize};

use crate::id::Digest;
use crate::origin::Origin;

/// A bundle pinned by the BLAKE3 digest of its canonical archive.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Revision {
    /// Of the archive's bytes.
    pub digest: Digest,
    /// The archive's size in bytes.
    pub size: u64,
    /// Where the operator took it from, without any secret: for people, and for
    /// [`Revision::variables`].
    pub origin: String,
}

impl Revision {
    /// What scripts get to know of where the bundle came from. Bundles from a
    /// host's own disk have nothing of the kind.
    pub fn variables(&self) -> Vec<(&'static str, String)> {
        self.origin.parse().map_or_else(|_| Vec::new(), |origin: Origin| origin.variables())
    }
}

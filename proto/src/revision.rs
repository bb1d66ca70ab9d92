//! A revision: a bundle pinned by its digest. It is *what* a deployment installs.

use serde::{Deserialize, Serialize};

use crate::id::Digest;
use crate::origin::Origin;

/// A bundle pinned by the BLAKE3 digest of its canonical archive.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Revision {
    /// The digest of the archive's bytes.
    pub digest: Digest,
    /// The archive's size in bytes.
    pub size: u64,
    /// The source that the operator took it from, without any secret. It is shown
    /// to people, and read by [`Revision::variables`].
    pub origin: String,
}

impl Revision {
    /// Returns the variables that tell scripts where the bundle came from. A bundle
    /// from a host's own disk has none.
    pub fn variables(&self) -> Vec<(&'static str, String)> {
        self.origin.parse().map_or_else(|_| Vec::new(), |origin: Origin| origin.variables())
    }
}

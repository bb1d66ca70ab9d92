//! A revision: a bundle pinned by its digest. *What* to install.

use serde::{Deserialize, Serialize};

use crate::id::Digest;

/// A bundle pinned by the BLAKE3 digest of its canonical archive.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Revision {
    /// Of the archive's bytes.
    pub digest: Digest,
    /// The archive's size in bytes.
    pub size: u64,
    /// Where the operator took it from, as typed; for people only.
    pub origin: String,
}

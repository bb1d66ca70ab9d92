//! Bundles: from wherever they lie into one verified, content-addressed cache,
//! and from there onto the disk.
//!
//! A bundle is named by the BLAKE3 digest of its archive. A directory becomes
//! one canonical archive first ([`pack`]), so that equal trees are the same
//! bundle on every host; an archive file is taken as it is.

pub(crate) mod cache;
pub(crate) mod exchange;
pub(crate) mod fetcher;
mod kind;
pub(crate) mod pack;
pub(crate) mod source;
pub(crate) mod store;
pub(crate) mod unpack;

use std::fs::File;
use std::io::{self, Read, Write};
use std::path::PathBuf;

use proto::id::Digest;
use proto::revision::Revision;

pub(crate) use cache::{Cache, CacheError};
pub(crate) use kind::Kind;
use pack::PackError;
use source::Source;

/// Why a source did not become a bundle in the cache.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AcquireError {
    /// Not there, or not readable.
    #[error("cannot read the bundle `{}`", path.display())]
    Read {
        path: PathBuf,
        #[source]
        cause: io::Error,
    },
    /// A file that is no archive we know.
    #[error(
        "`{}` is no bundle: it is neither a directory nor a zip, tar, tar.gz or tar.zst archive",
        path.display()
    )]
    NoArchive { path: PathBuf },
    /// Named by its digest, but this host does not have it.
    #[error("bundle {digest} is not in this host's cache: `skein push SOURCE` brings it into the mesh")]
    NotCached { digest: Digest },
    #[error("cannot make one archive of the directory `{}`", path.display())]
    Pack {
        path: PathBuf,
        #[source]
        cause: PackError,
    },
    #[error("cannot keep the bundle `{origin}`")]
    Cache {
        origin: String,
        #[source]
        cause: CacheError,
    },
}

/// Brings a source into the cache and pins it by its digest. Blocks.
/// # Errors
/// See [`AcquireError`]; the cache holds nothing new then.
pub(crate) fn acquire(source: &Source, cache: &Cache) -> Result<Revision, AcquireError> {
    let origin = source.to_string();
    let path = match source {
        Source::Cached(digest) => {
            let size = cache.size(digest).ok_or(AcquireError::NotCached { digest: *digest })?;
            return Ok(Revision { digest: *digest, size, origin });
        }
        Source::Path(path) => path,
    };
    let in_cache = |cause| AcquireError::Cache { origin: origin.clone(), cause };
    let read = |cause| AcquireError::Read { path: path.clone(), cause };
    let metadata = path.metadata().map_err(read)?;
    let mut incoming = cache.incoming().map_err(in_cache)?;
    if metadata.is_dir() {
        let packed = pack::pack(path, &mut incoming);
        packed.map_err(|cause| AcquireError::Pack { path: path.clone(), cause })?;
    } else {
        let mut file = File::open(path).map_err(read)?;
        if Kind::of_file(&mut file).map_err(read)?.is_none() {
            return Err(AcquireError::NoArchive { path: path.clone() });
        }
        copy(&mut file, &mut incoming).map_err(read)?;
    }
    let (digest, size) = incoming.keep().map_err(in_cache)?;
    Ok(Revision { digest, size, origin })
}

fn copy(from: &mut impl Read, to: &mut impl Write) -> io::Result<()> {
    let mut buffer = vec![0; 256 * 1024];
    loop {
        let read = from.read(&mut buffer)?;
        if read == 0 {
            return Ok(());
        }
        to.write_all(&buffer[..read])?;
    }
}

#[cfg(test)]
mod tests;

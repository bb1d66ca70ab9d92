//! Bundles. A source becomes one verified archive in a content-addressed cache,
//! and is unpacked onto the disk from there.
//!
//! A bundle is named by the BLAKE3 digest of its archive. A directory is first
//! packed into one canonical archive ([`pack`]), so that equal trees are the same
//! bundle on every host. An archive file is taken unchanged.

pub(crate) mod bundle_store;
pub(crate) mod cache;
mod copies;
pub(crate) mod download;
pub(crate) mod exchange;
pub(crate) mod fetcher;
mod kind;
pub(crate) mod pack;
pub(crate) mod remote;
pub(crate) mod source;
pub(crate) mod transfer_progress;
pub(crate) mod unpack;
pub(crate) mod upload;

use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use proto::id::Digest;
use proto::revision::Revision;

pub(crate) use cache::{Cache, CacheError};
use download::{Download, DownloadError};
pub(crate) use kind::Kind;
use pack::PackError;
use remote::{Remote, Settings};
use source::Source;
use transfer_progress::Progress;

use crate::regular_file;

/// The reason why a source did not become a bundle in the cache.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AcquireError {
    /// The path does not exist or cannot be read.
    #[error("cannot read the bundle `{}`", path.display())]
    Read {
        path: PathBuf,
        #[source]
        cause: io::Error,
    },
    /// The file is not a known kind of archive.
    #[error(
        "`{}` is not a bundle: it is neither a directory nor a zip, tar, tar.gz or tar.zst archive",
        path.display()
    )]
    NoArchive { path: PathBuf },
    #[error("cannot download `{origin}`")]
    Download {
        origin: String,
        #[source]
        cause: DownloadError,
    },
    /// The source is a digest, but this host does not have that bundle.
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
    #[error("the part that reads it failed")]
    Panicked(#[source] tokio::task::JoinError),
}

/// Brings a source into the cache and pins it by its digest.
/// # Errors
/// See [`AcquireError`]; the cache then holds nothing new.
pub(crate) async fn acquire(
    source: Source,
    cache: &Cache,
    settings: &Settings,
    progress: &Progress,
) -> Result<Revision, AcquireError> {
    let origin = source.to_string();
    let remote = match &source {
        Source::Path(path) => {
            let (path, cache) = (path.clone(), cache.clone());
            let packed = tokio::task::spawn_blocking(move || acquire_path(&path, &cache));
            return packed.await.map_err(AcquireError::Panicked)?;
        }
        Source::Cached(digest) => {
            let size = cache.size(digest).ok_or(AcquireError::NotCached { digest: *digest })?;
            return Ok(Revision { digest: *digest, size, origin });
        }
        Source::Origin(origin) => Remote::of_origin(origin, settings).await,
        Source::Web(address) => Remote::of_web(address),
    };
    progress.tell(|far| far.source = origin.clone());
    let bytes_max = settings.bytes_max.unwrap_or(download::BYTES_MAX);
    let downloaded = match remote {
        Ok(remote) => Download { cache, bytes_max, progress }.run(remote).await,
        Err(error) => Err(error.into()),
    };
    progress.tell(|far| far.is_over = true);
    match downloaded {
        Ok((digest, size)) => Ok(Revision { digest, size, origin }),
        Err(cause) => Err(AcquireError::Download { origin, cause }),
    }
}

/// Does the same for a directory or an archive on this host. Blocks.
pub(crate) fn acquire_path(path: &Path, cache: &Cache) -> Result<Revision, AcquireError> {
    let origin = path.display().to_string();
    let in_cache = |cause| AcquireError::Cache { origin: origin.clone(), cause };
    let read = |cause| AcquireError::Read { path: path.to_owned(), cause };
    let metadata = path.metadata().map_err(read)?;
    let mut incoming = cache.incoming().map_err(in_cache)?;
    if metadata.is_dir() {
        let packed = pack::pack(path, &mut incoming);
        packed.map_err(|cause| AcquireError::Pack { path: path.to_owned(), cause })?;
    } else {
        let mut file = regular_file::open(path).map_err(read)?;
        if Kind::of_file(&mut file).map_err(read)?.is_none() {
            return Err(AcquireError::NoArchive { path: path.to_owned() });
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

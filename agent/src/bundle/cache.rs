//! The cache: every bundle that this host has, each in a file named by its digest.
//!
//! A file with a digest as its name is complete and verified: it gets that name only by a rename after
//! its bytes were hashed and synced. Its modification time is the time of its last use. When the cache
//! is full, the least recently used bundles are removed. Deployed revisions are unpacked elsewhere.

use std::fs::{self, File};
use std::io::{self, Read, Seek, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use proto::id::Digest;
use rustix::fs::StatVfs;
use tempfile::NamedTempFile;

use super::Kind;
use crate::private;

/// A directory of verified bundles.
#[derive(Clone, Debug)]
pub(crate) struct Cache {
    dir: PathBuf,
    bytes_max: u64,
}

/// The default size of the cache: some forty bundles of a common size. Beyond it,
/// the least recently used are removed.
const BYTES_MAX: u64 = 8 * 1024 * 1024 * 1024;
/// The number of most recently used bundles that stay, whatever their size: among
/// them one that has just arrived, and the one to roll back to.
const KEPT_MIN: usize = 5;
/// A partial transfer is removed if nothing was written to it for this long.
const UNFINISHED_MAX: Duration = Duration::from_secs(24 * 3_600);

/// An error of the cache.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CacheError {
    #[error("cannot open the cache directory `{}`", dir.display())]
    Open {
        dir: PathBuf,
        #[source]
        cause: io::Error,
    },
    #[error("cannot write `{}`{}", path.display(), no_space(path, cause))]
    Write {
        path: PathBuf,
        #[source]
        cause: io::Error,
    },
    #[error("cannot read `{}`", path.display())]
    Read {
        path: PathBuf,
        #[source]
        cause: io::Error,
    },
    /// The bytes are not those that were requested; they were removed.
    #[error("the bundle that arrived is {got}, not {wanted}: it was damaged or swapped on its way")]
    WrongDigest { wanted: Digest, got: Digest },
}

/// Returns the end of a message about a failed write: the free space, if the disk is full.
pub(crate) fn no_space(path: &Path, cause: &io::Error) -> String {
    let is_told = cause.get_ref().is_some_and(|inner| inner.is::<DiskFull>());
    if cause.kind() != io::ErrorKind::StorageFull || is_told {
        return String::new();
    }
    let free = path.ancestors().find_map(free_bytes).unwrap_or(0);
    format!(": the disk is full ({free} bytes are free)")
}

/// The number of bytes that stay free on a disk, whatever is downloaded, fetched or unpacked.
/// The agent's store is on that disk, and an agent that cannot write its store ends.
const FREE_MIN: u64 = 64 * 1024 * 1024;
/// On a small disk, the disk's size divided by this stays free instead.
const FREE_PART: u64 = 20;
/// The number of bytes to write between two checks of the free space.
pub(crate) const LOOK_AFTER: u64 = 8 * 1024 * 1024;

/// The disk has too little room for the write.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "the disk is full: {needed} bytes more are to be written to `{}`, and {free} are free, of which {kept} are kept \
     for the agent's own records: free some space, then deploy again", path.display()
)]
pub(crate) struct DiskFull {
    pub(crate) path: PathBuf,
    pub(crate) needed: u64,
    pub(crate) free: u64,
    pub(crate) kept: u64,
}

/// Returns the number of bytes to keep free on a disk.
pub(crate) fn kept_bytes(stat: &StatVfs) -> u64 {
    (stat.f_blocks.saturating_mul(stat.f_frsize) / FREE_PART).min(FREE_MIN)
}

/// Fails unless `needed` bytes can be written below `path` while enough stays free.
/// If the free space cannot be determined, succeeds: the write itself will then fail.
pub(crate) fn require_room(path: &Path, needed: u64) -> Result<(), DiskFull> {
    let Some(stat) = path.ancestors().find_map(|path| rustix::fs::statvfs(path).ok()) else { return Ok(()) };
    let free = stat.f_bavail.saturating_mul(stat.f_frsize);
    let kept = kept_bytes(&stat);
    if free < needed.saturating_add(kept) {
        return Err(DiskFull { path: path.to_owned(), needed, free, kept });
    }
    Ok(())
}

/// Returns the number of bytes that bundles and their files may still take below `path`; `None` if that
/// cannot be determined.
pub(crate) fn free_for_bundles(path: &Path) -> Option<u64> {
    let stat = path.ancestors().find_map(|path| rustix::fs::statvfs(path).ok())?;
    Some(stat.f_bavail.saturating_mul(stat.f_frsize).saturating_sub(kept_bytes(&stat)))
}

/// Returns the number of bytes that can still be written below `path`; `None` if `path` does not exist.
fn free_bytes(path: &Path) -> Option<u64> {
    let stat = rustix::fs::statvfs(path).ok()?;
    Some(stat.f_bavail.saturating_mul(stat.f_frsize))
}

impl Cache {
    /// Opens the cache in `dir`, and creates the directory if necessary.
    pub(crate) fn open(dir: impl Into<PathBuf>) -> Result<Cache, CacheError> {
        Cache::open_with(dir, BYTES_MAX)
    }

    /// Opens a cache that holds up to `bytes_max` bytes.
    pub(crate) fn open_with(dir: impl Into<PathBuf>, bytes_max: u64) -> Result<Cache, CacheError> {
        let cache = Cache { dir: dir.into(), bytes_max };
        match private::make_directory(&cache.dir, private::CLOSED).and_then(|()| cache.remove_unfinished()) {
            Ok(()) => Ok(cache),
            Err(cause) => Err(CacheError::Open { dir: cache.dir, cause }),
        }
    }

    /// Records that the bundle is used now.
    pub(crate) fn used(&self, digest: &Digest) {
        // The bundle may be gone by now; and an old time costs no more than another fetch.
        let _ = File::open(self.path(digest)).and_then(|file| file.set_modified(SystemTime::now()));
    }

    fn remove_unfinished(&self) -> io::Result<()> {
        for entry in fs::read_dir(&self.dir)? {
            let entry = entry?;
            // Another task may have removed it since it was listed.
            let Ok(metadata) = entry.metadata() else { continue };
            let age = metadata.modified()?.elapsed().unwrap_or_default();
            if digest_of(&entry.path()).is_none() && age > UNFINISHED_MAX {
                // A file that cannot be removed must not prevent the start.
                let _ = fs::remove_file(entry.path());
            }
        }
        Ok(())
    }

    /// Removes bundles until the cache is within its limit; called after each new bundle.
    fn trim(&self) {
        if let Err(error) = self.try_trim() {
            tracing::warn!(cache = %self.dir.display(), %error, "cannot remove bundles that are not used");
        }
    }

    fn try_trim(&self) -> io::Result<()> {
        self.remove_unfinished()?;
        let mut bundles = Vec::new();
        for entry in fs::read_dir(&self.dir)? {
            let path = entry?.path();
            // Another task may have removed it since it was listed.
            if let (Some(_), Ok(metadata)) = (digest_of(&path), path.metadata()) {
                bundles.push((metadata.modified()?, metadata.len(), path));
            }
        }
        bundles.sort();
        let mut bytes: u64 = bundles.iter().map(|(_, size, _)| size).sum();
        let removable = bundles.len().saturating_sub(KEPT_MIN);
        for (_, size, path) in &bundles[..removable] {
            if bytes <= self.bytes_max {
                break;
            }
            fs::remove_file(path)?;
            bytes -= size;
        }
        Ok(())
    }

    pub(crate) fn dir(&self) -> &Path {
        &self.dir
    }

    /// Returns the bundles in the cache with their sizes in bytes.
    pub(crate) fn bundles(&self) -> io::Result<Vec<(Digest, u64)>> {
        let mut bundles = Vec::new();
        for entry in fs::read_dir(&self.dir)? {
            let path = entry?.path();
            if let (Some(digest), Ok(metadata)) = (digest_of(&path), path.metadata()) {
                bundles.push((digest, metadata.len()));
            }
        }
        Ok(bundles)
    }

    /// Returns the path that the bundle has, or will have.
    pub(crate) fn path(&self, digest: &Digest) -> PathBuf {
        self.dir.join(digest.hex())
    }

    /// Returns the path that collects the bundle's bytes until it is complete.
    pub(crate) fn part(&self, digest: &Digest) -> PathBuf {
        self.dir.join(format!("{}.part", digest.hex()))
    }

    /// Returns true if the complete bundle is in the cache.
    pub(crate) fn has(&self, digest: &Digest) -> bool {
        self.size(digest).is_some()
    }

    /// Returns the archive's size in bytes; `None` if it is not in the cache.
    pub(crate) fn size(&self, digest: &Digest) -> Option<u64> {
        let metadata = self.path(digest).metadata().ok()?;
        metadata.is_file().then_some(metadata.len())
    }

    /// Turns the bundle's [`Cache::part`] into the bundle, if it has the digest.
    /// # Errors
    /// [`CacheError::WrongDigest`] if it does not. The part is then removed,
    /// because nothing shows which of its bytes are good.
    pub(crate) fn adopt(&self, digest: &Digest) -> Result<PathBuf, CacheError> {
        let part = self.part(digest);
        let hashed = File::open(&part).and_then(|file| Ok((hash(&file)?, file)));
        let (got, file) = hashed.map_err(|cause| CacheError::Read { path: part.clone(), cause })?;
        if got != *digest {
            // If the removal fails, the next fetch truncates the file.
            let _ = fs::remove_file(&part);
            return Err(CacheError::WrongDigest { wanted: *digest, got });
        }
        let path = self.path(digest);
        let renamed = file.sync_all().and_then(|()| fs::rename(&part, &path)).and_then(|()| self.sync());
        renamed.map_err(|cause| CacheError::Write { path: path.clone(), cause })?;
        self.used(digest);
        self.trim();
        Ok(path)
    }

    /// Creates a file for a bundle whose digest is not known yet.
    pub(crate) fn incoming(&self) -> Result<Incoming, CacheError> {
        let file = tempfile::Builder::new().prefix("incoming-").tempfile_in(&self.dir);
        let file = file.map_err(|cause| CacheError::Write { path: self.dir.clone(), cause })?;
        Ok(Incoming { cache: self.clone(), file, hasher: blake3::Hasher::new(), size: 0 })
    }

    // The rename itself must survive a power loss, not only the bytes.
    fn sync(&self) -> io::Result<()> {
        File::open(&self.dir)?.sync_all()
    }
}

/// Returns the digest that a cache file is named by; `None` if the file is incomplete.
fn digest_of(path: &Path) -> Option<Digest> {
    path.file_name()?.to_str()?.parse().ok()
}

fn hash(mut file: &File) -> io::Result<Digest> {
    let mut hasher = blake3::Hasher::new();
    let mut buffer = vec![0; 256 * 1024];
    loop {
        let read = file.read(&mut buffer)?;
        if read == 0 {
            return Ok(Digest(*hasher.finalize().as_bytes()));
        }
        hasher.update(&buffer[..read]);
    }
}

/// A bundle being written into the cache, hashed as it is written. If dropped
/// before [`Incoming::keep`], it leaves nothing behind.
pub(crate) struct Incoming {
    cache: Cache,
    file: NamedTempFile,
    hasher: blake3::Hasher,
    size: u64,
}

impl Write for Incoming {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.size / LOOK_AFTER != (self.size + bytes.len() as u64) / LOOK_AFTER || self.size == 0 {
            let room = require_room(&self.cache.dir, bytes.len() as u64);
            room.map_err(|full| io::Error::new(io::ErrorKind::StorageFull, full))?;
        }
        let written = self.file.write(bytes)?;
        self.hasher.update(&bytes[..written]);
        self.size += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl Incoming {
    /// Discards everything written so far.
    pub(crate) fn restart(&mut self) -> Result<(), CacheError> {
        let file = self.file.as_file_mut();
        let emptied = file.set_len(0).and_then(|()| file.rewind());
        emptied.map_err(|cause| CacheError::Write { path: self.file.path().to_owned(), cause })?;
        self.hasher.reset();
        self.size = 0;
        Ok(())
    }

    /// Writes all bytes, as [`Write::write_all`] does, but with a [`CacheError`].
    pub(crate) fn put(&mut self, bytes: &[u8]) -> Result<(), CacheError> {
        let written = self.write_all(bytes);
        written.map_err(|cause| CacheError::Write { path: self.file.path().to_owned(), cause })
    }

    /// Returns true if the bytes are of a kind of archive that can be unpacked.
    pub(crate) fn is_archive(&self) -> Result<bool, CacheError> {
        let path = self.file.path();
        let kind = File::open(path).and_then(|mut file| Kind::of_file(&mut file));
        Ok(kind.map_err(|cause| CacheError::Read { path: path.to_owned(), cause })?.is_some())
    }

    /// Renames the file to its digest. A file that has this name already has the same content.
    pub(crate) fn keep(self) -> Result<(Digest, u64), CacheError> {
        let digest = Digest(*self.hasher.finalize().as_bytes());
        let path = self.cache.path(&digest);
        let kept = self.file.as_file().sync_all();
        let kept = kept.and_then(|()| self.file.persist(&path).map_err(|error| error.error));
        let kept = kept.and_then(|_| self.cache.sync());
        kept.map_err(|cause| CacheError::Write { path, cause })?;
        self.cache.trim();
        Ok((digest, self.size))
    }
}

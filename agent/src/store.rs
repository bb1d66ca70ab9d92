//! The node's persistent state: one ordered map from bytes to bytes, on sled.
//!
//! This module adds two things that sled lacks. First, sled's `flush` does not reach stable
//! storage (it calls `sync_file_range`), so our own fdatasync follows every write that asks
//! for it. Second, sled cuts its log at the first record that it cannot read, and calls the
//! store complete. So the number of the last synced write is kept in a separate file, the
//! fence, by which the node judges if anything is missing. A store that has lost something
//! is set aside: the mesh knows how to treat a host that starts empty and says so.
//!
//! Everything is behind [`Store`], one ordered map, so sled can be replaced by one file.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io;
use std::panic;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Instant, SystemTime};

use proto::io::Write;
use proto::node::Fence;
use rustix::fs::{FallocateFlags, fallocate};

use crate::held::{HELD_MAX, LOOK_EVERY};
use crate::private;
use crate::telemetry::panic_text;

mod fence_file;
mod writer;

use fence_file::FenceFile;
pub(crate) use fence_file::NoFence;
pub(crate) use writer::{Done, Writer};

/// The size of sled's cache; its default is 1 GiB. The node holds all it needs in
/// memory, so only pages that are being written are worth a cache.
const CACHE_BYTES: u64 = 16 * 1024 * 1024;
/// The interval of sled's own flusher, in milliseconds. It also frees unused
/// segments: without it the file only grows.
const FLUSH_EVERY_MS: u64 = 500;
/// Room that the log has on the disk beyond its end: some thousand entries.
const RESERVED_BYTES: u64 = 4 * 1024 * 1024;
/// The key that is written when a store is created. A damaged file can open as an
/// empty map; the key distinguishes that from a map that was never written.
const FORMAT_KEY: &[u8] = b"format";
const FORMAT: &[u8] = b"skein-store-1";
/// The tree with the format key; the node's data is in sled's default tree.
const META_TREE: &str = "meta";

/// All data of a store.
pub(crate) type Contents = BTreeMap<Vec<u8>, Vec<u8>>;

/// An open store.
pub(crate) struct Store {
    db: sled::Db,
    path: PathBuf,
    /// The file of sled's log, for our own fdatasync, which works on the file
    /// whichever descriptor wrote.
    log: File,
    /// The directory of large pages, which sled puts into separate files and never syncs.
    blobs: PathBuf,
    /// The newest of these files that is on stable storage.
    blobs_synced: Option<u64>,
    /// `None` if the fence is unusable: the store is then only read.
    fence: Option<FenceFile>,
    /// The fence of the last applied write.
    applied: Fence,
    /// Up to where the log's file has room of its own on the disk.
    reserved_to: u64,
}

/// A store that could be read.
pub(crate) struct Opened {
    pub(crate) store: Store,
    pub(crate) contents: Contents,
    /// The last stored fence, or the reason why it is unusable.
    pub(crate) fence: Result<Fence, NoFence>,
    /// True if the store's index was damaged and was rebuilt.
    pub(crate) is_rebuilt: bool,
}

/// The object found at the store's path.
pub(crate) enum Found {
    /// The contents, which may lack some writes: see [`Opened::fence`].
    Readable(Box<Opened>),
    /// Data that sled cannot read.
    Unreadable { damage: String },
}

/// The reason why the store cannot be used. All of these are fatal to the agent.
#[derive(Clone, Debug, thiserror::Error)]
pub(crate) enum StoreError {
    #[error("another process has the store {} open: is an agent running already?", path.display())]
    Locked { path: PathBuf },
    #[error("cannot open the store {}{}", path.display(), advice(cause))]
    Open {
        path: PathBuf,
        #[source]
        cause: sled::Error,
    },
    #[error("cannot write to the store {}{}", path.display(), advice(cause))]
    Write {
        path: PathBuf,
        #[source]
        cause: sled::Error,
    },
}

/// Returns advice for a person, to be appended to the error.
fn advice(cause: &sled::Error) -> &'static str {
    let sled::Error::Io(cause) = cause else { return "" };
    if cause.kind() == io::ErrorKind::StorageFull {
        ": the disk is full, free some space and start the agent again"
    } else if cause.kind() == io::ErrorKind::PermissionDenied {
        ": the agent needs to own this directory"
    } else if cause.kind() == io::ErrorKind::ReadOnlyFilesystem {
        ": the file system is read-only, often after a disk error: see `dmesg`"
    } else {
        ""
    }
}

/// The result of one attempt to open the store.
enum Attempt {
    Opened(Box<Opened>),
    /// The data there cannot be read.
    Damaged(String),
    /// The fault is not in the data.
    Refused(StoreError),
}

impl Store {
    /// Opens the store in the directory `path`, or creates it.
    pub(crate) fn open(path: &Path) -> Result<Found, StoreError> {
        let failed = |cause: io::Error| StoreError::Open { path: path.to_owned(), cause: cause.into() };
        let mut is_rebuilt = false;
        loop {
            let damage = match Self::attempt_unlocked(path) {
                Attempt::Opened(mut opened) => {
                    opened.is_rebuilt = is_rebuilt;
                    return Ok(Found::Readable(opened));
                }
                Attempt::Refused(error) => return Err(error),
                Attempt::Damaged(damage) => damage,
            };
            if is_rebuilt {
                return Ok(Found::Unreadable { damage });
            }
            tracing::warn!(path = %path.display(), damage, "the store is damaged: rebuilding its index");
            remove_snapshots(path).map_err(failed)?;
            is_rebuilt = true;
        }
    }

    /// Waits for the lock and opens the store. sled's threads keep the lock for a moment after a store
    /// was closed or could not be opened, and so may a process that a killed agent was starting.
    fn attempt_unlocked(path: &Path) -> Attempt {
        let until = Instant::now() + HELD_MAX;
        loop {
            let attempt = Self::attempt(path);
            let is_locked = matches!(attempt, Attempt::Refused(StoreError::Locked { .. }));
            if !is_locked || Instant::now() >= until {
                return attempt;
            }
            thread::sleep(LOOK_EVERY);
        }
    }

    fn attempt(path: &Path) -> Attempt {
        // sled panics on some unexpected damage.
        match panic::catch_unwind(|| Self::try_open(path)) {
            Ok(Ok(opened)) => Attempt::Opened(Box::new(opened)),
            Ok(Err(cause)) => judge(path, cause),
            Err(panic) => Attempt::Damaged(panic_text(panic.as_ref())),
        }
    }

    fn try_open(path: &Path) -> Result<Opened, sled::Error> {
        let is_new = !path.join("db").exists();
        private::make_directory(path, private::CLOSED)?;
        let fence = open_fence(path, is_new)?;
        let db = sled::Config::new()
            .path(path)
            .cache_capacity(CACHE_BYTES)
            .flush_every_ms(Some(FLUSH_EVERY_MS))
            .open()?;
        let (log, blobs) =
            (File::options().read(true).write(true).open(path.join("db"))?, path.join("blobs"));
        let (fence, kept) = match fence {
            Ok(file) => {
                let kept = file.fence();
                (Some(file), Ok(kept))
            }
            Err(why) => (None, Err(why)),
        };
        let applied = Fence::default();
        let mut store = Store {
            db,
            path: path.to_owned(),
            log,
            blobs,
            blobs_synced: None,
            fence,
            applied,
            reserved_to: 0,
        };
        let meta = store.db.open_tree(META_TREE)?;
        // The process may have died before it wrote this.
        let is_untouched = kept == Ok(Fence::default()) && store.db.is_empty();
        if is_untouched && meta.get(FORMAT_KEY)?.is_none() {
            meta.insert(FORMAT_KEY, FORMAT)?;
            store.sync()?;
            // The files' names must survive a crash, too.
            File::open(path)?.sync_all()?;
            if let Some(parent) = path.parent().filter(|parent| *parent != Path::new("")) {
                File::open(parent)?.sync_all()?;
            }
        } else if meta.get(FORMAT_KEY)?.as_deref() != Some(FORMAT) {
            return Err(sled::Error::Corruption { at: None, bt: () });
        }
        let contents = store.db.iter().map(|pair| pair.map(|(key, value)| (key.to_vec(), value.to_vec())));
        let contents = contents.collect::<Result<Contents, _>>()?;
        if contents.is_empty() && kept.is_err() {
            // Nothing distinguishes it from a store that lost all its data.
            return Err(sled::Error::Corruption { at: None, bt: () });
        }
        store.applied = Fence::of(&contents);
        Ok(Opened { store, contents, fence: kept, is_rebuilt: false })
    }

    /// Applies the write atomically: after a crash, all of its changes are there, or none.
    fn apply(&mut self, write: &Write) -> Result<(), sled::Error> {
        let mut batch = sled::Batch::default();
        for (key, value) in &write.changes {
            match value {
                Some(value) => batch.insert(key.as_slice(), value.as_slice()),
                None => batch.remove(key.as_slice()),
            }
        }
        self.db.apply_batch(batch)?;
        self.applied = write.fence;
        Ok(())
    }

    /// Brings everything that was applied to stable storage, and then the fence
    /// that says so. In the other order, a power loss between the two would make
    /// an intact store look as if it had lost something.
    fn sync(&mut self) -> Result<(), sled::Error> {
        self.reserve();
        self.db.flush()?;
        self.sync_blobs()?;
        self.log.sync_data()?;
        match &mut self.fence {
            Some(fence) => Ok(fence.write(self.applied)?),
            None => Err(io::Error::other("its fence is missing").into()),
        }
    }

    /// Makes sure that the log can grow although others fill the disk. What is reserved
    /// lies behind the file's end, where sled does not see it. A file system that cannot
    /// do it, or has no room, leaves it to the [ballast](crate::ballast).
    fn reserve(&mut self) {
        let Ok(end) = self.log.metadata().map(|metadata| metadata.len()) else { return };
        if end + RESERVED_BYTES / 2 <= self.reserved_to {
            return;
        }
        if fallocate(&self.log, FallocateFlags::KEEP_SIZE, end, RESERVED_BYTES).is_ok() {
            self.reserved_to = end + RESERVED_BYTES;
        }
    }

    /// Syncs the files of large pages. They are named by their position in the
    /// log, so only newer ones matter.
    fn sync_blobs(&mut self) -> Result<(), sled::Error> {
        let mut newest = self.blobs_synced;
        for blob in fs::read_dir(&self.blobs)? {
            let blob = blob?;
            let place = blob.file_name().to_str().and_then(|name| name.parse::<u64>().ok());
            if place <= self.blobs_synced {
                continue;
            }
            match File::open(blob.path()).and_then(|file| file.sync_all()) {
                Ok(()) => newest = newest.max(place),
                // sled's own flusher has just freed it.
                Err(cause) if cause.kind() == io::ErrorKind::NotFound => {}
                Err(cause) => return Err(cause.into()),
            }
        }
        if newest > self.blobs_synced {
            File::open(&self.blobs)?.sync_all()?;
            self.blobs_synced = newest;
        }
        Ok(())
    }

    fn write_error(&self, cause: sled::Error) -> StoreError {
        StoreError::Write { path: self.path.clone(), cause }
    }
}

/// Decides if opening failed because of the data, or for a reason that an empty store would not change.
fn judge(path: &Path, cause: sled::Error) -> Attempt {
    let sled::Error::Io(error) = &cause else { return Attempt::Damaged(cause.to_string()) };
    // sled has no error kind for this.
    if error.to_string().contains("could not acquire lock") {
        return Attempt::Refused(StoreError::Locked { path: path.to_owned() });
    }
    let in_the_bytes = [
        io::ErrorKind::UnexpectedEof,
        io::ErrorKind::InvalidData,
        io::ErrorKind::InvalidInput,
        io::ErrorKind::Other,
    ];
    if in_the_bytes.contains(&error.kind()) && error.raw_os_error().is_none() {
        return Attempt::Damaged(cause.to_string());
    }
    Attempt::Refused(StoreError::Open { path: path.to_owned(), cause })
}

/// Removes sled's snapshots. They only save it from reading the whole log.
fn remove_snapshots(path: &Path) -> io::Result<()> {
    for entry in fs::read_dir(path)? {
        let entry = entry?;
        if entry.file_name().to_string_lossy().starts_with("snap.") {
            fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

/// Opens the fence of the store at `path`. The file is created before the store
/// holds any data, so that a crash between the two is no loss.
fn open_fence(path: &Path, is_new: bool) -> io::Result<Result<FenceFile, NoFence>> {
    let at = fence_file::beside(path);
    match FenceFile::open(&at)? {
        Err(NoFence::Missing) if is_new => FenceFile::create(&at).map(Ok),
        found => Ok(found),
    }
}

/// Moves the store at `path` and its fence away. Neither is deleted: a person may
/// still recover data from what sled left after its attempts.
pub(crate) fn set_aside(path: &Path) -> Result<PathBuf, StoreError> {
    let failed = |cause: io::Error| StoreError::Open { path: path.to_owned(), cause: cause.into() };
    let seconds = SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default().as_secs();
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".damaged-{seconds}"));
    let aside = PathBuf::from(name);
    // Move the fence last: if this is interrupted, it still says what was lost.
    rename_if_there(path, &aside).map_err(failed)?;
    private::make_directory(&aside, private::CLOSED).map_err(failed)?;
    rename_if_there(&fence_file::beside(path), &aside.join("fence")).map_err(failed)?;
    Ok(aside)
}

fn rename_if_there(from: &Path, to: &Path) -> io::Result<()> {
    match fs::rename(from, to) {
        Err(cause) if cause.kind() == io::ErrorKind::NotFound => Ok(()),
        renamed => renamed,
    }
}

#[cfg(test)]
mod tests;

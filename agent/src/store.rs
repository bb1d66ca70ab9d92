//! What the node must not forget: one ordered map from bytes to bytes, on sled.
//!
//! Two things sled does not do are done here. Its `flush` does not reach
//! stable storage (it calls `sync_file_range`), so every write that asks for
//! it is followed by an fdatasync of our own. And it cuts its log at the first
//! record that it cannot read and calls the store whole: so the number of the
//! last synced write is kept in a file of its own, the fence, and the node
//! judges by it whether anything is missing. A store that has lost something is
//! set aside: a host that starts empty and says so is a known case to the mesh.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io;
use std::panic;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Instant, SystemTime};

use proto::io::Write;
use proto::node::Fence;

use crate::held::{HELD_MAX, LOOK_EVERY};
use crate::private;
use crate::telemetry::panic_text;

mod fence_file;
mod writer;

use fence_file::FenceFile;
pub(crate) use fence_file::NoFence;
pub(crate) use writer::{Done, Writer};

/// sled's default is 1 GiB. The node holds all it needs in memory; only the
/// pages that are being written are worth a cache.
const CACHE_BYTES: u64 = 16 * 1024 * 1024;
/// sled's own flusher also frees segments that are no longer used: without it
/// the file only grows.
const FLUSH_EVERY_MS: u64 = 500;
/// Written when a store is made. A damaged file can open as an empty map; this
/// tells that map from one that was never written.
const FORMAT_KEY: &[u8] = b"format";
const FORMAT: &[u8] = b"skein-store-1";
/// The tree that holds it; the node's own is sled's default.
const META_TREE: &str = "meta";

/// Everything that a store holds.
pub(crate) type Contents = BTreeMap<Vec<u8>, Vec<u8>>;

/// An open store.
pub(crate) struct Store {
    db: sled::Db,
    path: PathBuf,
    /// The file that holds sled's log, for our own fdatasync: it works on the
    /// file, whichever descriptor wrote.
    log: File,
    /// sled puts large pages into files of their own, and never syncs those.
    blobs: PathBuf,
    /// The newest of them that is on stable storage.
    blobs_synced: Option<u64>,
    /// None if it is of no use: then the store is, too, and only read.
    fence: Option<FenceFile>,
    /// The fence of the last write that was applied.
    applied: Fence,
}

/// A store that could be read.
pub(crate) struct Opened {
    pub(crate) store: Store,
    pub(crate) contents: Contents,
    /// The last one that was kept, or why it is of no use.
    pub(crate) fence: Result<Fence, NoFence>,
    /// Its index was damaged and was built anew.
    pub(crate) is_rebuilt: bool,
}

/// What lies where the store should be.
pub(crate) enum Found {
    /// Contents, which may have lost some writes: see [`Opened::fence`].
    Readable(Box<Opened>),
    /// Something that sled cannot read.
    Unreadable { damage: String },
}

/// Why the store cannot be used. All are fatal to the agent.
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

/// What a person can do about it, as words that follow the error.
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

/// One attempt to open.
enum Attempt {
    Opened(Box<Opened>),
    /// What is there cannot be read.
    Damaged(String),
    /// The fault is not in what is there.
    Refused(StoreError),
}

impl Store {
    /// Opens the store in the directory `path`, or makes it.
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

    /// sled's threads keep the lock for a moment after a store was closed, or
    /// could not be opened; so may a process that a killed agent was starting.
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
        // sled panics on some damage that it does not expect.
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
        let (log, blobs) = (File::open(path.join("db"))?, path.join("blobs"));
        let (fence, kept) = match fence {
            Ok(file) => {
                let kept = file.fence();
                (Some(file), Ok(kept))
            }
            Err(why) => (None, Err(why)),
        };
        let applied = Fence::default();
        let mut store = Store { db, path: path.to_owned(), log, blobs, blobs_synced: None, fence, applied };
        let meta = store.db.open_tree(META_TREE)?;
        // The process may have died before it had written this.
        let is_untouched = kept == Ok(Fence::default()) && store.db.is_empty();
        if is_untouched && meta.get(FORMAT_KEY)?.is_none() {
            meta.insert(FORMAT_KEY, FORMAT)?;
            store.sync()?;
            // The files' names must survive too.
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
            // Nothing tells it from a store that lost all it held.
            return Err(sled::Error::Corruption { at: None, bt: () });
        }
        store.applied = Fence::of(&contents);
        Ok(Opened { store, contents, fence: kept, is_rebuilt: false })
    }

    /// Does the write as one: all of its changes are there afterwards, or,
    /// after a crash, none.
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
    /// that says so: in the other order a power loss between the two would make
    /// a store that lost nothing look as if it had.
    fn sync(&mut self) -> Result<(), sled::Error> {
        self.db.flush()?;
        self.sync_blobs()?;
        self.log.sync_data()?;
        match &mut self.fence {
            Some(fence) => Ok(fence.write(self.applied)?),
            None => Err(io::Error::other("its fence is missing").into()),
        }
    }

    /// They are named by their place in the log, so only the newer ones count.
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

/// Whether opening failed because of what is there, or of something that would
/// be no better with an empty store.
fn judge(path: &Path, cause: sled::Error) -> Attempt {
    let sled::Error::Io(error) = &cause else { return Attempt::Damaged(cause.to_string()) };
    // sled has no kind of its own for this.
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

/// sled can do without: a snapshot only spares it reading the whole log.
fn remove_snapshots(path: &Path) -> io::Result<()> {
    for entry in fs::read_dir(path)? {
        let entry = entry?;
        if entry.file_name().to_string_lossy().starts_with("snap.") {
            fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

/// Opens the fence of the store at `path`. The file is made before the store
/// holds anything, so that a crash between the two is no loss.
fn open_fence(path: &Path, is_new: bool) -> io::Result<Result<FenceFile, NoFence>> {
    let at = fence_file::beside(path);
    match FenceFile::open(&at)? {
        Err(NoFence::Missing) if is_new => FenceFile::create(&at).map(Ok),
        found => Ok(found),
    }
}

/// Moves the store at `path` away, and its fence. Neither is deleted: a person
/// may still get something out of what sled, in trying to open it, has left.
pub(crate) fn set_aside(path: &Path) -> Result<PathBuf, StoreError> {
    let failed = |cause: io::Error| StoreError::Open { path: path.to_owned(), cause: cause.into() };
    let seconds = SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default().as_secs();
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".damaged-{seconds}"));
    let aside = PathBuf::from(name);
    // The fence last: should this be cut short, it still says what was lost.
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

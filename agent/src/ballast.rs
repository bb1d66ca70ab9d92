//! Room for the agent's own records on a disk that others fill.
//!
//! A store that meets a full disk in the middle of a write is lost to this process: sled takes
//! no further write, and the agent ends. So a file without meaningful content, the ballast,
//! reserves some of the disk. It is released piece by piece when the agent's records need its
//! room, and is made again when there is room. Until then this host serves what it has, and
//! reports that it takes no revision.
//!
//! A program that writes without end gets the last piece too; then the agent ends with the
//! advice to free some space.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rustix::fs::{FallocateFlags, fallocate, statvfs};
use rustix::io::Errno;
use tokio::sync::watch;

use crate::bundle::cache::free_for_bundles;

/// The size of the ballast: enough for days of the agent's records, at a few hundred bytes a
/// turn, and small compared with any useful disk.
const BALLAST_BYTES: u64 = 16 * 1024 * 1024;
/// On a small disk, the ballast is the disk's size divided by this.
const BALLAST_PART: u64 = 20;
/// Free bytes below which a piece of the ballast is released: more than the agent writes
/// between two looks.
const LOW_BYTES: u64 = 4 * 1024 * 1024;
/// The number of pieces in which the ballast is released.
const PIECES: u64 = 4;
/// Free bytes, beyond the ballast's own, at which it comes back: so much more than
/// [`LOW_BYTES`] that the two do not alternate.
const PLENTY_BYTES: u64 = 4 * LOW_BYTES;
/// The time from one look to the next, besides the looks before each write.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// The state of the agent's disk: room or none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Room {
    /// There is room for all records.
    Enough,
    /// There is room only for the agent's own records.
    Full {
        /// The data directory, whose disk is watched.
        dir: PathBuf,
        /// The free bytes, without the rest of the ballast.
        free: u64,
    },
}

impl Room {
    /// Returns the problem and its remedy; `None` if there is none.
    pub(crate) fn words(&self) -> Option<String> {
        match self {
            Room::Enough => None,
            Room::Full { dir, free } => Some(format!(
                "disk full: `{}` has {} MiB free, and this host takes no new revision: free some space",
                dir.display(),
                free / (1024 * 1024)
            )),
        }
    }
}

/// The file, and what is known of its disk. Clones are the same one.
#[derive(Clone)]
pub(crate) struct Ballast(Arc<Mutex<Held>>);

struct Held {
    dir: PathBuf,
    file: Option<File>,
    /// The size that the file should have on this disk, in bytes.
    whole: u64,
    /// Its present size, in bytes.
    bytes: u64,
    room: Room,
    /// The directory below which bundles are unpacked, which may be on another disk.
    unpacked: Option<PathBuf>,
    free: watch::Sender<u64>,
}

/// The free bytes are told in steps of this size, so that each record that the agent
/// writes is not news.
const STEP_BYTES: u64 = 1024 * 1024;

impl Ballast {
    /// Takes hold of the ballast in the data directory, or of as much of it as fits now.
    /// To be called before the store is opened, which needs some room itself.
    pub(crate) fn hold(dir: &Path) -> Ballast {
        let path = dir.join("ballast");
        let opened = OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(&path);
        let file = opened.inspect_err(|cause| {
            tracing::warn!(path = %path.display(), %cause, "no room can be kept for this agent's records");
        });
        let file = file.ok();
        let bytes = file.as_ref().and_then(|file| file.metadata().ok()).map_or(0, |metadata| metadata.len());
        let whole = statvfs(dir).map_or(0, |disk| disk.f_blocks.saturating_mul(disk.f_frsize) / BALLAST_PART);
        let whole = whole.min(BALLAST_BYTES);
        let (free, _) = watch::channel(u64::MAX);
        let (dir, room) = (dir.to_owned(), Room::Enough);
        let mut held = Held { dir, file, whole, bytes, room, unpacked: None, free };
        held.look(true);
        Ballast(Arc::new(Mutex::new(held)))
    }

    /// Makes it also look at the disk of the directory below which bundles are unpacked.
    pub(crate) fn look_also_at(&self, unpacked: &Path) {
        let mut held = self.lock();
        held.unpacked = Some(unpacked.to_owned());
        held.look(false);
    }

    /// Returns the bytes that bundles and their files may take, as they change.
    pub(crate) fn free(&self) -> watch::Receiver<u64> {
        self.lock().free.subscribe()
    }

    /// Looks at the disk before something is written to it: releases a piece of the ballast if
    /// there is no room. Costs a system call.
    pub(crate) fn make_room(&self) {
        self.lock().look(true);
    }

    /// Returns the state of the disk at the last look.
    pub(crate) fn room(&self) -> Room {
        self.lock().room.clone()
    }

    /// Looks from time to time, as long as the agent lives.
    pub(crate) async fn watch(self) {
        loop {
            tokio::time::sleep(LOOK_EVERY).await;
            let ballast = self.clone();
            // The disk may hang.
            if tokio::task::spawn_blocking(move || ballast.lock().look(false)).await.is_err() {
                return;
            }
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Held> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Held {
    fn look(&mut self, is_needed: bool) {
        let Ok(disk) = statvfs(&self.dir) else { return };
        let free = disk.f_bavail.saturating_mul(disk.f_frsize);
        let low = LOW_BYTES.min(self.whole);
        if free < low {
            if is_needed && self.bytes > 0 {
                self.resize(self.bytes.saturating_sub((self.whole / PIECES).max(1)));
            }
            self.set_room(Room::Full { dir: self.dir.clone(), free });
        } else if self.bytes < self.whole {
            if free >= (self.whole - self.bytes) + PLENTY_BYTES.min(4 * self.whole) {
                self.resize(self.whole);
            }
            let is_back = self.bytes >= self.whole;
            self.set_room(if is_back { Room::Enough } else { Room::Full { dir: self.dir.clone(), free } });
        } else {
            self.set_room(Room::Enough);
        }
        self.tell_free();
    }

    fn tell_free(&self) {
        let lacks = self.whole.saturating_sub(self.bytes);
        let packed = free_for_bundles(&self.dir).map(|free| free.saturating_sub(lacks));
        let unpacked = self.unpacked.as_deref().and_then(free_for_bundles);
        let Some(free) = packed.into_iter().chain(unpacked).min() else { return };
        let free = free / STEP_BYTES * STEP_BYTES;
        self.free.send_if_modified(|told| std::mem::replace(told, free) != free);
    }

    /// Makes the file so long, with blocks of its own.
    fn resize(&mut self, bytes: u64) {
        let Some(file) = &self.file else { return };
        let resized = match bytes > self.bytes {
            true => fallocate(file, FallocateFlags::empty(), 0, bytes).map_err(io::Error::from),
            false => file.set_len(bytes),
        };
        match resized {
            Ok(()) => self.bytes = bytes,
            // A file system without it: there is nothing to let go, and nothing to say.
            Err(cause) if cause.raw_os_error() == Some(Errno::OPNOTSUPP.raw_os_error()) => self.whole = 0,
            // Another program took the space first. The next look tries again.
            Err(_) => self.bytes = file.metadata().map_or(0, |metadata| metadata.len()),
        }
    }

    fn set_room(&mut self, room: Room) {
        let was_full = self.room != Room::Enough;
        match (room.words(), was_full) {
            (Some(words), false) => tracing::error!("{words}"),
            (None, true) => tracing::info!(dir = %self.dir.display(), "the disk has room again"),
            (Some(_), true) | (None, false) => {}
        }
        self.room = room;
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt as _;

    use super::*;

    fn blocks(dir: &Path) -> u64 {
        dir.join("ballast").metadata().expect("a file").blocks() * 512
    }

    #[test]
    fn a_ballast_holds_blocks_of_the_disk_and_stays_while_there_is_room() {
        let dir = tempfile::tempdir().expect("a directory");
        let ballast = Ballast::hold(dir.path());
        let whole = ballast.lock().whole;
        assert!(whole > 0 && blocks(dir.path()) >= whole);
        ballast.make_room();
        assert_eq!(ballast.room(), Room::Enough);
        drop(ballast);
        let again = Ballast::hold(dir.path());
        assert_eq!(again.lock().bytes, whole);
        assert_eq!(again.room(), Room::Enough);
    }

    #[test]
    fn what_was_let_go_comes_back_when_there_is_room() {
        let dir = tempfile::tempdir().expect("a directory");
        let ballast = Ballast::hold(dir.path());
        let whole = ballast.lock().whole;
        ballast.lock().resize(whole / 2);
        assert!(blocks(dir.path()) < whole);
        ballast.lock().look(false);
        assert_eq!(ballast.lock().bytes, whole);
        assert_eq!(ballast.room(), Room::Enough);
        assert!(blocks(dir.path()) >= whole);
    }

    #[test]
    fn a_full_disk_is_told_in_words() {
        let room = Room::Full { dir: "/var/lib/skein".into(), free: 3 * 1024 * 1024 };
        let words = room.words().expect("it is full");
        assert!(words.starts_with("disk full: `/var/lib/skein` has 3 MiB free"), "{words}");
        assert_eq!(Room::Enough.words(), None);
    }
}

//! Checks, while the old revision still stands, that the new files fit onto their disks.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rustix::fs::StatVfs;

use super::file_plan::{Host, Step};
use super::problem::Problem;
use crate::bundle::cache::kept_bytes;

/// The demand on one file system.
struct Disk {
    /// A directory on it.
    path: PathBuf,
    stat: StatVfs,
    /// The additional bytes after the steps so far, and `bytes_most`, their
    /// maximum: files are written beside those that they replace.
    bytes: u64,
    bytes_most: u64,
    inodes: u64,
    /// The bytes that stay free, on the disk that holds the agent's own records.
    kept: u64,
}

impl Disk {
    fn take(&mut self, bytes: u64) {
        self.bytes = self.bytes.saturating_add(bytes.next_multiple_of(self.stat.f_frsize.max(1)));
        self.bytes_most = self.bytes_most.max(self.bytes);
    }

    /// Returns the free bytes. Root may use those that are reserved.
    fn free(&self) -> u64 {
        let is_root = nix::unistd::geteuid().is_root();
        let blocks = if is_root { self.stat.f_bfree } else { self.stat.f_bavail };
        blocks.saturating_mul(self.stat.f_frsize).saturating_sub(self.kept)
    }

    /// Returns the free inodes. Some file systems do not count them.
    fn free_inodes(&self) -> u64 {
        if self.stat.f_files == 0 { u64::MAX } else { self.stat.f_ffree }
    }
}

/// Returns a problem for each disk that is too full. The previous revision's
/// bytes and inodes count as free, because it is removed first.
pub(super) fn missing(steps: &[Step], host: &Host<'_>) -> Vec<Problem> {
    let disks = wanted(steps, host.instructions);
    let is_short = |disk: &Disk| disk.bytes_most > disk.free() || disk.inodes > disk.free_inodes();
    if !disks.values().any(is_short) {
        return Vec::new();
    }
    let freed = freed(host);
    let mut problems = Vec::new();
    for (device, disk) in disks.into_iter().filter(|(_, disk)| is_short(disk)) {
        let (bytes, inodes) = freed.get(&device).copied().unwrap_or_default();
        let (free, free_inodes) =
            (disk.free().saturating_add(bytes), disk.free_inodes().saturating_add(inodes));
        if disk.bytes_most > free {
            problems.push(Problem::NoRoom { path: disk.path, needed: disk.bytes_most, free });
        } else if disk.inodes > free_inodes {
            problems.push(Problem::NoInodes { path: disk.path, needed: disk.inodes, free: free_inodes });
        }
    }
    problems
}

/// Computes the demand on each disk, by device.
fn wanted(steps: &[Step], instructions: &Path) -> BTreeMap<u64, Disk> {
    let (mut disks, mut devices) = (BTreeMap::<u64, Disk>::new(), HashMap::<&Path, u64>::new());
    let mut journal = 0_u64;
    for step in steps {
        let (path, bytes) = match step {
            Step::Mkdir { directory } => (directory.as_path(), 1),
            Step::Copy(copy) => (copy.destination.as_path(), copy.bytes),
        };
        journal = journal.saturating_add(path.as_os_str().as_bytes().len() as u64 + 1);
        let above = path.parent().unwrap_or(path);
        let device = match devices.get(above) {
            Some(device) => *device,
            // A directory that cannot be examined fails later with its own error.
            None => match add_disk(&mut disks, above) {
                Some(device) => *devices.entry(above).or_insert(device),
                None => continue,
            },
        };
        if let Step::Mkdir { directory } = step {
            devices.insert(directory, device);
        }
        let Some(disk) = disks.get_mut(&device) else { continue };
        disk.take(bytes);
        disk.inodes += 1;
        if let Step::Copy(copy) = step
            && let Some(replaced) = copy.replaces
        {
            disk.bytes = disk.bytes.saturating_sub(replaced);
        }
    }
    if let Some(device) = add_disk(&mut disks, instructions)
        && let Some(disk) = disks.get_mut(&device)
    {
        disk.take(journal);
        disk.kept = kept_bytes(&disk.stat);
    }
    disks
}

fn add_disk(disks: &mut BTreeMap<u64, Disk>, dir: &Path) -> Option<u64> {
    let device = fs::metadata(dir).ok()?.dev();
    if let Entry::Vacant(disk) = disks.entry(device) {
        let stat = rustix::fs::statvfs(dir).ok().filter(|stat| stat.f_blocks > 0)?;
        disk.insert(Disk { path: dir.to_owned(), stat, bytes: 0, bytes_most: 0, inodes: 0, kept: 0 });
    }
    Some(device)
}

/// Computes what the removal of the previous revision frees, as bytes and inodes by device.
fn freed(host: &Host<'_>) -> BTreeMap<u64, (u64, u64)> {
    /// The kernel's unit, whatever the file system's block size.
    const BLOCK: u64 = 512;
    let mut freed = BTreeMap::<u64, (u64, u64)>::new();
    for path in host.previous.goes() {
        let Ok(metadata) = fs::symlink_metadata(path) else { continue };
        if metadata.nlink() <= 1 || metadata.is_dir() {
            let (bytes, inodes) = freed.entry(metadata.dev()).or_default();
            *bytes = bytes.saturating_add(metadata.blocks().saturating_mul(BLOCK));
            *inodes += 1;
        }
    }
    freed
}

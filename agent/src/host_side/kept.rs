//! The unpacked revisions that a host keeps, used again: a rollback finds what
//! it needs here, even if nobody has the bundle any more.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use proto::id::Digest;

use super::deployment::archive_of;
use crate::bundle::unpack::Limits;
use crate::bundle::unpack::again::Inventory;
use crate::whole_file;

/// Writes down, beside what was just unpacked in a deployment's directory, what
/// it is. Blocks.
pub(super) fn note(dir: &Path, digest: &Digest) {
    let noted = Inventory::take(&archive_of(dir)).and_then(|inventory| match inventory {
        Some(inventory) => write(&note_in(dir, digest), &inventory),
        None => Ok(()),
    });
    if let Err(error) = noted {
        // The deployment does without it; a rollback takes the bundle then.
        tracing::warn!(dir = %dir.display(), %error, "cannot note what was unpacked");
    }
}

/// Unpacks the bundle into a deployment's directory from one that was unpacked
/// before, if it still is what it was. Returns whether it did. Blocks.
pub(super) fn unpack_again(root: &Path, dir: &Path, digest: &Digest, limits: Limits) -> bool {
    for kept in find(root, digest).into_iter().filter(|kept| kept != dir) {
        let Some(inventory) = read(&note_in(&kept, digest)) else { continue };
        match inventory.unpack_again(&archive_of(&kept), &archive_of(dir), limits) {
            Ok(()) => {
                tracing::info!(%digest, from = %kept.display(), "unpacked before, used again");
                if let Err(error) = write(&note_in(dir, digest), &inventory) {
                    tracing::warn!(dir = %dir.display(), %error, "cannot note what was unpacked");
                }
                return true;
            }
            Err(error) => tracing::info!(%digest, %error, "what was unpacked before cannot be used"),
        }
    }
    false
}

/// The deployments' directories in which the bundle lies unpacked, the newest
/// first.
pub(super) fn find(root: &Path, digest: &Digest) -> Vec<PathBuf> {
    let mut found: Vec<(SystemTime, PathBuf)> = Vec::new();
    for group in subdirectories(root) {
        for dir in subdirectories(&group) {
            // It is no mistake if it is removed while it is looked at.
            if let Ok(modified) = fs::metadata(note_in(&dir, digest)).and_then(|note| note.modified()) {
                found.push((modified, dir));
            }
        }
    }
    found.sort();
    found.into_iter().rev().map(|(_, dir)| dir).collect()
}

pub(super) fn subdirectories(dir: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(dir) else { return Vec::new() };
    let entries = entries.filter_map(Result::ok);
    entries
        .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
        .map(|entry| entry.path())
        .collect()
}

fn note_in(dir: &Path, digest: &Digest) -> PathBuf {
    dir.join(format!("unpacked-{}.json", digest.hex()))
}

fn read(path: &Path) -> Option<Inventory> {
    let bytes = whole_file::read(path).ok()??;
    serde_json::from_slice(&bytes).ok()
}

fn write(path: &Path, inventory: &Inventory) -> io::Result<()> {
    whole_file::replace(path, &serde_json::to_vec(inventory)?)
}

#[cfg(test)]
mod tests;

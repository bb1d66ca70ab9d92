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

/// Starts the name of the file in a deployment's directory that says what was
/// unpacked there.
const INVENTORY: &str = "inventory";

/// Writes down, beside what was just unpacked in a deployment's directory, what
/// it is; the digest is left out where it is not known. Blocks.
pub(crate) fn note(dir: &Path, digest: Option<&Digest>, inventory: &Inventory) -> io::Result<()> {
    let path = digest.map_or_else(|| dir.join(format!("{INVENTORY}.json")), |digest| note_in(dir, digest));
    // Another bundle may have been unpacked there before.
    for old in notes(dir)?.into_iter().filter(|old| *old != path) {
        fs::remove_file(old)?;
    }
    write(&path, inventory)
}

/// Reads what was written down in a deployment's directory. There is nothing if
/// the official agent has unpacked it.
pub(crate) fn read_note(dir: &Path) -> io::Result<Option<Vec<u8>>> {
    match notes(dir)?.first() {
        Some(note) => whole_file::read(note),
        None => Ok(None),
    }
}

/// The inventories in a deployment's directory: one, or none.
fn notes(dir: &Path) -> io::Result<Vec<PathBuf>> {
    let entries = match fs::read_dir(dir) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?,
    };
    let mut notes = Vec::new();
    for entry in entries {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().as_encoded_bytes();
        if name.starts_with(INVENTORY.as_bytes()) && name.ends_with(b".json") {
            notes.push(path);
        }
    }
    Ok(notes)
}

/// Unpacks the bundle into a deployment's directory from one that was unpacked
/// before, if it still is what it was. Returns whether it did. Blocks.
pub(super) fn unpack_again(root: &Path, dir: &Path, digest: &Digest, limits: Limits) -> bool {
    for kept in find(root, digest).into_iter().filter(|kept| kept != dir) {
        let Some(inventory) = read(&note_in(&kept, digest)) else { continue };
        match inventory.unpack_again(&archive_of(&kept), &archive_of(dir), limits) {
            Ok(()) => {
                tracing::info!(%digest, from = %kept.display(), "unpacked before, used again");
                if let Err(error) = note(dir, Some(digest), &inventory) {
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
    dir.join(format!("{INVENTORY}-{}.json", digest.hex()))
}

fn read(path: &Path) -> Option<Inventory> {
    Inventory::read(&whole_file::read(path).ok()??).ok()
}

fn write(path: &Path, inventory: &Inventory) -> io::Result<()> {
    let mut content = Vec::new();
    inventory.write(&mut content)?;
    whole_file::replace(path, &content)
}

#[cfg(test)]
mod tests;

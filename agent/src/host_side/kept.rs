//! Reuses the unpacked revisions that a host keeps. A rollback finds its revision here even if no
//! host has the bundle left.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use proto::id::Digest;

use super::deployment::archive_of;
use crate::bundle::unpack::Limits;
use crate::bundle::unpack::again::Inventory;
use crate::whole_file;

/// The start of the name of the inventory, a file in a deployment's directory that lists what was
/// unpacked there.
const INVENTORY: &str = "inventory";

/// Writes the inventory of a freshly unpacked bundle into its deployment's directory. `digest` is
/// `None` if it is not known. Blocks.
pub(crate) fn note(dir: &Path, digest: Option<&Digest>, inventory: &Inventory) -> io::Result<()> {
    let path = digest.map_or_else(|| dir.join(format!("{INVENTORY}.json")), |digest| note_in(dir, digest));
    // Another bundle may have been unpacked there before.
    for old in notes(dir)?.into_iter().filter(|old| *old != path) {
        fs::remove_file(old)?;
    }
    write(&path, inventory)
}

/// Reads the inventory in a deployment's directory; `None` if the official agent unpacked the
/// bundle.
pub(crate) fn read_note(dir: &Path) -> io::Result<Option<Vec<u8>>> {
    match notes(dir)?.first() {
        Some(note) => whole_file::read(note),
        None => Ok(None),
    }
}

/// Returns the inventories in a deployment's directory: one or none.
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

/// Unpacks the bundle into a deployment's directory from an earlier unpacked copy that has not
/// changed. Returns true if it succeeded. Blocks.
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

/// Returns the deployment directories in which the bundle is unpacked, newest first.
pub(super) fn find(root: &Path, digest: &Digest) -> Vec<PathBuf> {
    let mut found: Vec<(SystemTime, PathBuf)> = Vec::new();
    for group in subdirectories(root) {
        for dir in subdirectories(&group) {
            // It is not an error if another task removes it meanwhile.
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

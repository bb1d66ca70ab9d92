//! Checks that each script is the one from the bundle, because scripts run as root.
//!
//! Only the agent writes the unpacked revision, so this is a second line of defence: a script whose
//! content differs from what was unpacked does not run. Other files in the directory may change, as
//! when BeforeInstall builds sources.

use std::io;
use std::path::Path;

use proto::appspec::Script;

use super::kept;
use crate::bundle::unpack::again::{Inventory, Known};
use crate::bundle::unpack::inside;
use crate::hooks::HookError;
use crate::regular_file;

/// Checks that the scripts of an event are those of the bundle that is unpacked in `archive`.
/// # Errors
/// The location of the first script that is not, and the reason.
pub(crate) async fn require(archive: &Path, scripts: &[Script]) -> Result<(), (String, HookError)> {
    if scripts.is_empty() {
        return Ok(());
    }
    let locations: Vec<String> = scripts.iter().map(|script| script.location.clone()).collect();
    let (first, archive) = (scripts[0].location.clone(), archive.to_owned());
    let checked = tokio::task::spawn_blocking(move || {
        let mut note = Note::of(&archive);
        locations
            .into_iter()
            .try_for_each(|location| note.check(&location).map_err(|cause| (location, cause)))
    });
    checked.await.unwrap_or_else(|error| Err((first, HookError::Wait(io::Error::other(error)))))
}

/// Checks one script. Blocks.
pub(crate) fn check(archive: &Path, location: &str) -> Result<(), HookError> {
    Note::of(archive).check(location)
}

/// The inventory of an unpacked revision, as it was written.
struct Note<'a> {
    archive: &'a Path,
    /// `None` until it is needed; `Some(None)` if the revision has no inventory.
    written: Option<Option<Vec<u8>>>,
}

impl<'a> Note<'a> {
    fn of(archive: &'a Path) -> Note<'a> {
        Note { archive, written: None }
    }

    fn check(&mut self, location: &str) -> Result<(), HookError> {
        // A location may start with a slash, which means the bundle's top.
        let below = Path::new(location.trim_start_matches('/'));
        let path = self.archive.join(below);
        let real = match inside(self.archive, below) {
            Ok(real) => real,
            Err(cause) if cause.kind() == io::ErrorKind::InvalidInput => {
                return Err(HookError::Altered { path, how: cause.to_string() });
            }
            // Running the script will report that it is missing.
            Err(_) => return Ok(()),
        };
        // Running it will report that it is not a file.
        if !self.archive.join(&real).is_file() {
            return Ok(());
        }
        match self.difference(&real) {
            Ok(None) => Ok(()),
            Ok(Some(how)) => Err(HookError::Altered { path, how: how.to_owned() }),
            Err(cause) => Err(HookError::Start { why: None, cause }),
        }
    }

    /// Compares a file with what was unpacked. Returns how it differs; `None` if it does not.
    /// `below` is its path relative to the bundle's top, without links.
    fn difference(&mut self, below: &Path) -> io::Result<Option<&'static str>> {
        let archive = self.archive;
        let Some(note) = self.read()? else { return Ok(None) };
        let wanted = match Inventory::look_up(note, below)? {
            Known::NoInventory => {
                tracing::warn!(archive = %archive.display(), "the inventory is damaged, so scripts are not compared");
                return Ok(None);
            }
            Known::NoFile => return Ok(Some("it is not part of the bundle")),
            Known::Hash(wanted) => wanted,
        };
        let mut hasher = blake3::Hasher::new();
        hasher.update_reader(regular_file::open_no_link(&archive.join(below))?)?;
        let is_same = hasher.finalize().to_hex().as_str() == wanted;
        Ok((!is_same).then_some("its content was changed on this host"))
    }

    /// Returns the inventory, which is read once for all scripts of an event.
    fn read(&mut self) -> io::Result<Option<&[u8]>> {
        if self.written.is_none() {
            self.written = Some(self.archive.parent().map(kept::read_note).transpose()?.flatten());
        }
        Ok(self.written.as_ref().and_then(Option::as_deref))
    }
}

#[cfg(test)]
mod tests;

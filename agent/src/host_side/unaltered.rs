//! Checks that each script is the one from the bundle, because scripts run as root.
//!
//! Only the agent writes the unpacked revision, so this is a second line of defence: a script whose
//! content differs from what was unpacked does not run. Other files in the directory may change, as
//! when BeforeInstall builds sources.

use std::io;
use std::path::{Path, PathBuf};

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
        locations
            .into_iter()
            .try_for_each(|location| check(&archive, &location).map_err(|cause| (location, cause)))
    });
    checked.await.unwrap_or_else(|error| Err((first, HookError::Wait(io::Error::other(error)))))
}

/// Checks one script. Blocks.
pub(crate) fn check(archive: &Path, location: &str) -> Result<(), HookError> {
    // A location may start with a slash, which means the bundle's top.
    let below = Path::new(location.trim_start_matches('/'));
    let path = archive.join(below);
    let real = match inside(archive, below) {
        Ok(real) => real,
        Err(cause) if cause.kind() == io::ErrorKind::InvalidInput => {
            return Err(HookError::Altered { path, how: cause.to_string() });
        }
        // Running the script will report that it is missing.
        Err(_) => return Ok(()),
    };
    // Running it will report that it is not a file.
    if !real.is_file() {
        return Ok(());
    }
    match is_as_unpacked(archive, &real) {
        Ok(None) => Ok(()),
        Ok(Some(how)) => Err(HookError::Altered { path, how: how.to_owned() }),
        Err(cause) => Err(HookError::Start { why: None, cause }),
    }
}

/// Compares a file with what was unpacked. Returns how it differs; `None` if it does not.
fn is_as_unpacked(archive: &Path, real: &Path) -> io::Result<Option<&'static str>> {
    let Some(note) = archive.parent().map(kept::read_note).transpose()?.flatten() else { return Ok(None) };
    let top = archive.canonicalize()?;
    let below: PathBuf = real.strip_prefix(&top).map(Path::to_owned).map_err(io::Error::other)?;
    let wanted = match Inventory::look_up(&note, &below)? {
        Known::NoInventory => {
            tracing::warn!(archive = %archive.display(), "the inventory is damaged, so scripts are not compared");
            return Ok(None);
        }
        Known::NoFile => return Ok(Some("it is not part of the bundle")),
        Known::Hash(wanted) => wanted,
    };
    let mut hasher = blake3::Hasher::new();
    hasher.update_reader(regular_file::open_no_link(real)?)?;
    let is_same = hasher.finalize().to_hex().as_str() == wanted;
    Ok((!is_same).then_some("its content was changed on this host"))
}

#[cfg(test)]
mod tests;

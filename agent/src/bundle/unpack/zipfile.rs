//! Zip, with the modes and links that Unix zips store.

use std::fs::File;
use std::io::{self, Read};

use super::tree::{Attributes, Tree};
use super::{Refused, UnpackError, path_of};

/// A link's target is a file's content in a zip; a longer one is no path.
const TARGET_BYTES_MAX: u64 = super::PATH_BYTES_MAX as u64 + 1;
/// The bits of a Unix mode that say what kind of file it is.
const KIND: u32 = 0o170_000;

pub(super) fn unpack(archive: File, tree: &mut Tree) -> Result<(), UnpackError> {
    let mut archive = zip::ZipArchive::new(io::BufReader::new(archive)).map_err(damaged)?;
    if let Some(total) = archive.decompressed_size() {
        tree.require_room(u64::try_from(total).unwrap_or(u64::MAX))?;
    }
    for index in 0..archive.len() {
        let mut entry = archive.by_index(index).map_err(damaged)?;
        let name = path_of(entry.name_raw());
        let refused = |cause| UnpackError::Refused { name: name.clone(), cause };
        if entry.encrypted() {
            return Err(refused(Refused::Encrypted));
        }
        let Some(path) = tree.place(&name)? else { continue };
        let unix = entry.unix_mode();
        // As with unzip: setuid and the like do not come out of a zip.
        let default = if entry.is_dir() { 0o755 } else { 0o644 };
        let mode = unix.map_or(default, |mode| mode & 0o777);
        let attributes = Attributes { mode, ..Attributes::default() };
        match unix.map(|mode| mode & KIND) {
            Some(0o120_000) => {
                let mut target = Vec::new();
                let read = entry.by_ref().take(TARGET_BYTES_MAX).read_to_end(&mut target);
                read.map_err(UnpackError::Damaged)?;
                tree.link(&path, &path_of(&target))?;
            }
            Some(0o020_000 | 0o060_000) => return Err(refused(Refused::Special("device"))),
            Some(0o010_000) => return Err(refused(Refused::Special("named pipe"))),
            Some(0o140_000) => return Err(refused(Refused::Special("socket"))),
            Some(_) | None if entry.is_dir() => tree.directory(&path, attributes)?,
            Some(_) | None => tree.file(&path, &mut entry, attributes)?,
        }
    }
    Ok(())
}

fn damaged(error: zip::result::ZipError) -> UnpackError {
    UnpackError::Damaged(io::Error::other(error))
}

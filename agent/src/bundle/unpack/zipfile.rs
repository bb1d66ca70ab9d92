//! Unpacks zip archives, with the modes and links that Unix zips store.

use std::borrow::Cow;
use std::fs::File;
use std::io::{self, Read};

use jiff::civil::{Date, Time};
use jiff::tz::TimeZone;
use zip::read::ZipFile;
use zip::{ExtraField, System, ZipArchive};

use super::tree::{Attributes, Tree};
use super::{Refused, UnpackError, path_of};

/// The longest link target, in bytes. In a zip it is a file's content; a longer one is not a path.
const TARGET_BYTES_MAX: u64 = super::PATH_BYTES_MAX as u64 + 1;
/// The bits of a Unix mode that hold the file type.
const KIND: u32 = 0o170_000;

pub(super) fn unpack(archive: File, tree: &mut Tree) -> Result<(), UnpackError> {
    let mut archive = ZipArchive::new(io::BufReader::new(archive)).map_err(damaged)?;
    if let Some(total) = archive.decompressed_size() {
        tree.require_room(u64::try_from(total).unwrap_or(u64::MAX))?;
    }
    let umask = super::directory::umask();
    for index in 0..archive.len() {
        let mut entry = archive.by_index(index).map_err(damaged)?;
        let name = path_of(&name(&entry));
        let refused = |cause| UnpackError::Refused { name: name.clone(), cause };
        if entry.encrypted() {
            return Err(refused(Refused::Encrypted));
        }
        let Some(path) = tree.place(&name)? else { continue };
        let unix = entry.unix_mode();
        let mode = mode(&entry, umask);
        let attributes = Attributes { mode, owner: None, modified: modified(&entry).unwrap_or(0) };
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
            Some(_) | None => drop(tree.file(&path, &mut entry, attributes)?),
        }
    }
    Ok(())
}

/// Returns the entry's name with slashes. Some tools for DOS and Windows write
/// backslashes; the official agent accepts them as separators.
fn name<'e, R: Read>(entry: &'e ZipFile<'_, R>) -> Cow<'e, [u8]> {
    let raw = entry.name_raw();
    if entry.system() != System::Dos || !raw.contains(&b'\\') {
        return raw.into();
    }
    raw.iter().map(|byte| if *byte == b'\\' { b'/' } else { *byte }).collect()
}

/// Returns the mode, as unzip sets it: an entry from DOS or without a mode gets
/// that of a new file, and setuid and similar bits are never set from a zip.
fn mode<R: Read>(entry: &ZipFile<'_, R>, umask: u32) -> u32 {
    const READ_ONLY: u32 = 1;
    let stored = entry.unix_mode().map(|mode| mode & 0o777).filter(|mode| *mode != 0);
    match stored.filter(|_| entry.system() != System::Dos) {
        Some(stored) => stored,
        None if entry.is_dir() => 0o777 & !umask,
        None if entry.external_attributes() & READ_ONLY != 0 => 0o444 & !umask,
        None => 0o666 & !umask,
    }
}

/// Returns the time of the last change, as unzip does: exact if the zip says so,
/// and otherwise to two seconds and in the time zone of this host.
#[expect(clippy::wildcard_enum_match_arm, reason = "of what a zip may add, only this tells the time")]
fn modified<R: Read>(entry: &ZipFile<'_, R>) -> Option<u64> {
    let exact = entry.extra_data_fields().find_map(|field| match field {
        ExtraField::ExtendedTimestamp(times) => times.mod_time(),
        _ => None,
    });
    if let Some(exact) = exact {
        return Some(u64::from(exact));
    }
    let told = entry.last_modified()?;
    let part = |part: u8| i8::try_from(part).ok();
    let year = i16::try_from(told.year()).ok()?;
    let day = Date::new(year, part(told.month())?, part(told.day())?).ok()?;
    let time = Time::new(part(told.hour())?, part(told.minute())?, part(told.second())?, 0).ok()?;
    let modified = day.to_datetime(time).to_zoned(TimeZone::system()).ok()?;
    u64::try_from(modified.timestamp().as_second()).ok()
}

fn damaged(error: zip::result::ZipError) -> UnpackError {
    UnpackError::Damaged(io::Error::other(error))
}

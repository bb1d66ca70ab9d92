//! Modes that are meant for files and close directories.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};

use proto::appspec::{FileMapping, Permission};

/// Describes an entry of `permissions` that gives directories a mode with which some
/// users may list but not enter them; `None` if the bundle has no such directories.
pub(super) fn closed_by(permission: &Permission, files: &[FileMapping], top: &Path) -> Option<String> {
    let mode = permission.mode.filter(|mode| permission.directories && closes(*mode))?;
    let is_everything = permission.pattern.bytes().all(|byte| byte == b'*');
    let directory =
        is_everything.then(|| files.iter().find_map(|mapping| directory(permission, mapping, top)))??;
    Some(format!(
        "mode {mode:03o} is given to directories too, such as `{}`, and whoever may read a directory but not execute it \
         cannot reach what lies in it: write `type: [file]` here, and another entry for `type: [directory]` with mode \
         {:03o}",
        directory.display(),
        opened(mode)
    ))
}

/// Returns true if some class of users may read but not execute.
fn closes(mode: u32) -> bool {
    mode >> 2 & !mode & 0o111 != 0
}

/// Adds the right to enter for all who may read.
fn opened(mode: u32) -> u32 {
    mode | mode >> 2 & 0o111
}

/// Returns a directory that the mapping creates and the entry selects.
fn directory(permission: &Permission, mapping: &FileMapping, top: &Path) -> Option<PathBuf> {
    let (object, destination) = (Path::new(&permission.object), Path::new(&mapping.destination));
    let source = top.join(&mapping.source);
    if let Ok(below) = object.strip_prefix(destination) {
        let inside = below_in(&source.join(below))?;
        return (source.is_dir()).then(|| object.join(inside));
    }
    // The object is above: missing directories on the way are created.
    destination.starts_with(object).then(|| destination.to_owned())
}

/// Returns the first directory in a directory.
fn below_in(dir: &Path) -> Option<std::ffi::OsString> {
    let entries = fs::read_dir(dir).ok()?.flatten();
    entries
        .filter(|entry| entry.path().is_dir())
        .map(|entry| entry.file_name())
        .min_by(|one, other| OsStr::cmp(one, other))
}

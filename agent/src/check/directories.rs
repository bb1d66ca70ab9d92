//! Modes that are meant for files and close directories.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};

use proto::appspec::{FileMapping, Permission};

/// Says that an entry of `permissions` gives directories a mode with which
/// somebody may list but not enter them, if the bundle has directories that it is
/// about.
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

/// Whether a class may read, and may not execute.
fn closes(mode: u32) -> bool {
    mode >> 2 & !mode & 0o111 != 0
}

/// With the right to enter for all who may read.
fn opened(mode: u32) -> u32 {
    mode | mode >> 2 & 0o111
}

/// A directory that the mapping lays down and the entry is about.
fn directory(permission: &Permission, mapping: &FileMapping, top: &Path) -> Option<PathBuf> {
    let (object, destination) = (Path::new(&permission.object), Path::new(&mapping.destination));
    let source = top.join(&mapping.source);
    if let Ok(below) = object.strip_prefix(destination) {
        let inside = below_in(&source.join(below))?;
        return (source.is_dir()).then(|| object.join(inside));
    }
    // The object is above: whatever lies on the way is made if it is not there.
    destination.starts_with(object).then(|| destination.to_owned())
}

/// The first directory in a directory.
fn below_in(dir: &Path) -> Option<std::ffi::OsString> {
    let entries = fs::read_dir(dir).ok()?.flatten();
    entries
        .filter(|entry| entry.path().is_dir())
        .map(|entry| entry.file_name())
        .min_by(|one, other| OsStr::cmp(one, other))
}

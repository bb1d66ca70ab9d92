//! Copies a directory on this host.

use std::fs;
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use super::tree::{Attributes, Tree};
use super::{Limits, Refused, UnpackError, check_link, check_path};
use crate::regular_file;

/// The mode of copied directories, before the umask. A directory's own mode is not copied: a
/// user that a script runs as might then not reach files that a careful packer keeps closed.
pub(super) const MODE: u32 = 0o777;

pub(super) fn copy(source: &Path, tree: &mut Tree) -> Result<(), UnpackError> {
    let top = tree.identity()?;
    let mut copier = Copier { source, umask: umask(), tree, top };
    copier.directory(Path::new(""))
}

/// Lists the entries of the directory `source` that a copy would refuse: the
/// first [`REFUSED_MAX`], each with its path relative to the top. Writes nothing.
/// # Errors
/// If something cannot be read.
pub(crate) fn refused(source: &Path, limits: Limits) -> Result<Vec<(PathBuf, Refused)>, UnpackError> {
    let (mut refused, mut entries) = (Vec::new(), 0);
    let mut below = vec![PathBuf::new()];
    while let Some(dir) = below.pop() {
        let path = source.join(&dir);
        let read = |cause| UnpackError::Read { path: path.clone(), cause };
        let names = fs::read_dir(&path).and_then(|names| names.collect::<io::Result<Vec<_>>>());
        for entry in names.map_err(read)? {
            let name = dir.join(entry.file_name());
            let kind = entry.file_type().map_err(read)?;
            entries += 1;
            let checked = if entries > limits.entries_max {
                Err(Refused::TooManyEntries(limits.entries_max))
            } else if kind.is_symlink() {
                let target = fs::read_link(source.join(&name)).map_err(read)?;
                check_path(&name).and_then(|_| check_link(&target))
            } else if kind.is_dir() || kind.is_file() {
                check_path(&name).map(|_| ())
            } else {
                Err(Refused::Special(regular_file::kind_in_words(kind)))
            };
            match checked {
                Ok(()) if kind.is_dir() => below.push(name),
                Ok(()) => {}
                Err(cause) => refused.push((name, cause)),
            }
            if refused.len() >= REFUSED_MAX || entries > limits.entries_max {
                return Ok(refused);
            }
        }
    }
    Ok(refused)
}

/// The number of refused entries to list; so many have one common cause, which the list shows.
const REFUSED_MAX: usize = 20;

/// Returns the process's umask.
pub(super) fn umask() -> u32 {
    // The system call can only read it by changing it, for all threads.
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let umask = status.lines().find_map(|line| line.strip_prefix("Umask:"));
    umask.and_then(|umask| u32::from_str_radix(umask.trim(), 8).ok()).unwrap_or(0o022)
}

struct Copier<'c> {
    source: &'c Path,
    umask: u32,
    tree: &'c mut Tree,
    /// The directory that is being filled, which must not be copied into itself.
    top: (u64, u64),
}

impl Copier<'_> {
    /// Copies what is below `below`, a path relative to the top.
    fn directory(&mut self, below: &Path) -> Result<(), UnpackError> {
        let path = self.source.join(below);
        let read = |cause| UnpackError::Read { path: path.clone(), cause };
        for entry in fs::read_dir(&path).map_err(read)? {
            self.entry(&below.join(entry.map_err(read)?.file_name()))?;
        }
        Ok(())
    }

    fn entry(&mut self, below: &Path) -> Result<(), UnpackError> {
        let path = self.source.join(below);
        let read = |cause| UnpackError::Read { path: path.clone(), cause };
        let refused = |cause| UnpackError::Refused { name: below.to_owned(), cause };
        let metadata = fs::symlink_metadata(&path).map_err(read)?;
        if (metadata.dev(), metadata.ino()) == self.top {
            return Err(refused(Refused::Itself));
        }
        let Some(place) = self.tree.place(below)? else { return Ok(()) };
        let kind = metadata.file_type();
        let mode = if kind.is_dir() { MODE } else { metadata.permissions().mode() & 0o7777 };
        let attributes = Attributes { mode: mode & !self.umask, ..Attributes::default() };
        if kind.is_dir() {
            self.tree.directory(&place, attributes)?;
            self.directory(below)
        } else if kind.is_symlink() {
            let target = fs::read_link(&path).map_err(read)?;
            self.tree.link(&place, &target)
        } else if kind.is_file() {
            // It may have become a link since it was examined.
            let mut file = regular_file::open_no_link(&path).map_err(read)?;
            self.tree.file(&place, &mut file, attributes).map(drop)
        } else {
            Err(refused(Refused::Special(regular_file::kind_in_words(kind))))
        }
    }
}

//! Directories and files that other users must not read.
//!
//! They are created with narrow permissions, and narrowed if they were left wider
//! by an earlier agent or a umask.

use std::fs::{self, DirBuilder, File, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::Path;

use crate::regular_file;

/// Only the owner may enter.
pub(crate) const CLOSED: u32 = 0o700;
/// Other users may pass through to what they may reach, such as the revisions
/// whose scripts run as another user, but cannot list anything on the way.
pub(crate) const PASSAGE: u32 = 0o711;

/// Creates the directory and its parents, and limits its permissions to `mode`.
pub(crate) fn make_directory(path: &Path, mode: u32) -> io::Result<()> {
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent)?;
    }
    match DirBuilder::new().mode(mode).create(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => narrow(path, mode),
        // A umask can only remove permissions.
        made => made,
    }
}

/// Removes all permissions beyond `mode` from a file or directory of this user. A
/// shared one, such as `/tmp`, is left alone.
pub(crate) fn narrow(path: &Path, mode: u32) -> io::Result<()> {
    let found = fs::metadata(path)?;
    let is_shared = found.mode() & 0o1000 != 0 || found.uid() != rustix::process::geteuid().as_raw();
    let wider = found.mode() & 0o777 & !mode;
    if is_shared || wider == 0 {
        return Ok(());
    }
    let narrowed = found.mode() & 0o7777 & !wider;
    fs::set_permissions(path, Permissions::from_mode(narrowed))?;
    let (path, from, to) = (path.display(), found.mode() & 0o777, narrowed & 0o777);
    tracing::info!(%path, from = format!("{from:o}"), to = format!("{to:o}"), "others could look into it");
    Ok(())
}

/// Opens a file in which a person has put a secret. The file's group may read it, but not all users.
pub(crate) fn open_secret(path: &Path) -> io::Result<File> {
    let file = regular_file::open(path)?;
    let mode = file.metadata()?.mode() & 0o777;
    if mode & 0o007 == 0 {
        return Ok(file);
    }
    let path = path.display();
    Err(io::Error::other(format!("all users can read it (mode {mode:o}): run `chmod 600 {path}`")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().mode() & 0o7777
    }

    #[test]
    fn directories_are_made_closed_and_narrowed_if_they_are_wider() {
        let dir = tempfile::tempdir().unwrap();
        let made = dir.path().join("a/made");
        make_directory(&made, CLOSED).unwrap();
        assert_eq!(mode(&made), 0o700);
        for (found, expected) in
            [(0o777, 0o711), (0o755, 0o711), (0o2750, 0o2710), (0o700, 0o700), (0o1777, 0o1777)]
        {
            fs::set_permissions(&made, Permissions::from_mode(found)).unwrap();
            make_directory(&made, PASSAGE).unwrap();
            assert_eq!(mode(&made), expected, "{found:o}");
        }
        let file = dir.path().join("file");
        fs::write(&file, "").unwrap();
        fs::set_permissions(&file, Permissions::from_mode(0o664)).unwrap();
        let refused = open_secret(&file).unwrap_err().to_string();
        assert_eq!(refused, format!("all users can read it (mode 664): run `chmod 600 {}`", file.display()));
        narrow(&file, 0o600).unwrap();
        assert_eq!(mode(&file), 0o600);
        open_secret(&file).unwrap();
    }
}

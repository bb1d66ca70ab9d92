//! Writes the files.
//!
//! Each file is written under a temporary name beside its destination, with its final
//! mode and owner, and then renamed. A running program never sees half of it, and
//! what had the name before is neither written to nor followed, whoever put it there.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::fs::{self, File, FileTimes, Permissions};
use std::io::{self, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use super::attributes;
use super::cleanup::{Journal, part_name};
use super::file_plan::{Copy, Plan, Step};
use super::folder::{Folder, Folders, Identity};
use super::selection::Change;
use super::{InstallError, Witness};
use crate::regular_file;

/// The directories that the installation made, with their identities.
pub(super) type Made = HashMap<PathBuf, Identity>;

/// Carries out the plan's steps, each recorded in the journal first.
pub(super) fn apply(plan: &Plan, journal: &mut Journal, witness: Witness<'_>) -> Result<Made, InstallError> {
    let (mut folders, mut made, changes) = (Folders::new(), Made::new(), plan.changes_of_files());
    for step in &plan.steps {
        match step {
            Step::Mkdir { directory } => {
                journal.note(directory)?;
                witness();
                let identity =
                    folders.around(directory).and_then(|(folder, name)| folder.make_directory(name));
                let failed = |cause| InstallError::Mkdir { path: directory.clone(), cause };
                made.extend(identity.map_err(failed)?.map(|identity| (directory.clone(), identity)));
            }
            Step::Copy(copy) => {
                journal.note(&copy.destination)?;
                witness();
                let of_file = changes.get(copy.destination.as_path()).map_or(&[][..], Vec::as_slice);
                lay_down(copy, &mut folders, of_file)?;
            }
        }
        witness();
    }
    Ok(made)
}

fn lay_down(copy: &Copy, folders: &mut Folders, changes: &[&Change]) -> Result<(), InstallError> {
    let failed = |cause| InstallError::Copy {
        source_path: copy.source.clone(),
        destination: copy.destination.clone(),
        bytes: copy.bytes,
        cause,
    };
    let (folder, name) = folders.around(&copy.destination).map_err(failed)?;
    let part = part_name(&copy.destination);
    let written = if copy.is_link {
        link(copy, folder, &part).map_err(failed).and_then(|()| attributes::give_link(folder, &part, changes))
    } else {
        file(copy, folder, &part).map_err(failed).and_then(|file| attributes::give(&file, changes))
    };
    let laid_down =
        written.and_then(|()| folder.rename(&part, name, copy.replaces.is_some()).map_err(failed));
    if laid_down.is_err() {
        // On a full disk, these bytes are needed most.
        let _ = folder.remove_file(&part);
    }
    laid_down
}

fn link(copy: &Copy, folder: &Folder, part: &OsStr) -> io::Result<()> {
    let target = fs::read_link(&copy.source)?;
    anew(folder, part, || folder.link(&target, part))
}

fn file(copy: &Copy, folder: &Folder, part: &OsStr) -> io::Result<File> {
    let source = regular_file::open_no_link(&copy.source)?;
    // The content may be secret, so the file gets its own mode only at the end.
    let file = anew(folder, part, || folder.create(part))?;
    fill(&source, copy, &file)?;
    Ok(file)
}

/// Creates something that must not exist yet. A leftover of an agent that was
/// killed is rare, so it is removed only if the creation fails.
fn anew<T>(folder: &Folder, part: &OsStr, make: impl Fn() -> io::Result<T>) -> io::Result<T> {
    match make() {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            folder.remove_file(part)?;
            make()
        }
        other => other,
    }
}

/// Sets content, owner, mode and times as in the source, in this order: a change
/// of owner clears the setuid bits.
fn fill(source: &File, copy: &Copy, file: &File) -> io::Result<()> {
    let metadata = source.metadata()?;
    pour(source, metadata.len(), file)?;
    let (own, (user, group)) = (nix::unistd::geteuid(), copy.owner);
    let mut mode = copy.mode;
    if own.is_root() {
        std::os::unix::fs::fchown(file, Some(user), Some(group))?;
    } else if own.as_raw() != user {
        // A file that now belongs to the agent must not run with the agent's rights for everybody.
        mode &= 0o1777;
    }
    file.set_permissions(Permissions::from_mode(mode))?;
    file.set_times(FileTimes::new().set_accessed(metadata.accessed()?).set_modified(metadata.modified()?))
}

/// Up to this size, a read and a write cost less than the kernel's own copy,
/// which examines both files first and asks once more for the end.
const SMALL_BYTES_MAX: u64 = 64 * 1024;

fn pour(mut source: &File, bytes: u64, mut file: &File) -> io::Result<()> {
    if bytes > SMALL_BYTES_MAX {
        return io::copy(&mut source, &mut file).map(drop);
    }
    let mut content = Vec::with_capacity(usize::try_from(bytes).unwrap_or_default());
    source.take(bytes).read_to_end(&mut content)?;
    file.write_all(&content)
}

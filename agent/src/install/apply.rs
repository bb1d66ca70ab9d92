//! Laying down the files.
//!
//! A file is written beside its place and renamed, so that a running program
//! never sees half of it. Only where a file that is to be overwritten has more
//! names than one is it written in place, because the other names are to see
//! the new content too.

use std::fs::{self, File, FileTimes, Permissions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;

use super::cleanup::{Journal, part_of};
use super::plan::{Plan, Step};
use super::{InstallError, Witness};

/// Carries out the plan's steps, each noted before it is taken.
pub(super) fn apply(plan: &Plan, journal: &mut Journal, witness: Witness<'_>) -> Result<(), InstallError> {
    for step in &plan.steps {
        match step {
            Step::Mkdir { directory } => {
                journal.note(directory)?;
                witness();
                make_directory(directory)
                    .map_err(|cause| InstallError::Mkdir { path: directory.clone(), cause })?;
            }
            Step::Copy { source, destination } => {
                journal.note(destination)?;
                witness();
                copy(source, destination).map_err(|cause| {
                    let bytes = fs::symlink_metadata(source).map_or(0, |metadata| metadata.len());
                    let (source_path, destination) = (source.clone(), destination.clone());
                    InstallError::Copy { source_path, destination, bytes, cause }
                })?;
            }
        }
        witness();
    }
    Ok(())
}

fn make_directory(directory: &Path) -> io::Result<()> {
    match fs::create_dir(directory) {
        // Somebody made it since we planned: as good as if it had been there.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && directory.is_dir() => Ok(()),
        other => other,
    }
}

fn copy(source: &Path, destination: &Path) -> io::Result<()> {
    let metadata = fs::symlink_metadata(source)?;
    let existing = destination.metadata().ok();
    // Into a directory of that name, as `cp` has it.
    let destination = match &existing {
        Some(existing) if existing.is_dir() => destination.join(destination.file_name().unwrap_or_default()),
        Some(_) => destination.canonicalize()?,
        None => destination.to_owned(),
    };
    if metadata.is_symlink() {
        let (part, target) = (part_of(&destination), fs::read_link(source)?);
        anew(&part, |part| std::os::unix::fs::symlink(&target, part))?;
        return fs::rename(part, destination);
    }
    let source = File::open(source)?;
    match existing {
        Some(existing) if existing.is_file() && existing.nlink() > 1 => {
            let file = File::options().write(true).truncate(true).open(&destination)?;
            fill(&source, &metadata, &file)
        }
        Some(_) | None => {
            let part = part_of(&destination);
            // It may be a secret, and has its own mode only in the end.
            let secret = |part: &Path| File::options().write(true).create_new(true).mode(0o600).open(part);
            let file = anew(&part, secret)?;
            let filled = fill(&source, &metadata, &file);
            if filled.is_err() {
                // On a full disk these are the bytes that are missing most.
                let _ = fs::remove_file(&part);
            }
            filled?;
            fs::rename(part, destination)
        }
    }
}

/// Makes what must not be there before. What an agent left that was killed is
/// rare, so it is looked for only then.
fn anew<T>(part: &Path, make: impl Fn(&Path) -> io::Result<T>) -> io::Result<T> {
    match make(part) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            super::remove_file(part)?;
            make(part)
        }
        other => other,
    }
}

/// Content, owner, mode and times of the source, in this order: giving a file
/// away takes its setuid bits.
fn fill(source: &File, metadata: &fs::Metadata, file: &File) -> io::Result<()> {
    pour(source, metadata.len(), file)?;
    let own = nix::unistd::geteuid();
    let mut mode = metadata.permissions().mode() & 0o7777;
    if own.is_root() {
        std::os::unix::fs::fchown(file, Some(metadata.uid()), Some(metadata.gid()))?;
    } else if own.as_raw() != metadata.uid() {
        // A file that is now ours must not run with our rights for everybody.
        mode &= 0o1777;
    }
    file.set_permissions(Permissions::from_mode(mode))?;
    file.set_times(FileTimes::new().set_accessed(metadata.accessed()?).set_modified(metadata.modified()?))
}

/// Up to this size a read and a write cost less than the kernel's own copy,
/// which looks at both files first and asks once more for the end.
const SMALL_BYTES_MAX: u64 = 64 * 1024;

fn pour(mut source: &File, bytes: u64, mut file: &File) -> io::Result<()> {
    if bytes > SMALL_BYTES_MAX {
        return io::copy(&mut source, &mut file).map(drop);
    }
    let mut content = Vec::with_capacity(bytes as usize);
    source.take(bytes).read_to_end(&mut content)?;
    file.write_all(&content)
}

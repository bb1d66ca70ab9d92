//! The files that the previous revision put on the disk: predicts what will remain of them,
//! removes them, and records the files of this installation for the next one.

use std::collections::HashSet;
use std::ffi::{OsStr, OsString};
use std::fs::{self, File, Metadata};
use std::io::{self, Write};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use rustix::io::Errno;

use super::folder::Folders;
use super::{InstallError, Record, Witness, selinux};
use crate::whole_file;

/// The prefix of a line that is not a path to remove, but one whose SELinux context was set.
const CONTEXT_PREFIX: &[u8] = b"semanage\0";

/// The cleanup file of the previous revision.
#[derive(Debug, Default)]
pub(super) struct Previous {
    /// The entries in the order in which they were made.
    made: Vec<Made>,
    /// The paths that will not exist after the removal.
    gone: HashSet<PathBuf>,
}

/// One line of the file.
#[derive(Debug)]
enum Made {
    Path(PathBuf),
    /// The SELinux context of a path.
    Context(PathBuf),
}

impl Made {
    fn of_line(line: &[u8]) -> Option<Made> {
        let path = |bytes: &[u8]| PathBuf::from(OsString::from_vec(bytes.to_owned()));
        let made = match line.strip_prefix(CONTEXT_PREFIX) {
            Some(rest) => Made::Context(path(rest)),
            None => Made::Path(path(line)),
        };
        // The agent writes no relative paths, and such a path could mean another program's
        // file.
        let is_absolute = match &made {
            Made::Path(path) | Made::Context(path) => path.is_absolute(),
        };
        is_absolute.then_some(made)
    }
}

impl Previous {
    pub(super) fn read(file: &Path) -> io::Result<Previous> {
        let Some(content) = whole_file::read(file)? else { return Ok(Previous::default()) };
        // A last line without a newline was being written when the agent died, so
        // its path was not made yet.
        let whole = content.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
        let lines = content[..whole].split(|byte| *byte == b'\n');
        let made: Vec<Made> = lines.filter_map(Made::of_line).collect();
        if content.first() == Some(&0) {
            // The file has no checksum; zeros in place of lines are the only sign of damage.
            whole_file::set_aside(file, "it holds no path");
        }
        let paths = made.iter().filter_map(|made| match made {
            Made::Path(path) => Some(path),
            Made::Context(_) => None,
        });
        let gone = foresee(paths.rev());
        Ok(Previous { made, gone })
    }

    /// Returns what will be at `path` after the removal, without following a
    /// link; `None` if nothing will.
    pub(super) fn leaves(&self, path: &Path) -> Option<Metadata> {
        if self.gone.contains(path) { None } else { fs::symlink_metadata(path).ok() }
    }

    /// Returns the paths that exist and will be removed.
    pub(super) fn goes(&self) -> impl Iterator<Item = &Path> {
        self.gone.iter().map(PathBuf::as_path).filter(|path| fs::symlink_metadata(path).is_ok())
    }

    /// Removes the files, and the directories that are then empty, the last made first.
    pub(super) fn remove(&self, witness: Witness<'_>) -> Result<(), InstallError> {
        let mut folders = Folders::new();
        for made in self.made.iter().rev() {
            match made {
                Made::Path(path) => {
                    remove(&mut folders, path)
                        .map_err(|cause| InstallError::Remove { path: path.clone(), cause })?;
                    witness();
                }
                Made::Context(path) => {
                    // The context may never have been set, or may be removed already.
                    if let Err(error) = selinux::forget(path) {
                        tracing::warn!(path = %path.display(), %error, "cannot remove an SELinux context");
                    }
                }
            }
        }
        Ok(())
    }
}

/// Removes what is at `path`, and the temporary file beside it. A path that can never have been
/// made must not block all later installations. Nor must one that the agent may no longer see,
/// or could reach only by following another user's link: such a path stays and is forgotten.
fn remove(folders: &mut Folders, path: &Path) -> io::Result<()> {
    let (folder, name) = match folders.around(path) {
        Err(error) if is_missing(&error) => return Ok(()),
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            tracing::warn!(path = %path.display(), %error, "cannot see what was to be installed here; it stays");
            return Ok(());
        }
        around => around?,
    };
    let kind = match folder.look(name) {
        Err(error) if is_missing(&error) => return Ok(()),
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            tracing::warn!(path = %path.display(), %error, "cannot see what was to be installed here; it stays");
            return Ok(());
        }
        kind => kind?,
    };
    let removed = match kind {
        None => Ok(()),
        Some(kind) if kind.is_dir() => match folder.remove_directory(name) {
            Err(error) if is_in_use(&error) => Ok(()),
            other => other,
        },
        Some(_) => folder.remove_file(name),
    };
    removed.or_else(if_missing)?;
    folder.remove_file(&part_name(path)).or_else(if_missing)
}

fn if_missing(error: io::Error) -> io::Result<()> {
    if is_missing(&error) { Ok(()) } else { Err(error) }
}

/// Returns true if the error says that the path does not or cannot exist.
fn is_missing(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
        || [Errno::NAMETOOLONG, Errno::LOOP]
            .iter()
            .any(|errno| error.raw_os_error() == Some(errno.raw_os_error()))
}

/// Returns true if the error says that the directory has content, or is a mount point.
fn is_in_use(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::DirectoryNotEmpty | io::ErrorKind::ResourceBusy)
}

/// Predicts which paths will be gone. Files will; a directory will if everything
/// in it is removed before it. `paths` are in the order of their removal.
fn foresee<'p>(paths: impl Iterator<Item = &'p PathBuf>) -> HashSet<PathBuf> {
    let mut gone = HashSet::new();
    for path in paths {
        gone.insert(part_of(path));
        let goes = match fs::symlink_metadata(path) {
            Err(_) => false,
            // A directory that cannot be read stays.
            Ok(metadata) if metadata.is_dir() => fs::read_dir(path).is_ok_and(|mut inside| {
                inside.all(|entry| entry.is_ok_and(|entry| gone.contains(&entry.path())))
            }),
            Ok(_) => true,
        };
        if goes {
            gone.insert(path.clone());
        }
    }
    gone
}

/// Returns the temporary path at which the new content of `path` is written. It
/// is beside it, so that it can be renamed.
pub(super) fn part_of(path: &Path) -> PathBuf {
    path.with_file_name(part_name(path))
}

/// Returns the name of the temporary file. It is short, so that there is one for every name that fits.
pub(super) fn part_name(path: &Path) -> OsString {
    let hash = blake3::hash(path.as_os_str().as_bytes()).to_hex();
    let mut part = OsString::from(".skein-");
    part.push(OsStr::from_bytes(&hash.as_bytes()[..16]));
    part
}

/// The cleanup file of this installation.
pub(super) struct Journal {
    path: PathBuf,
    file: File,
}

impl Journal {
    pub(super) fn open(path: &Path) -> io::Result<Journal> {
        let file = File::options().append(true).create(true).mode(0o600).open(path)?;
        Ok(Journal { path: path.to_owned(), file })
    }

    /// Records that `path` is ours to remove.
    pub(super) fn note(&mut self, path: &Path) -> Result<(), InstallError> {
        self.line(path.as_os_str().as_bytes().to_owned())
    }

    /// Records that the SELinux context of `path` is ours to remove.
    pub(super) fn note_context(&mut self, path: &Path) -> Result<(), InstallError> {
        self.line([CONTEXT_PREFIX, path.as_os_str().as_bytes()].concat())
    }

    /// Completes the file with a checksum, which is verified when it is read.
    pub(super) fn seal(self) -> Result<Record, InstallError> {
        let sealed = fs::read(&self.path).and_then(|content| whole_file::seal(&self.file, &content));
        sealed.map_err(|cause| InstallError::State { path: self.path, cause })?;
        Ok(Record(self.file))
    }

    fn line(&mut self, mut line: Vec<u8>) -> Result<(), InstallError> {
        line.push(b'\n');
        // One write: a line is there completely or not at all.
        let written = self.file.write_all(&line);
        written.map_err(|cause| InstallError::State { path: self.path.clone(), cause })
    }
}

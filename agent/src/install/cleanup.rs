//! What the previous revision put on the disk: foreseeing what remains of it,
//! removing it, and writing down the same for the next one.

use std::collections::HashSet;
use std::ffi::{OsStr, OsString};
use std::fs::{self, File, Metadata};
use std::io::{self, Write};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use rustix::io::Errno;

use super::folder::Folders;
use super::{InstallError, Witness, selinux};
use crate::whole_file;

/// Starts a line that is no path but one whose SELinux context was set.
const CONTEXT_PREFIX: &[u8] = b"semanage\0";

/// The previous revision's cleanup file.
#[derive(Debug, Default)]
pub(super) struct Previous {
    /// In the order in which they were made.
    made: Vec<Made>,
    /// Those that will not be there any more once they are removed.
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
        // A relative path is none of ours, and would be somebody else's.
        let is_absolute = match &made {
            Made::Path(path) | Made::Context(path) => path.is_absolute(),
        };
        is_absolute.then_some(made)
    }
}

impl Previous {
    pub(super) fn read(file: &Path) -> io::Result<Previous> {
        let Some(content) = whole_file::read(file)? else { return Ok(Previous::default()) };
        // A last line without its end was being written when the agent died,
        // so what it names was not made yet.
        let whole = content.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
        let lines = content[..whole].split(|byte| *byte == b'\n');
        let made: Vec<Made> = lines.filter_map(Made::of_line).collect();
        if content.first() == Some(&0) {
            // Without a checksum, zeros in place of lines show only so.
            whole_file::set_aside(file, "it holds no path");
        }
        let paths = made.iter().filter_map(|made| match made {
            Made::Path(path) => Some(path),
            Made::Context(_) => None,
        });
        let gone = foresee(paths.rev());
        Ok(Previous { made, gone })
    }

    /// What there will be at `path` after the removal; a link is not followed.
    pub(super) fn leaves(&self, path: &Path) -> Option<Metadata> {
        if self.gone.contains(path) { None } else { fs::symlink_metadata(path).ok() }
    }

    /// What is there and will be removed.
    pub(super) fn goes(&self) -> impl Iterator<Item = &Path> {
        self.gone.iter().map(PathBuf::as_path).filter(|path| fs::symlink_metadata(path).is_ok())
    }

    /// Removes the files, and the directories that are empty then, last made
    /// first.
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
                    // It may never have been set, or be forgotten already.
                    if let Err(error) = selinux::forget(path) {
                        tracing::warn!(path = %path.display(), %error, "cannot remove an SELinux context");
                    }
                }
            }
        }
        Ok(())
    }
}

/// Removes what is at `path`, and what was collected for it beside it. What can
/// never have been made must not stop all installations after it, nor what the
/// agent may not see any longer, or has to follow somebody's link to: that stays,
/// and is forgotten.
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

/// There is no such path, or there cannot be.
fn is_missing(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
        || [Errno::NAMETOOLONG, Errno::LOOP]
            .iter()
            .any(|errno| error.raw_os_error() == Some(errno.raw_os_error()))
}

/// Something is in the directory, or it is where something is mounted.
fn is_in_use(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::DirectoryNotEmpty | io::ErrorKind::ResourceBusy)
}

/// Files go; a directory goes if all that is in it goes before it. `paths` are
/// in the order of their removal.
fn foresee<'p>(paths: impl Iterator<Item = &'p PathBuf>) -> HashSet<PathBuf> {
    let mut gone = HashSet::new();
    for path in paths {
        gone.insert(part_of(path));
        let goes = match fs::symlink_metadata(path) {
            Err(_) => false,
            // One that cannot be looked into stays.
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

/// Where the new content of `path` is collected. It lies beside it, so that it
/// can be renamed.
pub(super) fn part_of(path: &Path) -> PathBuf {
    path.with_file_name(part_name(path))
}

/// Its name, which is short, so that any name that fits has one.
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

    /// Notes that `path` is ours to remove.
    pub(super) fn note(&mut self, path: &Path) -> Result<(), InstallError> {
        self.line(path.as_os_str().as_bytes().to_owned())
    }

    /// Notes that the SELinux context of `path` is ours to remove.
    pub(super) fn note_context(&mut self, path: &Path) -> Result<(), InstallError> {
        self.line([CONTEXT_PREFIX, path.as_os_str().as_bytes()].concat())
    }

    /// Ends the file: from now on it is checked when it is read. It is on stable
    /// storage when this returns.
    pub(super) fn seal(self) -> Result<(), InstallError> {
        let sealed = fs::read(&self.path).and_then(|content| whole_file::seal(&self.file, &content));
        let synced = sealed.and_then(|()| self.file.sync_all());
        synced.map_err(|cause| InstallError::State { path: self.path, cause })
    }

    fn line(&mut self, mut line: Vec<u8>) -> Result<(), InstallError> {
        line.push(b'\n');
        // In one write: a line is there or it is not.
        let written = self.file.write_all(&line);
        written.map_err(|cause| InstallError::State { path: self.path.clone(), cause })
    }
}

//! Small text files that contain a secret: readable only by their owner, written
//! completely or not at all, and never overwritten.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use crate::whole_file;

/// The longest file, in bytes, far longer than any that we write; a longer one is some other file.
const FILE_BYTES_MAX: u64 = 16 * 1024;

/// The reason why a secret could not be read or stored.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SecretFileError {
    #[error("{} does not exist", path.display())]
    Missing { path: PathBuf },
    #[error("{} exists already and is not overwritten", path.display())]
    Exists { path: PathBuf },
    #[error(
        "other users can read the secret {path} (mode {mode:o}): run `chmod 600 {path}` and start again; \
         if one of them may have read it, replace it",
        path = path.display()
    )]
    Exposed { path: PathBuf, mode: u32 },
    #[error("{} is damaged: it is not what was written to it", path.display())]
    Damaged { path: PathBuf },
    #[error("cannot read {}", path.display())]
    Read {
        path: PathBuf,
        #[source]
        cause: io::Error,
    },
    #[error("cannot write {}", path.display())]
    Write {
        path: PathBuf,
        #[source]
        cause: io::Error,
    },
}

/// Reads the file. Refuses a file that users other than its owner can read: a
/// warning in a log would come too late.
pub(crate) fn read(path: &Path) -> Result<String, SecretFileError> {
    let refuse = |cause: io::Error| match cause.kind() == io::ErrorKind::NotFound {
        true => SecretFileError::Missing { path: path.to_owned() },
        false => SecretFileError::Read { path: path.to_owned(), cause },
    };
    let file = File::open(path).map_err(refuse)?;
    let mode = file.metadata().map_err(refuse)?.mode() & 0o777;
    if mode & 0o077 != 0 {
        return Err(SecretFileError::Exposed { path: path.to_owned(), mode });
    }
    let mut text = String::new();
    (&file).take(FILE_BYTES_MAX).read_to_string(&mut text).map_err(refuse)?;
    if !whole_file::is_as_sealed(&file, text.as_bytes()).map_err(refuse)? {
        return Err(SecretFileError::Damaged { path: path.to_owned() });
    }
    Ok(text)
}

/// Writes a new file with mode 0600. It exists completely or not at all, even after a power loss.
pub(crate) fn create(path: &Path, text: &str) -> Result<(), SecretFileError> {
    let refuse = |cause: io::Error| match cause.kind() == io::ErrorKind::AlreadyExists {
        true => SecretFileError::Exists { path: path.to_owned() },
        false => SecretFileError::Write { path: path.to_owned(), cause },
    };
    let directory = match path.parent() {
        Some(parent) if parent != Path::new("") => parent,
        _ => Path::new("."),
    };
    fs::create_dir_all(directory).map_err(refuse)?;
    // The temporary file has mode 0600. It is linked, not renamed, so that two
    // first starts at once cannot both keep their own key.
    let mut file = tempfile::NamedTempFile::new_in(directory).map_err(refuse)?;
    file.write_all(text.as_bytes()).map_err(refuse)?;
    whole_file::seal(file.as_file(), text.as_bytes()).map_err(refuse)?;
    file.as_file().sync_all().map_err(refuse)?;
    file.persist_noclobber(path).map_err(|failed| refuse(failed.error))?;
    File::open(directory).and_then(|directory| directory.sync_all()).map_err(refuse)
}

//! Files that are written completely and verified when they are read.
//!
//! A power loss can leave a file short or full of zeros, and a disk can change it. The
//! checksum that reveals this is an extended attribute of the file, not a part of its
//! text: users' scripts and the official agent read some of these files, and earlier
//! agents wrote them without a checksum. A file without the attribute is accepted as
//! it is; on a file system without extended attributes, that is every file.

use std::ffi::CStr;
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::thread;

use rustix::fs::{XattrFlags, fgetxattr, fsetxattr};
use rustix::io::Errno;

/// The attribute with the BLAKE3 hash of the content.
const CHECKSUM: &CStr = c"user.skein.checksum";
/// The suffix of a damaged file that was moved out of the way.
const DAMAGED: &str = ".damaged";

/// Writes the file at `path`, atomically and durably: it has its old content or
/// the new one, even after a power loss.
pub(crate) fn write(path: &Path, content: &[u8]) -> io::Result<()> {
    let (directory, file) = beside(path, content)?;
    file.as_file().sync_all()?;
    file.persist(path)?;
    File::open(directory)?.sync_all()
}

/// Does the same, once `earlier` is on stable storage too. Both files are synced at the same time: a
/// journaling file system then commits once instead of twice, and each commit waits for the disk.
pub(crate) fn write_after(earlier: &File, path: &Path, content: &[u8]) -> io::Result<()> {
    let (directory, file) = beside(path, content)?;
    sync_both(earlier, file.as_file())?;
    file.persist(path)?;
    File::open(directory)?.sync_all()
}

fn sync_both(one: &File, other: &File) -> io::Result<()> {
    thread::scope(|scope| {
        let beside = thread::Builder::new().spawn_scoped(scope, || one.sync_all());
        let other = other.sync_all();
        let one = match beside {
            Ok(beside) => beside.join().unwrap_or_else(|_| Err(io::Error::other("the sync panicked"))),
            // There may be no thread left for this user.
            Err(_) => one.sync_all(),
        };
        one.and(other)
    })
}

/// Writes the file without syncing it. If the process dies, the file is complete;
/// if the power fails, it may be damaged, and [`read`] reports that.
pub(crate) fn replace(path: &Path, content: &[u8]) -> io::Result<()> {
    let (_, file) = beside(path, content)?;
    file.persist(path)?;
    Ok(())
}

/// Reads the file at `path`; `None` if it does not exist, or differs from what was
/// written. A damaged file is moved out of the way, so that it is reported once.
pub(crate) fn read(path: &Path) -> io::Result<Option<Vec<u8>>> {
    let mut file = match File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        file => file?,
    };
    let mut content = Vec::new();
    file.read_to_end(&mut content)?;
    if is_as_sealed(&file, &content)? {
        return Ok(Some(content));
    }
    set_aside(path, "it is not what was written, as after a power loss");
    Ok(None)
}

/// Moves a damaged file out of the way and logs it.
pub(crate) fn set_aside(path: &Path, damage: &str) {
    let (file, aside) = (path.display(), aside(path));
    match fs::rename(path, &aside) {
        Ok(()) => {
            let moved_to = aside.display();
            tracing::warn!(%file, damage, %moved_to, "the file is damaged: going on as if it were not there");
        }
        Err(error) => {
            tracing::warn!(%file, damage, %error, "the file is damaged and stays: going on as if it were not there");
        }
    }
}

/// Records the checksum of a file that is written by other means, once its content is complete.
pub(crate) fn seal(file: &File, content: &[u8]) -> io::Result<()> {
    match fsetxattr(file, CHECKSUM, blake3::hash(content).as_bytes(), XattrFlags::empty()) {
        Err(Errno::NOTSUP | Errno::NOSPC | Errno::DQUOT | Errno::PERM) => Ok(()),
        sealed => Ok(sealed?),
    }
}

/// Returns true if the file's content is what it was when it was sealed, or if it never was sealed.
pub(crate) fn is_as_sealed(file: &File, content: &[u8]) -> io::Result<bool> {
    let mut checksum = [0; blake3::OUT_LEN];
    match fgetxattr(file, CHECKSUM, &mut checksum) {
        Ok(length) => Ok(length == checksum.len() && checksum == *blake3::hash(content).as_bytes()),
        // The attribute is longer than any checksum.
        Err(Errno::RANGE) => Ok(false),
        Err(Errno::NODATA | Errno::NOTSUP) => Ok(true),
        Err(error) => Err(error.into()),
    }
}

/// Returns the directory of `path`, and a new file in it with this content.
fn beside<'p>(path: &'p Path, content: &[u8]) -> io::Result<(&'p Path, tempfile::NamedTempFile)> {
    let directory = path.parent().filter(|parent| *parent != Path::new("")).unwrap_or(Path::new("."));
    let mut file = match tempfile::NamedTempFile::new_in(directory) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            fs::create_dir_all(directory)?;
            tempfile::NamedTempFile::new_in(directory)?
        }
        file => file?,
    };
    file.write_all(content)?;
    seal(file.as_file(), content)?;
    Ok((directory, file))
}

fn aside(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(DAMAGED);
    PathBuf::from(name)
}

/// Returns true if the file system at `directory` stores checksums.
#[cfg(test)]
pub(crate) fn keeps_checksums(directory: &Path) -> bool {
    let file = tempfile::tempfile_in(directory).expect("a file");
    seal(&file, b"").expect("sealed");
    !is_as_sealed(&file, b"other").expect("read")
}

#[cfg(test)]
mod tests;

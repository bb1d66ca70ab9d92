//! A size-limited log file that several processes append to.

use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use crate::private;

/// The size, in bytes, at which the file is rotated, as in version 2 of the official agent.
const BYTES_MAX: u64 = 64 * 1024 * 1024;
/// The number of files, including the current one; the oldest is removed.
const FILES_MAX: u32 = 8;

#[derive(Debug)]
pub(super) struct LogFile {
    path: PathBuf,
    file: File,
    /// `None` if it is not a regular file.
    inode: Option<u64>,
    bytes: u64,
    bytes_max: u64,
}

impl LogFile {
    pub(super) fn open(path: &Path) -> io::Result<LogFile> {
        LogFile::open_with(path, BYTES_MAX)
    }

    /// Opens it only if its directory exists.
    pub(super) fn open_in_its_directory(path: &Path) -> io::Result<LogFile> {
        LogFile::open_there(path, BYTES_MAX)
    }

    pub(super) fn open_with(path: &Path, bytes_max: u64) -> io::Result<LogFile> {
        path.parent().map_or(Ok(()), fs::create_dir_all)?;
        LogFile::open_there(path, bytes_max)
    }

    fn open_there(path: &Path, bytes_max: u64) -> io::Result<LogFile> {
        // Scripts may write secrets.
        let file = File::options().append(true).create(true).mode(0o600).open(path)?;
        let metadata = file.metadata()?;
        if metadata.is_file() {
            private::narrow(path, 0o600)?;
        }
        let (inode, bytes) = (metadata.is_file().then(|| metadata.ino()), metadata.len());
        Ok(LogFile { path: path.to_owned(), file, inode, bytes, bytes_max })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Adds a line in one write, so that lines of two processes never mix.
    pub(super) fn add(&mut self, line: &[u8]) -> io::Result<()> {
        if !self.look()? {
            return Ok(());
        }
        if self.bytes > 0 && self.bytes + line.len() as u64 > self.bytes_max {
            self.put_aside()?;
        }
        self.file.write_all(line)
    }

    /// Checks what is at the path now, since another process may have added to the
    /// file or rotated it. Returns false if there is nothing to add to: a log that
    /// was removed with its directory is not created again, and must not grow unseen.
    fn look(&mut self) -> io::Result<bool> {
        match fs::metadata(&self.path) {
            Ok(now) if Some(now.ino()) == self.inode => self.bytes = now.len(),
            Err(error) if error.kind() == io::ErrorKind::NotFound && !self.has_directory() => {
                return Ok(false);
            }
            // A file that is not regular, such as /dev/null, is kept.
            Ok(now) if !now.is_file() => {}
            // The directory may be removed at this moment, and is not created again.
            Ok(_) | Err(_) => *self = LogFile::open_there(&self.path, self.bytes_max)?,
        }
        Ok(true)
    }

    fn has_directory(&self) -> bool {
        self.path.parent().is_some_and(Path::is_dir)
    }

    fn put_aside(&mut self) -> io::Result<()> {
        for number in (1..FILES_MAX - 1).rev() {
            match fs::rename(aside(&self.path, number), aside(&self.path, number + 1)) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                renamed => renamed?,
            }
        }
        fs::rename(&self.path, aside(&self.path, 1))?;
        *self = LogFile::open_there(&self.path, self.bytes_max)?;
        Ok(())
    }
}

fn aside(path: &Path, number: u32) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{number}"));
    path.with_file_name(name)
}

/// Returns the file and the rotated ones, newest first.
pub(crate) fn files(path: &Path) -> Vec<PathBuf> {
    let all = std::iter::once(path.to_owned()).chain((1..FILES_MAX).map(|number| aside(path, number)));
    all.filter(|file| file.exists()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_processes_share_one_limit_and_a_removed_log_stays_removed() {
        let dir = tempfile::TempDir::new().expect("a directory");
        let path = dir.path().join("logs/scripts.log");
        let open = || LogFile::open_with(&path, 8).expect("opened");
        let (mut one, mut other) = (open(), open());
        for number in 0..6 {
            one.add(format!("{number:02}\n").as_bytes()).expect("added");
            other.add(format!("{:02}\n", number + 50).as_bytes()).expect("added");
        }
        let sizes: Vec<u64> = files(&path).iter().map(|file| file.metadata().expect("there").len()).collect();
        assert_eq!(sizes, [6; 6]);
        fs::remove_file(&path).expect("removed");
        one.add(b"x\n").expect("added");
        assert_eq!(fs::read(&path).expect("there again"), b"x\n");
        fs::remove_dir_all(dir.path().join("logs")).expect("removed");
        one.add(b"y\n").expect("passed over");
        assert!(!path.exists());
    }

    #[test]
    fn the_newest_lines_are_kept_in_so_many_files() {
        let dir = tempfile::TempDir::new().expect("a directory");
        let path = dir.path().join("scripts.log");
        let mut log = LogFile::open_with(&path, 8).expect("opened");
        for number in 0..30 {
            log.add(format!("{number:02}\n").as_bytes()).expect("added");
        }
        let kept = files(&path);
        assert_eq!(kept.len(), 8);
        let read = |file: &PathBuf| fs::read_to_string(file).expect("readable");
        assert_eq!(kept.iter().take(2).map(read).collect::<Vec<_>>(), ["28\n29\n", "26\n27\n"]);
        assert_eq!(read(&kept[7]), "14\n15\n");
    }
}

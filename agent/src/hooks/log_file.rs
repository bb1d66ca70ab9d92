//! A file that lines are added to, and that does not grow for ever.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// As version 2 of the official agent has it: beyond it the file is put aside.
const BYTES_MAX: u64 = 64 * 1024 * 1024;
/// The one that is written and those put aside; the oldest goes.
const FILES_MAX: u32 = 8;

#[derive(Debug)]
pub(super) struct LogFile {
    path: PathBuf,
    file: File,
    bytes: u64,
    bytes_max: u64,
}

impl LogFile {
    pub(super) fn open(path: &Path) -> io::Result<LogFile> {
        LogFile::open_with(path, BYTES_MAX)
    }

    pub(super) fn open_with(path: &Path, bytes_max: u64) -> io::Result<LogFile> {
        path.parent().map_or(Ok(()), fs::create_dir_all)?;
        let file = File::options().append(true).create(true).open(path)?;
        let bytes = file.metadata()?.len();
        Ok(LogFile { path: path.to_owned(), file, bytes, bytes_max })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Adds a line in one write, so that lines of two processes never mix.
    pub(super) fn add(&mut self, line: &[u8]) -> io::Result<()> {
        if self.bytes > 0 && self.bytes + line.len() as u64 > self.bytes_max {
            self.put_aside()?;
        }
        self.bytes += line.len() as u64;
        self.file.write_all(line)
    }

    fn put_aside(&mut self) -> io::Result<()> {
        for number in (1..FILES_MAX - 1).rev() {
            match fs::rename(aside(&self.path, number), aside(&self.path, number + 1)) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                renamed => renamed?,
            }
        }
        fs::rename(&self.path, aside(&self.path, 1))?;
        *self = LogFile::open_with(&self.path, self.bytes_max)?;
        Ok(())
    }
}

fn aside(path: &Path, number: u32) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{number}"));
    path.with_file_name(name)
}

/// The file and those put aside, newest first.
pub(crate) fn files(path: &Path) -> Vec<PathBuf> {
    let all = std::iter::once(path.to_owned()).chain((1..FILES_MAX).map(|number| aside(path, number)));
    all.filter(|file| file.exists()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

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

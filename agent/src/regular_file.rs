//! Reads regular files and nothing else. A path that a user or a bundle names may
//! be a pipe, and opening one waits for a writer, forever.

use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::path::Path;

use rustix::fs::OFlags;

/// Opens the file at `path`; follows links.
/// # Errors
/// If the path is not a regular file, too.
pub(crate) fn open(path: &Path) -> io::Result<File> {
    open_with(path, OFlags::NONBLOCK)
}

/// Does the same, but refuses a link.
pub(crate) fn open_no_link(path: &Path) -> io::Result<File> {
    open_with(path, OFlags::NONBLOCK | OFlags::NOFOLLOW)
}

/// Reads at most `bytes_max` bytes and one more, by which the caller sees that the file is longer.
pub(crate) fn read_start(path: &Path, bytes_max: usize) -> io::Result<Vec<u8>> {
    let mut content = Vec::new();
    open(path)?.take(bytes_max as u64 + 1).read_to_end(&mut content)?;
    Ok(content)
}

fn open_with(path: &Path, flags: OFlags) -> io::Result<File> {
    let flags = i32::try_from(flags.bits()).map_err(io::Error::other)?;
    let file = File::options().read(true).custom_flags(flags).open(path)?;
    let kind = file.metadata()?.file_type();
    if kind.is_file() {
        return Ok(file);
    }
    let what = kind_in_words(kind);
    Err(io::Error::new(io::ErrorKind::InvalidInput, format!("it is a {what}, not a file")))
}

/// Returns the name of a kind of file that is not regular.
pub(crate) fn kind_in_words(kind: fs::FileType) -> &'static str {
    if kind.is_dir() {
        "directory"
    } else if kind.is_fifo() {
        "named pipe"
    } else if kind.is_socket() {
        "socket"
    } else if kind.is_symlink() {
        "link"
    } else {
        "device"
    }
}

#[cfg(test)]
mod tests {
    use tempfile::TempDir;

    use super::*;

    #[test]
    fn what_is_no_file_is_named_and_not_waited_for() {
        let dir = TempDir::new().expect("a directory");
        let path = |name: &str| dir.path().join(name);
        nix::unistd::mkfifo(&path("pipe"), nix::sys::stat::Mode::S_IRWXU).expect("made");
        std::os::unix::fs::symlink("pipe", path("link")).expect("linked");
        fs::write(path("file"), "12345").expect("written");
        let said = |name: &str| open(&path(name)).expect_err("no file").to_string();
        assert_eq!(said("pipe"), "it is a named pipe, not a file");
        assert_eq!(said("link"), "it is a named pipe, not a file");
        assert_eq!(said("."), "it is a directory, not a file");
        assert_eq!(read_start(&path("file"), 3).expect("read"), b"1234");
        std::os::unix::fs::symlink("file", path("good")).expect("linked");
        open(&path("good")).expect("links are followed");
        open_no_link(&path("good")).expect_err("unless told otherwise");
    }
}

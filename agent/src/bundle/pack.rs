//! Packs a directory into one canonical archive. Equal trees give equal bytes, so
//! the digest shows if two hosts install the same.
//!
//! Therefore entries are sorted, and times and owners are left out. Modes and
//! links are part of the tree and are kept.

use std::fs::{self, File, Metadata};
use std::io::{self, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use super::unpack::{Refused, check_link, check_path};
use crate::regular_file;

/// Fast, and within a tenth of the size that slower levels reach. It is part of
/// the format: another level gives another digest.
const ZSTD_LEVEL: i32 = 3;

/// A pax comment record, as POSIX defines it: its own length in decimal, a key, and a value.
pub(super) const DIRECTORY_NOTE: &[u8] = b"27 comment=skein directory\n";

/// The reason why a directory cannot become a bundle.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PackError {
    #[error("cannot read `{}`", path.display())]
    Read {
        path: PathBuf,
        #[source]
        cause: io::Error,
    },
    /// A kind of file that no archive can carry to other hosts.
    #[error("`{}` is a {kind}: a bundle holds files, directories and links only", path.display())]
    Special { path: PathBuf, kind: &'static str },
    #[error("`{}` cannot be part of a bundle", path.display())]
    Refused {
        path: PathBuf,
        #[source]
        cause: Refused,
    },
    #[error("cannot write the archive")]
    Write(#[source] io::Error),
}

/// Writes the archive of `dir` to `out`.
pub(crate) fn pack(dir: &Path, out: impl Write) -> Result<(), PackError> {
    let encoder = zstd::Encoder::new(out, ZSTD_LEVEL).map_err(PackError::Write)?;
    let mut packer = Packer { tar: tar::Builder::new(encoder), top: dir };
    packer.note_directory().map_err(PackError::Write)?;
    packer.directory(Path::new(""))?;
    let encoder = packer.tar.into_inner().map_err(PackError::Write)?;
    encoder.finish().and_then(|mut out| out.flush()).map_err(PackError::Write)
}

struct Packer<'d, W: Write> {
    tar: tar::Builder<W>,
    top: &'d Path,
}

impl<W: Write> Packer<'_, W> {
    /// Records in a first entry that the archive was made from a directory. Without this
    /// note, a single directory at the top would be stripped, as for release archives.
    fn note_directory(&mut self) -> io::Result<()> {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(tar::EntryType::XGlobalHeader);
        header.set_mode(0o644);
        header.set_size(DIRECTORY_NOTE.len() as u64);
        self.tar.append_data(&mut header, "pax_global_header", DIRECTORY_NOTE)
    }

    /// Adds what is below `below`, a path relative to the top.
    fn directory(&mut self, below: &Path) -> Result<(), PackError> {
        let path = self.top.join(below);
        let read = |cause| PackError::Read { path: path.clone(), cause };
        let names = fs::read_dir(&path).map_err(read)?;
        let names = names.map(|entry| entry.map(|entry| entry.file_name()));
        let mut names = names.collect::<io::Result<Vec<_>>>().map_err(read)?;
        names.sort();
        names.iter().try_for_each(|name| self.entry(&below.join(name)))
    }

    fn entry(&mut self, below: &Path) -> Result<(), PackError> {
        let path = self.top.join(below);
        let refused = |cause| PackError::Refused { path: path.clone(), cause };
        let read = |cause| PackError::Read { path: path.clone(), cause };
        check_path(below).map_err(refused)?;
        let metadata = fs::symlink_metadata(&path).map_err(read)?;
        let mut header = header(&metadata);
        if metadata.is_dir() {
            header.set_entry_type(tar::EntryType::Directory);
            self.tar.append_data(&mut header, below, io::empty()).map_err(PackError::Write)?;
            self.directory(below)
        } else if metadata.is_symlink() {
            let target = fs::read_link(&path).map_err(read)?;
            check_link(&target).map_err(refused)?;
            header.set_entry_type(tar::EntryType::Symlink);
            self.tar.append_link(&mut header, below, &target).map_err(PackError::Write)
        } else if metadata.is_file() {
            header.set_size(metadata.len());
            let file =
                Exactly { file: regular_file::open_no_link(&path).map_err(read)?, left: metadata.len() };
            self.tar.append_data(&mut header, below, file).map_err(read)
        } else {
            let kind = regular_file::kind_in_words(metadata.file_type());
            Err(PackError::Special { kind, path })
        }
    }
}

fn header(metadata: &Metadata) -> tar::Header {
    let mut header = tar::Header::new_gnu();
    // A link's own mode has no meaning and differs between systems.
    let mode = if metadata.is_symlink() { 0o777 } else { metadata.permissions().mode() & 0o7777 };
    header.set_mode(mode);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    header.set_size(0);
    header
}

/// Reads a file of known length. A file that changes its length while it is read
/// would shift everything after it in the archive.
struct Exactly {
    file: File,
    left: u64,
}

impl io::Read for Exactly {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.file.read(buffer)?;
        match (self.left.checked_sub(read as u64), read) {
            (Some(left), 0) if left > 0 && !buffer.is_empty() => Err(changed("shorter")),
            (Some(left), _) => {
                self.left = left;
                Ok(read)
            }
            (None, _) => Err(changed("longer")),
        }
    }
}

fn changed(how: &str) -> io::Error {
    io::Error::other(format!("the file became {how} while it was packed"))
}

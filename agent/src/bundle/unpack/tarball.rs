//! Unpacks tar, with the extensions of GNU and POSIX (pax).

use std::cell::Cell;
use std::io::{self, Read};

use tar::EntryType;

use super::super::pack::DIRECTORY_NOTE;
use super::owners::Owners;
use super::tree::{Attributes, Tree};
use super::{HeadersTooLong, Refused, UnpackError, damaged, path_of};

/// The longest comment to read, in bytes. Ours is shorter, and others are not used.
const NOTE_BYTES_MAX: u64 = 128;

/// The most bytes before an entry's content: its name, its link target, its attributes, and the
/// holes of a sparse file. All of that is held in memory; real headers have a hundredth of it.
pub(super) const HEADERS_BYTES_MAX: u64 = 256 * 1024;
const BLOCK: u64 = 512;

/// The way in which the entries end.
pub(super) enum End {
    /// With the empty blocks that mark a tar's end.
    Marked,
    /// With the archive's last byte.
    Unmarked,
}

impl End {
    /// Fails without the mark. An archive without a checksum of its bytes must have
    /// it: nothing else distinguishes it from one that was cut between two entries.
    pub(super) fn require_mark(self) -> Result<(), UnpackError> {
        match self {
            End::Marked => Ok(()),
            End::Unmarked => Err(damaged(io::Error::new(
                io::ErrorKind::UnexpectedEof,
                "the mark at a tar's end is missing",
            ))),
        }
    }
}

/// Unpacks the entries, and reads to the archive's last byte: a compressed
/// archive has its checksum at the end.
pub(super) fn unpack(archive: impl Read, tree: &mut Tree) -> Result<End, UnpackError> {
    let limit =
        tree.limits.bytes_max.min(super::RATIO_FROM.max(tree.packed.saturating_mul(tree.limits.ratio_max)));
    let (next, is_over) = (Cell::new(0), Cell::new(false));
    let metered = Metered { archive, left: metered_max(limit), next: &next, is_over: &is_over };
    let mut archive = tar::Archive::new(metered);
    let mut unpacker = Unpacker { tree, owners: Owners::new(), umask: super::directory::umask() };
    let mut entries = archive.entries().map_err(damaged)?;
    let mut unread = 0;
    loop {
        // The rest of the previous entry is skipped on the way to the next.
        next.set(HEADERS_BYTES_MAX.saturating_add(unread));
        let Some(entry) = entries.next() else { break };
        let mut entry = entry.map_err(damaged)?;
        let is_sparse = entry.header().entry_type().is_gnu_sparse();
        // For a sparse file, the crate returns the size including holes.
        let size = if is_sparse { entry.header().entry_size().map_err(damaged)? } else { entry.size() };
        next.set(u64::MAX);
        unpacker.entry(&mut entry)?;
        unread = size.saturating_sub(u64::MAX - next.get()).saturating_add(BLOCK);
    }
    let end = if is_over.get() { End::Unmarked } else { End::Marked };
    next.set(u64::MAX);
    io::copy(&mut archive.into_inner(), &mut io::sink()).map_err(damaged)?;
    Ok(end)
}

struct Unpacker<'t> {
    tree: &'t mut Tree,
    owners: Owners,
    umask: u32,
}

impl Unpacker<'_> {
    #[expect(clippy::wildcard_enum_match_arm, reason = "tar has more types of entries than the crate knows")]
    fn entry(&mut self, entry: &mut tar::Entry<'_, impl Read>) -> Result<(), UnpackError> {
        let kind = entry.header().entry_type();
        if kind == EntryType::XGlobalHeader {
            let mut note = Vec::new();
            let read = entry.take(NOTE_BYTES_MAX).read_to_end(&mut note);
            read.map_err(damaged)?;
            self.tree.was_directory |= note == DIRECTORY_NOTE;
            return Ok(());
        }
        let name = path_of(&entry.path_bytes());
        let Some(path) = self.tree.place(&name)? else { return Ok(()) };
        let target = entry.link_name_bytes().map(|target| path_of(&target)).unwrap_or_default();
        let attributes = self.attributes(entry).map_err(damaged)?;
        match kind {
            EntryType::Regular | EntryType::Continuous | EntryType::GNUSparse => {
                self.tree.file(&path, entry, attributes).map(drop)
            }
            EntryType::Directory => self.tree.directory(&path, attributes),
            EntryType::Symlink => self.tree.link(&path, &target),
            EntryType::Link => self.tree.hard_link(&path, &target),
            EntryType::Char | EntryType::Block => Err(special(name, "device")),
            EntryType::Fifo => Err(special(name, "named pipe")),
            _ => Err(special(name, "thing of an unknown kind")),
        }
    }

    fn attributes(&mut self, entry: &mut tar::Entry<'_, impl Read>) -> io::Result<Attributes> {
        let owner = self.owners.of(entry)?;
        let header = entry.header();
        let mut mode = header.mode()?;
        if self.tree.was_directory {
            // Set the mode as if the directory had been copied here, which is what CodeDeploy does.
            let is_directory = header.entry_type() == EntryType::Directory;
            mode = if is_directory { super::directory::MODE } else { mode } & !self.umask;
        }
        Ok(Attributes { mode, owner, modified: header.mtime().unwrap_or(0) })
    }
}

fn special(name: std::path::PathBuf, kind: &'static str) -> UnpackError {
    UnpackError::Refused { name, cause: Refused::Special(kind) }
}

/// Returns the most bytes to read: headers and padding come in addition to the files' content.
fn metered_max(files: u64) -> u64 {
    files.saturating_mul(2).saturating_add(1024 * 1024)
}

struct Metered<'n, R> {
    archive: R,
    left: u64,
    /// The number of bytes that may be read until it is set again.
    next: &'n Cell<u64>,
    /// Set at the archive's end.
    is_over: &'n Cell<bool>,
}

impl<R: Read> Read for Metered<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.archive.read(buffer)?;
        self.is_over.set(read == 0 && !buffer.is_empty());
        let left = |of: u64| of.checked_sub(read as u64).ok_or_else(|| io::Error::other(HeadersTooLong));
        self.left = left(self.left)?;
        self.next.set(left(self.next.get())?);
        Ok(read)
    }
}

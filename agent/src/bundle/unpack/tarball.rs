//! Tar, with GNU's and POSIX's (pax) extensions.

use std::io::{self, Read};

use tar::EntryType;

use super::super::pack::DIRECTORY_NOTE;
use super::tree::{Attributes, Tree};
use super::{Refused, UnpackError, path_of};

/// Ours is shorter; of others' nothing is used.
const NOTE_BYTES_MAX: u64 = 128;

#[expect(clippy::wildcard_enum_match_arm, reason = "tar has more types of entries than the crate knows")]
pub(super) fn unpack(archive: impl Read, tree: &mut Tree) -> Result<(), UnpackError> {
    // Long names are read into memory before we see them: they count too.
    let limit =
        tree.limits.bytes_max.min(super::RATIO_FROM.max(tree.packed.saturating_mul(tree.limits.ratio_max)));
    let mut archive = tar::Archive::new(Metered { archive, left: metered_max(limit) });
    let gives_away = nix::unistd::geteuid().is_root();
    let umask = super::directory::umask();
    for entry in archive.entries().map_err(UnpackError::Damaged)? {
        let mut entry = entry.map_err(UnpackError::Damaged)?;
        let kind = entry.header().entry_type();
        if kind == EntryType::XGlobalHeader {
            let mut note = Vec::new();
            let read = entry.by_ref().take(NOTE_BYTES_MAX).read_to_end(&mut note);
            read.map_err(UnpackError::Damaged)?;
            tree.was_directory |= note == DIRECTORY_NOTE;
            continue;
        }
        let name = path_of(&entry.path_bytes());
        let Some(path) = tree.place(&name)? else { continue };
        let target = entry.link_name_bytes().map(|target| path_of(&target)).unwrap_or_default();
        let mut attributes = attributes(entry.header(), gives_away).map_err(UnpackError::Damaged)?;
        if tree.was_directory {
            // As if it had been copied to here, which is what CodeDeploy does.
            attributes.mode &= !umask;
        }
        match kind {
            EntryType::Regular | EntryType::Continuous | EntryType::GNUSparse => {
                tree.file(&path, &mut entry, attributes)?;
            }
            EntryType::Directory => tree.directory(&path, attributes)?,
            EntryType::Symlink => tree.link(&path, &target)?,
            EntryType::Link => tree.hard_link(&path, &target)?,
            EntryType::Char | EntryType::Block => return Err(special(name, "device")),
            EntryType::Fifo => return Err(special(name, "named pipe")),
            _ => return Err(special(name, "thing of an unknown kind")),
        }
    }
    Ok(())
}

fn special(name: std::path::PathBuf, kind: &'static str) -> UnpackError {
    UnpackError::Refused { name, cause: Refused::Special(kind) }
}

fn attributes(header: &tar::Header, gives_away: bool) -> io::Result<Attributes> {
    let owner = || Ok::<_, io::Error>((owner_id(header.uid()?)?, owner_id(header.gid()?)?));
    Ok(Attributes {
        mode: header.mode()?,
        owner: gives_away.then(owner).transpose()?,
        modified: header.mtime().unwrap_or(0),
    })
}

fn owner_id(id: u64) -> io::Result<u32> {
    u32::try_from(id).map_err(|_| io::Error::other(format!("{id} is no owner's number")))
}

/// Headers and padding come on top of what is in the files.
fn metered_max(files: u64) -> u64 {
    files.saturating_mul(2).saturating_add(1024 * 1024)
}

struct Metered<R> {
    archive: R,
    left: u64,
}

impl<R: Read> Read for Metered<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.archive.read(buffer)?;
        self.left = self.left.checked_sub(read as u64).ok_or_else(|| {
            io::Error::other("its headers alone are larger than the limits allow: it looks like a bomb")
        })?;
        Ok(read)
    }
}

//! A directory that was unpacked once, made again from what lies unpacked.
//!
//! A script may have changed what it found in its directory. So what came out
//! of the archive is written down when it is unpacked, and a copy is made of
//! that and nothing else: each file must still have the content that it had;
//! owner, mode and time are given as they were, whatever they are now; what was
//! not in the archive is left out.

use std::fs;
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::tree::{Attributes, Tree};
use super::{Limits, UnpackError, beside, remove};
use crate::regular_file;

/// Entries of an inventory: some ten megabytes of it. A bundle with more is
/// unpacked from its archive each time.
const ENTRIES_MAX: usize = 100_000;

/// What a directory held when it was unpacked, each directory before what is
/// in it.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Inventory {
    items: Vec<Item>,
}

/// Paths are relative to the top.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
enum Item {
    Directory { path: String, mode: u32, owner: (u32, u32), modified: u64 },
    File { path: String, mode: u32, owner: (u32, u32), modified: u64, blake3: String },
    Link { path: String, target: String },
}

/// Why a directory could not be made again. The destination is as it was.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AgainError {
    #[error("`{}` is not as it was unpacked", .0.display())]
    Changed(PathBuf),
    #[error(transparent)]
    Unpack(#[from] UnpackError),
}

impl Inventory {
    /// Of what was just unpacked as `top`; none if there is too much of it, or a
    /// name that is no text. Blocks.
    /// # Errors
    /// What could not be read.
    pub(crate) fn take(top: &Path) -> io::Result<Option<Inventory>> {
        let mut items = Vec::new();
        let mut below = vec![PathBuf::new()];
        while let Some(dir) = below.pop() {
            let mut names = Vec::new();
            for entry in fs::read_dir(top.join(&dir))? {
                names.push(dir.join(entry?.file_name()));
            }
            names.sort();
            for path in names {
                let Some(item) = item(top, &path)? else { return Ok(None) };
                if items.len() >= ENTRIES_MAX {
                    return Ok(None);
                }
                if let Item::Directory { .. } = item {
                    below.push(path);
                }
                items.push(item);
            }
        }
        Ok(Some(Inventory { items }))
    }

    /// Makes `destination`, which is replaced, from `source`. Blocks.
    /// # Errors
    /// [`AgainError::Changed`] as soon as something is not what it was.
    pub(crate) fn unpack_again(
        &self,
        source: &Path,
        destination: &Path,
        limits: Limits,
    ) -> Result<(), AgainError> {
        let unfinished = beside(destination);
        let write = |cause| UnpackError::Write { path: unfinished.clone(), cause };
        remove(&unfinished).map_err(write)?;
        fs::create_dir_all(&unfinished).map_err(write)?;
        let mut tree = Tree::new(&unfinished, u64::MAX, limits);
        let copied = self.items.iter().try_for_each(|item| copy(item, source, &mut tree));
        let finished = copied.and_then(|()| Ok(tree.finish()?)).and_then(|()| {
            let renamed = remove(destination).and_then(|()| fs::rename(&unfinished, destination));
            Ok(renamed.map_err(|cause| UnpackError::Write { path: destination.to_owned(), cause })?)
        });
        if finished.is_err() {
            // What failed is the better thing to report.
            let _ = remove(&unfinished);
        }
        finished
    }
}

fn item(top: &Path, path: &Path) -> io::Result<Option<Item>> {
    let place = top.join(path);
    let metadata = fs::symlink_metadata(&place)?;
    let Some(path) = path.to_str().map(str::to_owned) else { return Ok(None) };
    let (mode, owner) = (metadata.mode() & 0o7777, (metadata.uid(), metadata.gid()));
    let modified = u64::try_from(metadata.mtime()).unwrap_or(0);
    if metadata.is_symlink() {
        let target = fs::read_link(&place)?.into_os_string().into_string().ok();
        return Ok(target.map(|target| Item::Link { path, target }));
    }
    if metadata.is_dir() {
        return Ok(Some(Item::Directory { path, mode, owner, modified }));
    }
    let mut hashing = Hashing { inner: regular_file::open(&place)?, hasher: blake3::Hasher::new() };
    io::copy(&mut hashing, &mut io::sink())?;
    Ok(Some(Item::File { path, mode, owner, modified, blake3: hashing.hex() }))
}

fn copy(item: &Item, source: &Path, tree: &mut Tree) -> Result<(), AgainError> {
    let gives_away = nix::unistd::geteuid().is_root();
    let attributes = |mode: &u32, owner: &(u32, u32), modified: &u64| Attributes {
        mode: *mode,
        owner: gives_away.then_some(*owner),
        modified: *modified,
    };
    match item {
        Item::Directory { path, mode, owner, modified } => {
            if let Some(place) = tree.place(Path::new(path))? {
                tree.directory(&place, attributes(mode, owner, modified))?;
            }
        }
        Item::Link { path, target } => {
            let changed = || AgainError::Changed(source.join(path));
            let now = fs::read_link(source.join(path)).map_err(|_| changed())?;
            if now != Path::new(target) {
                return Err(changed());
            }
            if let Some(place) = tree.place(Path::new(path))? {
                tree.link(&place, &now)?;
            }
        }
        Item::File { path, mode, owner, modified, blake3 } => {
            let changed = || AgainError::Changed(source.join(path));
            // What lies there now may be a link that leads away.
            let file = regular_file::open_no_link(&source.join(path)).map_err(|_| changed())?;
            let mut hashing = Hashing { inner: file, hasher: blake3::Hasher::new() };
            if let Some(place) = tree.place(Path::new(path))? {
                tree.file(&place, &mut hashing, attributes(mode, owner, modified))?;
            }
            if hashing.hex() != *blake3 {
                return Err(changed());
            }
        }
    }
    Ok(())
}

/// What is read through it is hashed.
struct Hashing<R> {
    inner: R,
    hasher: blake3::Hasher,
}

impl<R> Hashing<R> {
    fn hex(&self) -> String {
        self.hasher.finalize().to_hex().to_string()
    }
}

impl<R: Read> Read for Hashing<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        self.hasher.update(&buffer[..read]);
        Ok(read)
    }
}

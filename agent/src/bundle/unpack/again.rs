//! The inventory of a bundle: what came out of the archive, written down while
//! it is unpacked.
//!
//! A script may change what it finds in its directory. So the inventory is what
//! a copy of the revision is made from: each file must still have the content
//! that it had; owner, mode and time are given as they were, whatever they are
//! now; what was not in the archive is left out. It also says which content a
//! script had that is about to run, and which owner and mode the archive gives
//! a file, which only what is installed gets.

use std::ffi::OsStr;
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::tree::{Attributes, Tree, make_directory};
use super::{Limits, UnpackError, beside, path_of, remove};
use crate::regular_file;

/// What an archive held, each directory before what is in it.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Inventory {
    items: Vec<Item>,
}

/// One entry, without its path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum What {
    Directory(Attributes),
    File(Attributes, blake3::Hash),
    /// A symbolic link to this target.
    Link(PathBuf),
}

/// The written form. Paths are relative to the top; see [`text`].
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
enum Item {
    Directory { path: String, mode: u32, owner: Option<(u32, u32)>, modified: u64 },
    File { path: String, mode: u32, owner: Option<(u32, u32)>, modified: u64, blake3: String },
    Link { path: String, target: String },
}

/// Around the written entries.
const START: &[u8] = b"{\"items\":[";
const END: &[u8] = b"\n]}\n";

/// What an inventory says of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Known {
    /// The BLAKE3 hash of its content, in hexadecimal.
    Hash(String),
    /// The archive had no such file.
    NoFile,
    /// It is not a whole inventory.
    NoInventory,
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
    pub(super) fn of(entries: Vec<(PathBuf, What)>) -> Inventory {
        let item = |(path, what): (PathBuf, What)| {
            let path = text(&path);
            match what {
                What::Directory(Attributes { mode, owner, modified }) => {
                    Item::Directory { path, mode, owner, modified }
                }
                What::File(Attributes { mode, owner, modified }, hash) => {
                    Item::File { path, mode, owner, modified, blake3: hash.to_hex().to_string() }
                }
                What::Link(target) => Item::Link { path, target: text(&target) },
            }
        };
        Inventory { items: entries.into_iter().map(item).collect() }
    }

    /// Leaves out all but what is below `top`, which becomes the top.
    pub(super) fn strip(&mut self, top: &OsStr) {
        self.items.retain_mut(|item| {
            let path = match item {
                Item::Directory { path, .. } | Item::File { path, .. } | Item::Link { path, .. } => path,
            };
            let below = path_of_text(path).strip_prefix(top).map(text);
            *path = below.unwrap_or_default();
            !path.is_empty()
        });
    }

    /// Writes it as JSON, each entry in a line of its own.
    pub(crate) fn write(&self, mut to: impl Write) -> io::Result<()> {
        to.write_all(START)?;
        for (at, item) in self.items.iter().enumerate() {
            to.write_all(if at == 0 { b"\n" } else { b",\n" })?;
            serde_json::to_writer(&mut to, item)?;
        }
        to.write_all(END)
    }

    pub(crate) fn read(written: &[u8]) -> io::Result<Inventory> {
        Ok(serde_json::from_slice(written)?)
    }

    /// Returns what a written inventory says of the file `path`, without reading
    /// all of its entries.
    pub(crate) fn look_up(written: &[u8], path: &Path) -> io::Result<Known> {
        // Without a checksum, what a power loss left of it shows only so.
        let Some(items) = written.strip_prefix(START).and_then(|rest| rest.strip_suffix(END)) else {
            return Ok(Known::NoInventory);
        };
        let start = format!("{{\"File\":{{\"path\":{},", serde_json::to_string(&text(path))?);
        let Some(line) = items.split(|byte| *byte == b'\n').find(|line| line.starts_with(start.as_bytes()))
        else {
            return Ok(Known::NoFile);
        };
        match serde_json::from_slice(line.strip_suffix(b",").unwrap_or(line))? {
            Item::File { blake3, .. } => Ok(Known::Hash(blake3)),
            Item::Directory { .. } | Item::Link { .. } => Ok(Known::NoFile),
        }
    }

    /// The attributes of each file.
    pub(crate) fn files(&self) -> impl Iterator<Item = (PathBuf, Attributes)> {
        self.items.iter().filter_map(|item| match item {
            Item::File { path, mode, owner, modified, .. } => {
                let attributes = Attributes { mode: *mode, owner: *owner, modified: *modified };
                Some((path_of_text(path), attributes))
            }
            Item::Directory { .. } | Item::Link { .. } => None,
        })
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
        make_directory(&unfinished).map_err(write)?;
        let mut tree = Tree::new(&unfinished, u64::MAX, limits);
        let copied = self.items.iter().try_for_each(|item| copy(item, source, &mut tree));
        let finished = copied.and_then(|()| Ok(tree.finish().map(drop)?)).and_then(|()| {
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

fn copy(item: &Item, source: &Path, tree: &mut Tree) -> Result<(), AgainError> {
    match item {
        Item::Directory { path, mode, owner, modified } => {
            if let Some(place) = tree.place(&path_of_text(path))? {
                tree.directory(&place, attributes(*mode, *owner, *modified))?;
            }
        }
        Item::Link { path, target } => {
            let (path, target) = (path_of_text(path), path_of_text(target));
            let changed = || AgainError::Changed(source.join(&path));
            if fs::read_link(source.join(&path)).map_err(|_| changed())? != target {
                return Err(changed());
            }
            if let Some(place) = tree.place(&path)? {
                tree.link(&place, &target)?;
            }
        }
        Item::File { path, mode, owner, modified, blake3 } => {
            let path = path_of_text(path);
            let changed = || AgainError::Changed(source.join(&path));
            // What lies there now may be a link that leads away.
            let mut file = regular_file::open_no_link(&source.join(&path)).map_err(|_| changed())?;
            if let Some(place) = tree.place(&path)? {
                let hash = tree.file(&place, &mut file, attributes(*mode, *owner, *modified))?;
                if hash.to_hex().as_str() != blake3 {
                    return Err(changed());
                }
            }
        }
    }
    Ok(())
}

/// Only root gives files away.
fn attributes(mode: u32, owner: Option<(u32, u32)>, modified: u64) -> Attributes {
    Attributes { mode, owner: owner.filter(|_| nix::unistd::geteuid().is_root()), modified }
}

/// Starts a path that is not UTF-8, of which the rest are its bytes in
/// hexadecimal. No path has a NUL.
const NOT_UTF8: &str = "\0";

fn text(path: &Path) -> String {
    match path.to_str() {
        Some(text) => text.to_owned(),
        None => NOT_UTF8.to_owned() + &data_encoding::HEXLOWER.encode(path.as_os_str().as_encoded_bytes()),
    }
}

fn path_of_text(text: &str) -> PathBuf {
    let hexadecimal = text.strip_prefix(NOT_UTF8).map(|rest| data_encoding::HEXLOWER.decode(rest.as_bytes()));
    match hexadecimal {
        Some(Ok(bytes)) => path_of(&bytes),
        Some(Err(_)) | None => PathBuf::from(text),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::ffi::OsStrExt;

    use super::*;

    fn inventory() -> Inventory {
        let attributes = Attributes { mode: 0o640, owner: Some((1, 2)), modified: 3 };
        let odd = PathBuf::from(std::ffi::OsStr::from_bytes(b"dir/\xff"));
        Inventory::of(vec![
            (PathBuf::from("dir"), What::Directory(attributes)),
            (PathBuf::from("dir/a \"b\""), What::File(attributes, blake3::hash(b"a"))),
            (odd, What::File(attributes, blake3::hash(b"odd"))),
            (PathBuf::from("link"), What::Link(PathBuf::from("/etc"))),
        ])
    }

    #[test]
    fn an_inventory_is_read_as_it_was_written() {
        let (inventory, mut written) = (inventory(), Vec::new());
        inventory.write(&mut written).expect("written");
        assert_eq!(Inventory::read(&written).expect("read"), inventory);
        let odd = Path::new(std::ffi::OsStr::from_bytes(b"dir/\xff"));
        let look_up = |path: &Path| Inventory::look_up(&written, path).expect("read");
        for (path, content) in [(Path::new("dir/a \"b\""), "a"), (odd, "odd")] {
            assert_eq!(look_up(path), Known::Hash(blake3::hash(content.as_bytes()).to_hex().to_string()));
        }
        for path in ["dir", "link", "dir/a", "missing"] {
            assert_eq!(look_up(Path::new(path)), Known::NoFile, "{path}");
        }
        let half = &written[..written.len() / 2];
        for ruined in [&b""[..], &[0; 4096], half] {
            let known = Inventory::look_up(ruined, odd).expect("read");
            assert_eq!(known, Known::NoInventory);
        }
    }
}

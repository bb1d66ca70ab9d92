//! The inventory of a bundle: what was in the archive, recorded while it is unpacked.
//!
//! A script may change what it finds in its directory. So a copy of the revision is made
//! according to the inventory: each file must still have its original content; owner, mode and
//! time are set as they were, whatever they are now; and files that were not in the archive are
//! left out. The inventory also holds the content hash of each script that is about to run, and
//! the owner and mode that the archive gives to each file, which only installed files get.
//!
//! Given up: each bundle is hashed once more when it is unpacked. Kept: a rollback works even
//! if no host has the bundle any longer.

use std::ffi::OsStr;
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::tree::{Attributes, Tree, make_directory};
use super::{Limits, UnpackError, beside, path_of, remove};
use crate::regular_file;

/// The content of an archive, each directory before the entries in it.
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

/// The serialized form of an entry. Paths are relative to the top; see [`text`].
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
enum Item {
    Directory { path: String, mode: u32, owner: Option<(u32, u32)>, modified: u64 },
    File { path: String, mode: u32, owner: Option<(u32, u32)>, modified: u64, blake3: String },
    Link { path: String, target: String },
}

/// The text around the serialized entries.
const START: &[u8] = b"{\"items\":[";
const END: &[u8] = b"\n]}\n";

/// The record of a file in an inventory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Known {
    /// The BLAKE3 hash of its content, in hexadecimal.
    Hash(String),
    /// The archive had no such file.
    NoFile,
    /// The inventory is incomplete.
    NoInventory,
}

/// The reason why a directory could not be copied. The destination is unchanged.
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

    /// Leaves out everything except what is below `top`, which becomes the top.
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

    /// Writes it as JSON, one entry per line.
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

    /// Looks up the file `path` in a serialized inventory without parsing all of its entries.
    pub(crate) fn look_up(written: &[u8], path: &Path) -> io::Result<Known> {
        // There is no checksum; this is how damage by a power loss shows.
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

    /// Returns the attributes of each file.
    pub(crate) fn files(&self) -> impl Iterator<Item = (PathBuf, Attributes)> {
        self.items.iter().filter_map(|item| match item {
            Item::File { path, mode, owner, modified, .. } => {
                let attributes = Attributes { mode: *mode, owner: *owner, modified: *modified };
                Some((path_of_text(path), attributes))
            }
            Item::Directory { .. } | Item::Link { .. } => None,
        })
    }

    /// Creates `destination`, which is replaced, from `source`. Blocks.
    /// # Errors
    /// [`AgainError::Changed`] as soon as something differs from the inventory.
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
            // Report the earlier error instead.
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
            // The file may have been replaced by a link that leads elsewhere.
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

/// Leaves out the owner unless the agent is root, because only root can give files away.
fn attributes(mode: u32, owner: Option<(u32, u32)>, modified: u64) -> Attributes {
    Attributes { mode, owner: owner.filter(|_| nix::unistd::geteuid().is_root()), modified }
}

/// The prefix of a path that is not UTF-8; its bytes follow in hexadecimal. No path contains a NUL.
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

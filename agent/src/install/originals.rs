//! The modes and owners that the archive gives to files. The unpacked revision
//! itself belongs to the agent, so they come from its inventory.

use std::collections::HashMap;
use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use crate::bundle::unpack::again::Inventory;
use crate::bundle::unpack::tree::Attributes;

/// The attributes by the file's path in the bundle. Empty if there is no
/// inventory, as for a revision that the official agent unpacked.
#[derive(Debug, Default)]
pub(crate) struct Originals {
    files: HashMap<PathBuf, Attributes>,
}

impl Originals {
    /// Takes from the inventory the attributes that differ from those in the unpacked revision.
    pub(crate) fn of(inventory: &Inventory) -> Originals {
        let differs = |attributes: &Attributes| {
            attributes.owner.is_some_and(|(user, _)| user != nix::unistd::geteuid().as_raw())
                || attributes.mode != attributes.kept_mode()
        };
        Originals { files: inventory.files().filter(|(_, attributes)| differs(attributes)).collect() }
    }

    /// Returns the mode and owner to install a file with. If a script changed
    /// them after unpacking, the script's count.
    pub(super) fn of_file(&self, below: &Path, now: &Metadata) -> (u32, (u32, u32)) {
        let as_it_is = (now.mode() & 0o7777, (now.uid(), now.gid()));
        let Some(original) = self.files.get(below) else { return as_it_is };
        let is_untouched = now.uid() == nix::unistd::geteuid().as_raw()
            && original.owner.is_none_or(|(_, group)| group == now.gid())
            && [original.kept_mode(), original.listed_mode()].contains(&(now.mode() & 0o7777));
        if is_untouched { (original.mode, original.owner.unwrap_or(as_it_is.1)) } else { as_it_is }
    }
}

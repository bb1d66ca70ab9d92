//! The directory that an archive is unpacked into, and the rules for what may go there.
//!
//! The directory belongs to the agent, and only the agent writes it: scripts run from
//! here as root. The owner and mode that the archive gives to an entry are recorded
//! in the [`Inventory`], and set on installed files. The owner's read access is also
//! set here, so that a script that runs as that owner finds its files.
//!
//! Kept: what runs as root was written by root, and the archive's owner can still read it, by
//! an access control list. Given up: scripts of other users cannot write there.

use std::collections::{HashMap, HashSet};
use std::fs::{self, DirBuilder, File, Permissions};
use std::io::{self, Read};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use super::super::cache::{LOOK_AFTER, require_room};
use super::again::{Inventory, What};
use super::{Limits, RATIO_FROM, Refused, UnpackError, check_link, check_path, damaged};
use crate::posix_acl;

/// The setuid and setgid bits.
const SET_IDS: u32 = 0o6000;
/// The mode bits that an entry keeps in the unpacked directory: only the agent may write there.
const KEPT_BITS: u32 = 0o755;
/// The mode bits that every directory gets: without them, an agent that is not
/// root could not remove the content.
const DIRECTORY_BITS: u32 = 0o700;

/// The metadata of a file or directory in an archive.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Attributes {
    pub(crate) mode: u32,
    /// User and group id; `None` where the agent may not give files away.
    pub(crate) owner: Option<(u32, u32)>,
    /// Seconds since 1970; zero if the archive does not say.
    pub(crate) modified: u64,
}

impl Attributes {
    /// Returns the mode in the unpacked directory, where access control lists are unsupported or unneeded.
    pub(crate) fn kept_mode(&self) -> u32 {
        self.mode & KEPT_BITS
    }

    /// Returns the owner's rights to read and to execute.
    pub(crate) fn owner_bits(&self) -> u32 {
        self.mode >> 6 & 0o5
    }

    /// Returns the mode that the kernel shows if the owner has these rights by an
    /// access control list: the group bits are then the list's mask.
    pub(crate) fn listed_mode(&self) -> u32 {
        self.kept_mode() | self.owner_bits() << 3
    }
}

/// The directory that is being filled.
pub(super) struct Tree {
    top: PathBuf,
    pub(super) limits: Limits,
    pub(super) packed: u64,
    entries: u64,
    bytes: u64,
    /// True if the archive was made from a directory; nothing is then stripped.
    pub(super) was_directory: bool,
    /// Paths that are known to be real directories, made by this tree.
    directories: HashSet<PathBuf>,
    /// Everything written so far; of two entries with one name, the later counts.
    inventory: HashMap<PathBuf, What>,
    /// The buffer for copying files.
    buffer: Vec<u8>,
}

/// The number of bytes to read and write at once.
const BUFFER_BYTES: usize = 64 * 1024;

impl Tree {
    pub(super) fn new(top: &Path, packed: u64, limits: Limits) -> Tree {
        Tree {
            top: top.to_owned(),
            limits,
            packed,
            entries: 0,
            bytes: 0,
            was_directory: false,
            directories: HashSet::new(),
            inventory: HashMap::new(),
            buffer: vec![0; BUFFER_BYTES],
        }
    }

    /// Returns the device and inode of the directory.
    pub(super) fn identity(&self) -> Result<(u64, u64), UnpackError> {
        let metadata = self.top.metadata();
        let metadata = metadata.map_err(|cause| UnpackError::Read { path: self.top.clone(), cause })?;
        Ok((metadata.dev(), metadata.ino()))
    }

    pub(super) fn require_room(&self, needed: u64) -> Result<(), UnpackError> {
        Ok(require_room(&self.top, needed)?)
    }

    /// Counts an entry and returns its checked path; `None` for the top itself.
    pub(super) fn place(&mut self, name: &Path) -> Result<Option<PathBuf>, UnpackError> {
        self.entries += 1;
        let too_many = self.entries > self.limits.entries_max;
        let checked = if too_many {
            Err(Refused::TooManyEntries(self.limits.entries_max))
        } else {
            check_path(name).and_then(|path| self.parents(&path).map(|()| path))
        };
        match checked {
            Ok(path) if path.as_os_str().is_empty() => Ok(None),
            Ok(path) => Ok(Some(path)),
            Err(cause) => Err(UnpackError::Refused { name: name.to_owned(), cause }),
        }
    }

    /// Checks that all parents of the path are directories, and creates missing ones.
    fn parents(&mut self, path: &Path) -> Result<(), Refused> {
        let Some(parent) = path.parent().filter(|parent| !parent.as_os_str().is_empty()) else {
            return Ok(());
        };
        if self.directories.contains(parent) {
            return Ok(());
        }
        self.parents(parent)?;
        let place = self.top.join(parent);
        match fs::symlink_metadata(&place) {
            Ok(metadata) if metadata.is_dir() => {}
            Ok(_) => return Err(Refused::ThroughNonDirectory { above: parent.display().to_string() }),
            // If this fails, creating the entry inside fails, too, and reports the reason.
            Err(_) => drop(make_directory(&place)),
        }
        self.directories.insert(parent.to_owned());
        Ok(())
    }

    pub(super) fn directory(&mut self, path: &Path, attributes: Attributes) -> Result<(), UnpackError> {
        let place = self.top.join(path);
        let is_dir = fs::symlink_metadata(&place).is_ok_and(|metadata| metadata.is_dir());
        if !is_dir {
            self.anew(&place, make_directory)?;
        }
        self.directories.insert(path.to_owned());
        self.inventory.insert(path.to_owned(), What::Directory(attributes));
        Ok(())
    }

    /// Writes a file and returns the hash of its content.
    pub(super) fn file(
        &mut self,
        path: &Path,
        content: &mut impl Read,
        attributes: Attributes,
    ) -> Result<blake3::Hash, UnpackError> {
        let place = self.top.join(path);
        let create = |place: &Path| File::options().write(true).create_new(true).mode(0o600).open(place);
        let mut file = self.anew(&place, create)?;
        let hash = self.copy(path, content, &mut file)?;
        // With setuid, a person who can put a file into a bundle could run code as its owner.
        // `mode` in the AppSpec file sets these bits on installed files.
        let attributes = Attributes { mode: attributes.mode & !SET_IDS & 0o7777, ..attributes };
        let kept = keep(&file, &attributes, attributes.kept_mode());
        kept.map_err(|cause| UnpackError::Write { path: place, cause })?;
        self.inventory.insert(path.to_owned(), What::File(attributes, hash));
        Ok(hash)
    }

    fn copy(
        &mut self,
        path: &Path,
        content: &mut impl Read,
        file: &mut File,
    ) -> Result<blake3::Hash, UnpackError> {
        let mut hasher = blake3::Hasher::new();
        loop {
            let read = content.read(&mut self.buffer).map_err(damaged)?;
            if read == 0 {
                return Ok(hasher.finalize());
            }
            self.count(path, read as u64)?;
            hasher.update(&self.buffer[..read]);
            let written = io::Write::write_all(file, &self.buffer[..read]);
            written.map_err(|cause| UnpackError::Write { path: self.top.join(path), cause })?;
        }
    }

    fn count(&mut self, name: &Path, bytes: u64) -> Result<(), UnpackError> {
        let before = self.bytes / LOOK_AFTER;
        self.bytes += bytes;
        if before != self.bytes / LOOK_AFTER {
            self.require_room(bytes)?;
        }
        let Limits { bytes_max, ratio_max, .. } = self.limits;
        let cause = if self.bytes > bytes_max {
            Refused::TooLarge(bytes_max)
        } else if self.bytes > RATIO_FROM && self.bytes / ratio_max > self.packed {
            Refused::Ratio(ratio_max)
        } else {
            return Ok(());
        };
        Err(UnpackError::Refused { name: name.to_owned(), cause })
    }

    pub(super) fn link(&mut self, path: &Path, target: &Path) -> Result<(), UnpackError> {
        check_link(target).map_err(|cause| UnpackError::Refused { name: path.to_owned(), cause })?;
        self.anew(&self.top.join(path), |place| std::os::unix::fs::symlink(target, place))?;
        self.inventory.insert(path.to_owned(), What::Link(target.to_owned()));
        Ok(())
    }

    pub(super) fn hard_link(&mut self, path: &Path, target: &Path) -> Result<(), UnpackError> {
        let checked = check_path(target).and_then(|target| self.parents(&target).map(|()| target));
        let source = checked.ok().and_then(|target| match self.inventory.get(&target) {
            Some(file @ What::File(..)) => Some((self.top.join(target), file.clone())),
            // A link to a link would be resolved at another place than its own.
            Some(What::Directory(_) | What::Link(_)) | None => None,
        });
        let Some((source, file)) = source else {
            let cause = Refused::HardLink { target: target.display().to_string() };
            return Err(UnpackError::Refused { name: path.to_owned(), cause });
        };
        let place = self.top.join(path);
        if source == place {
            return Ok(());
        }
        self.anew(&place, |place| fs::hard_link(&source, place))?;
        self.inventory.insert(path.to_owned(), file);
        Ok(())
    }

    /// Creates an entry that may exist already. Of two entries with one name the later
    /// wins, as with tar; but a directory, which may have content by now, is not replaced.
    fn anew<T>(&self, place: &Path, make: impl Fn(&Path) -> io::Result<T>) -> Result<T, UnpackError> {
        let made = match make(place) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                fs::remove_file(place).and_then(|()| make(place))
            }
            other => other,
        };
        made.map_err(|cause| UnpackError::Write { path: place.to_owned(), cause })
    }

    /// Sets the attributes of directories, and returns the inventory.
    pub(super) fn finish(self) -> Result<Inventory, UnpackError> {
        let mut items: Vec<_> = self.inventory.into_iter().collect();
        items.sort_unstable_by(|(one, _), (other, _)| one.cmp(other));
        // Start with the deepest, so that writes below do not change a directory's time.
        for (path, what) in items.iter().rev() {
            let What::Directory(attributes) = what else { continue };
            let place = self.top.join(path);
            let mode = attributes.kept_mode() | DIRECTORY_BITS;
            let kept = File::open(&place).and_then(|file| keep(&file, attributes, mode));
            kept.map_err(|cause| UnpackError::Write { path: place, cause })?;
        }
        Ok(Inventory::of(items))
    }
}

/// Creates a directory that only the agent can write, whatever the umask.
pub(super) fn make_directory(place: &Path) -> io::Result<()> {
    DirBuilder::new().mode(KEPT_BITS).create(place)
}

/// Sets an entry's time and mode, and the read access of its owner.
fn keep(file: &File, attributes: &Attributes, mode: u32) -> io::Result<()> {
    let agent = (nix::unistd::geteuid().as_raw(), nix::unistd::getegid().as_raw());
    let (user, group) = attributes.owner.unwrap_or(agent);
    if group != agent.1 {
        std::os::unix::fs::fchown(file, None, Some(group))?;
    }
    file.set_permissions(Permissions::from_mode(mode))?;
    if user != agent.0 && attributes.owner_bits() != mode & 0o5 {
        posix_acl::let_user(file, user, attributes.owner_bits(), mode)?;
    }
    if attributes.modified > 0 {
        let modified = std::time::UNIX_EPOCH + std::time::Duration::from_secs(attributes.modified);
        file.set_modified(modified)?;
    }
    Ok(())
}

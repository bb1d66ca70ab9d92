//! The directory that an archive is unpacked into, and what may go there.
//!
//! It belongs to the agent, and only the agent writes it: scripts run from here
//! as root. The owner and mode that the archive gives an entry are noted in the
//! [`Inventory`], and given to what is installed. Their read access is kept
//! here too, so that a script that runs as that owner finds its files.

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
/// The bits that an entry keeps in the unpacked directory: others than the agent
/// do not write there.
const KEPT_BITS: u32 = 0o755;
/// The bits that a directory has in any case: without them the agent could not
/// remove what is inside, unless it is root.
const DIRECTORY_BITS: u32 = 0o700;

/// What a file or directory of an archive has besides its bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Attributes {
    pub(crate) mode: u32,
    /// Known only where the agent may give files away.
    pub(crate) owner: Option<(u32, u32)>,
    /// Seconds since 1970; zero means that the archive does not say.
    pub(crate) modified: u64,
}

impl Attributes {
    /// The mode in the unpacked directory, where access control lists are not
    /// supported or not needed.
    pub(crate) fn kept_mode(&self) -> u32 {
        self.mode & KEPT_BITS
    }

    /// The owner's right to read and to run.
    pub(crate) fn owner_bits(&self) -> u32 {
        self.mode >> 6 & 0o5
    }

    /// The mode that the kernel shows if the owner has this right by an access
    /// control list: the group's bits are the list's mask then.
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
    /// Whether the archive is a packed directory, of which nothing is stripped.
    pub(super) was_directory: bool,
    /// Known to be real directories, made by this tree.
    directories: HashSet<PathBuf>,
    /// All that was laid down; the later of two entries with one name counts.
    inventory: HashMap<PathBuf, What>,
    /// What a file's content goes through.
    buffer: Vec<u8>,
}

/// What is read and written at once.
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

    /// Which directory on which device it is.
    pub(super) fn identity(&self) -> Result<(u64, u64), UnpackError> {
        let metadata = self.top.metadata();
        let metadata = metadata.map_err(|cause| UnpackError::Read { path: self.top.clone(), cause })?;
        Ok((metadata.dev(), metadata.ino()))
    }

    pub(super) fn require_room(&self, needed: u64) -> Result<(), UnpackError> {
        Ok(require_room(&self.top, needed)?)
    }

    /// Counts an entry and says where it goes; `None` for the top itself.
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

    /// Makes sure that all of the path above its last name are directories.
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
            // Should this fail, so does what is to go inside, and says why.
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

    /// Returns the hash of the content.
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
        // Whoever can put a file into a bundle would else run as its owner;
        // `mode` in the AppSpec gives the bits to what is installed.
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
            // A link to a link would be judged at another place than its own.
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

    /// Makes what is not there yet. Of two entries with one name the later
    /// wins, as with tar; only a directory, which may have something inside by
    /// now, does not yield.
    fn anew<T>(&self, place: &Path, make: impl Fn(&Path) -> io::Result<T>) -> Result<T, UnpackError> {
        let made = match make(place) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                fs::remove_file(place).and_then(|()| make(place))
            }
            other => other,
        };
        made.map_err(|cause| UnpackError::Write { path: place.to_owned(), cause })
    }

    /// Gives directories what they keep, and returns what was laid down.
    pub(super) fn finish(self) -> Result<Inventory, UnpackError> {
        let mut items: Vec<_> = self.inventory.into_iter().collect();
        items.sort_unstable_by(|(one, _), (other, _)| one.cmp(other));
        // Those below first, so that their times stay.
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

/// Makes a directory that others than the agent do not write, whatever the umask.
pub(super) fn make_directory(place: &Path) -> io::Result<()> {
    DirBuilder::new().mode(KEPT_BITS).create(place)
}

/// Gives an entry its time, `mode`, and the read access that its owner has.
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

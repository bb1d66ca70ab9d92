//! The directory that an archive is unpacked into, and what may go there.

use std::collections::HashMap;
use std::fs::{self, File, Permissions};
use std::io::{self, Read};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use super::super::cache::free_bytes;
use super::{Limits, RATIO_FROM, Refused, UnpackError, check_link, check_path, damaged};

/// The setuid and setgid bits.
const SET_IDS: u32 = 0o6000;

/// What a file or directory of an archive is to have besides its bytes.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Attributes {
    pub(super) mode: u32,
    /// Set only where the agent may give files away.
    pub(super) owner: Option<(u32, u32)>,
    /// Seconds since 1970; zero means that the archive does not say.
    pub(super) modified: u64,
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
    /// Known to be real directories, made by us. What they are to have is given
    /// at the end: a directory may not be writable for its owner.
    directories: HashMap<PathBuf, Option<Attributes>>,
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
            directories: HashMap::new(),
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
        match free_bytes(&self.top) {
            Some(free) if free < needed => Err(UnpackError::NoRoom { path: self.top.clone(), needed, free }),
            Some(_) | None => Ok(()),
        }
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
        if self.directories.contains_key(parent) {
            return Ok(());
        }
        self.parents(parent)?;
        let place = self.top.join(parent);
        match fs::symlink_metadata(&place) {
            Ok(metadata) if metadata.is_dir() => {}
            Ok(_) => return Err(Refused::ThroughNonDirectory),
            // Should this fail, so does what is to go inside, and says why.
            Err(_) => drop(fs::create_dir(&place)),
        }
        self.directories.insert(parent.to_owned(), None);
        Ok(())
    }

    pub(super) fn directory(&mut self, path: &Path, attributes: Attributes) -> Result<(), UnpackError> {
        let place = self.top.join(path);
        let is_dir = fs::symlink_metadata(&place).is_ok_and(|metadata| metadata.is_dir());
        if !is_dir {
            self.anew(&place, |place| fs::create_dir(place))?;
        }
        self.directories.insert(path.to_owned(), Some(attributes));
        Ok(())
    }

    pub(super) fn file(
        &mut self,
        path: &Path,
        content: &mut impl Read,
        attributes: Attributes,
    ) -> Result<(), UnpackError> {
        let place = self.top.join(path);
        let create = |place: &Path| File::options().write(true).create_new(true).mode(0o600).open(place);
        let mut file = self.anew(&place, create)?;
        self.copy(path, content, &mut file)?;
        // Whoever can put a file into a bundle would else run as its owner;
        // `mode` in the AppSpec gives the bits to what is installed.
        let mode = attributes.mode & !SET_IDS;
        let given = set(&file, Attributes { mode, ..attributes });
        given.map_err(|cause| UnpackError::Write { path: place, cause })
    }

    fn copy(&mut self, path: &Path, content: &mut impl Read, file: &mut File) -> Result<(), UnpackError> {
        loop {
            let read = content.read(&mut self.buffer).map_err(damaged)?;
            if read == 0 {
                return Ok(());
            }
            self.count(path, read as u64)?;
            let written = io::Write::write_all(file, &self.buffer[..read]);
            written.map_err(|cause| UnpackError::Write { path: self.top.join(path), cause })?;
        }
    }

    fn count(&mut self, name: &Path, bytes: u64) -> Result<(), UnpackError> {
        self.bytes += bytes;
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
        check_link(path, target).map_err(|cause| UnpackError::Refused { name: path.to_owned(), cause })?;
        self.anew(&self.top.join(path), |place| std::os::unix::fs::symlink(target, place))
    }

    pub(super) fn hard_link(&mut self, path: &Path, target: &Path) -> Result<(), UnpackError> {
        let checked = check_path(target).and_then(|target| self.parents(&target).map(|()| target));
        let source = checked.map(|target| self.top.join(target));
        let source = source.ok().filter(|source| {
            // A link to a link would be judged at another place than its own.
            fs::symlink_metadata(source).is_ok_and(|metadata| metadata.is_file())
        });
        let Some(source) = source else {
            let cause = Refused::HardLink { target: target.display().to_string() };
            return Err(UnpackError::Refused { name: path.to_owned(), cause });
        };
        let place = self.top.join(path);
        if source == place {
            return Ok(());
        }
        self.anew(&place, |place| fs::hard_link(&source, place))
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

    pub(super) fn finish(&mut self) -> Result<(), UnpackError> {
        let directories = self.directories.drain();
        let mut given: Vec<_> = directories.filter_map(|(path, given)| Some((path, given?))).collect();
        // Those below first, so that a directory that becomes read-only has
        // nothing left to be changed in it.
        given.sort_by(|(one, _), (other, _)| other.cmp(one));
        for (path, attributes) in given {
            let place = self.top.join(path);
            let given = File::open(&place).and_then(|file| set(&file, attributes));
            given.map_err(|cause| UnpackError::Write { path: place, cause })?;
        }
        Ok(())
    }
}

fn set(file: &File, attributes: Attributes) -> io::Result<()> {
    // First the owner: to change it takes the setuid bits away.
    if let Some((user, group)) = attributes.owner {
        std::os::unix::fs::fchown(file, Some(user), Some(group))?;
    }
    file.set_permissions(Permissions::from_mode(attributes.mode & 0o7777))?;
    if attributes.modified > 0 {
        let modified = std::time::UNIX_EPOCH + std::time::Duration::from_secs(attributes.modified);
        file.set_modified(modified)?;
    }
    Ok(())
}

//! An archive becomes a directory. Archives are hostile until proven
//! otherwise: a bundle is signed, but the one who signs may have unpacked a
//! stranger's release into it.
//!
//! Everything goes into a fresh directory beside the destination, which gets
//! its name only once all is there. As nothing but we write in it, a look at
//! each parent before each write is enough: a parent is a real directory, or
//! the entry is refused. Links may stay only if they cannot lead out, so what
//! follows them later (the install) stays inside too.

mod tarball;
mod zipfile;

use std::collections::HashSet;
use std::ffi::{OsStr, OsString};
use std::fs::{self, File, Permissions};
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Component, Path, PathBuf};

use super::Kind;
use super::cache::{free_bytes, no_space};

/// What an archive may hold at most.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// Files, directories and links together.
    pub(crate) entries_max: u64,
    /// Bytes of all that is unpacked.
    pub(crate) bytes_max: u64,
    /// Unpacked bytes to archive bytes, once [`RATIO_FROM`] are unpacked.
    pub(crate) ratio_max: u64,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            // Ten times the largest bundle we know of (a whole node_modules).
            entries_max: 2_000_000,
            bytes_max: 64 * 1024 * 1024 * 1024,
            // Text compresses to a tenth, logs to a fiftieth; bombs start at a thousandth.
            ratio_max: 200,
        }
    }
}

/// Small archives of empty files have any ratio.
const RATIO_FROM: u64 = 64 * 1024 * 1024;
/// The longest name that Linux file systems hold.
const NAME_BYTES_MAX: usize = 255;
/// Linux refuses longer paths; some room is left for where it is unpacked.
const PATH_BYTES_MAX: usize = 3_072;

/// Why one entry, or an archive as a whole, is not let onto the disk.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Refused {
    #[error("an absolute path: paths in a bundle are relative to its top")]
    Absolute,
    #[error("its path goes up with `..`, so it could leave the bundle")]
    GoesUp,
    #[error("its name is longer than {NAME_BYTES_MAX} bytes, or its path than {PATH_BYTES_MAX}")]
    TooLong,
    #[error("its name has a newline or another control character in it, or none at all")]
    ControlCharacter,
    #[error("it links to `{target}`, which is not inside the bundle, or goes up after a name")]
    LinkLeaves { target: String },
    #[error("it lies below something that is not a directory in this archive")]
    ThroughNonDirectory,
    #[error("it is a hard link to `{target}`, which is no file of this archive before it")]
    HardLink { target: String },
    #[error("it is a {0}: a bundle holds files, directories and links only")]
    Special(&'static str),
    #[error("the archive has more than {0} entries")]
    TooManyEntries(u64),
    #[error("the archive unpacks to more than {0} bytes")]
    TooLarge(u64),
    #[error("the archive unpacks to more than {0} times its size: it looks like a bomb")]
    Ratio(u64),
    #[error("it is encrypted")]
    Encrypted,
}

/// Why an archive was not unpacked. The destination is as if it never had been.
#[derive(Debug, thiserror::Error)]
pub(crate) enum UnpackError {
    #[error("cannot read the archive `{}`", path.display())]
    Read {
        path: PathBuf,
        #[source]
        cause: io::Error,
    },
    #[error("`{}` is neither a zip, tar, tar.gz nor tar.zst archive", path.display())]
    NoArchive { path: PathBuf },
    #[error("cannot read the archive: it is damaged or cut short")]
    Damaged(#[source] io::Error),
    #[error("entry `{}` of the archive is refused", name.display())]
    Refused {
        name: PathBuf,
        #[source]
        cause: Refused,
    },
    #[error("cannot write `{}`{}", path.display(), no_space(path, cause))]
    Write {
        path: PathBuf,
        #[source]
        cause: io::Error,
    },
    #[error(
        "no room to unpack into `{}`: at least {needed} bytes are needed and {free} are free",
        path.display()
    )]
    NoRoom { path: PathBuf, needed: u64, free: u64 },
}

/// Unpacks `archive` as the directory `destination`, which is replaced. Blocks.
///
/// A single directory at the top that has an AppSpec file directly inside
/// becomes the destination itself, as the official agent has it.
pub(crate) fn unpack(archive: &Path, destination: &Path, limits: Limits) -> Result<(), UnpackError> {
    let read = |cause| UnpackError::Read { path: archive.to_owned(), cause };
    let mut file = File::open(archive).map_err(read)?;
    let packed = file.metadata().map_err(read)?.len();
    let Some(kind) = Kind::of_file(&mut file).map_err(read)? else {
        return Err(UnpackError::NoArchive { path: archive.to_owned() });
    };
    let unfinished = beside(destination);
    let write = |path: &Path| {
        let path = path.to_owned();
        move |cause| UnpackError::Write { path, cause }
    };
    remove(&unfinished).map_err(write(&unfinished))?;
    fs::create_dir_all(&unfinished).map_err(write(&unfinished))?;
    let mut tree = Tree::new(&unfinished, packed, limits);
    // What is smaller unpacked than packed is rare enough to be turned away.
    let unpacked = tree.require_room(packed).and_then(|()| match kind {
        Kind::Tar => tarball::unpack(file, &mut tree),
        Kind::TarGz => tarball::unpack(flate2::read::MultiGzDecoder::new(file), &mut tree),
        Kind::TarZst => match zstd::Decoder::new(file) {
            Ok(decoder) => tarball::unpack(decoder, &mut tree),
            Err(cause) => Err(UnpackError::Damaged(cause)),
        },
        Kind::Zip => zipfile::unpack(file, &mut tree),
    });
    let finished = unpacked.and_then(|()| tree.finish()).and_then(|()| {
        remove(destination).map_err(write(destination))?;
        let top = single_top(&unfinished).map_err(write(&unfinished))?;
        let top = top.as_deref().unwrap_or(&unfinished);
        fs::rename(top, destination).map_err(write(destination))
    });
    // Also after success: the emptied directory around a single one at the top.
    let removed = remove(&unfinished).map_err(write(&unfinished));
    finished.and(removed)
}

fn beside(destination: &Path) -> PathBuf {
    let mut name = destination.file_name().unwrap_or_default().to_owned();
    name.push(".unpacking");
    destination.with_file_name(name)
}

fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

/// The directory to strip off: the only thing at the top, with a name like
/// "appspec" directly inside.
fn single_top(dir: &Path) -> io::Result<Option<PathBuf>> {
    let mut entries = fs::read_dir(dir)?;
    let (Some(only), None) = (entries.next().transpose()?, entries.next()) else { return Ok(None) };
    if !only.file_type()?.is_dir() {
        return Ok(None);
    }
    for entry in fs::read_dir(only.path())? {
        let name = entry?.file_name();
        if name.to_string_lossy().to_lowercase().contains("appspec") {
            return Ok(Some(only.path()));
        }
    }
    Ok(None)
}

/// One name of a path: not too long, nothing in it that breaks a line.
pub(crate) fn check_name(name: &[u8]) -> Result<(), Refused> {
    if name.len() > NAME_BYTES_MAX {
        return Err(Refused::TooLong);
    }
    if name.is_empty() || name.iter().any(u8::is_ascii_control) {
        return Err(Refused::ControlCharacter);
    }
    Ok(())
}

/// A path of an archive, relative to its top; empty for the top itself.
fn check_path(path: &Path) -> Result<PathBuf, Refused> {
    if path.as_os_str().len() > PATH_BYTES_MAX {
        return Err(Refused::TooLong);
    }
    let mut checked = PathBuf::new();
    for component in path.components() {
        match component {
            Component::Normal(name) => {
                check_name(name.as_bytes())?;
                checked.push(name);
            }
            Component::CurDir => {}
            Component::ParentDir => return Err(Refused::GoesUp),
            Component::RootDir | Component::Prefix(_) => return Err(Refused::Absolute),
        }
    }
    Ok(checked)
}

/// Where a link at `below` may point: up only at its start, and no further
/// than the top. After a name, `..` could go up from wherever that name, itself
/// a link, leads to.
pub(crate) fn check_link(below: &Path, target: &Path) -> Result<(), Refused> {
    let leaves = || Refused::LinkLeaves { target: target.display().to_string() };
    let mut depth = below.components().count().saturating_sub(1);
    let mut named = false;
    if target.as_os_str().is_empty() || target.as_os_str().len() > PATH_BYTES_MAX {
        return Err(leaves());
    }
    for component in target.components() {
        match component {
            Component::Normal(_) => named = true,
            Component::CurDir => {}
            Component::ParentDir if named => return Err(leaves()),
            Component::ParentDir => depth = depth.checked_sub(1).ok_or_else(leaves)?,
            Component::RootDir | Component::Prefix(_) => return Err(leaves()),
        }
    }
    Ok(())
}

/// What a file or directory of an archive is to have besides its bytes.
#[derive(Clone, Copy, Debug, Default)]
struct Attributes {
    mode: u32,
    /// Set only where the agent may give files away.
    owner: Option<(u32, u32)>,
    /// Seconds since 1970; zero means that the archive does not say.
    modified: u64,
}

/// The directory that is being filled.
struct Tree {
    top: PathBuf,
    limits: Limits,
    packed: u64,
    entries: u64,
    bytes: u64,
    /// Known to be real directories, made by us.
    directories: HashSet<PathBuf>,
    /// Given at the end: a directory may not be writable for its owner.
    attributes: Vec<(PathBuf, Attributes)>,
}

impl Tree {
    fn new(top: &Path, packed: u64, limits: Limits) -> Tree {
        let (directories, attributes) = (HashSet::new(), Vec::new());
        Tree { top: top.to_owned(), limits, packed, entries: 0, bytes: 0, directories, attributes }
    }

    fn require_room(&self, needed: u64) -> Result<(), UnpackError> {
        match free_bytes(&self.top) {
            Some(free) if free < needed => Err(UnpackError::NoRoom { path: self.top.clone(), needed, free }),
            Some(_) | None => Ok(()),
        }
    }

    /// Counts an entry and says where it goes; `None` for the top itself.
    fn place(&mut self, name: &Path) -> Result<Option<PathBuf>, UnpackError> {
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
            Ok(_) => return Err(Refused::ThroughNonDirectory),
            // Should this fail, so does what is to go inside, and says why.
            Err(_) => drop(fs::create_dir(&place)),
        }
        self.directories.insert(parent.to_owned());
        Ok(())
    }

    fn directory(&mut self, path: &Path, attributes: Attributes) -> Result<(), UnpackError> {
        let place = self.top.join(path);
        let is_dir = fs::symlink_metadata(&place).is_ok_and(|metadata| metadata.is_dir());
        if !is_dir {
            self.clear(path)?;
            fs::create_dir(&place).map_err(|cause| UnpackError::Write { path: place.clone(), cause })?;
        }
        self.directories.insert(path.to_owned());
        self.attributes.push((place, attributes));
        Ok(())
    }

    fn file(
        &mut self,
        path: &Path,
        content: &mut impl Read,
        attributes: Attributes,
    ) -> Result<(), UnpackError> {
        self.clear(path)?;
        let place = self.top.join(path);
        let write = |cause| UnpackError::Write { path: place.clone(), cause };
        let mut file =
            File::options().write(true).create_new(true).mode(0o600).open(&place).map_err(write)?;
        self.copy(path, content, &mut file)?;
        set(&place, &file, attributes).map_err(write)
    }

    fn copy(&mut self, path: &Path, content: &mut impl Read, file: &mut File) -> Result<(), UnpackError> {
        let mut buffer = vec![0; 64 * 1024];
        loop {
            let read = content.read(&mut buffer).map_err(UnpackError::Damaged)?;
            if read == 0 {
                return Ok(());
            }
            self.count(path, read as u64)?;
            let written = io::Write::write_all(file, &buffer[..read]);
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

    fn link(&mut self, path: &Path, target: &Path) -> Result<(), UnpackError> {
        check_link(path, target).map_err(|cause| UnpackError::Refused { name: path.to_owned(), cause })?;
        self.clear(path)?;
        let place = self.top.join(path);
        std::os::unix::fs::symlink(target, &place).map_err(|cause| UnpackError::Write { path: place, cause })
    }

    fn hard_link(&mut self, path: &Path, target: &Path) -> Result<(), UnpackError> {
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
        self.clear(path)?;
        fs::hard_link(source, &place).map_err(|cause| UnpackError::Write { path: place, cause })
    }

    /// Of two entries with one name the later wins, as with tar; only a
    /// directory, which may have something inside by now, does not yield.
    fn clear(&self, path: &Path) -> Result<(), UnpackError> {
        let place = self.top.join(path);
        match fs::remove_file(&place) {
            Ok(()) => Ok(()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(cause) => Err(UnpackError::Write { path: place, cause }),
        }
    }

    fn finish(&mut self) -> Result<(), UnpackError> {
        // Backwards, so that a directory that becomes read-only has nothing
        // left to be changed below it.
        while let Some((place, attributes)) = self.attributes.pop() {
            let given = File::open(&place).and_then(|file| set(&place, &file, attributes));
            given.map_err(|cause| UnpackError::Write { path: place, cause })?;
        }
        Ok(())
    }
}

fn set(place: &Path, file: &File, attributes: Attributes) -> io::Result<()> {
    // First the owner: to change it takes the setuid bits away.
    if let Some((user, group)) = attributes.owner {
        std::os::unix::fs::chown(place, Some(user), Some(group))?;
    }
    file.set_permissions(Permissions::from_mode(attributes.mode & 0o7777))?;
    if attributes.modified > 0 {
        let modified = std::time::UNIX_EPOCH + std::time::Duration::from_secs(attributes.modified);
        file.set_modified(modified)?;
    }
    Ok(())
}

fn path_of(bytes: &[u8]) -> PathBuf {
    PathBuf::from(OsString::from(OsStr::from_bytes(bytes)))
}

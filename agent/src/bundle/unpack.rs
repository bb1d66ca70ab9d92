//! Unpacks archives into directories. An archive counts as hostile: a bundle is
//! signed, but the person who signs it may have unpacked a stranger's release into it.
//!
//! Everything goes into a fresh directory beside the destination, which is renamed only once
//! all is there and the archive was read to its end, where its checksums are. Only the agent
//! writes in that directory, so checking each parent before each write is enough: a parent must
//! be a real directory, or the entry is refused. A link may point anywhere, as in a Python
//! virtual environment, because neither unpacking nor installing follows it out of the bundle.
//!
//! Given up: refusing links that lead out of the bundle. Kept: no byte is written through one.

pub(crate) mod again;
pub(crate) mod directory;
mod gzip;
mod owners;
mod tarball;
pub(crate) mod tree;
mod zipfile;

use std::ffi::{OsStr, OsString};
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::{Component, Path, PathBuf};

use super::Kind;
use super::cache::{DiskFull, no_space};
use crate::regular_file;
use again::Inventory;
use tree::Tree;

/// The limits of an archive.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// The number of files, directories and links together.
    pub(crate) entries_max: u64,
    /// The total number of unpacked bytes.
    pub(crate) bytes_max: u64,
    /// The ratio of unpacked bytes to archive bytes, once [`RATIO_FROM`] are unpacked.
    pub(crate) ratio_max: u64,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            // Ten times the largest bundle we know of (a whole node_modules).
            entries_max: 2_000_000,
            bytes_max: 64 * 1024 * 1024 * 1024,
            // Text compresses to a tenth and logs to a fiftieth; bombs start at a thousandth.
            ratio_max: 200,
        }
    }
}

/// The number of unpacked bytes from which the ratio counts: small archives of
/// empty files can have any ratio.
const RATIO_FROM: u64 = 64 * 1024 * 1024;
/// The longest name that Linux file systems hold, in bytes.
const NAME_BYTES_MAX: usize = 255;
/// The longest path, in bytes. Linux refuses paths over 4096 bytes; the rest is
/// for the directory above.
const PATH_BYTES_MAX: usize = 3_072;
/// The most names in a path. No bundle that we know of has a fifth of it. For each
/// name, walking a tree takes a part of the stack, and removing it an open file.
pub(crate) const DEPTH_MAX: usize = 256;

/// The reason why an entry, or a whole archive, is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Refused {
    #[error("an absolute path: paths in a bundle are relative to its top")]
    Absolute,
    #[error("its path goes up with `..`, so it could leave the bundle")]
    GoesUp,
    #[error("its name is longer than {NAME_BYTES_MAX} bytes, or its path than {PATH_BYTES_MAX}")]
    TooLong,
    #[error("it lies more than {DEPTH_MAX} directories deep")]
    TooDeep,
    #[error("its name has a newline or another control character in it, or none at all")]
    ControlCharacter,
    #[error("it is a link to nothing, or its target is longer than {PATH_BYTES_MAX} bytes")]
    LinkTarget,
    #[error(
        "it lies below `{above}`, which is a link or a file in this bundle: nothing is written through a link, so \
         put the files into a real directory"
    )]
    ThroughNonDirectory { above: String },
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
    #[error("it is where the bundle is to be copied to: the deployment root lies inside the bundle")]
    Itself,
}

/// The headers before an entry's content are longer than any real ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "its entries' headers are too long (at most {} bytes for one entry's name and attributes): it looks like a \
     bomb",
    tarball::HEADERS_BYTES_MAX
)]
pub(crate) struct HeadersTooLong;

/// The reason why an archive was not unpacked. The destination is unchanged.
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
    #[error("`{}` is {found}, not {wanted}: --type says what it must be", path.display())]
    OtherKind { path: PathBuf, found: Kind, wanted: Kind },
    #[error("cannot read the archive: it is damaged or cut short")]
    Damaged(#[source] io::Error),
    #[error("the archive is refused")]
    Headers(#[source] HeadersTooLong),
    #[error("entry `{}` of the bundle is refused", shown(name))]
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
    #[error(transparent)]
    NoRoom(#[from] DiskFull),
}

fn damaged(cause: io::Error) -> UnpackError {
    match cause.get_ref().and_then(|cause| cause.downcast_ref::<HeadersTooLong>()) {
        Some(too_long) => UnpackError::Headers(*too_long),
        None => UnpackError::Damaged(cause),
    }
}

/// Checks that `archive` is of one of these kinds; without kinds, any will do.
/// # Errors
/// If it is of another kind, or cannot be read.
pub(crate) fn require(archive: &Path, kinds: &[Kind]) -> Result<(), UnpackError> {
    let Some(wanted) = kinds.first() else { return Ok(()) };
    let kind = regular_file::open(archive).and_then(|mut file| Kind::of_file(&mut file));
    let path = archive.to_owned();
    match kind {
        Ok(Some(kind)) if kinds.contains(&kind) => Ok(()),
        Ok(Some(found)) => Err(UnpackError::OtherKind { path, found, wanted: *wanted }),
        Ok(None) => Err(UnpackError::NoArchive { path }),
        Err(cause) => Err(UnpackError::Read { path, cause }),
    }
}

/// Unpacks `archive` as the directory `destination`, which is replaced. Blocks.
///
/// A single directory at the top that has an AppSpec file directly inside becomes
/// the destination itself, as with the official agent. This does not apply to an
/// archive that was made from a directory.
pub(crate) fn unpack(archive: &Path, destination: &Path, limits: Limits) -> Result<Inventory, UnpackError> {
    let read = |cause| UnpackError::Read { path: archive.to_owned(), cause };
    let mut file = regular_file::open(archive).map_err(read)?;
    let packed = file.metadata().map_err(read)?.len();
    let Some(kind) = Kind::of_file(&mut file).map_err(read)? else {
        return Err(UnpackError::NoArchive { path: archive.to_owned() });
    };
    replace(destination, packed, limits, |tree| {
        // An archive larger than its content is rare enough to be refused on a nearly full disk.
        tree.require_room(packed)?;
        match kind {
            // The tar reader reads headers in blocks of 512 bytes.
            Kind::Tar => tarball::unpack(io::BufReader::new(file), tree)?.require_mark(),
            Kind::TarGz => tarball::unpack(gzip::Members::new(file), tree).map(|_| ()),
            Kind::TarZst => tarball::unpack(zstd::Decoder::new(file).map_err(damaged)?, tree).map(|_| ()),
            Kind::Zip => zipfile::unpack(file, tree),
        }?;
        Ok(if tree.was_directory { Top::Kept } else { Top::Stripped })
    })
}

/// Copies the directory `source` as the directory `destination`, which is replaced. Applies the same
/// checks as for an archive, and strips nothing. Owners and times become the agent's own. Blocks.
pub(crate) fn copy(source: &Path, destination: &Path, limits: Limits) -> Result<Inventory, UnpackError> {
    // The ratio needs no check: the copy is as large as the source.
    replace(destination, u64::MAX, limits, |tree| directory::copy(source, tree).map(|()| Top::Kept))
}

/// The treatment of a single directory at the top.
enum Top {
    Kept,
    Stripped,
}

/// Fills a directory beside the destination, and moves it there once it is complete. At every
/// moment, either the old or the new directory is there.
fn replace(
    destination: &Path,
    packed: u64,
    limits: Limits,
    fill: impl FnOnce(&mut Tree) -> Result<Top, UnpackError>,
) -> Result<Inventory, UnpackError> {
    let unfinished = beside(destination);
    let write = |path: &Path| {
        let path = path.to_owned();
        move |cause| UnpackError::Write { path, cause }
    };
    remove(&unfinished).map_err(write(&unfinished))?;
    let parent = unfinished.parent().unwrap_or(&unfinished);
    fs::create_dir_all(parent).map_err(write(parent))?;
    tree::make_directory(&unfinished).map_err(write(&unfinished))?;
    let mut tree = Tree::new(&unfinished, packed, limits);
    let filled = fill(&mut tree).and_then(|top| Ok((top, tree.finish()?)));
    let finished = filled.and_then(|(top, mut inventory)| {
        remove(destination).map_err(write(destination))?;
        let single = match top {
            Top::Kept => None,
            Top::Stripped => single_top(&unfinished).map_err(write(&unfinished))?,
        };
        let top = match &single {
            Some(name) => {
                inventory.strip(name);
                unfinished.join(name)
            }
            None => unfinished.clone(),
        };
        fs::rename(top, destination).map_err(write(destination))?;
        Ok(inventory)
    });
    // Remove it even after success: an emptied single top directory may be left.
    // If an error came before, report that one.
    let removed = remove(&unfinished).map_err(write(&unfinished));
    finished.and_then(|inventory| removed.map(|()| inventory))
}

fn beside(destination: &Path) -> PathBuf {
    let mut name = destination.file_name().unwrap_or_default().to_owned();
    name.push(".unpacking");
    destination.with_file_name(name)
}

/// Removes `path`, if it exists. Directories that their owner may not write are
/// made writable first: only root could remove their content otherwise.
pub(crate) fn remove(path: &Path) -> io::Result<()> {
    let removed = match fs::remove_dir_all(path) {
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            open_directories(path, DEPTH_MAX)?;
            fs::remove_dir_all(path)
        }
        other => other,
    };
    match removed {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

/// Makes `dir` and the directories below it writable for their owner. Does not follow links.
fn open_directories(dir: &Path, depth_left: usize) -> io::Result<()> {
    const OWNER: u32 = 0o700;
    let mode = fs::symlink_metadata(dir)?.permissions().mode();
    if mode & OWNER != OWNER {
        fs::set_permissions(dir, fs::Permissions::from_mode(mode & 0o7777 | OWNER))?;
    }
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        if depth_left > 0 && entry.file_type()?.is_dir() {
            open_directories(&entry.path(), depth_left - 1)?;
        }
    }
    Ok(())
}

/// Returns true if packers add a file or directory of this name by themselves:
/// the macOS Finder and tar do.
pub(crate) fn is_noise(name: &OsStr) -> bool {
    name == "__MACOSX" || name == ".DS_Store" || name.as_bytes().starts_with(b"._")
}

/// Returns the name of the directory to strip: the only entry at the top, apart
/// from what packers add, with a file named like "appspec" directly inside.
fn single_top(dir: &Path) -> io::Result<Option<OsString>> {
    let mut only = None;
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        if is_noise(&entry.file_name()) {
            continue;
        }
        if only.is_some() || !entry.file_type()?.is_dir() {
            return Ok(None);
        }
        only = Some(entry.file_name());
    }
    let Some(only) = only else { return Ok(None) };
    for entry in fs::read_dir(dir.join(&only))? {
        let name = entry?.file_name();
        if !is_noise(&name) && name.to_string_lossy().to_lowercase().contains("appspec") {
            return Ok(Some(only));
        }
    }
    Ok(None)
}

/// Checks one name of a path: it must not be too long, or contain anything that breaks a line.
fn check_name(name: &[u8]) -> Result<(), Refused> {
    if name.len() > NAME_BYTES_MAX {
        return Err(Refused::TooLong);
    }
    if name.is_empty() || name.iter().any(u8::is_ascii_control) {
        return Err(Refused::ControlCharacter);
    }
    Ok(())
}

/// Checks a path of an archive and returns it relative to the top; empty for the top itself.
pub(crate) fn check_path(path: &Path) -> Result<PathBuf, Refused> {
    if path.as_os_str().len() > PATH_BYTES_MAX {
        return Err(Refused::TooLong);
    }
    let (mut checked, mut depth) = (PathBuf::new(), 0);
    for component in path.components() {
        match component {
            Component::Normal(name) => {
                check_name(name.as_bytes())?;
                checked.push(name);
                depth += 1;
            }
            Component::CurDir => {}
            Component::ParentDir => return Err(Refused::GoesUp),
            Component::RootDir | Component::Prefix(_) => return Err(Refused::Absolute),
        }
    }
    if depth > DEPTH_MAX {
        return Err(Refused::TooDeep);
    }
    Ok(checked)
}

/// Checks a link's target. It may point anywhere, because no link is followed out
/// of the bundle; only a target that no file system could hold is refused.
pub(crate) fn check_link(target: &Path) -> Result<(), Refused> {
    let bytes = target.as_os_str().len();
    if bytes == 0 || bytes > PATH_BYTES_MAX { Err(Refused::LinkTarget) } else { Ok(()) }
}

/// Returns the path of `below` relative to the bundle `top`, with all links followed.
/// # Errors
/// If it does not exist, or a link leads out of the bundle.
pub(crate) fn inside(top: &Path, below: &Path) -> io::Result<PathBuf> {
    // Most paths have no link in them. They need not be resolved, which takes a system call for each
    // name from the root of the file system down, and that twice.
    if let Some(place) = without_links(top, below)? {
        return Ok(place);
    }
    let (top, place) = (top.canonicalize()?, top.join(below).canonicalize()?);
    if let Ok(below) = place.strip_prefix(&top) {
        return Ok(below.to_owned());
    }
    let leads = format!("a link in the bundle leads to `{}`, which is outside of it", place.display());
    Err(io::Error::new(io::ErrorKind::InvalidInput, leads))
}

/// Returns `below` in its shortest form; `None` if a name in it is a link, or if it can lead up.
fn without_links(top: &Path, below: &Path) -> io::Result<Option<PathBuf>> {
    let mut place = PathBuf::new();
    for component in below.components() {
        match component {
            Component::Normal(name) => place.push(name),
            Component::CurDir => continue,
            Component::ParentDir | Component::RootDir | Component::Prefix(_) => return Ok(None),
        }
        if fs::symlink_metadata(top.join(&place))?.is_symlink() {
            return Ok(None);
        }
    }
    Ok(Some(place))
}

#[cfg(test)]
mod mutations;

/// Formats a refused name for a message: shortened if it is long, and without
/// anything that breaks a line.
pub(crate) fn shown(name: &Path) -> String {
    const LETTERS_MAX: usize = 160;
    let letters = name.to_string_lossy().chars().flat_map(escaped).collect::<Vec<_>>();
    if letters.len() <= LETTERS_MAX {
        return letters.into_iter().collect();
    }
    let (start, end) = (&letters[..LETTERS_MAX / 2], &letters[letters.len() - LETTERS_MAX / 2..]);
    start.iter().chain(&['…']).chain(end).collect()
}

fn escaped(letter: char) -> Vec<char> {
    if letter.is_control() { letter.escape_default().collect() } else { vec![letter] }
}

fn path_of(bytes: &[u8]) -> PathBuf {
    PathBuf::from(OsString::from(OsStr::from_bytes(bytes)))
}

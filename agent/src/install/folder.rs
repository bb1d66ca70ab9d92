//! Directories of the host, opened so that no other user decides where files go.
//!
//! An application's user may own the directory into which the agent, as root, installs, and can replace
//! a directory with a link at any moment. So a path is walked once, name by name, and never followed by
//! the kernel. Everything after that happens inside the open directory, on names without a slash.
//!
//! A link is followed in two cases only. A link that only root or the agent's user
//! could have put there, such as an administrator's `/var/www`, may lead anywhere.
//! Any other link may lead to a directory of the link's owner, such as a `current`
//! beside `releases`: the owner gains nothing, having write access there anyway.
//! `openat2` can refuse links but not judge them, and not every kernel has it.

use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

use rustix::fs::{AtFlags, FileType, Mode, OFlags, RenameFlags, Stat};
use rustix::io::Errno;

/// The number of links in a row that Linux follows.
const LINKS_MAX: usize = 40;

/// The error for a link that is not followed, because other users could have put it there.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{}` is a link that others than root can change, and it leads to a directory that is not its owner's: it is \
     not followed; name the directory that it leads to as the destination, or let root own the link and the \
     directory it is in", .0.display()
)]
pub(crate) struct NotFollowed(pub(super) PathBuf);

impl NotFollowed {
    pub(super) fn of(error: &io::Error) -> Option<&NotFollowed> {
        error.get_ref()?.downcast_ref()
    }
}

/// A directory that is held open; its entries are reached by name through it.
pub(super) struct Folder {
    directory: OwnedFd,
    owner: u32,
    group: u32,
    mode: u32,
    /// True if only root and the agent's user decide what its path leads to.
    is_safe: bool,
}

/// The device and inode of a file or directory.
pub(super) type Identity = (u64, u64);

/// Open directories: the last one that was requested, and all above it.
pub(super) struct Folders {
    open: Vec<(PathBuf, Folder)>,
}

impl Folders {
    pub(super) fn new() -> Folders {
        Folders { open: Vec::new() }
    }

    /// Opens the directory at `path`, which must be absolute and without `..`.
    /// # Errors
    /// If it is not a directory, or with [`NotFollowed`].
    pub(super) fn open(&mut self, path: &Path) -> io::Result<&Folder> {
        while self.open.last().is_some_and(|(open, _)| !path.starts_with(open)) {
            self.open.pop();
        }
        if self.open.is_empty() {
            self.open.push((PathBuf::from("/"), Folder::root()?));
        }
        let known = self.open.last().map_or(0, |(open, _)| open.components().count());
        for name in path.components().skip(known) {
            let Some((above, folder)) = self.open.last() else { break };
            let at = above.join(name);
            let below = folder.enter(name.as_os_str(), &at, LINKS_MAX)?;
            self.open.push((at, below));
        }
        self.open.last().map(|(_, folder)| folder).ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    /// Opens the directory of `path`; returns it and the name inside it.
    pub(super) fn around<'p>(&mut self, path: &'p Path) -> io::Result<(&Folder, &'p OsStr)> {
        let (Some(dir), Some(name)) = (path.parent(), path.file_name()) else {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is the root of the file system"));
        };
        Ok((self.open(dir)?, name))
    }
}

fn is_trusted(user: u32) -> bool {
    user == 0 || user == nix::unistd::geteuid().as_raw()
}

/// Opens without read access: enough to examine it and to continue from it.
const LOOK: OFlags = OFlags::PATH.union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

impl Folder {
    fn root() -> io::Result<Folder> {
        let directory = rustix::fs::open("/", LOOK | OFlags::DIRECTORY, Mode::empty())?;
        let stat = rustix::fs::fstat(&directory)?;
        Ok(Folder::of(directory, &stat, true))
    }

    fn of(directory: OwnedFd, stat: &Stat, is_safe: bool) -> Folder {
        Folder { directory, owner: stat.st_uid, group: stat.st_gid, mode: stat.st_mode, is_safe }
    }

    /// Returns true if users other than root and the agent's can write into it. A
    /// group whose only member is the agent's user does not count.
    fn others_write(&self) -> bool {
        let own = nix::unistd::getegid().as_raw();
        let is_own_group = self.group == own && !nix::unistd::geteuid().is_root();
        self.mode & 0o002 != 0 || (self.mode & 0o020 != 0 && !is_own_group)
    }

    /// Returns true if only root and the agent's user can replace what is inside it.
    fn guards(&self, inside: &Stat) -> bool {
        let is_sticky = self.mode & 0o1000 != 0;
        let is_closed = !self.others_write() || (is_sticky && is_trusted(inside.st_uid));
        self.is_safe && is_trusted(self.owner) && is_closed
    }

    fn enter(&self, name: &OsStr, at: &Path, links_left: usize) -> io::Result<Folder> {
        let opened = rustix::fs::openat(&self.directory, name, LOOK, Mode::empty())?;
        let stat = rustix::fs::fstat(&opened)?;
        let kind = FileType::from_raw_mode(stat.st_mode);
        if kind.is_symlink() {
            let links_left = links_left.checked_sub(1).ok_or(Errno::LOOP)?;
            return self.follow(&opened, &stat, at, links_left);
        }
        if !kind.is_dir() {
            return Err(Errno::NOTDIR.into());
        }
        Ok(Folder::of(opened, &stat, self.guards(&stat)))
    }

    fn follow(&self, link: &OwnedFd, stat: &Stat, at: &Path, links_left: usize) -> io::Result<Folder> {
        let target = rustix::fs::readlinkat(link, "", Vec::new())?;
        let target = Path::new(OsStr::from_bytes(target.as_bytes()));
        let mut folder = if target.is_absolute() { Folder::root()? } else { self.step(".")? };
        for component in target.components() {
            folder = match component {
                Component::Normal(name) => folder.enter(name, at, links_left)?,
                Component::ParentDir => folder.step("..")?,
                Component::RootDir | Component::CurDir | Component::Prefix(_) => folder,
            };
        }
        if !self.guards(stat) {
            // Find out who put the link there: the owner of the directory can
            // have moved a link that root made.
            let by = if !is_trusted(stat.st_uid) {
                Some(stat.st_uid)
            } else {
                Some(self.owner).filter(|owner| !is_trusted(*owner) && !self.others_write())
            };
            if by != Some(folder.owner) {
                return Err(io::Error::new(io::ErrorKind::PermissionDenied, NotFollowed(at.to_owned())));
            }
            folder.is_safe = false;
        }
        Ok(folder)
    }

    /// Opens the directory itself, or the one above it.
    fn step(&self, to: &str) -> io::Result<Folder> {
        let opened = rustix::fs::openat(&self.directory, to, LOOK | OFlags::DIRECTORY, Mode::empty())?;
        let stat = rustix::fs::fstat(&opened)?;
        Ok(Folder::of(opened, &stat, self.is_safe))
    }

    /// Returns its path without links.
    pub(super) fn real_path(&self) -> io::Result<PathBuf> {
        std::fs::read_link(format!("/proc/self/fd/{}", self.directory.as_raw_fd()))
    }

    /// Returns the type of the entry with this name, without following a link;
    /// `None` if there is no entry.
    pub(super) fn look(&self, name: &OsStr) -> io::Result<Option<FileType>> {
        match rustix::fs::statat(&self.directory, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => Ok(Some(FileType::from_raw_mode(stat.st_mode))),
            Err(Errno::NOENT) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Creates a file that only its owner can read and write.
    pub(super) fn create(&self, name: &OsStr) -> io::Result<File> {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        Ok(rustix::fs::openat(&self.directory, name, flags, Mode::from_raw_mode(0o600))?.into())
    }

    pub(super) fn link(&self, target: &Path, name: &OsStr) -> io::Result<()> {
        Ok(rustix::fs::symlinkat(target, &self.directory, name)?)
    }

    /// Changes the owner of the link with this name.
    pub(super) fn give_link(&self, name: &OsStr, user: Option<u32>, group: Option<u32>) -> io::Result<()> {
        let link = rustix::fs::openat(&self.directory, name, LOOK, Mode::empty())?;
        if !FileType::from_raw_mode(rustix::fs::fstat(&link)?.st_mode).is_symlink() {
            return Err(io::Error::other("it is no longer the link that was installed"));
        }
        let (user, group) = (user.map(rustix::fs::Uid::from_raw), group.map(rustix::fs::Gid::from_raw));
        Ok(rustix::fs::chownat(&link, "", user, group, AtFlags::EMPTY_PATH)?)
    }

    /// Creates a directory and returns its identity; `None` if another process
    /// had already created a directory of that name.
    pub(super) fn make_directory(&self, name: &OsStr) -> io::Result<Option<Identity>> {
        match rustix::fs::mkdirat(&self.directory, name, Mode::from_raw_mode(0o777)) {
            Ok(()) => {}
            Err(Errno::EXIST) => {
                let is_dir = self.look(name)?.is_some_and(FileType::is_dir);
                return if is_dir { Ok(None) } else { Err(Errno::EXIST.into()) };
            }
            Err(error) => return Err(error.into()),
        }
        let (directory, identity) = self.directory(name)?;
        // Where other users can write, a directory of theirs, or of root's, may
        // have taken this name meanwhile.
        if !self.is_safe || self.others_write() || !is_trusted(self.owner) {
            let is_own = rustix::fs::fstat(&directory)?.st_uid == nix::unistd::geteuid().as_raw();
            let mut inside = rustix::fs::Dir::read_from(&directory)?;
            let is_empty = inside.all(|entry| entry.is_ok_and(|entry| is_dots(entry.file_name())));
            if !is_own || !is_empty {
                return Ok(None);
            }
        }
        Ok(Some(identity))
    }

    /// Opens a directory inside it.
    pub(super) fn directory(&self, name: &OsStr) -> io::Result<(File, Identity)> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let directory = rustix::fs::openat(&self.directory, name, flags, Mode::empty())?;
        let stat = rustix::fs::fstat(&directory)?;
        Ok((directory.into(), (stat.st_dev, stat.st_ino)))
    }

    /// Renames an entry inside it. An existing entry with the new name is replaced only if `replaces`.
    pub(super) fn rename(&self, from: &OsStr, to: &OsStr, replaces: bool) -> io::Result<()> {
        let within = &self.directory;
        if replaces {
            return Ok(rustix::fs::renameat(within, from, within, to)?);
        }
        match rustix::fs::renameat_with(within, from, within, to, RenameFlags::NOREPLACE) {
            // Network and old file systems cannot do this atomically.
            Err(Errno::INVAL | Errno::NOSYS) => {
                if self.look(to)?.is_some() {
                    return Err(taken());
                }
                Ok(rustix::fs::renameat(within, from, within, to)?)
            }
            Err(Errno::EXIST) => Err(taken()),
            renamed => Ok(renamed?),
        }
    }

    pub(super) fn remove_file(&self, name: &OsStr) -> io::Result<()> {
        Ok(rustix::fs::unlinkat(&self.directory, name, AtFlags::empty())?)
    }

    pub(super) fn remove_directory(&self, name: &OsStr) -> io::Result<()> {
        Ok(rustix::fs::unlinkat(&self.directory, name, AtFlags::REMOVEDIR)?)
    }
}

fn taken() -> io::Error {
    io::Error::new(io::ErrorKind::AlreadyExists, "somebody else has put something there since Install began")
}

fn is_dots(name: &std::ffi::CStr) -> bool {
    matches!(name.to_bytes(), b"." | b"..")
}

#[cfg(test)]
mod tests;

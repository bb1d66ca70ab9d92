//! Goes through `files` and the bundle, entry by entry.

use std::cell::OnceCell;
use std::collections::{HashMap, HashSet};
use std::fs::{self, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use proto::appspec::{AppSpec, FileMapping};
use proto::policy::FileExists;
use rustix::fs::Access;
use rustix::io::Errno;

use super::super::expand::absolute;
use super::super::folder::{Folders, NotFollowed};
use super::super::originals::Originals;
use super::super::problem::{COPIES_MAX, ENTRIES_MAX, NAME_BYTES_MAX, PATH_BYTES_MAX, Problem};
use super::super::same::is_same;
use super::{Copy, Host, Step};
use crate::bundle::unpack::{DEPTH_MAX, inside};
use crate::regular_file::kind_in_words;

pub(super) struct Planner<'p> {
    archive: &'p Path,
    /// The same path without links, resolved for the first link in the bundle.
    top: OnceCell<PathBuf>,
    originals: &'p Originals,
    /// `None` to plan for any host, as if there were nothing on it.
    host: Option<&'p Host<'p>>,
    folders: Folders,
    /// The line of the AppSpec file that is being planned.
    line: usize,
    /// The paths that the steps so far create: the source and line of a file, or
    /// `None` for a directory.
    made: HashMap<PathBuf, Option<(PathBuf, usize)>>,
    /// Existing directories in which something is created or removed.
    written_into: HashSet<PathBuf>,
    /// The real directories from which links led to the present place. Their paths are relative to
    /// the archive, as are all real paths here.
    followed: Vec<PathBuf>,
    /// The number of times that links led to each real directory.
    copies: HashMap<PathBuf, usize>,
    /// The present depth below a source, in directories.
    depth: usize,
    /// The number of entries so far.
    entries: usize,
    /// True if there are too many entries to continue.
    is_full: bool,
    steps: Vec<Step>,
    problems: Vec<Problem>,
}

impl<'p> Planner<'p> {
    pub(super) fn new(
        archive: &'p Path,
        originals: &'p Originals,
        host: Option<&'p Host<'p>>,
    ) -> Planner<'p> {
        Planner {
            archive,
            top: OnceCell::new(),
            originals,
            host,
            folders: Folders::new(),
            line: 0,
            made: HashMap::new(),
            written_into: HashSet::new(),
            followed: Vec::new(),
            copies: HashMap::new(),
            depth: 0,
            entries: 0,
            is_full: false,
            steps: Vec::new(),
            problems: Vec::new(),
        }
    }

    pub(super) fn run(mut self, appspec: &AppSpec) -> (Vec<Step>, Vec<Problem>) {
        appspec.files.iter().for_each(|mapping| self.mapping(mapping));
        (self.steps, self.problems)
    }

    fn mapping(&mut self, mapping: &FileMapping) {
        self.line = mapping.line;
        let line = mapping.line;
        let Some(destination) = absolute(&mapping.destination) else {
            let destination = mapping.destination.clone();
            return self.problems.push(Problem::NoHome { destination, line });
        };
        if destination.as_os_str().len() >= PATH_BYTES_MAX {
            return self.problems.push(Problem::TooLong { path: destination, line });
        }
        if destination.iter().any(|name| name.len() > NAME_BYTES_MAX) {
            return self.problems.push(Problem::NameTooLong { path: destination, line });
        }
        if mapping.source.is_empty() {
            self.directories_to(&destination);
            return self.contents(self.archive, &destination, Path::new(""));
        }
        let source = self.archive.join(&mapping.source);
        if fs::symlink_metadata(&source).is_err() {
            let source_path = mapping.source.clone();
            return self.problems.push(Problem::MissingSource { source_path, line });
        }
        // A link is copied as a link, unless it leads to a directory of the bundle.
        // A source that is reached through a link out of the bundle is not read.
        let parent = Path::new(&mapping.source).parent().unwrap_or(Path::new(""));
        let parent = match inside(self.archive, parent) {
            Ok(parent) => parent,
            Err(cause) => return self.problems.push(Problem::Unreadable { path: source, cause }),
        };
        self.directories_to(&destination);
        let real = inside(self.archive, Path::new(&mapping.source));
        match real.ok().filter(|real| self.archive.join(real).is_dir()) {
            Some(real) => self.contents(&source, &destination, &real),
            // A destination is always a directory: a file cannot be renamed.
            None => self.entry(&source, &destination.join(source.file_name().unwrap_or_default()), &parent),
        }
    }

    /// Plans the content of a directory. `real` is the real path of the source.
    fn contents(&mut self, source: &Path, destination: &Path, real: &Path) {
        let names = fs::read_dir(source).and_then(|entries| {
            entries.map(|entry| entry.map(|entry| entry.file_name())).collect::<io::Result<Vec<_>>>()
        });
        let line = self.line;
        match names {
            Ok(_) if self.depth > DEPTH_MAX => {
                self.give_up(Problem::TooDeep { path: source.to_owned(), line })
            }
            Ok(mut names) => {
                names.sort();
                self.depth += 1;
                for name in names {
                    self.entry(&source.join(&name), &destination.join(&name), real);
                }
                self.depth -= 1;
            }
            Err(cause) => self.problems.push(Problem::Unreadable { path: source.to_owned(), cause }),
        }
    }

    /// Plans one entry. `parent` is the real path of the source's directory.
    fn entry(&mut self, source: &Path, destination: &Path, parent: &Path) {
        if self.is_full {
            return;
        }
        let line = self.line;
        if destination.as_os_str().len() >= PATH_BYTES_MAX {
            return self.give_up(Problem::TooLong { path: destination.to_owned(), line });
        }
        self.entries += 1;
        if self.entries > ENTRIES_MAX {
            return self.give_up(Problem::TooMany { path: source.to_owned(), line });
        }
        let real = parent.join(source.file_name().unwrap_or_default());
        let kind =
            fs::symlink_metadata(source).map(|metadata| (self.kind(source, parent, &metadata), metadata));
        match kind {
            Ok((Kind::Directory, _)) => {
                self.directory(destination);
                self.contents(source, destination, &real);
            }
            Ok((Kind::LinkedDirectory(target), _)) => {
                let copies = self.copies.entry(target.clone()).or_default();
                *copies += 1;
                if *copies > COPIES_MAX {
                    return self.give_up(Problem::Multiplies { path: self.archive.join(target), line });
                }
                self.directory(destination);
                self.followed.push(parent.to_owned());
                self.contents(source, destination, &target);
                self.followed.pop();
            }
            Ok((Kind::File, metadata)) => self.copy(source, destination, &real, &metadata),
            Ok((Kind::Link, metadata)) => self.copy(source, destination, &real, &metadata),
            Ok((Kind::Special, _)) => {
                self.problems.push(Problem::Special { path: source.to_owned(), line });
            }
            Err(cause) => self.problems.push(Problem::Unreadable { path: source.to_owned(), cause }),
        }
    }

    fn give_up(&mut self, problem: Problem) {
        self.is_full = true;
        self.problems.push(problem);
    }

    /// Plans the directories above `path`, and `path` itself.
    fn directories_to(&mut self, path: &Path) {
        let mut from_top: Vec<&Path> = path.ancestors().collect();
        from_top.reverse();
        let there = from_top.iter().take_while(|path| self.is_there(path)).count();
        if let Some(last) = there.checked_sub(1).map(|last| from_top[last]) {
            self.require_followed(last);
        }
        // The last existing one may be a file.
        from_top[there.saturating_sub(1)..].iter().for_each(|path| self.directory(path));
    }

    /// Checks that Install will follow the links in the path of a directory.
    fn require_followed(&mut self, path: &Path) {
        if self.host.is_none() || self.made.contains_key(path) {
            return;
        }
        if let Err(error) = self.folders.open(path)
            && let Some(NotFollowed(link)) = NotFollowed::of(&error)
            && !self.problems.iter().any(|problem| problem.is_about_link(link))
        {
            self.problems.push(Problem::NotFollowed(NotFollowed(link.clone())));
        }
    }

    /// Records that something will be created at `path`, or removed. So an agent without
    /// root's rights, or on a read-only file system, fails before anything is touched.
    pub(super) fn needs_to_write_beside(&mut self, path: &Path) {
        if self.host.is_none() {
            return;
        }
        let Some(directory) = path.parent().filter(|above| !self.made.contains_key(*above)) else { return };
        // A file in the place of a directory is another problem.
        if !self.written_into.insert(directory.to_owned()) || !directory.is_dir() {
            return;
        }
        let access = rustix::fs::access(directory, Access::WRITE_OK | Access::EXEC_OK);
        if let Err(cause @ (Errno::ACCESS | Errno::ROFS)) = access {
            self.problems.push(Problem::NotWritable { path: directory.to_owned(), cause: cause.into() });
        }
    }

    fn is_there(&self, path: &Path) -> bool {
        self.made.contains_key(path) || self.existing(path).is_some()
    }

    /// Returns what will be at `path` after the removal, without following a link.
    fn existing(&self, path: &Path) -> Option<Metadata> {
        let host = self.host?;
        // A new directory is empty, whatever is there now.
        if path.parent().is_some_and(|above| self.made.contains_key(above)) {
            return None;
        }
        host.previous.leaves(path)
    }

    fn directory(&mut self, path: &Path) {
        let line = self.line;
        match self.made.get(path) {
            Some(None) => return,
            Some(Some(_)) => {
                return self.problems.push(Problem::FileAndDirectory { path: path.to_owned(), line });
            }
            None => {}
        }
        let path = path.to_owned();
        match self.existing(&path) {
            Some(metadata) if metadata.is_dir() => {}
            Some(metadata) if metadata.is_symlink() => match path.metadata() {
                Ok(behind) if behind.is_dir() => self.require_followed(&path),
                Ok(_) => self.problems.push(Problem::FileInTheWay { path }),
                Err(_) => self.problems.push(Problem::LinkInTheWay { path }),
            },
            Some(_) => self.problems.push(Problem::FileInTheWay { path }),
            None => {
                self.needs_to_write_beside(&path);
                self.made.insert(path.clone(), None);
                self.steps.push(Step::Mkdir { directory: path });
            }
        }
    }

    fn copy(&mut self, source: &Path, destination: &Path, real: &Path, metadata: &Metadata) {
        let (path, line) = (destination.to_owned(), self.line);
        match self.made.get(destination) {
            Some(None) => return self.problems.push(Problem::FileAndDirectory { path, line }),
            Some(Some((first, first_line))) => {
                let (first, second) = (first.clone(), source.to_owned());
                let lines = (*first_line, line);
                return self.problems.push(Problem::TwoSources { path, first, second, lines });
            }
            None => {}
        }
        let replaces = match self.existing(destination) {
            None => None,
            Some(existing) => match self.replaces(source, destination, metadata, &existing) {
                Err(problem) => return self.problems.push(problem),
                // It stays as it is: it is never changed or removed.
                Ok(Existing::Stays) => return,
                Ok(Existing::Goes) if existing.nlink() > 1 => Some(0),
                Ok(Existing::Goes) => Some(existing.blocks() * 512),
            },
        };
        self.needs_to_write_beside(destination);
        self.made.insert(path.clone(), Some((source.to_owned(), line)));
        let (mode, owner) = self.originals.of_file(real, metadata);
        let (bytes, is_link) = (metadata.len(), metadata.is_symlink());
        let (source, destination) = (source.to_owned(), path);
        let copy = Copy { source, destination, is_link, bytes, mode, owner, replaces, line };
        self.steps.push(Step::Copy(copy));
    }

    /// Decides if the bundle's entry replaces what is at `path`. A link is
    /// replaced itself: nothing is ever written through it.
    fn replaces(
        &self,
        source: &Path,
        path: &Path,
        new: &Metadata,
        existing: &Metadata,
    ) -> Result<Existing, Problem> {
        let path = path.to_owned();
        let Some(host) = self.host else { return Ok(Existing::Goes) };
        // As in the official agent, a dangling link counts as nothing.
        if existing.is_symlink() && path.metadata().is_err() {
            return Ok(Existing::Goes);
        }
        match host.file_exists {
            FileExists::Retain => Ok(Existing::Stays),
            FileExists::Disallow if host.adopts_equal && is_same(source, &path, new, existing) => {
                Ok(Existing::Goes)
            }
            FileExists::Disallow => Err(Problem::Exists { path }),
            FileExists::Overwrite if !existing.is_file() && !existing.is_symlink() => {
                Err(Problem::OtherInTheWay { kind: kind_in_words(existing.file_type()), path })
            }
            FileExists::Overwrite if new.is_symlink() && !existing.is_symlink() => {
                Err(Problem::LinkOverExisting { path })
            }
            FileExists::Overwrite => Ok(Existing::Goes),
        }
    }

    /// Returns the kind of an entry. A link to a directory of the bundle counts as that
    /// directory, so that its content is copied to the link's place; unless it leads to
    /// a directory that we came from. A link that leads elsewhere stays a link.
    fn kind(&self, source: &Path, parent: &Path, metadata: &Metadata) -> Kind {
        if !metadata.is_symlink() {
            return if metadata.is_dir() {
                Kind::Directory
            } else if metadata.is_file() {
                Kind::File
            } else {
                Kind::Special
            };
        }
        let is_absolute = fs::read_link(source).is_ok_and(|target| target.is_absolute());
        let target = if is_absolute { None } else { source.canonicalize().ok() };
        let Some(target) = target.filter(|target| target.is_dir()) else { return Kind::Link };
        let Ok(target) = target.strip_prefix(self.top()) else { return Kind::Link };
        let came_from = self.followed.iter().map(PathBuf::as_path).chain([parent]);
        let is_loop = came_from.into_iter().any(|dir| dir.starts_with(target));
        if is_loop { Kind::Link } else { Kind::LinkedDirectory(target.to_owned()) }
    }

    fn top(&self) -> &Path {
        self.top.get_or_init(|| self.archive.canonicalize().unwrap_or_else(|_| self.archive.to_owned()))
    }
}

/// The treatment of an existing object in the place of an entry.
enum Existing {
    Goes,
    Stays,
}

enum Kind {
    Directory,
    /// A link to this real directory.
    LinkedDirectory(PathBuf),
    File,
    Link,
    Special,
}

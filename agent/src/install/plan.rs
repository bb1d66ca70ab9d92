//! What Install will do, step by step, or everything that stands against it.

use std::collections::{HashMap, HashSet};
use std::fs::{self, Metadata};
use std::io;
use std::path::{Component, Path, PathBuf};

use proto::appspec::{AppSpec, FileMapping};
use proto::policy::FileExists;
use rustix::fs::Access;
use rustix::io::Errno;
use serde_json::{Value, json};

use super::cleanup::Previous;
use super::problem::{COPIES_MAX, ENTRIES_MAX, NAME_BYTES_MAX, PATH_BYTES_MAX, Problem};
use super::selection::{self, Change};
use crate::bundle::unpack::DEPTH_MAX;

/// One thing to lay down.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Step {
    Mkdir { directory: PathBuf },
    Copy { source: PathBuf, destination: PathBuf },
}

impl Step {
    /// The file that it lays down.
    pub(super) fn file(&self) -> Option<&PathBuf> {
        match self {
            Step::Copy { destination, .. } => Some(destination),
            Step::Mkdir { .. } => None,
        }
    }

    /// The directory that it makes.
    pub(super) fn directory(&self) -> Option<&PathBuf> {
        match self {
            Step::Mkdir { directory } => Some(directory),
            Step::Copy { .. } => None,
        }
    }
}

/// What to lay down, then what to change about it, both in order.
#[derive(Debug, Default)]
pub(super) struct Plan {
    pub(super) steps: Vec<Step>,
    pub(super) changes: Vec<Change>,
}

impl Plan {
    /// In the official agent's form.
    pub(super) fn to_json(&self) -> Vec<u8> {
        let step = |step: &Step| match step {
            Step::Mkdir { directory } => json!({"type": "mkdir", "directory": text(directory)}),
            Step::Copy { source, destination } => {
                json!({"type": "copy", "source": text(source), "destination": text(destination)})
            }
        };
        let steps = self.steps.iter().map(step);
        let changes = self.changes.iter().flat_map(Change::to_json);
        json!({"instructions": steps.chain(changes).collect::<Vec<Value>>()}).to_string().into_bytes()
    }
}

pub(super) fn text(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}

/// Plans the installation of `archive` after `previous` is removed.
/// # Errors
/// Everything that stands against it.
pub(super) fn plan(
    appspec: &AppSpec,
    archive: &Path,
    file_exists: FileExists,
    previous: &Previous,
) -> Result<Plan, Vec<Problem>> {
    let mut planner = Planner {
        archive,
        file_exists,
        previous,
        made: HashMap::new(),
        written_into: HashSet::new(),
        followed: Vec::new(),
        copies: HashMap::new(),
        depth: 0,
        entries: 0,
        is_full: false,
        steps: Vec::new(),
        problems: Vec::new(),
    };
    previous.goes().for_each(|path| planner.needs_to_write_beside(path));
    for mapping in &appspec.files {
        planner.mapping(mapping);
    }
    let Planner { steps, mut problems, .. } = planner;
    let changes = selection::select(&appspec.permissions, &steps, &mut problems);
    if problems.is_empty() { Ok(Plan { steps, changes }) } else { Err(problems) }
}

struct Planner<'p> {
    archive: &'p Path,
    file_exists: FileExists,
    previous: &'p Previous,
    /// What the steps so far lay down: from where, or `None` for a directory.
    made: HashMap<PathBuf, Option<PathBuf>>,
    /// Directories that are there and in which something is made or removed.
    written_into: HashSet<PathBuf>,
    /// The real directories from which links led to where we are.
    followed: Vec<PathBuf>,
    /// How often links led to a directory.
    copies: HashMap<PathBuf, usize>,
    /// How many directories deep we are in a source.
    depth: usize,
    /// Looked at so far.
    entries: usize,
    /// Whether there is too much of it to look at the rest.
    is_full: bool,
    steps: Vec<Step>,
    problems: Vec<Problem>,
}

impl Planner<'_> {
    fn mapping(&mut self, mapping: &FileMapping) {
        let Some(destination) = absolute(&mapping.destination) else {
            let (destination, line) = (mapping.destination.clone(), mapping.line);
            return self.problems.push(Problem::NoHome { destination, line });
        };
        if destination.as_os_str().len() >= PATH_BYTES_MAX {
            return self.problems.push(Problem::TooLong { path: destination });
        }
        if destination.iter().any(|name| name.len() > NAME_BYTES_MAX) {
            return self.problems.push(Problem::NameTooLong { path: destination });
        }
        let source = if mapping.source.is_empty() {
            self.archive.to_owned()
        } else {
            self.archive.join(&mapping.source)
        };
        let Ok(metadata) = source.metadata() else {
            // A link that leads nowhere is a thing to copy all the same.
            if fs::symlink_metadata(&source).is_ok() {
                return self.named_file(&source, &destination);
            }
            let source_path = mapping.source.clone();
            return self.problems.push(Problem::MissingSource { source_path, line: mapping.line });
        };
        if metadata.is_dir() {
            self.directories_to(&destination);
            self.contents(&source, &destination, None);
        } else {
            self.named_file(&source, &destination);
        }
    }

    /// `destination` is always a directory: a file cannot be renamed on its way.
    fn named_file(&mut self, source: &Path, destination: &Path) {
        self.directories_to(destination);
        let real = source.parent().unwrap_or(source);
        self.entry(source, &destination.join(source.file_name().unwrap_or_default()), real);
    }

    /// `real` is the source without links, if it is known.
    fn contents(&mut self, source: &Path, destination: &Path, real: Option<PathBuf>) {
        let real = real.map_or_else(|| source.canonicalize(), Ok);
        let names = fs::read_dir(source).and_then(|entries| {
            entries.map(|entry| entry.map(|entry| entry.file_name())).collect::<io::Result<Vec<_>>>()
        });
        match names.and_then(|names| Ok((names, real?))) {
            Ok(_) if self.depth > DEPTH_MAX => self.give_up(Problem::TooDeep { path: source.to_owned() }),
            Ok((mut names, real)) => {
                names.sort();
                self.depth += 1;
                for name in names {
                    self.entry(&source.join(&name), &destination.join(&name), &real);
                }
                self.depth -= 1;
            }
            Err(cause) => self.problems.push(Problem::Unreadable { path: source.to_owned(), cause }),
        }
    }

    /// `parent` is the source's directory, without links.
    fn entry(&mut self, source: &Path, destination: &Path, parent: &Path) {
        if self.is_full {
            return;
        }
        if destination.as_os_str().len() >= PATH_BYTES_MAX {
            return self.give_up(Problem::TooLong { path: destination.to_owned() });
        }
        self.entries += 1;
        if self.entries > ENTRIES_MAX {
            return self.give_up(Problem::TooMany { path: source.to_owned() });
        }
        match self.kind(source, parent) {
            Ok(Kind::Directory) => {
                self.directory(destination);
                let real = parent.join(source.file_name().unwrap_or_default());
                self.contents(source, destination, Some(real));
            }
            Ok(Kind::LinkedDirectory(target)) => {
                let copies = self.copies.entry(target.clone()).or_default();
                *copies += 1;
                if *copies > COPIES_MAX {
                    return self.give_up(Problem::Multiplies { path: target });
                }
                self.directory(destination);
                self.followed.push(parent.to_owned());
                self.contents(source, destination, Some(target));
                self.followed.pop();
            }
            Ok(Kind::File) => self.copy(source, destination, false),
            Ok(Kind::Link) => self.copy(source, destination, true),
            Ok(Kind::Special) => self.problems.push(Problem::Special { path: source.to_owned() }),
            Err(cause) => self.problems.push(Problem::Unreadable { path: source.to_owned(), cause }),
        }
    }

    fn give_up(&mut self, problem: Problem) {
        self.is_full = true;
        self.problems.push(problem);
    }

    /// The directories above `path`, and itself.
    fn directories_to(&mut self, path: &Path) {
        let mut missing: Vec<&Path> = path.ancestors().take_while(|path| !self.is_there(path)).collect();
        // The last that is there may be a file.
        missing.extend(path.ancestors().nth(missing.len()));
        for path in missing.into_iter().rev() {
            self.directory(path);
        }
    }

    /// Whoever is no root, or has a file system that is read-only, hears it before
    /// anything is touched: something is to be made at `path`, or removed.
    fn needs_to_write_beside(&mut self, path: &Path) {
        let Some(directory) = path.parent().filter(|above| !self.made.contains_key(*above)) else { return };
        // A file in a directory's place is another problem.
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

    /// What will be at `path` after the removal; links are followed.
    fn existing(&self, path: &Path) -> Option<Metadata> {
        self.previous.leaves(path).then(|| path.metadata().ok()).flatten()
    }

    fn directory(&mut self, path: &Path) {
        match self.made.get(path) {
            Some(None) => return,
            Some(Some(_)) => return self.problems.push(Problem::FileAndDirectory { path: path.to_owned() }),
            None => {}
        }
        match self.existing(path) {
            Some(metadata) if metadata.is_dir() => {}
            Some(_) => self.problems.push(Problem::FileInTheWay { path: path.to_owned() }),
            None if self.previous.leaves(path) => {
                self.problems.push(Problem::LinkInTheWay { path: path.to_owned() });
            }
            None => {
                self.needs_to_write_beside(path);
                self.made.insert(path.to_owned(), None);
                self.steps.push(Step::Mkdir { directory: path.to_owned() });
            }
        }
    }

    fn copy(&mut self, source: &Path, destination: &Path, is_link: bool) {
        let path = destination.to_owned();
        match self.made.get(destination) {
            Some(None) => return self.problems.push(Problem::FileAndDirectory { path }),
            Some(Some(first)) => {
                let (first, second) = (first.clone(), source.to_owned());
                return self.problems.push(Problem::TwoSources { path, first, second });
            }
            None => {}
        }
        let existing = self.existing(destination);
        // What is overwritten in its place needs no room beside it.
        if existing.is_none() {
            self.needs_to_write_beside(destination);
        }
        if existing.is_some() {
            match self.file_exists {
                FileExists::Disallow => return self.problems.push(Problem::Exists { path }),
                // It is not ours then: neither changed nor removed, ever.
                FileExists::Retain => return,
                FileExists::Overwrite if is_link => {
                    return self.problems.push(Problem::LinkOverExisting { path });
                }
                FileExists::Overwrite => {}
            }
        }
        self.made.insert(path.clone(), Some(source.to_owned()));
        self.steps.push(Step::Copy { source: source.to_owned(), destination: path });
    }

    /// A link to a directory counts as that directory, so that copies come to
    /// lie where it was; unless it leads to where we came from.
    fn kind(&self, source: &Path, parent: &Path) -> io::Result<Kind> {
        let metadata = fs::symlink_metadata(source)?;
        if !metadata.is_symlink() {
            return Ok(if metadata.is_dir() {
                Kind::Directory
            } else if metadata.is_file() {
                Kind::File
            } else {
                Kind::Special
            });
        }
        let Ok(target) = source.canonicalize() else { return Ok(Kind::Link) };
        if !target.is_dir() {
            return Ok(Kind::Link);
        }
        let came_from = self.followed.iter().map(PathBuf::as_path).chain([parent]);
        let is_loop = came_from.into_iter().any(|dir| dir.starts_with(&target));
        Ok(if is_loop { Kind::Link } else { Kind::LinkedDirectory(target) })
    }
}

enum Kind {
    Directory,
    /// A link to this one, which has no links in its path.
    LinkedDirectory(PathBuf),
    File,
    Link,
    Special,
}

/// As Ruby's `expand_path` has it: `~`, and relative to where we were started.
/// `None` if there is no such home directory.
pub(super) fn absolute(path: &str) -> Option<PathBuf> {
    let expanded = match path.strip_prefix('~') {
        Some(rest) => {
            let (user, below) = rest.split_once('/').unwrap_or((rest, ""));
            home(user)?.join(below)
        }
        None => PathBuf::from(path),
    };
    let start = if expanded.is_absolute() { PathBuf::new() } else { std::env::current_dir().ok()? };
    let mut absolute = PathBuf::from("/");
    for component in start.join(expanded).components() {
        match component {
            Component::Normal(name) => absolute.push(name),
            Component::ParentDir => drop(absolute.pop()),
            Component::RootDir | Component::CurDir | Component::Prefix(_) => {}
        }
    }
    Some(absolute)
}

fn home(user: &str) -> Option<PathBuf> {
    if user.is_empty() {
        return std::env::home_dir();
    }
    Some(nix::unistd::User::from_name(user).ok()??.dir)
}

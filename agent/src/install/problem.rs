//! The problems that can prevent an installation, found before anything is touched.

use std::io;
use std::path::{Path, PathBuf};

use super::folder::NotFollowed;
use crate::bundle::unpack::{DEPTH_MAX, shown};

/// The longest path, in bytes. Linux accepts 4,096; the difference leaves room
/// for the temporary name of a file.
pub(super) const PATH_BYTES_MAX: usize = 4_096 - 32;
/// The longest name that Linux accepts, in bytes.
pub(super) const NAME_BYTES_MAX: usize = 255;
/// The number of entries that a bundle may have; links to directories can multiply them.
pub(super) const ENTRIES_MAX: usize = 2_000_000;
/// The number of times that a directory is copied because links lead to it. Real bundles have a
/// few; forty directories, each with two links to the next, would make a million million copies.
pub(super) const COPIES_MAX: usize = 1_000;

/// A reason why a plan cannot be carried out.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Problem {
    #[error("`{source_path}` is not in the bundle (line {line} of the AppSpec file)")]
    MissingSource { source_path: String, line: usize },
    #[error(
        "`{}` already exists and is not from an earlier deployment: remove it, or choose \
         `file_exists_behavior: OVERWRITE` or RETAIN (for one deployment to a group: `skein deploy … --override \
         file_exists=OVERWRITE`)", path.display()
    )]
    Exists { path: PathBuf },
    #[error("`{}` is to become a directory but is a file", path.display())]
    FileInTheWay { path: PathBuf },
    #[error("`{}` is a {kind}, and a file of the bundle is to be there: move the {kind} away", path.display())]
    OtherInTheWay { path: PathBuf, kind: &'static str },
    #[error(
        "`{}` is to become a directory but is a link that leads nowhere: remove it, or make what it leads to",
        path.display()
    )]
    LinkInTheWay { path: PathBuf },
    #[error(transparent)]
    NotFollowed(#[from] NotFollowed),
    #[error("`{}` is a link in the bundle, and links do not overwrite what is there", path.display())]
    LinkOverExisting { path: PathBuf },
    #[error(
        "both `{}` and `{}` are to be copied to `{}` (lines {} and {} of the AppSpec file)", first.display(),
        second.display(), path.display(), .lines.0, .lines.1
    )]
    TwoSources { path: PathBuf, first: PathBuf, second: PathBuf, lines: (usize, usize) },
    #[error("`{}` is longer than any path can be ({} bytes)", shown(path), path.as_os_str().len())]
    TooLong { path: PathBuf, line: usize },
    #[error("`{}` has a part of more than {NAME_BYTES_MAX} bytes, which no name can have", shown(path))]
    NameTooLong { path: PathBuf, line: usize },
    #[error("nothing can be written into `{}`: {cause}", path.display())]
    NotWritable { path: PathBuf, cause: io::Error },
    #[error(
        "`{}` would lie more than {DEPTH_MAX} directories deep through the links that lead there",
        shown(path)
    )]
    TooDeep { path: PathBuf, line: usize },
    #[error(
        "`{}` is to become a directory, and something else is to be there too (line {line} of the \
         AppSpec file)", path.display()
    )]
    FileAndDirectory { path: PathBuf, line: usize },
    #[error("`{}` in the bundle is neither a file, a directory nor a link", path.display())]
    Special { path: PathBuf, line: usize },
    #[error(
        "there are more than {ENTRIES_MAX} files and directories to install (links to directories become copies \
         of them): `{}` is one too many", path.display()
    )]
    TooMany { path: PathBuf, line: usize },
    #[error(
        "`{}` is where more than {COPIES_MAX} links lead to (some of them inside what others lead to), and each \
         becomes a copy of it: take the links out of the bundle", path.display()
    )]
    Multiplies { path: PathBuf, line: usize },
    #[error("`{}` cannot be read: {cause}", path.display())]
    Unreadable { path: PathBuf, cause: io::Error },
    #[error(
        "destination `{destination}` has no home directory for its `~` (line {line} of the AppSpec file)"
    )]
    NoHome { destination: String, line: usize },
    #[error(
        "the disk is full at `{}`: the new files need {needed} bytes there, and {free} are free even once the \
         files of the previous revision are gone", path.display()
    )]
    NoRoom { path: PathBuf, needed: u64, free: u64 },
    #[error(
        "the disk is full at `{}`: {needed} new files and directories are to be made there, and its file system \
         has room for {free} (see `df -i`)", path.display()
    )]
    NoInodes { path: PathBuf, needed: u64, free: u64 },
    #[error("two entries of `permissions`, in lines {first} and {second}, apply to `{}`", path.display())]
    PermissionTwice { path: PathBuf, first: usize, second: usize },
    #[error(
        "`{object}` is a file, so `pattern` and `except` do not apply to it (line {line} of the AppSpec file)"
    )]
    PatternOnFile { object: String, line: usize },
    #[error(
        "`{}` is a link to `{target}`, which is not part of this installation: `permissions` cannot change a file \
         through it (line {line} of the AppSpec file); give what it leads to as another `object`, or take this \
         entry out",
        path.display()
    )]
    LinkLeads { path: PathBuf, target: String, line: usize },
    #[error("there is no user `{name}` on this host (line {line} of the AppSpec file)")]
    NoUser { name: String, line: usize },
    #[error("there is no group `{name}` on this host (line {line} of the AppSpec file)")]
    NoGroup { name: String, line: usize },
    #[error(
        "`{}` is a file, and `default:` entries of `acls` are for directories (line {line} of the AppSpec \
         file); `type: [directory]` leaves the files out", path.display()
    )]
    DefaultOnFile { path: PathBuf, line: usize },
    #[error(
        "`context` needs `semanage` and `restorecon`, which are not on this host (line {line} of the \
         AppSpec file)"
    )]
    NoSeLinux { line: usize },
}

impl Problem {
    /// Returns the line of the AppSpec file that causes the problem, if it
    /// prevents the installation on every host.
    pub(super) fn line_if_on_every_host(&self) -> Option<usize> {
        match self {
            Problem::TwoSources { lines: (_, line), .. }
            | Problem::TooLong { line, .. }
            | Problem::NameTooLong { line, .. }
            | Problem::TooDeep { line, .. }
            | Problem::FileAndDirectory { line, .. }
            | Problem::TooMany { line, .. }
            | Problem::Multiplies { line, .. }
            | Problem::PermissionTwice { second: line, .. }
            | Problem::PatternOnFile { line, .. }
            | Problem::LinkLeads { line, .. }
            | Problem::DefaultOnFile { line, .. } => Some(*line),
            // A script may still correct the first two, or a check of their own
            // reports them; the others depend on the host.
            Problem::MissingSource { .. }
            | Problem::Special { .. }
            | Problem::Exists { .. }
            | Problem::FileInTheWay { .. }
            | Problem::OtherInTheWay { .. }
            | Problem::LinkInTheWay { .. }
            | Problem::NotFollowed(_)
            | Problem::LinkOverExisting { .. }
            | Problem::NotWritable { .. }
            | Problem::Unreadable { .. }
            | Problem::NoHome { .. }
            | Problem::NoRoom { .. }
            | Problem::NoInodes { .. }
            | Problem::NoUser { .. }
            | Problem::NoGroup { .. }
            | Problem::NoSeLinux { .. } => None,
        }
    }

    /// Returns the section of the AppSpec file that the problem is about.
    pub(crate) fn key(&self) -> &'static str {
        let is_about_permissions = matches!(
            self,
            Problem::PermissionTwice { .. }
                | Problem::PatternOnFile { .. }
                | Problem::LinkLeads { .. }
                | Problem::DefaultOnFile { .. }
                | Problem::NoUser { .. }
                | Problem::NoGroup { .. }
                | Problem::NoSeLinux { .. }
        );
        if is_about_permissions { "permissions" } else { "files" }
    }

    /// Returns true if the problem is that this link is not followed.
    pub(super) fn is_about_link(&self, link: &Path) -> bool {
        matches!(self, Problem::NotFollowed(NotFollowed(other)) if other == link)
    }
}

//! What can stand against an installation, found before anything is touched.

use std::io;
use std::path::PathBuf;

use crate::bundle::unpack::{DEPTH_MAX, shown};

/// Linux takes no path of more than 4,096 bytes; there is room left for the name
/// under which a file's content is collected.
pub(super) const PATH_BYTES_MAX: usize = 4_096 - 32;
/// And no name of more than 255.
pub(super) const NAME_BYTES_MAX: usize = 255;
/// As many as a bundle may have; links to directories can make more of it.
pub(super) const ENTRIES_MAX: usize = 2_000_000;
/// How often one directory is copied because links lead to it. Real bundles have
/// a few; forty directories, each with two links to the next, would be a
/// million million copies.
pub(super) const COPIES_MAX: usize = 1_000;

/// One reason why a plan cannot be carried out.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Problem {
    #[error("`{source_path}` is not in the bundle (line {line} of the AppSpec file)")]
    MissingSource { source_path: String, line: usize },
    #[error(
        "`{}` already exists and is not from an earlier deployment: remove it, or choose \
         `file_exists_behavior: OVERWRITE` or RETAIN", path.display()
    )]
    Exists { path: PathBuf },
    #[error("`{}` is to become a directory but is a file", path.display())]
    FileInTheWay { path: PathBuf },
    #[error(
        "`{}` is to become a directory but is a link that leads nowhere: remove it, or make what it leads to",
        path.display()
    )]
    LinkInTheWay { path: PathBuf },
    #[error("`{}` is a link in the bundle, and links do not overwrite what is there", path.display())]
    LinkOverExisting { path: PathBuf },
    #[error("both `{}` and `{}` are to be copied to `{}`", first.display(), second.display(), path.display())]
    TwoSources { path: PathBuf, first: PathBuf, second: PathBuf },
    #[error("`{}` is longer than any path can be ({} bytes)", shown(path), path.as_os_str().len())]
    TooLong { path: PathBuf },
    #[error("`{}` has a part of more than {NAME_BYTES_MAX} bytes, which no name can have", shown(path))]
    NameTooLong { path: PathBuf },
    #[error("nothing can be written into `{}`: {cause}", path.display())]
    NotWritable { path: PathBuf, cause: io::Error },
    #[error(
        "`{}` would lie more than {DEPTH_MAX} directories deep through the links that lead there",
        shown(path)
    )]
    TooDeep { path: PathBuf },
    #[error("`{}` is to become both a file and a directory", path.display())]
    FileAndDirectory { path: PathBuf },
    #[error("`{}` in the bundle is neither a file, a directory nor a link", path.display())]
    Special { path: PathBuf },
    #[error(
        "there are more than {ENTRIES_MAX} files and directories to install (links to directories become copies \
         of them): `{}` is one too many", path.display()
    )]
    TooMany { path: PathBuf },
    #[error(
        "`{}` is where more than {COPIES_MAX} links lead to (some of them inside what others lead to), and each \
         becomes a copy of it: take the links out of the bundle", path.display()
    )]
    Multiplies { path: PathBuf },
    #[error("`{}` cannot be read: {cause}", path.display())]
    Unreadable { path: PathBuf, cause: io::Error },
    #[error(
        "destination `{destination}` has no home directory for its `~` (line {line} of the AppSpec file)"
    )]
    NoHome { destination: String, line: usize },
    #[error("two entries of `permissions`, in lines {first} and {second}, apply to `{}`", path.display())]
    PermissionTwice { path: PathBuf, first: usize, second: usize },
    #[error(
        "`{object}` is a file, so `pattern` and `except` do not apply to it (line {line} of the AppSpec file)"
    )]
    PatternOnFile { object: String, line: usize },
    #[error(
        "`{}` is a link to `{target}`, which is not part of this installation: `permissions` would change a \
         file that is not ours (line {line} of the AppSpec file); `except` leaves the link out",
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

//! Resolves paths as people write them.

use std::path::{Component, Path, PathBuf};

/// Expands a path as Ruby's `expand_path` does: resolves `~`, and takes relative paths from the
/// agent's working directory. Returns `None` if the home directory is not known.
pub(super) fn absolute(path: &str) -> Option<PathBuf> {
    let expanded = match path.strip_prefix('~') {
        Some(rest) => {
            let (user, below) = rest.split_once('/').unwrap_or((rest, ""));
            home(user)?.join(below)
        }
        None => PathBuf::from(path),
    };
    let start = if expanded.is_absolute() { PathBuf::new() } else { std::env::current_dir().ok()? };
    Some(normal(&start.join(expanded)))
}

/// Removes `.` and `..` from an absolute path.
pub(super) fn normal(path: &Path) -> PathBuf {
    let mut normal = PathBuf::from("/");
    for component in path.components() {
        match component {
            Component::Normal(name) => normal.push(name),
            Component::ParentDir => drop(normal.pop()),
            Component::RootDir | Component::CurDir | Component::Prefix(_) => {}
        }
    }
    normal
}

fn home(user: &str) -> Option<PathBuf> {
    if user.is_empty() {
        return std::env::home_dir();
    }
    Some(nix::unistd::User::from_name(user).ok()??.dir)
}

//! Finds files whose names resemble an AppSpec file's, for a bundle that has none.

use std::collections::VecDeque;
use std::fs;
use std::path::{Path, PathBuf};

/// The number of files to name; more do not make the message clearer.
const NAMED_MAX: usize = 3;
/// The number of directory entries to look at; real bundles have few at the top.
const LOOKED_AT_MAX: usize = 1_000;
/// A directory that macOS adds to archives, beside what was packed.
const NOISE: &str = "__MACOSX";

/// The number of directories below the top to search: an archive that is packed twice has one
/// within the other.
const DEPTH_MAX: usize = 2;

/// Searches the top of a bundle and up to [`DEPTH_MAX`] directories down; returns paths from the
/// top.
pub(super) fn find(top: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut directories = VecDeque::from([PathBuf::new()]);
    for _ in 0..LOOKED_AT_MAX {
        let Some(directory) = directories.pop_front() else { break };
        for name in names(&top.join(&directory)) {
            let path = directory.join(&name);
            let is_directory = top.join(&path).is_dir();
            if is_near(&name) && !is_directory {
                found.push(path);
            } else if is_directory && name != Path::new(NOISE) && path.components().count() <= DEPTH_MAX {
                directories.push_back(path);
            }
        }
        if found.len() >= NAMED_MAX {
            break;
        }
    }
    found.truncate(NAMED_MAX);
    found
}

fn names(directory: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten().take(LOOKED_AT_MAX);
    let mut names: Vec<PathBuf> = entries.map(|entry| entry.file_name().into()).collect();
    names.sort();
    names
}

/// Returns true for `AppSpec.yml`, `app-spec.yaml`, `appspec.json` and `appspec.yml.txt`, but not
/// for `._appspec.yml`, which macOS writes beside a file.
fn is_near(name: &Path) -> bool {
    let name = name.to_string_lossy().to_lowercase();
    let letters: String = name.chars().filter(|letter| letter.is_alphanumeric()).collect();
    !name.starts_with("._") && letters.starts_with("appspec")
}

/// Formats the files as the end of an error message; empty if there are none.
pub(super) fn in_words(near: &[PathBuf]) -> String {
    let names: Vec<String> = near.iter().map(|path| format!("`{}`", path.display())).collect();
    let is_below = near.iter().any(|path| path.components().count() > 1);
    let (advice, one) = (if is_below { "move or rename it" } else { "rename it" }, near.len() == 1);
    match one {
        _ if near.is_empty() => String::new(),
        true => format!("; did you mean {}? Then {advice}", names[0]),
        false => format!("; did you mean one of {}?", names.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use tempfile::TempDir;

    use super::*;

    #[test]
    fn files_that_are_called_nearly_so_are_found() {
        let check = |files: &[&str], expected: &str| {
            let dir = TempDir::new().expect("a directory");
            for file in files {
                let path = dir.path().join(file);
                fs::create_dir_all(path.parent().expect("below something")).expect("made");
                fs::write(path, "").expect("written");
            }
            assert_eq!(in_words(&find(dir.path())), expected, "{files:?}");
        };
        check(&["app", "README"], "");
        check(&["AppSpec.yml"], "; did you mean `AppSpec.yml`? Then rename it");
        check(&["app-spec.yml"], "; did you mean `app-spec.yml`? Then rename it");
        check(&["appspec.json", "x"], "; did you mean `appspec.json`? Then rename it");
        check(&["appspec.yml.txt"], "; did you mean `appspec.yml.txt`? Then rename it");
        check(&["config/appspec.yml"], "; did you mean `config/appspec.yml`? Then move or rename it");
        check(
            &["a/b/appspec.yml", "a/b/c/appspec.yml"],
            "; did you mean `a/b/appspec.yml`? Then move or rename it",
        );
        check(&["__MACOSX/appspec.yml", "__MACOSX/._appspec.yml", "._appspec.yml"], "");
        check(
            &["a/appspec.yml", "b/appspec.yml", "c/appspec.yml", "d/appspec.yml"],
            "; did you mean one of `a/appspec.yml`, `b/appspec.yml`, `c/appspec.yml`?",
        );
    }
}

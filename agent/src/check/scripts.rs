//! Checks a script without running it.

use std::fs;
use std::path::Path;

use proto::appspec::Script;

use crate::regular_file;
use crate::script_file::ScriptFile;

/// Returns the reason why the script cannot run at all.
pub(super) fn problem_of(top: &Path, script: &Script) -> Option<String> {
    let location = script.location.trim_start_matches('/');
    match top.join(location).metadata() {
        Ok(metadata) if metadata.is_file() => None,
        Ok(metadata) => {
            let what = regular_file::kind_in_words(metadata.file_type());
            Some(format!("`{location}` is a {what}, not a script"))
        }
        Err(_) if location.contains(' ') => Some(format!(
            "there is no `{location}` in the bundle; a script gets no arguments, so none can stand here"
        )),
        Err(_) => {
            let near = near(top, location);
            let advice = match near.is_empty() && script.location.starts_with('/') {
                true => {
                    "; a location is a path in the bundle, also with a `/` before it: a script that lies on the host \
                     is started by one of the bundle"
                }
                false => &near,
            };
            Some(format!("there is no `{location}` in the bundle{advice}"))
        }
    }
}

/// Returns what may go wrong with it; some of it is reported only if `is_here`,
/// on the host that will run it.
pub(super) fn odd_about(top: &Path, script: &Script, is_here: bool) -> Vec<String> {
    let path = top.join(script.location.trim_start_matches('/'));
    let warnings = ScriptFile::read(&path).map(|file| file.warnings(script.runas.is_some(), is_here));
    warnings.unwrap_or_default().iter().map(ToString::to_string).collect()
}

/// Describes what a pattern in place of a path would have matched, if it is a pattern.
pub(super) fn matching(top: &Path, pattern: &str) -> Option<String> {
    let (before, after) = pattern.split_once('*')?;
    let dir = Path::new(before).parent().unwrap_or(Path::new(""));
    let entries = fs::read_dir(top.join(dir)).into_iter().flatten().flatten();
    let names = entries.map(|entry| dir.join(entry.file_name()).display().to_string());
    let mut names: Vec<String> = names
        .filter(|name| {
            name.len() >= before.len() + after.len() && name.starts_with(before) && name.ends_with(after)
        })
        .collect();
    names.sort();
    Some(match names.as_slice() {
        [only] => format!(": write `{only}`"),
        _ => ": name the directory that they lie in".to_owned(),
    })
}

/// Suggests a name in the bundle that differs only in upper or lower case, or in its ending.
pub(super) fn near(top: &Path, location: &str) -> String {
    let path = Path::new(location);
    let stem = |path: &Path| path.file_stem().map(|stem| stem.to_string_lossy().to_lowercase());
    let dir = path.parent().unwrap_or(Path::new(""));
    let names = fs::read_dir(top.join(dir)).into_iter().flatten().flatten().map(|entry| entry.file_name());
    let mut near: Vec<_> = names.filter(|name| stem(Path::new(name)) == stem(path)).collect();
    near.sort();
    match near.first() {
        Some(name) => format!("; did you mean `{}`?", dir.join(name).display()),
        None => String::new(),
    }
}

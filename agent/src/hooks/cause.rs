//! Explains why a script did not start, or why a command in it did not.

use std::io;
use std::path::Path;

use proto::appspec::Script;

use super::user::RunAs;
use crate::script_file::{ScriptFile, Trouble};

/// The exit code of a shell and of `env` when they cannot execute the file they found.
const CANNOT_EXECUTE: i32 = 126;
/// The exit code when they found nothing.
const NOT_FOUND: i32 = 127;

/// Returns an addition to the system's error message.
pub(super) fn of_start(cause: &io::Error, script: &Script, path: &Path) -> Option<String> {
    if cause.kind() == io::ErrorKind::PermissionDenied {
        return closed(script, path);
    }
    of_file(script, path)
}

/// Returns an addition to an exit code.
pub(super) fn of_exit_code(code: i32, script: &Script, path: &Path) -> Option<String> {
    match code {
        CANNOT_EXECUTE => closed(script, path).or_else(|| of_file(script, path)).or_else(|| {
            Some("a command was found that may not be executed; the lines before say which".to_owned())
        }),
        NOT_FOUND => of_file(script, path).or_else(|| {
            let path = std::env::var("PATH").unwrap_or_default();
            Some(format!(
                "command not found; the lines before say which, and it was looked for in the agent's PATH ({path}), \
                 unless the script or its user's login sets another"
            ))
        }),
        // The C library passes a program that the system cannot run to a shell,
        // which ends with its own exit code.
        _ => file_trouble(script, path).filter(Trouble::is_of_machine).map(|trouble| trouble.to_string()),
    }
}

fn of_file(script: &Script, path: &Path) -> Option<String> {
    file_trouble(script, path).map(|trouble| trouble.to_string())
}

fn file_trouble(script: &Script, path: &Path) -> Option<Trouble> {
    let searched = std::env::var("PATH").unwrap_or_default();
    ScriptFile::read(path).ok()?.why_it_failed(script.runas.is_some(), &searched)
}

/// Describes the directory that the script's user may not enter, or the file that it may not read.
fn closed(script: &Script, path: &Path) -> Option<String> {
    if script.sudo {
        return None;
    }
    let user = RunAs::look_up(script.runas.as_ref()?).ok()?;
    let closed = user.closed_on_way_to(path)?;
    Some(format!(
        "user `{}` may not enter or read `{}` ({}): give that user the right to, or leave `runas` out",
        user.name(),
        closed.path.display(),
        closed.mode_in_words()
    ))
}

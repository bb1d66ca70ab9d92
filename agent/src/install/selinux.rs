//! Sets SELinux contexts. They are part of the system's policy, which only its own tools can
//! change: `semanage` and `restorecon`, called with arguments and never through a shell.

use std::ffi::OsStr;
use std::io;
use std::path::Path;
use std::process::{Command, Stdio};

use proto::appspec::SeContext;

/// Returns true if this host has the tools.
pub(super) fn is_there() -> bool {
    let paths = std::env::var_os("PATH").unwrap_or_default();
    let is_in_path = |tool: &str| std::env::split_paths(&paths).any(|dir| dir.join(tool).is_file());
    is_in_path("semanage") && is_in_path("restorecon")
}

/// Adds the context of `path` to the policy, and applies it. The policy does not
/// resolve links, so the path must contain none.
pub(super) fn set(path: &Path, context: &SeContext) -> io::Result<()> {
    let mut words: Vec<&OsStr> = vec!["fcontext".as_ref(), "-a".as_ref()];
    for (flag, value) in [
        ("-s", context.name.as_deref()),
        ("-t", Some(context.type_.as_str())),
        ("-r", Some(context.range.as_str())),
    ] {
        words.extend(value.into_iter().flat_map(|value| [OsStr::new(flag), OsStr::new(value)]));
    }
    words.push(path.as_os_str());
    run("semanage", &words)?;
    run("restorecon", &["-v".as_ref(), path.as_os_str()])
}

/// Removes the context of `path` from the policy.
pub(super) fn forget(path: &Path) -> io::Result<()> {
    run("semanage", &["fcontext".as_ref(), "-d".as_ref(), path.as_os_str()])
}

fn run(tool: &str, words: &[&OsStr]) -> io::Result<()> {
    let command = &mut Command::new(tool);
    let output = command.args(words).stdin(Stdio::null()).output()?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(io::Error::other(format!("{tool} failed ({}): {}", output.status, said.trim())))
}

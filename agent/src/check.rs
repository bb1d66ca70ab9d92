//! Looking a bundle over before anything runs: all mistakes at once.
//!
//! `skein local --check` says no more than this; what only the host can know
//! (is the destination free, is there such a user) is for Install to find.

use std::path::Path;

use proto::appspec::{self, AppSpec, CustomEvents, Mistake, Script};
use proto::lifecycle::EVENT_TIMEOUT_MAX;

use crate::bundle::unpack::{self, Limits};
use crate::host_side::deployment::{EventError, find_appspec};

/// What was found.
#[derive(Debug, Default)]
pub(crate) struct Findings {
    /// Any of these fails the deployment.
    pub(crate) mistakes: Vec<Mistake>,
    /// Accepted, but surely not meant.
    pub(crate) warnings: Vec<Mistake>,
}

/// Checks a bundle on this host: a directory as it lies, an archive after it
/// was unpacked into a temporary directory. Blocks.
/// # Errors
/// If it cannot be looked at, or has no AppSpec file.
pub(crate) fn check(
    path: &Path,
    appspec_name: &str,
    custom: CustomEvents<'_>,
) -> Result<Findings, EventError> {
    if path.is_dir() {
        return check_unpacked(path, appspec_name, custom);
    }
    let on_disk = |cause| EventError::Disk { path: std::env::temp_dir(), cause };
    let dir = tempfile::TempDir::new().map_err(on_disk)?;
    let unpacked = dir.path().join("bundle");
    unpack::unpack(path, &unpacked, Limits::default()).map_err(EventError::Unpack)?;
    check_unpacked(&unpacked, appspec_name, custom)
}

fn check_unpacked(top: &Path, appspec_name: &str, custom: CustomEvents<'_>) -> Result<Findings, EventError> {
    let (name, bytes) = find_appspec(top, appspec_name)?;
    match appspec::parse_with(&name, &bytes, custom) {
        Ok(parsed) => {
            let mut findings = Findings { mistakes: Vec::new(), warnings: parsed.warnings };
            findings.sources(&name, top, &parsed.appspec);
            findings.scripts(&name, top, &parsed.appspec);
            Ok(findings)
        }
        Err(mistakes) => Ok(Findings { mistakes, warnings: Vec::new() }),
    }
}

impl Findings {
    fn sources(&mut self, file: &str, top: &Path, appspec: &AppSpec) {
        for (at, mapping) in appspec.files.iter().enumerate() {
            if !mapping.source.is_empty() && top.join(&mapping.source).symlink_metadata().is_err() {
                let problem = format!("there is no `{}` in the bundle", mapping.source);
                self.mistakes.push(at_line(file, mapping.line, format!("files[{at}].source"), problem));
            }
        }
    }

    fn scripts(&mut self, file: &str, top: &Path, appspec: &AppSpec) {
        let known = appspec.hooks.iter().map(|(event, scripts)| (event.name(), scripts));
        let custom = appspec.custom_hooks.iter().map(|(event, scripts)| (event.as_str(), scripts));
        for (event, scripts) in known.chain(custom) {
            for (at, script) in scripts.iter().enumerate() {
                if let Some(problem) = problem_of(top, script) {
                    let key = format!("hooks.{event}[{at}].location");
                    self.mistakes.push(at_line(file, script.line, key, problem));
                }
            }
            self.timeouts(file, event, scripts);
        }
    }

    /// CodeDeploy's service lets an event's scripts take an hour together.
    fn timeouts(&mut self, file: &str, event: &str, scripts: &[Script]) {
        // The default is that hour itself, and no sign that it is needed.
        let given = scripts.iter().map(|script| script.timeout).filter(|given| *given != EVENT_TIMEOUT_MAX);
        let sum: u64 = given.map(|timeout| timeout.as_secs()).sum();
        let most = EVENT_TIMEOUT_MAX.as_secs();
        if sum > most
            && let Some(first) = scripts.first()
        {
            let problem = format!(
                "the timeouts of this event's scripts add up to {sum} seconds: CodeDeploy allows {most}"
            );
            self.warnings.push(at_line(file, first.line, format!("hooks.{event}"), problem));
        }
    }
}

fn problem_of(top: &Path, script: &Script) -> Option<String> {
    let location = script.location.trim_start_matches('/');
    match top.join(location).metadata() {
        Ok(metadata) if metadata.is_dir() => Some(format!("`{location}` is a directory, not a script")),
        Ok(_) => None,
        Err(_) if location.contains(' ') => Some(format!(
            "there is no `{location}` in the bundle; a script gets no arguments, so none can stand here"
        )),
        Err(_) => Some(format!("there is no `{location}` in the bundle")),
    }
}

fn at_line(file: &str, line: usize, key: String, problem: String) -> Mistake {
    Mistake { file: file.to_owned(), line, column: 1, key, problem }
}

#[cfg(test)]
mod tests;

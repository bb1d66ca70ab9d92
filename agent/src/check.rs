//! Looking a bundle over before anything runs: all mistakes at once.
//!
//! Of what only the host can know, `skein local --check` warns (is there such a
//! user, such an interpreter); what is in the way of the files is for Install
//! to find, before it touches anything.

mod people;
mod scripts;

use std::path::Path;

use proto::appspec::{self, AppSpec, CustomEvents, Examined, FileMapping, Mistake, Script};
use proto::lifecycle::EVENT_TIMEOUT_MAX;

use crate::bundle::unpack::{self, Limits};
use crate::host_side::deployment::{EventError, find_appspec};

/// What was found, each in the order of its places.
#[derive(Debug, Default)]
pub(crate) struct Findings {
    /// Any of these fails the deployment.
    pub(crate) mistakes: Vec<Mistake>,
    /// Accepted, but surely not meant.
    pub(crate) warnings: Vec<Mistake>,
}

/// Whose rules a bundle is held to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rules {
    /// The agent's, as `skein local` and codedeploy-local have them; and this
    /// is the host that will run the scripts.
    ThisHost,
    /// The service's too, as for a deployment to a group: an event's scripts
    /// may take an hour together. They will run on other hosts.
    Service,
}

/// Checks a bundle on this host: a directory as it lies, an archive after it
/// was unpacked into a temporary directory. Blocks.
/// # Errors
/// If it cannot be looked at, or has no AppSpec file.
pub(crate) fn check(
    path: &Path,
    appspec_name: &str,
    custom: CustomEvents<'_>,
    rules: Rules,
) -> Result<Findings, EventError> {
    if path.is_dir() {
        let mut findings = check_unpacked(path, appspec_name, custom, rules)?;
        let refused = unpack::directory::refused(path, Limits::default()).map_err(EventError::Unpack)?;
        findings.mistakes.extend(refused.into_iter().map(|(name, cause)| Mistake {
            file: unpack::shown(&name),
            line: 0,
            column: 0,
            key: String::new(),
            problem: cause.to_string(),
        }));
        return Ok(findings);
    }
    let on_disk = |cause| EventError::Disk { path: std::env::temp_dir(), cause };
    let dir = tempfile::TempDir::new().map_err(on_disk)?;
    let unpacked = dir.path().join("bundle");
    unpack::unpack(path, &unpacked, Limits::default()).map_err(EventError::Unpack)?;
    let mut checked = check_unpacked(&unpacked, appspec_name, custom, rules);
    if let Err(EventError::NoAppSpec { archive, .. }) = &mut checked {
        // A directory that is gone by now tells nobody anything.
        *archive = path.to_owned();
    }
    checked
}

/// The same for a bundle that lies unpacked.
/// # Errors
/// If it has no AppSpec file.
pub(crate) fn check_unpacked(
    top: &Path,
    appspec_name: &str,
    custom: CustomEvents<'_>,
    rules: Rules,
) -> Result<Findings, EventError> {
    let (name, bytes) = find_appspec(top, appspec_name)?;
    let Examined { appspec, mistakes, warnings } = appspec::examine(&name, &bytes, custom);
    let findings = Findings { mistakes, warnings };
    let mut checker = Checker { file: &name, top, rules, findings };
    checker.sources(&appspec);
    checker.scripts(&appspec);
    if rules == Rules::ThisHost {
        // Installing will fail here for want of them.
        for ((line, key), problem) in people::missing(&appspec) {
            checker.warning(line, key, problem);
        }
    }
    let Findings { mut mistakes, mut warnings } = checker.findings;
    mistakes.sort_by_key(|mistake| (mistake.line, mistake.column));
    warnings.sort_by_key(|warning| (warning.line, warning.column));
    Ok(Findings { mistakes, warnings })
}

struct Checker<'c> {
    /// The AppSpec file's name.
    file: &'c str,
    /// Where the bundle lies.
    top: &'c Path,
    rules: Rules,
    findings: Findings,
}

impl Checker<'_> {
    fn sources(&mut self, appspec: &AppSpec) {
        for (at, mapping) in appspec.files.iter().enumerate() {
            if !mapping.source.is_empty() && self.top.join(&mapping.source).symlink_metadata().is_err() {
                let near = scripts::near(self.top, &mapping.source);
                let problem = format!("there is no `{}` in the bundle{near}", mapping.source);
                self.mistake(mapping.line, format!("files[{at}].source"), problem);
            }
            self.destination(at, mapping);
        }
    }

    /// A destination is always a directory, which nobody thinks who gives one
    /// file its full path on the host.
    fn destination(&mut self, at: usize, mapping: &FileMapping) {
        let (source, destination) = (Path::new(&mapping.source), Path::new(&mapping.destination));
        let (Some(name), Some(last)) = (source.file_name(), destination.file_name()) else { return };
        let is_same = name == last
            || (last.len() > 1 && source.extension().is_some_and(|e| Some(e) == destination.extension()));
        if is_same && self.top.join(source).is_file() {
            let above = destination.parent().unwrap_or(destination).display();
            let problem = format!(
                "`{}` becomes a directory with `{}` in it, because a destination always is one: write `{above}`, \
                 and the file keeps its name",
                mapping.destination,
                name.display()
            );
            self.warning(mapping.line, format!("files[{at}].destination"), problem);
        }
    }

    fn scripts(&mut self, appspec: &AppSpec) {
        let known = appspec.hooks.iter().map(|(event, scripts)| (event.name(), scripts));
        let custom = appspec.custom_hooks.iter().map(|(event, scripts)| (event.as_str(), scripts));
        for (event, scripts) in known.chain(custom) {
            for (at, script) in scripts.iter().enumerate() {
                let key = |name: &str| format!("hooks.{event}[{at}].{name}");
                match scripts::problem_of(self.top, script) {
                    Some(problem) => self.mistake(script.line, key("location"), problem),
                    None => {
                        let is_here = self.rules == Rules::ThisHost;
                        let odd = scripts::odd_about(self.top, script, is_here);
                        odd.into_iter().for_each(|odd| self.warning(script.line, key("location"), odd));
                    }
                }
            }
            self.timeouts(event, scripts);
        }
    }

    /// CodeDeploy's service lets an event's scripts take an hour together; its
    /// agent alone does not count.
    fn timeouts(&mut self, event: &str, scripts: &[Script]) {
        // The default is that hour itself, and no sign that it is needed.
        let given = scripts.iter().filter(|script| script.timeout_given);
        let sum = given.fold(0_u64, |sum, script| sum.saturating_add(script.timeout.as_secs()));
        let most = EVENT_TIMEOUT_MAX.as_secs();
        let Some(first) = scripts.first().filter(|_| sum > most) else { return };
        let problem = format!(
            "the timeouts of this event's scripts add up to {sum} seconds, and {most} is the most that a \
             deployment to a group allows (so does CodeDeploy's service): lower them"
        );
        let key = format!("hooks.{event}");
        match self.rules {
            Rules::Service => self.mistake(first.line, key, problem),
            Rules::ThisHost => self.warning(first.line, key, problem),
        }
    }

    fn mistake(&mut self, line: usize, key: String, problem: String) {
        self.findings.mistakes.push(self.at_line(line, key, problem));
    }

    fn warning(&mut self, line: usize, key: String, problem: String) {
        self.findings.warnings.push(self.at_line(line, key, problem));
    }

    fn at_line(&self, line: usize, key: String, problem: String) -> Mistake {
        Mistake { file: self.file.to_owned(), line, column: 1, key, problem }
    }
}

#[cfg(test)]
mod tests;

//! Checks a bundle before anything runs, and reports all mistakes at once.
//! `skein local`, `skein local --check`, `plan` and `deploy` all use this check.
//!
//! A mistake is something that no host could deploy; a warning is something that may go wrong.
//! `skein local --check` also warns of what only the host can know (such as a missing user or
//! interpreter). Files that are in the way are for Install to find, before it touches anything.

mod directories;
mod scripts;
mod unknown_users;

use std::path::Path;

use proto::appspec::{self, AppSpec, CustomEvents, Examined, FileMapping, Mistake, Script};
use proto::lifecycle::{EVENT_TIMEOUT_MAX, LifecycleEvent};

use crate::bundle::unpack::{self, Limits};
use crate::host_side::appspec_file::find_appspec;
use crate::host_side::deployment::EventError;
use crate::install;

/// The findings, each list in the order of their places.
#[derive(Debug, Default)]
pub(crate) struct Findings {
    /// Any of these fails the deployment, on every host.
    pub(crate) mistakes: Vec<Mistake>,
    /// Things that may go wrong, or are surely not intended.
    pub(crate) warnings: Vec<Mistake>,
    /// The custom events that have scripts.
    pub(crate) custom_events: Vec<String>,
}

/// The hosts that the bundle is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Hosts {
    /// This host: what it lacks is a warning, too.
    This,
    /// The hosts of a group, about which nothing is known here.
    Others,
}

/// Checks a bundle on this host: a directory in place, an archive after unpacking
/// it into a temporary directory. Blocks.
/// # Errors
/// If it cannot be read, or has no AppSpec file.
pub(crate) fn check(
    path: &Path,
    appspec_name: &str,
    custom: CustomEvents<'_>,
    hosts: Hosts,
) -> Result<Findings, EventError> {
    if path.is_dir() {
        let mut findings = check_unpacked(path, appspec_name, custom, hosts)?;
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
    let mut checked = check_unpacked(&unpacked, appspec_name, custom, hosts);
    if let Err(EventError::NoAppSpec { archive, .. }) = &mut checked {
        // The temporary directory is gone by now, and its name would not help anyone.
        *archive = path.to_owned();
    }
    checked
}

/// Checks a bundle that is unpacked.
/// # Errors
/// If it has no AppSpec file.
pub(crate) fn check_unpacked(
    top: &Path,
    appspec_name: &str,
    custom: CustomEvents<'_>,
    hosts: Hosts,
) -> Result<Findings, EventError> {
    let (name, bytes) = find_appspec(top, appspec_name)?;
    let Examined { appspec, mistakes, warnings } = appspec::examine(&name, &bytes, custom);
    let custom_events = appspec.custom_hooks.keys().cloned().collect();
    let findings = Findings { mistakes, warnings, custom_events };
    let mut checker = Checker { file: &name, top, hosts, findings };
    checker.sources(&appspec);
    checker.scripts(&appspec);
    checker.directories(&appspec);
    checker.installation(&appspec);
    if hosts == Hosts::This {
        checker.people(&appspec);
    }
    let Findings { mut mistakes, mut warnings, custom_events } = checker.findings;
    mistakes.sort_by_key(|mistake| (mistake.line, mistake.column));
    warnings.sort_by_key(|warning| (warning.line, warning.column));
    Ok(Findings { mistakes, warnings, custom_events })
}

struct Checker<'c> {
    /// The AppSpec file's name.
    file: &'c str,
    /// The bundle's top directory.
    top: &'c Path,
    hosts: Hosts,
    findings: Findings,
}

impl Checker<'_> {
    fn sources(&mut self, appspec: &AppSpec) {
        let is_prepared = appspec.hooks.contains_key(&LifecycleEvent::BeforeInstall);
        for (at, mapping) in appspec.files.iter().enumerate() {
            if !mapping.source.is_empty() && self.top.join(&mapping.source).symlink_metadata().is_err() {
                self.missing_source(format!("files[{at}].source"), mapping, is_prepared);
            }
            self.destination(at, mapping);
        }
    }

    /// Reports a source that is not in the bundle. A script that runs in the
    /// bundle's directory before the installation may still create it.
    fn missing_source(&mut self, key: String, mapping: &FileMapping, is_prepared: bool) {
        let source = &mapping.source;
        let near = match scripts::matching(self.top, source) {
            Some(matching) => format!("; a source is one file or directory, not a pattern{matching}"),
            None => scripts::near(self.top, source),
        };
        let problem = format!("there is no `{source}` in the bundle{near}");
        match is_prepared {
            true => {
                let unless = "; unless a script of BeforeInstall makes it, Install will fail";
                self.warning(mapping.line, key, problem + unless);
            }
            false => self.mistake(mapping.line, key, problem),
        }
    }

    /// Warns of a destination that looks like a file's full path: a destination
    /// is always a directory, which people forget who write such a path.
    fn destination(&mut self, at: usize, mapping: &FileMapping) {
        let (source, destination) = (Path::new(&mapping.source), Path::new(&mapping.destination));
        let (Some(name), Some(last)) = (source.file_name(), destination.file_name()) else { return };
        let is_same = name == last
            || (last.len() > 1 && source.extension().is_some_and(|e| Some(e) == destination.extension()));
        if is_same && self.top.join(source).is_file() {
            let above = destination.parent().filter(|above| above.is_absolute());
            let wanted = match above {
                Some(above) => format!("write `{}`", above.display()),
                None => {
                    "write the full path of the directory that it is to lie in, such as `/srv/app`".to_owned()
                }
            };
            let problem = format!(
                "`{}` becomes a directory with `{}` in it, because a destination always is one: {wanted}, and the \
                 file keeps its name",
                mapping.destination,
                name.display()
            );
            self.warning(mapping.line, format!("files[{at}].destination"), problem);
        }
    }

    /// Reports what Install would refuse on every host.
    fn installation(&mut self, appspec: &AppSpec) {
        for (line, problem) in install::foresee(appspec, self.top) {
            let key = problem.key().to_owned();
            let problem = problem.to_string().replace(&format!("{}/", self.top.display()), "");
            self.mistake(line, key, problem);
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
                        let odd = scripts::odd_about(self.top, script, self.hosts == Hosts::This);
                        odd.into_iter().for_each(|odd| self.warning(script.line, key("location"), odd));
                    }
                }
            }
            self.timeouts(event, scripts);
        }
    }

    /// Warns if the scripts of an event have more than an hour in total, the
    /// limit of CodeDeploy's service. Its agent does not enforce this, and
    /// neither do we: few scripts take all the time that they are given.
    fn timeouts(&mut self, event: &str, scripts: &[Script]) {
        // The default is that hour itself, and does not show that it is needed.
        let given = scripts.iter().filter(|script| script.timeout_given);
        let sum = given.fold(0_u64, |sum, script| sum.saturating_add(script.timeout.as_secs()));
        let most = EVENT_TIMEOUT_MAX.as_secs();
        let Some(first) = scripts.first().filter(|_| sum > most) else { return };
        let problem = format!(
            "the timeouts of this event's scripts add up to {sum} seconds, and CodeDeploy's service allows {most}: \
             lower them if the bundle is to be deployed there too"
        );
        self.warning(first.line, format!("hooks.{event}"), problem);
    }

    /// Warns of a mode with which directories can be listed but not entered.
    fn directories(&mut self, appspec: &AppSpec) {
        for (at, permission) in appspec.permissions.iter().enumerate() {
            if let Some(problem) = directories::closed_by(permission, &appspec.files, self.top) {
                self.warning(permission.line, format!("permissions[{at}].mode"), problem);
            }
        }
    }

    /// Warns of missing users and groups, without which scripts and Install will fail here.
    fn people(&mut self, appspec: &AppSpec) {
        for ((line, key), problem) in unknown_users::missing(appspec) {
            self.warning(line, key, problem);
        }
        self.findings.warnings.extend(unknown_users::cannot_run(self.file, appspec, self.top));
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

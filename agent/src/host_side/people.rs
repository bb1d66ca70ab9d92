//! Finds users that scripts are to run as but that this host lacks, before the first script of a
//! new revision runs.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use proto::appspec::{AppSpec, Mistake};

use super::deployment::{Event, scripts};
use crate::hooks::{RunAs, UserError};
use crate::regular_file;

/// The number of bytes of a script to search. Real ones have at most a few KiB.
const LOOKED_AT_MAX: usize = 256 * 1024;
/// Programs that create users.
const MAKERS: [&str; 4] = ["useradd", "adduser", "newusers", "sysusers"];

/// Lists the users that scripts of these events, in their order, cannot run as on this host, each
/// at its first mention. Leaves out a user that an earlier script may create, because that script
/// names the user or a program that creates users.
pub(crate) fn missing_users(file: &str, appspec: &AppSpec, archive: &Path, events: &[Event]) -> Vec<Mistake> {
    let mut missing = Vec::new();
    let mut looked_up = BTreeSet::new();
    let mut earlier: Vec<PathBuf> = Vec::new();
    for event in events {
        for (at, script) in scripts(appspec, event).iter().enumerate() {
            let user = script.runas.as_deref().filter(|user| looked_up.insert(*user));
            let error = user.and_then(|user| Some((user, cannot_become(user, script.sudo)?)));
            let error = error.filter(|(user, error)| {
                let may_come = matches!(error, UserError::Unknown(_));
                !may_come || !earlier.iter().any(|script| may_make(script, user))
            });
            missing.extend(error.map(|(_, error)| Mistake {
                file: file.to_owned(),
                line: script.line,
                column: 1,
                key: format!("hooks.{}[{at}].runas", event.name()),
                problem: error.to_string(),
            }));
            earlier.push(archive.join(script.location.trim_start_matches('/')));
        }
    }
    missing
}

/// Returns the reason why a script cannot run as the user. Ignores a failed look-up, which may work
/// by the time the script's event comes.
fn cannot_become(user: &str, by_sudo: bool) -> Option<UserError> {
    RunAs::look_up(user).err().filter(|error| match error {
        UserError::Unknown(_) => true,
        UserError::NotRoot { .. } => !by_sudo,
        UserError::LookUp { .. } => false,
    })
}

fn may_make(script: &Path, user: &str) -> bool {
    let text = regular_file::read_start(script, LOOKED_AT_MAX).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let is_part = |letter: char| letter.is_alphanumeric() || matches!(letter, '_' | '-');
    text.split(|letter| !is_part(letter))
        .any(|word| word == user || MAKERS.iter().any(|maker| word.contains(maker)))
}

#[cfg(test)]
mod tests {
    use proto::appspec::parse;
    use proto::lifecycle::Course;

    use super::*;

    /// Checks that exactly the places in `expected` have a missing user.
    fn check(hooks: &str, prepare: &str, expected: &[&str]) {
        let dir = tempfile::TempDir::new().expect("a directory");
        std::fs::write(dir.path().join("prepare.sh"), prepare).expect("written");
        let text = format!("version: 0.0\nos: linux\nhooks:\n{hooks}");
        let appspec = parse("appspec.yml", text.as_bytes()).expect("accepted").appspec;
        let events: Vec<Event> = Course::Local.events().map(Event::Known).collect();
        let missing = missing_users("appspec.yml", &appspec, dir.path(), &events);
        assert_eq!(
            missing.iter().map(|missing| missing.key.as_str()).collect::<Vec<_>>(),
            expected,
            "{hooks}"
        );
        for missing in &missing {
            assert!(
                missing.problem.contains("`nobody-here`") && missing.problem.contains("`runas`"),
                "{missing}"
            );
        }
    }

    #[test]
    fn a_user_that_no_earlier_script_may_make_is_missing() {
        let run = |event: &str| format!("  {event}:\n    - location: run.sh\n      runas: nobody-here\n");
        let prepare = "  BeforeInstall:\n    - location: /prepare.sh\n";
        let missing: &[&str] = &["hooks.AfterInstall[0].runas"];
        check(&run("AfterInstall"), "", missing);
        check(&format!("{prepare}{}", run("AfterInstall")), "echo nobody-here-else", missing);
        check(&format!("{prepare}{}", run("AfterInstall")), "mkuser nobody-here", &[]);
        check(&format!("{prepare}{}", run("AfterInstall")), "/usr/sbin/useradd -r \"$NAME\"", &[]);
        check(
            &format!("{}  ValidateService:\n    - location: prepare.sh\n", run("AfterInstall")),
            "useradd x",
            missing,
        );
        check("  AfterInstall:\n    - location: run.sh\n      runas: root\n      sudo: true\n", "", &[]);
        let both = format!("{}{}", run("AfterInstall"), run("ApplicationStart"));
        // Each user is reported once.
        check(&both, "", missing);
    }
}

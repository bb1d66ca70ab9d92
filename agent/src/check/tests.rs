use tempfile::TempDir;

use super::*;

/// Checks an AppSpec file beside `start.sh` and the directory `app`.
fn check(rest: &str, mistakes: &[&str], warnings: &[&str]) {
    let dir = TempDir::new().expect("a directory");
    std::fs::create_dir(dir.path().join("app")).expect("made");
    std::fs::write(dir.path().join("start.sh"), "").expect("written");
    std::fs::write(dir.path().join("appspec.yml"), format!("version: 0.0\nos: linux\n{rest}"))
        .expect("written");
    let findings = super::check(dir.path(), "appspec.yml", CustomEvents::Only(&[])).expect("looked at");
    let words = |found: &[Mistake]| found.iter().map(ToString::to_string).collect::<Vec<_>>();
    assert_eq!(words(&findings.mistakes), mistakes);
    assert_eq!(words(&findings.warnings), warnings);
}

#[test]
fn a_good_bundle_has_nothing_to_find() {
    let rest =
        "files:\n  - source: app\n    destination: /srv\nhooks:\n  AfterInstall:\n    - location: start.sh\n";
    check(rest, &[], &[]);
}

#[test]
fn what_is_named_and_not_there_is_found_at_once() {
    check(
        "files:\n  - source: build\n    destination: /srv\nhooks:\n  AfterInstall:\n    - location: app\n    \
         - location: start.sh -f\n",
        &[
            "appspec.yml:4:1: files[0].source: there is no `build` in the bundle",
            "appspec.yml:8:1: hooks.AfterInstall[0].location: `app` is a directory, not a script",
            "appspec.yml:9:1: hooks.AfterInstall[1].location: there is no `start.sh -f` in the bundle; a \
             script gets no arguments, so none can stand here",
        ],
        &[],
    );
}

#[test]
fn timeouts_that_add_up_to_more_than_an_hour_are_warned_of() {
    let script = "    - location: start.sh\n      timeout: 2000\n";
    check(
        &format!("hooks:\n  AfterInstall:\n{script}{script}"),
        &[],
        &["appspec.yml:5:1: hooks.AfterInstall: the timeouts of this event's scripts add up to 4000 \
           seconds: CodeDeploy allows 3600"],
    );
}

//! Tests `skein local --check`, as a person and as a script reads it.

use std::fs;

use serde_json::Value;

use crate::world::{Host, expect};

#[test]
fn all_mistakes_are_printed_at_once_and_nothing_is_touched() {
    let host = Host::new();
    let bundle = host.bundle("b", &[("page", "one")], &[("AfterInstall", "true")]);
    let good = expect(host.local(&bundle, &["--check"]), 0, &["The bundle is valid."]);
    assert!(!good.contains("warning"), "that its script is not executable is put right: {good}");
    let text = fs::read_to_string(bundle.join("appspec.yml")).expect("there");
    let text = text.replace("AfterInstall:", "AfterInstal:").replace("source: app", "source: ap");
    fs::write(bundle.join("appspec.yml"), text).expect("written");
    fs::remove_file(bundle.join("AfterInstall.sh")).expect("removed");
    let words = [
        "error: appspec.yml:4:1: files[0].source: there is no `ap` in the bundle",
        "not a lifecycle event; did you mean AfterInstall?",
        "there is no `AfterInstall.sh` in the bundle",
        "3 mistakes",
    ];
    expect(host.local(&bundle, &["--check"]), 1, &words);
    let output = host.local(&bundle, &["--check", "--json"]).output().expect("it runs");
    let report: Value = serde_json::from_slice(&output.stdout).expect("one JSON document");
    assert_eq!((&report["valid"], report["mistakes"].as_array().map(Vec::len)), (&false.into(), Some(3)));
    assert_eq!(report["mistakes"][0]["line"], 4);
    assert!(!host.root().exists(), "nothing was deployed");
}

#[test]
fn a_deployment_of_a_wrong_appspec_names_each_mistake_on_its_line() {
    let host = Host::new();
    let bundle = host.bundle("b", &[("page", "one")], &[("AfterInstall", "true")]);
    let text = fs::read_to_string(bundle.join("appspec.yml")).expect("there");
    let text = text.replace("AfterInstall:", "AfterInstal:").replace("os: linux", "os: Linux");
    fs::write(bundle.join("appspec.yml"), text).expect("written");
    let said = expect(host.local(&bundle, &[]), 1, &["2 mistakes to put right; no script has run"]);
    let errors: Vec<&str> = said.lines().filter(|line| line.starts_with("error: appspec.yml:")).collect();
    assert_eq!(errors.len(), 2, "{said}");
    assert!(!host.dest().join("page").exists());
}

/// Writes a bundle with two hooks, each of which leaves a file in the host's
/// directory.
fn bundle_with_hooks(host: &Host, hooks: &str) -> std::path::PathBuf {
    let leave = format!("echo ran >>{}", host.path().join("ran").display());
    let bundle = host.bundle("b", &[("page", "one")], &[("BeforeInstall", &leave), ("AfterInstall", &leave)]);
    let text = fs::read_to_string(bundle.join("appspec.yml")).expect("there");
    fs::write(bundle.join("appspec.yml"), format!("{text}{hooks}")).expect("written");
    bundle
}

#[test]
fn what_would_fail_in_a_later_event_is_found_before_the_first() {
    let host = Host::new();
    let check = |hooks: &str, words: &[&str]| {
        let bundle = bundle_with_hooks(&host, hooks);
        expect(host.local(&bundle, &[]), 1, words);
        assert!(!host.path().join("ran").exists(), "no script ran");
        assert!(!host.dest().join("page").exists(), "and nothing was installed");
    };
    let gone = "  ApplicationStart:\n    - location: gone.sh\n";
    check(gone, &["ApplicationStart[0].location: there is no `gone.sh` in the bundle", "no script has run"]);
    let nobody = "  ApplicationStart:\n    - location: AfterInstall.sh\n      runas: nobody-here\n";
    let words =
        ["ApplicationStart[0].runas: there is no user `nobody-here` on this host", "no script has run"];
    check(nobody, &words);
    let bundle = bundle_with_hooks(&host, nobody);
    expect(
        host.local(&bundle, &["--check"]),
        0,
        &["warning: ", "there is no user `nobody-here` on this host"],
    );
    // A script that runs earlier may create the user, so only the event itself
    // can report it.
    let maker = bundle.join("BeforeInstall.sh");
    fs::write(&maker, "#!/bin/sh\n# useradd nobody-here\n").expect("written");
    expect(
        host.local(&bundle, &[]),
        1,
        &["error: ApplicationStart failed", "there is no user `nobody-here`"],
    );
}

#[test]
fn a_log_that_is_not_there_is_not_pointed_at() {
    let host = Host::new();
    let bundle = bundle_with_hooks(&host, "  ApplicationStart:\n    - location: gone.sh\n");
    let said = expect(host.local(&bundle, &[]), 1, &[]);
    assert!(!said.contains("See the deployment log"), "{said}");
}

//! `skein local --check`, as a person reads it and as a script does.

use std::fs;

use serde_json::Value;

use crate::world::{Host, expect};

#[test]
fn all_mistakes_are_printed_at_once_and_nothing_is_touched() {
    let host = Host::new();
    let bundle = host.bundle("b", &[("page", "one")], &[("AfterInstall", "true")]);
    let good = expect(host.local(&bundle, &["--check"]), 0, &["valid"]);
    assert!(good.contains("warning: appspec.yml:"), "its script is not executable: {good}");
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

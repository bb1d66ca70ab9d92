//! Tests the owners of an unpacked revision, and which scripts run from it.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::PathBuf;
use std::process::Command;

use crate::world::{Host, expect};

const GROUP: &str = "default-local-deployment-group";

/// Returns the unpacked revision of the only deployment.
fn archive(host: &Host) -> PathBuf {
    let mut deployments = fs::read_dir(host.root().join(GROUP)).expect("deployments").flatten();
    let first = deployments.next().expect("one").path();
    assert!(deployments.next().is_none());
    first.join("deployment-archive")
}

fn stops(host: &Host, how: &str) -> PathBuf {
    let stop = format!("echo {how} >>{}", host.path().join("stopped").display());
    host.bundle(how, &[("page", how)], &[("ApplicationStop", &stop)])
}

#[test]
fn the_unpacked_revision_belongs_to_the_agent_whatever_the_archive_says() {
    let host = Host::new();
    let bundle = stops(&host, "v1");
    fs::set_permissions(bundle.join("app/page"), fs::Permissions::from_mode(0o666)).expect("set");
    let tar = host.path().join("v1.tar");
    let mut pack = Command::new("tar");
    pack.args(["--owner=4711", "--group=4712", "-cf"]).arg(&tar).arg("-C").arg(&bundle).arg(".");
    assert!(pack.status().expect("tar runs").success());
    expect(host.local(&tar, &[]), 0, &[]);
    let agent = fs::metadata(host.root()).expect("there").uid();
    for path in ["", "ApplicationStop.sh", "app", "app/page", "appspec.yml"] {
        let metadata = fs::metadata(archive(&host).join(path)).expect("there");
        assert_eq!((metadata.uid(), metadata.mode() & 0o022), (agent, 0), "`{path}`");
    }
    let installed = fs::metadata(host.dest().join("page")).expect("there");
    if agent == 0 {
        assert_eq!(
            (installed.uid(), installed.gid()),
            (4711, 4712),
            "what is installed has the archive's owner"
        );
    }
}

#[test]
fn a_script_of_the_old_revision_that_was_changed_does_not_run() {
    let host = Host::new();
    let (v1, v2) = (stops(&host, "v1"), stops(&host, "v2"));
    expect(host.local(&v1, &[]), 0, &[]);
    let stop = archive(&host).join("ApplicationStop.sh");
    let evil = format!("#!/bin/sh\necho evil >>{}\n", host.path().join("stopped").display());
    fs::write(&stop, evil).expect("written");
    fs::write(archive(&host).join("app/generated"), "a script may leave this here").expect("written");
    let words = ["ApplicationStop", "is not the script that came with its bundle", "its content was changed"];
    expect(host.local(&v2, &[]), 1, &words);
    assert!(!host.path().join("stopped").exists());
    assert_eq!(fs::read_to_string(host.dest().join("page")).expect("there"), "v1");
}

#[test]
fn what_a_script_makes_in_its_revision_is_installed() {
    let host = Host::new();
    let made = host.bundle(
        "v1",
        &[("page", "one")],
        &[("BeforeInstall", "echo made >app/page; echo new >app/more")],
    );
    expect(host.local(&made, &[]), 0, &[]);
    assert_eq!(fs::read_to_string(host.dest().join("page")).expect("there"), "made\n");
    assert_eq!(fs::read_to_string(host.dest().join("more")).expect("there"), "new\n");
}

#[test]
fn a_link_in_a_bundle_may_lead_out_and_is_not_followed() {
    let host = Host::new();
    let bundle = host.bundle("v1", &[("page", "one")], &[]);
    for (link, target) in [("python", "/usr/bin/env"), ("out", "../../foreign"), ("no", "/not/there")] {
        std::os::unix::fs::symlink(target, bundle.join("app").join(link)).expect("linked");
    }
    expect(host.local(&bundle, &["--check"]), 0, &[]);
    expect(host.local(&bundle, &[]), 0, &[]);
    for (link, target) in [("python", "/usr/bin/env"), ("out", "../../foreign"), ("no", "/not/there")] {
        let installed = fs::read_link(host.dest().join(link)).expect("a link");
        assert_eq!(installed, PathBuf::from(target));
    }
}

#[test]
fn what_always_fails_in_install_is_told_by_check() {
    let host = Host::new();
    let bundle = host.bundle("v1", &[("page", "one")], &[]);
    fs::create_dir(bundle.join("other")).expect("made");
    fs::write(bundle.join("other/page"), "two").expect("written");
    let appspec = fs::read_to_string(bundle.join("appspec.yml")).expect("there");
    let dest = host.dest().display().to_string();
    let second = format!("files:\n  - source: other\n    destination: {dest}\n");
    fs::write(bundle.join("appspec.yml"), appspec.replace("files:\n", &second)).expect("written");
    let words = ["both `other/page` and `app/page`", "(lines 4 and 6 of the AppSpec file)"];
    expect(host.local(&bundle, &["--check"]), 1, &words);
}

#[test]
fn a_bundle_without_an_appspec_file_names_what_looks_like_one() {
    for name in ["AppSpec.yml", "appspec.yml.txt", "app-spec.yml", "appspec.json", "config/appspec.yml"] {
        let host = Host::new();
        let bundle = host.bundle("v1", &[("page", "one")], &[]);
        fs::create_dir_all(bundle.join("config")).expect("made");
        fs::rename(bundle.join("appspec.yml"), bundle.join(name)).expect("renamed");
        expect(host.local(&bundle, &[]), 1, &[&format!("did you mean `{name}`?")]);
    }
}

use std::fs;
use std::os::unix::fs::symlink;
use std::path::PathBuf;

use tempfile::TempDir;

use super::*;
use crate::bundle::unpack::{self, Limits};

/// Returns a deployment's directory with an unpacked bundle.
fn unpacked() -> (TempDir, PathBuf) {
    let dir = TempDir::new().expect("a directory");
    let (source, archive) = (dir.path().join("source"), dir.path().join("d-1/deployment-archive"));
    fs::create_dir_all(source.join("scripts")).expect("made");
    fs::write(source.join("scripts/stop.sh"), "#!/bin/sh\n").expect("written");
    symlink("scripts/stop.sh", source.join("stop")).expect("linked");
    symlink("/bin/sh", source.join("sh")).expect("linked");
    let inventory = unpack::copy(&source, &archive, Limits::default()).expect("copied");
    kept::note(&dir.path().join("d-1"), None, &inventory).expect("noted");
    (dir, archive)
}

#[track_caller]
fn check_refused(archive: &Path, location: &str, how: &str) {
    match check(archive, location) {
        Err(HookError::Altered { how: said, .. }) => assert!(said.contains(how), "{said}"),
        other => panic!("{location} is not refused: {other:?}"),
    }
}

#[test]
fn only_scripts_as_they_were_unpacked_run() {
    let (_dir, archive) = unpacked();
    for location in
        ["scripts/stop.sh", "/scripts/stop.sh", "./scripts/stop.sh", "stop", "missing.sh", "scripts"]
    {
        check(&archive, location).unwrap_or_else(|error| panic!("{location}: {error}"));
    }
    check_refused(&archive, "sh", "outside");
    check_refused(&archive, &format!("{}bin/sh", "../".repeat(30)), "outside");
    // Sources that a script created may be there, but are not scripts of the bundle.
    fs::write(archive.join("made.sh"), "#!/bin/sh\n").expect("written");
    check_refused(&archive, "made.sh", "not part of the bundle");
    check(&archive, "stop").expect("what else lies there does not matter");
    fs::write(archive.join("scripts/stop.sh"), "#!/bin/sh\nid\n").expect("written");
    for location in ["scripts/stop.sh", "stop"] {
        check_refused(&archive, location, "changed on this host");
    }
}

#[test]
fn a_revision_without_a_whole_inventory_runs_as_the_official_agent_left_it() {
    let (dir, archive) = unpacked();
    fs::write(archive.join("scripts/stop.sh"), "#!/bin/sh\nid\n").expect("written");
    let note = dir.path().join("d-1/inventory.json");
    for ruined in [&b""[..], &[0; 300]] {
        fs::write(&note, ruined).expect("written");
        check(&archive, "stop").expect("a power cut must not stop all deployments after it");
    }
    fs::remove_file(&note).expect("removed");
    check(&archive, "stop").expect("nobody can say what it was");
}

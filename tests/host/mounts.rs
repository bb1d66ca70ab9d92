//! Disks that are mounted where a revision is installed, or was.

use std::process::Command;

use crate::world::{Host, SKEIN, said};

/// Runs in its own mount namespace: deploys a revision with a directory, mounts
/// a disk there, deploys the next one, makes everything read-only, deploys a
/// third one, and then two more, the second of them with a read-only disk in
/// the place of a file. `$1` is the destination, `$2` skein, `$3` the root,
/// followed by the bundles.
const SCRIPT: &str = "deploy() { \"$skein\" local \"$1\" --deploy-root \"$root\" 2>&1; echo EXIT $?; }
    skein=$2 root=$3
    deploy \"$4\"
    mount -t tmpfs -o size=64k none \"$1/data\" || { echo CANNOT MOUNT; exit 0; }
    deploy \"$5\"
    mount --bind \"$1\" \"$1\" && mount -o remount,bind,ro \"$1\"
    deploy \"$6\"
    umount \"$1\"
    deploy \"$7\"
    mount -t tmpfs -o size=64k,ro none \"$1/data\"
    deploy \"$8\"
    cat \"$1/page\"";

#[test]
fn what_is_mounted_stays_and_what_is_read_only_is_seen_before_anything_changes() {
    let host = Host::new();
    let bundles = [
        host.bundle("v1", &[("page", "one"), ("data/x", "1")], &[]),
        host.bundle("v2", &[("page", "two")], &[]),
        host.bundle("v3", &[("page", "three")], &[]),
        host.bundle("v4", &[("page", "four")], &[]),
        host.bundle("v5", &[("page", "five"), ("data/x", "5")], &[]),
    ];
    let mut command = Command::new("unshare");
    command.args(["--mount", "--propagation", "private", "sh", "-c", SCRIPT, "sh"]);
    command.arg(host.dest()).arg(SKEIN).arg(host.root()).args(&bundles);
    let output = command.output().expect("unshare runs");
    let said = said(&output);
    if said.contains("CANNOT MOUNT") || !said.contains("EXIT") {
        println!("skipped: needs root, to mount a disk");
        return;
    }
    let ends: Vec<&str> = said.lines().filter(|line| line.starts_with("EXIT")).collect();
    assert_eq!(ends, ["EXIT 0", "EXIT 0", "EXIT 1", "EXIT 0", "EXIT 1"], "{said}");
    let refused: Vec<&str> = said.lines().filter(|line| line.starts_with("error: ")).collect();
    assert_eq!(refused.len(), 2, "{said}");
    for word in ["no installed file was changed", "nothing can be written into", "Read-only file system"] {
        assert!(refused.iter().all(|line| line.contains(word)), "nothing is said of `{word}`: {refused:?}");
    }
    assert!(refused[1].contains("dest/data`"), "{}", refused[1]);
    assert!(said.ends_with("four"), "{said}");
}

/// Deploys one revision after the other, with a disk mounted in the oldest. `$1` is
/// skein, `$2` the root, `$3` the bundle.
const REST: &str = "deploy() { \"$skein\" local \"$bundle\" --deploy-root \"$root\" 2>&1; echo EXIT $?; }
    skein=$1 root=$2 bundle=$3
    deploy
    first=$(ls -d \"$root\"/*/d-*/deployment-archive | head -n 1)
    mount -t tmpfs -o size=64k none \"$first\" || { echo CANNOT MOUNT; exit 0; }
    for turn in 1 2 3 4 5; do deploy; done";

#[test]
fn an_old_revision_that_cannot_be_removed_is_named_and_fails_nothing() {
    let host = Host::new();
    let bundle = host.bundle("v1", &[("page", "one")], &[]);
    let mut command = Command::new("unshare");
    command.args(["--mount", "--propagation", "private", "sh", "-c", REST, "sh", SKEIN]);
    let said = said(&command.arg(host.root()).arg(bundle).output().expect("unshare runs"));
    if said.contains("CANNOT MOUNT") || !said.contains("EXIT") {
        println!("skipped: needs root, to mount a disk");
        return;
    }
    assert_eq!(said.matches("EXIT 0").count(), 6, "{said}");
    let warned: Vec<&str> = said.lines().filter(|line| line.starts_with("warning: ")).collect();
    let is_named = |line: &&str| line.contains("cannot remove an old deployment") && line.contains("/d-");
    assert!(warned.iter().any(is_named) && !said.contains('\u{1b}'), "{said}");
}

//! Disks that are mounted where something is to be installed, or was.

use std::process::Command;

use crate::world::{Host, SKEIN, said};

/// In a mount namespace of its own: deploys a revision with a directory, mounts a
/// disk there, deploys the next one, makes everything read-only, and deploys a
/// third one. `$1` is where deployments go, `$2` skein, `$3` the root, then the
/// bundles.
const SCRIPT: &str = "deploy() { \"$skein\" local \"$1\" --deploy-root \"$root\" 2>&1; echo EXIT $?; }
    skein=$2 root=$3
    deploy \"$4\"
    mount -t tmpfs -o size=64k none \"$1/data\" || { echo CANNOT MOUNT; exit 0; }
    deploy \"$5\"
    mount --bind \"$1\" \"$1\" && mount -o remount,bind,ro \"$1\"
    deploy \"$6\"
    umount \"$1\"
    cat \"$1/page\"";

#[test]
fn what_is_mounted_stays_and_what_is_read_only_is_seen_before_anything_changes() {
    let host = Host::new();
    let bundles = [
        host.bundle("v1", &[("page", "one"), ("data/x", "1")], &[]),
        host.bundle("v2", &[("page", "two")], &[]),
        host.bundle("v3", &[("page", "three")], &[("ApplicationStop", "echo stops")]),
    ];
    let mut command = Command::new("unshare");
    command.args(["--mount", "--propagation", "private", "sh", "-c", SCRIPT, "sh"]);
    command.arg(host.dest()).arg(SKEIN).arg(host.root()).args(&bundles);
    let output = command.output().expect("unshare runs");
    let said = said(&output);
    if !output.status.success() || said.contains("CANNOT MOUNT") {
        println!("skipped: needs root, to mount a disk");
        return;
    }
    let ends: Vec<&str> = said.lines().filter(|line| line.starts_with("EXIT")).collect();
    assert_eq!(ends, ["EXIT 0", "EXIT 0", "EXIT 1"], "{said}");
    let refused = said.lines().find(|line| line.starts_with("error: ")).expect("an error");
    for word in ["nothing was changed", "nothing can be written into", "Read-only file system"] {
        assert!(refused.contains(word), "nothing is said of `{word}`: {refused}");
    }
    assert!(said.ends_with("two"), "{said}");
}

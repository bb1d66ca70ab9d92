//! A disk that is full in the middle of an installation.

use std::process::Command;

use crate::world::{Host, SKEIN, said};

/// In a mount namespace of its own, with a small disk at `$1`: deploys three
/// revisions and lists what each leaves. `$2` is skein, `$3` the root, then
/// the bundles.
const SCRIPT: &str = "mount -t tmpfs -o size=256k none \"$1\" || { echo CANNOT MOUNT; exit 0; }
    echo theirs > \"$1/foreign\"
    for bundle in \"$4\" \"$5\" \"$6\"; do
        \"$2\" local \"$bundle\" --deploy-root \"$3\" 2>&1; echo EXIT $?
        (cd \"$1\" && find . -type f | sort | xargs wc -c | grep -v total)
    done";

#[test]
fn a_full_disk_fails_the_install_and_the_next_revision_fits_again() {
    let host = Host::new();
    let large = "x".repeat(200_000);
    let bundles = [
        host.bundle("v1", &[("page", "one")], &[]),
        host.bundle("v2", &[("first", &large), ("second", &large), ("third", "3")], &[]),
        host.bundle("v3", &[("page", "three")], &[]),
    ];
    let mut command = Command::new("unshare");
    command.args(["--mount", "--propagation", "private", "sh", "-c", SCRIPT, "sh"]);
    command.arg(host.dest()).arg(SKEIN).arg(host.root()).args(&bundles);
    let output = command.output().expect("unshare runs");
    let said = said(&output);
    if !output.status.success() || said.contains("CANNOT MOUNT") {
        println!("skipped: needs root, to mount a small disk");
        return;
    }
    let ends: Vec<&str> = said.lines().filter(|line| line.starts_with("EXIT")).collect();
    assert_eq!(ends, ["EXIT 0", "EXIT 1", "EXIT 0"], "{said}");
    let full = said.lines().find(|line| line.starts_with("error: ")).expect("an error");
    for word in ["Install failed", "dest/second", "200000 bytes", "the disk is full"] {
        assert!(full.contains(word), "nothing is said of `{word}`: {full}");
    }
    let sizes = |part: usize| -> Vec<String> {
        let part = said.split("EXIT").nth(part).expect("three parts");
        let lines = part.lines().filter_map(|line| line.trim().split_once(" ./"));
        lines.map(|(size, name)| format!("{name} {size}")).collect()
    };
    assert_eq!(sizes(1), ["foreign 7", "page 3"]);
    assert_eq!(sizes(2), ["first 200000", "foreign 7"], "what is there is whole");
    assert_eq!(sizes(3), ["foreign 7", "page 5"]);
}

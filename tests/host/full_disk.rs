//! Installs onto disks that are too small.

use std::process::Command;

use crate::world::{Host, SKEIN, said};

/// Runs in its own mount namespace, with a small disk at `$1`: deploys three
/// revisions and lists the files that each leaves. `$2` is skein, `$3` the
/// root, `$4` the mount options of the disk, followed by the bundles.
const SCRIPT: &str = "mount -t tmpfs -o \"$4\" none \"$1\" || { echo CANNOT MOUNT; exit 0; }
    echo theirs > \"$1/foreign\"
    for bundle in \"$5\" \"$6\" \"$7\"; do
        \"$2\" local \"$bundle\" --deploy-root \"$3\" 2>&1; echo EXIT $?
        (cd \"$1\" && find . -type f | sort | xargs wc -c | grep -v total)
    done";

/// Returns the output, and the files that each revision left; None if no disk
/// can be mounted.
fn deploy(
    mounted: &str,
    large: &[(&str, &str)],
    disk: impl Fn(&Host) -> String,
) -> Option<(String, [Vec<String>; 3])> {
    let host = Host::new();
    let bundles = [
        host.bundle("v1", &[("page", "one")], &[]),
        host.bundle("v2", large, &[]),
        host.bundle("v3", &[("page", "three")], &[]),
    ];
    let mut command = Command::new("unshare");
    command.args(["--mount", "--propagation", "private", "sh", "-c", SCRIPT, "sh", &disk(&host)]);
    command.arg(SKEIN).arg(host.root()).arg(mounted).args(&bundles);
    let output = command.output().expect("unshare runs");
    let said = said(&output);
    if !output.status.success() || said.contains("CANNOT MOUNT") {
        println!("skipped: needs root, to mount a small disk");
        return None;
    }
    let sizes = |part: usize| -> Vec<String> {
        let part = said.split("EXIT").nth(part).expect("three parts");
        let lines = part.lines().filter_map(|line| line.trim().split_once(" ./"));
        lines.map(|(size, name)| format!("{name} {size}")).collect()
    };
    let left = [sizes(1), sizes(2), sizes(3)];
    Some((said, left))
}

fn check_refused(said: &str, left: &[Vec<String>; 3], words: &[&str]) {
    let ends: Vec<&str> = said.lines().filter(|line| line.starts_with("EXIT")).collect();
    assert_eq!(ends, ["EXIT 0", "EXIT 1", "EXIT 0"], "{said}");
    let full = said.lines().find(|line| line.starts_with("error: ")).expect("an error");
    for word in words {
        assert!(full.contains(word), "nothing is said of `{word}`: {full}");
    }
    assert_eq!(left[0], ["foreign 7", "page 3"]);
    assert_eq!(left[1], left[0], "the old revision still stands");
    assert_eq!(left[2], ["foreign 7", "page 5"]);
}

fn dest(host: &Host) -> String {
    host.dest().display().to_string()
}

#[test]
fn a_revision_that_does_not_fit_is_refused_while_the_old_one_stands() {
    let large = "x".repeat(200_000);
    let files = [("first", large.as_str()), ("second", &large), ("third", "3")];
    let Some((said, left)) = deploy("size=256k", &files, dest) else { return };
    check_refused(
        &said,
        &left,
        &["Install", "no installed file was changed", "the disk is full at", "dest`", "are free"],
    );
}

#[test]
fn a_disk_without_room_for_more_names_is_full_too() {
    let names: Vec<String> = (0..40).map(|n| format!("f{n}")).collect();
    let files: Vec<(&str, &str)> = names.iter().map(|name| (name.as_str(), "x")).collect();
    let Some((said, left)) = deploy("size=4m,nr_inodes=20", &files, dest) else { return };
    check_refused(&said, &left, &["the disk is full at", "40 new files and directories", "df -i"]);
}

/// The old revision's files are removed first, so they need no room beside the
/// new ones.
#[test]
fn a_revision_that_fits_in_the_place_of_the_old_one_is_installed() {
    let (two, three) = ("2".repeat(150_000), "3".repeat(150_000));
    let host = Host::new();
    let bundles = [
        host.bundle("v1", &[("page", "one")], &[]),
        host.bundle("v2", &[("large", &two)], &[]),
        host.bundle("v3", &[("large", &three)], &[]),
    ];
    let mut command = Command::new("unshare");
    command.args(["--mount", "--propagation", "private", "sh", "-c", SCRIPT, "sh"]);
    command.arg(host.dest()).arg(SKEIN).arg(host.root()).arg("size=256k").args(&bundles);
    let said = said(&command.output().expect("unshare runs"));
    if said.contains("CANNOT MOUNT") || !said.contains("EXIT") {
        println!("skipped: needs root, to mount a small disk");
        return;
    }
    let ends: Vec<&str> = said.lines().filter(|line| line.starts_with("EXIT")).collect();
    assert_eq!(ends, ["EXIT 0", "EXIT 0", "EXIT 0"], "{said}");
}

//! The revisions that stay on the disk.

use super::*;

/// Creates these deployments, the oldest first; one whose name has a `+` has a bundle.
fn deployments(host: &Host, names: &[&str]) {
    for (name, seconds) in names.iter().zip(1_000..) {
        let dir = host.state.deployment_dir(name);
        let below = if name.ends_with('+') { dir.join(state::ARCHIVE) } else { dir.join("logs") };
        fs::create_dir_all(below).expect("made");
        let time = std::time::UNIX_EPOCH + std::time::Duration::from_secs(seconds);
        fs::File::open(dir).expect("opened").set_modified(time).expect("set");
    }
}

fn check_kept(host: &Host, kept: &[&str]) {
    let parent = host.state.deployment_dir("x");
    let entries = fs::read_dir(parent.parent().expect("below")).expect("listed");
    let mut names: Vec<_> =
        entries.map(|entry| entry.expect("one").file_name().into_string().expect("text")).collect();
    names.sort();
    assert_eq!(names, kept);
}

#[test]
fn the_oldest_revisions_go_but_never_the_last_good_one() {
    let host = Host::new();
    deployments(&host, &["0+", "1+", "2+", "3+", "4+", "5+", "6"]);
    host.mark_last_successful("0+");
    host.state.retain(&host.state.deployment_dir("6"), 5).expect("retained");
    check_kept(&host, &["0+", "3+", "4+", "5+", "6"]);
    host.state.retain(&host.state.deployment_dir("6"), 1).expect("retained");
    check_kept(&host, &["0+", "6"]);
}

#[test]
fn what_brought_no_bundle_pushes_no_revision_out() {
    let host = Host::new();
    deployments(&host, &["0+", "1+", "2", "3", "4", "5", "6"]);
    host.state.retain(&host.state.deployment_dir("6"), 3).expect("retained");
    check_kept(&host, &["0+", "1+", "3", "4", "5", "6"]);
    host.state.retain_logs(&host.state.deployment_dir("6"), 1).expect("retained");
    check_kept(&host, &["0+", "1+", "5", "6"]);
}

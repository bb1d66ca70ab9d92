//! Disks that are full: just when files are installed, or under the agent itself.

use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::process::Command;

use crate::bundle::Bundle;
use crate::world::{Mesh, turn_of, wait_until};

/// Runs a command in its own mount namespace, with a small disk at `$1`.
const WITH_SMALL_DISK: &str = "mount -t tmpfs -o \"size=$1\" none \"$2\" && shift 2 && exec \"$@\"";

fn wrapper(disk: &Path, size: &str) -> Vec<String> {
    let disk = disk.display().to_string();
    let words =
        ["unshare", "--mount", "--propagation", "private", "sh", "-c", WITH_SMALL_DISK, "sh", size, &disk];
    words.iter().map(ToString::to_string).collect()
}

/// Returns true if this process may mount. In containers and for other users it
/// often may not.
fn may_mount(disk: &Path) -> bool {
    let words = [wrapper(disk, "256k"), vec!["true".into()]].concat();
    Command::new(&words[0]).args(&words[1..]).output().is_ok_and(|output| output.status.success())
}

#[test]
fn a_full_disk_during_install_fails_that_host_alone_and_the_next_release_succeeds() {
    let mut mesh = Mesh::of(2);
    let app = mesh.path().join("app");
    std::fs::create_dir(&app).expect("a directory");
    if !may_mount(&app) {
        eprintln!("skipped: needs root, to mount a small disk");
        return;
    }
    mesh.prepare(3).wrapper = wrapper(&app, "256k");
    mesh.start("web-3");
    mesh.wait_until_whole();
    // The other hosts share this machine's disk, so each finds the files of the
    // others.
    mesh.group("config = \"OneAtATime\"\nfile_exists = \"OVERWRITE\"");
    mesh.begin_with(&Bundle::new("v1").installs("page", b"small".to_vec(), &app));

    let large: Vec<u8> = (0..2_000_000_u32).map(|at| (at.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    let ran = mesh.deploy("web-1", &Bundle::new("v2").installs("page", large, &app));

    // With one at a time of three hosts, a failure of the last host is within
    // the minimum.
    let deployments = mesh.agent("web-1").json(&["deployments"]);
    let view = deployments.as_array().expect("a list").iter().find(|one| one["creator"] == "user");
    let id = view.expect("the deployment")["id"].as_str().expect("an id").to_string();
    let view = mesh.agent("web-1").json(&["status", &id]);
    let turn = turn_of(&view, "web-3");
    assert_eq!(turn["status"], "Failed", "{ran:?}");
    assert_eq!(turn["event"], "Install");
    let message = turn["message"].as_str().expect("a message");
    assert!(message.contains(&format!("the disk is full at `{}`", app.display())), "which disk? {message}");
    assert!(message.contains("no installed file was changed"), "what is left? {message}");

    mesh.deploy("web-1", &Bundle::new("v3").installs("page", b"small again".to_vec(), &app))
        .expect(0, &["Succeeded", "on 3 of 3 hosts"]);
    mesh.check();
}

/// Writes until there is no room left.
fn fill(path: &Path) {
    let mut file = File::create(path).expect("a file");
    let chunk = vec![b'x'; 64 * 1024];
    while file.write_all(&chunk).is_ok() {}
}

#[test]
fn an_agent_whose_disk_others_fill_goes_on_and_says_so_until_there_is_room() {
    let mut mesh = Mesh::of(2);
    let agent = mesh.prepare(3);
    let data = agent.data.clone();
    std::fs::create_dir(&data).expect("a directory");
    if !may_mount(&data) {
        eprintln!("skipped: needs root, to mount a small disk");
        return;
    }
    mesh.agent_mut("web-3").wrapper = wrapper(&data, "96m");
    mesh.start("web-3");
    mesh.wait_until_whole();
    mesh.group("config = \"OneAtATime\"");
    mesh.begin_with(&Bundle::new("v1"));

    // Its disk is seen from here by way of its process.
    let filler = format!("/proc/{}/root{}/filler", mesh.agent("web-3").pid(), data.display());
    fill(Path::new(&filler));
    let disk = |mesh: &Mesh| mesh.agent("web-3").get("/v1/status").map(|status| status["disk"].clone());
    wait_until("web-3 says so", || disk(&mesh).is_some_and(|disk| !disk.is_null()));
    mesh.agent("web-3").skein(&["status"]).expect(0, &["Warning", "disk full", "MiB free"]);
    assert!(mesh.agent("web-3").get_text("/metrics").expect("metrics").contains("skein_disk_full{} 1"));

    assert!(mesh.agent_mut("web-3").ended().is_none(), "it goes on");
    std::fs::remove_file(&filler).expect("the filler");
    wait_until("there is room again", || disk(&mesh).is_some_and(|disk| disk.is_null()));
    mesh.check();
}

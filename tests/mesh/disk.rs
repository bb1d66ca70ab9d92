//! Disks that are full: just when files are installed, or under the agent itself.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::Value;

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

/// Writes until the disk is full.
fn fill(path: &Path) {
    let mut file = File::create(path).expect("a file");
    let chunk = vec![b'x'; 64 * 1024];
    while file.write_all(&chunk).is_ok() {}
}

/// Starts a mesh of three whose `web-0` has its data on a small disk of its own. Also
/// returns the path of a file there, as seen from here. Returns `None` if this process
/// may not mount.
fn with_a_small_disk() -> Option<(Mesh, PathBuf)> {
    let mut mesh = Mesh::of(1);
    mesh.prepare(2).flags.extend(["--tag", "role=other"].map(String::from));
    mesh.start("web-2");
    let data = mesh.prepare(0).data.clone();
    std::fs::create_dir(&data).expect("a directory");
    if !may_mount(&data) {
        eprintln!("skipped: needs root, to mount a small disk");
        return None;
    }
    mesh.agent_mut("web-0").wrapper = wrapper(&data, "96m");
    mesh.start("web-0");
    mesh.wait_until_whole();
    let filler = format!("/proc/{}/root{}/filler", mesh.agent("web-0").pid(), data.display());
    Some((mesh, PathBuf::from(filler)))
}

/// Fills the disk of `web-0`, and waits until its agent sees that.
fn fill_and_wait(mesh: &Mesh, filler: &Path) {
    fill(filler);
    wait_until("web-0 sees that its disk is full", || {
        mesh.agent("web-0").get("/v1/status").is_some_and(|status| !status["disk"].is_null())
    });
}

#[test]
fn a_release_passes_by_a_host_whose_disk_is_full_and_returns_when_it_has_room() {
    let Some((mesh, filler)) = with_a_small_disk() else { return };
    mesh.group("config = \"OneAtATime\"");
    mesh.begin_with(&Bundle::new("v1"));
    fill_and_wait(&mesh, &filler);

    // By its name, web-0 would go first.
    let id = mesh.submit("web-1", &Bundle::new("v2"));
    for host in mesh.names() {
        let mut view = Value::Null;
        wait_until("the others have had their turns", || {
            view = mesh.agent(&host).deployment(&id).unwrap_or_default();
            view["counts"]["succeeded"] == 2
        });
        assert_eq!(view["status"], "InProgress", "{view:#}");
        assert_eq!(view["blockers"][0]["code"], "NO_ROOM", "{view:#}");
        let turn = turn_of(&view, "web-0");
        let message = turn["message"].as_str().expect("why it waits");
        assert!(message.starts_with("disk full on web-0: 0 MiB free, 2 MiB needed"), "{message}");
        for command in ["status", "explain"] {
            mesh.agent(&host).skein(&[command, &id]).expect(0, &["disk full on web-0: 0 MiB free"]);
        }
    }
    assert!(!mesh.trace().of(&id).has_begun("ApplicationStop", "web-0"));

    std::fs::remove_file(&filler).expect("the filler");
    let view = mesh.wait_for(&id, "Succeeded");
    assert_eq!(turn_of(&view, "web-0")["status"], "Succeeded");
    mesh.agent("web-1").skein(&["history", "--entries"]).expect(0, &["disk full on web-0"]);
    mesh.check();
}

#[test]
fn a_host_whose_disk_stays_full_fails_with_the_numbers_and_the_release_ends() {
    let Some((mesh, filler)) = with_a_small_disk() else { return };
    mesh.group("config = \"OneAtATime\"\nstart_timeout = \"4s\"");
    mesh.begin_with(&Bundle::new("v1"));
    fill_and_wait(&mesh, &filler);

    let id = mesh.submit("web-1", &Bundle::new("v2"));
    // A failure of the last host is within the minimum.
    let view = mesh.wait_for(&id, "Succeeded");
    let turn = turn_of(&view, "web-0");
    assert_eq!(turn["status"], "Failed");
    assert_eq!(turn["error_code"], "DidNotStart");
    let message = turn["message"].as_str().expect("why");
    assert!(message.starts_with("disk full on web-0: 0 MiB free, 2 MiB needed"), "{message}");
    mesh.check();
}

/// The time for which the disk stays full.
const FULL_FOR: Duration = Duration::from_secs(20);

#[test]
fn an_agent_on_a_full_disk_follows_the_mesh_for_long_and_takes_its_turns_afterwards() {
    let Some((mut mesh, filler)) = with_a_small_disk() else { return };
    mesh.group("config = \"OneAtATime\"");
    mesh.begin_with(&Bundle::new("v1"));
    let set_others = |mesh: &Mesh, timeout: u32| {
        let text = format!(
            "application = \"hello\"\nname = \"others\"\ntags = [[\"role=other\"]]\n\
             [deployment]\nconfig = \"AllAtOnce\"\nstart_timeout = \"{timeout}s\"\n"
        );
        let file = mesh.path().join("others.toml");
        std::fs::write(&file, text).expect("a file");
        mesh.agent("web-1")
            .skein(&["group", "set", "--yes", &file.display().to_string()])
            .expect(0, &["is set"]);
    };
    fill_and_wait(&mesh, &filler);
    let since = Instant::now();
    let mut rounds = 0;
    while since.elapsed() < FULL_FOR {
        rounds += 1;
        set_others(&mesh, 60 + rounds);
        let other = mesh.submit_to("web-1", "hello/others", &Bundle::new(&format!("o{rounds}")), &[]);
        // All agents say so, web-0 too: what it says, it has stored.
        mesh.wait_for(&other, "Succeeded");
        assert!(mesh.agent_mut("web-0").ended().is_none(), "it goes on, in round {rounds}");
    }
    let status = mesh.agent("web-0").get("/v1/status").expect("its status");
    assert!(!status["disk"].is_null(), "it was full all the time: {status:#}");
    mesh.check();

    std::fs::remove_file(&filler).expect("the filler");
    wait_until("it has room again", || {
        mesh.agent("web-0").get("/v1/status").is_some_and(|status| status["disk"].is_null())
    });
    mesh.deploy("web-0", &Bundle::new("v2")).expect(0, &["Succeeded", "on 3 of 3 hosts"]);
    mesh.check();
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

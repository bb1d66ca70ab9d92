//! An agent is killed while it installs.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;

use crate::bundle::Bundle;
use crate::world::{Mesh, turn_of, wait_until};

/// Enough files that an installation takes longer than one look at it.
const FILES: usize = 300;

fn bundle(mesh: &Mesh, version: &str) -> Bundle {
    let app = mesh.path().join("app");
    (0..FILES).fold(Bundle::new(version), |bundle, number| {
        bundle.installs(&format!("file-{number:03}"), version.as_bytes().to_vec(), &app)
    })
}

/// Returns the versions whose files are installed, and the number of files. The directory is
/// missing after the old revision's files are removed and before the first new one is there.
fn installed(mesh: &Mesh) -> (BTreeSet<String>, usize) {
    let entries = fs::read_dir(mesh.path().join("app")).into_iter().flatten();
    let files: Vec<PathBuf> = entries.map(|entry| entry.expect("one").path()).collect();
    (files.iter().map(|file| fs::read_to_string(file).expect("text")).collect(), files.len())
}

#[test]
fn an_agent_killed_in_an_install_comes_back_to_a_whole_revision_and_says_what_happened() {
    let mut mesh = Mesh::of(1);
    mesh.group("config = \"AllAtOnce\"\nlost_after = \"30s\"\nattempts = 1\n[rollback]\nenabled = false");
    mesh.begin_with(&bundle(&mesh, "v0"));
    let state = mesh.agent("web-1").data.join("deploy/deployment-instructions");
    let lines = || {
        let files = fs::read_dir(&state).into_iter().flatten().flatten().map(|entry| entry.path());
        let cleanup = files.filter(|file| file.to_string_lossy().ends_with("-cleanup"));
        cleanup.map(|file| fs::read_to_string(file).map_or(0, |text| text.lines().count())).sum::<usize>()
    };
    let is_installing = || {
        let mut files = fs::read_dir(&state).into_iter().flatten().flatten();
        files.any(|entry| entry.file_name().to_string_lossy().ends_with("-installing.json"))
    };
    let mut interrupted = 0;
    for (round, wanted) in [1, 40, 120, 200, 280].into_iter().enumerate() {
        let version = format!("v{}", round + 1);
        let id = mesh.submit("web-1", &bundle(&mesh, &version));
        // The moment is short, so the test looks as often as it can.
        let deadline = std::time::Instant::now() + crate::world::DEADLINE;
        let is_over = || mesh.trace().of(&id).has_begun("AfterInstall", "web-1");
        let is_in_the_middle = || is_installing() && (wanted..=FILES).contains(&lines());
        while !is_in_the_middle() && !is_over() {
            assert!(std::time::Instant::now() < deadline, "it never installed");
        }
        let was_installing = is_installing();
        mesh.kill("web-1");
        let seen = installed(&mesh);
        assert!(seen.0.len() <= 2, "whole files of two versions at most: {seen:?}");
        mesh.start("web-1");
        let view = mesh.wait_for_end(&id);
        wait_until("the installation is finished", || !is_installing());
        assert_eq!(installed(&mesh), (BTreeSet::from([version]), FILES), "{view:#}");
        let turn = turn_of(&view, "web-1");
        if was_installing && view["status"] == "Failed" {
            interrupted += 1;
            assert_eq!(turn["error_code"], "FailedAfterRestart", "{turn:#}");
            assert!(
                turn["message"].as_str().is_some_and(|text| text.starts_with("the agent was killed while"))
            );
        }
    }
    assert!(interrupted > 0, "it was never killed in the middle");
    let ran = mesh.deploy("web-1", &bundle(&mesh, "v9"));
    ran.expect(0, &["Succeeded"]);
    assert_eq!(installed(&mesh), (BTreeSet::from(["v9".to_owned()]), FILES));
    mesh.check();
}

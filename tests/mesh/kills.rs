//! Kills agents in the middle of a deployment.

use std::fs;

use crate::bundle::{Bundle, Deed};
use crate::world::{Mesh, turn_of, wait_until};

/// Returns a bundle that is held in the second host's turn.
fn held() -> Bundle {
    Bundle::new("v2").does(Deed::Hold, "AfterInstall", "web-2")
}

/// Brings the mesh to v1 and submits v2: web-1 is done, and web-2 is held in
/// its turn.
fn in_the_middle(hosts: u8, lines: &str, submitter: &str) -> (Mesh, String) {
    let mesh = Mesh::of(hosts);
    mesh.group(lines);
    mesh.begin_with(&Bundle::new("v1"));
    let id = mesh.submit(submitter, &held());
    mesh.wait_for_hook_on(&id, "AfterInstall", "web-2");
    (mesh, id)
}

#[test]
fn the_submitter_is_killed_and_the_release_goes_on() {
    let (mut mesh, id) = in_the_middle(5, "config = \"OneAtATime\"\nlost_after = \"30s\"", "web-5");

    mesh.kill("web-5");
    mesh.go("v2");
    wait_until("the release goes on without it", || {
        mesh.agent("web-1")
            .deployment(&id)
            .is_some_and(|view| view["counts"]["succeeded"].as_u64() >= Some(2))
    });
    mesh.start("web-5");

    let view = mesh.wait_for(&id, "Succeeded");
    assert_eq!(view["counts"]["succeeded"], 5);
    mesh.trace().of(&id).at_most_at_once(1);
    mesh.check();
}

#[test]
fn the_leader_is_killed_and_the_release_goes_on() {
    let (mut mesh, id) = in_the_middle(5, "config = \"OneAtATime\"\nlost_after = \"30s\"", "web-1");
    let leader = mesh.leader();
    let is_in_its_turn = leader == "web-2";

    mesh.kill(&leader);
    mesh.go("v2");
    let new = mesh.other_than(&leader).name.clone();
    wait_until("another host leads", || {
        let status = mesh.agent(&new).get("/v1/status").unwrap_or_default();
        !status["leader"].is_null() && status["leader"] != leader.as_str()
    });
    mesh.start(&leader);

    // If the leader is in its turn itself, that turn has failed.
    let view = mesh.wait_for(&id, if is_in_its_turn { "Failed" } else { "Succeeded" });
    assert_eq!(view["counts"]["succeeded"] == 5, !is_in_its_turn, "{view:#}");
    mesh.trace().of(&id).at_most_at_once(1);
    mesh.check();
}

#[test]
fn a_host_killed_in_its_turn_fails_it_and_the_others_are_rolled_back() {
    let (mut mesh, id) = in_the_middle(5, "config = \"OneAtATime\"\nlost_after = \"2s\"", "web-1");

    mesh.kill("web-2");

    let view = mesh.wait_for(&id, "Failed");
    let lost = turn_of(&view, "web-2");
    assert_eq!(lost["status"], "Failed");
    assert_eq!(lost["error_code"], "HostLost");
    assert_eq!(turn_of(&view, "web-3")["status"], "Skipped");
    mesh.trace().of(&id).at_most_at_once(1);
    assert_eq!(mesh.trace().of(&id).hosts(), ["web-1", "web-2"]);

    mesh.start("web-2");
    let rollback = mesh.wait_for_rollback_of(&id);
    assert_eq!(rollback["rollback_of"], id.as_str());
    mesh.check();
}

#[test]
fn a_host_killed_in_its_turn_and_started_again_says_so() {
    let (mut mesh, id) =
        in_the_middle(3, "config = \"OneAtATime\"\nlost_after = \"30s\"\nattempts = 1", "web-1");

    mesh.kill("web-2");
    mesh.start("web-2");

    let view = mesh.wait_for(&id, "Failed");
    let turn = turn_of(&view, "web-2");
    assert_eq!(turn["error_code"], "FailedAfterRestart", "{turn:#}");
    assert_eq!(turn["event"], "AfterInstall");
    assert_eq!(turn["message"], "the agent was killed while AfterInstall ran");
    mesh.wait_for_rollback_of(&id);
    mesh.check();
}

#[test]
fn a_turn_whose_agent_was_killed_begins_anew_and_says_so() {
    let (mut mesh, id) = in_the_middle(3, "config = \"OneAtATime\"\nlost_after = \"30s\"", "web-1");

    mesh.kill("web-2");
    mesh.go("v2");
    mesh.start("web-2");

    let view = mesh.wait_for(&id, "Succeeded");
    let turn = turn_of(&view, "web-2");
    let message = turn["message"].as_str().unwrap_or_default();
    assert!(message.contains("began anew") && message.contains("AfterInstall"), "{turn:#}");
    let logs = mesh.agent("web-2").skein(&["logs", &id, "web-2"]);
    logs.expect(0, &["while AfterInstall ran: the turn begins anew"]);
}

/// Returns, for each pid in a file of the mesh's directory, true if the process
/// runs.
fn pids_run(mesh: &Mesh, file: &str) -> Vec<bool> {
    let text = fs::read_to_string(mesh.path().join(file)).unwrap_or_default();
    let stat = |pid: &str| fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    // A zombie counts as gone: only its parent has not waited for it yet.
    text.split_whitespace().map(stat).map(|stat| !stat.is_empty() && !stat.contains(") Z ")).collect()
}

#[test]
fn a_script_that_outlives_its_agent_is_ended_before_another_runs_there() {
    let mut mesh = Mesh::of(3);
    mesh.group("config = \"OneAtATime\"\nlost_after = \"30s\"\nattempts = 1");
    mesh.begin_with(&Bundle::new("v1"));
    let hangs = Bundle::new("v2")
        .does(Deed::LeaveService, "AfterInstall", "web-2")
        .does(Deed::HangTogether, "ApplicationStart", "web-2")
        // The first script of the rollback on that host.
        .does(Deed::Look, "ApplicationStop", "web-2");
    let id = mesh.submit("web-1", &hangs);
    wait_until("the script hangs", || pids_run(&mesh, "hang") == [true, true]);

    mesh.kill("web-2");
    assert_eq!(pids_run(&mesh, "hang"), [true, true], "nobody but an agent ends them");
    mesh.start("web-2");

    let view = mesh.wait_for(&id, "Failed");
    let turn = turn_of(&view, "web-2");
    assert_eq!(turn["message"], "the agent was killed while ApplicationStart ran");
    mesh.wait_for_rollback_of(&id);
    assert!(mesh.path().join("looked").exists());
    let met = fs::read_to_string(mesh.path().join("met")).unwrap_or_default();
    assert_eq!(met, "", "the rollback's scripts ran beside those of what it takes back");
    assert_eq!(pids_run(&mesh, "hang"), [false, false]);
    assert_eq!(pids_run(&mesh, "service"), [true], "it was left by a script that had ended");
    assert!(mesh.agent("web-2").log_text().contains("a script outlived its agent"));
    mesh.check();
}

//! One or all agents end in the middle of a deployment, and start again.

use crate::bundle::{Bundle, Deed};
use crate::world::{Mesh, turn_of, wait_until};

#[test]
fn all_agents_are_killed_in_the_middle_and_the_release_ends_truthfully() {
    let mut mesh = Mesh::of(5);
    mesh.group("config = \"OneAtATime\"\nattempts = 1");
    mesh.begin_with(&Bundle::new("v1"));
    let id = mesh.submit("web-1", &Bundle::new("v2").does(Deed::Hold, "ApplicationStart", "web-3"));
    mesh.wait_for_hook_on(&id, "ApplicationStart", "web-3");

    mesh.names().iter().for_each(|name| mesh.kill(name));
    mesh.names().iter().for_each(|name| mesh.start(name));

    let view = mesh.wait_for(&id, "Failed");
    let turn = turn_of(&view, "web-3");
    assert_eq!(turn["error_code"], "FailedAfterRestart", "{turn:#}");
    assert_eq!(turn["event"], "ApplicationStart");
    assert_eq!(view["counts"]["succeeded"], 2);
    let rollback = mesh.wait_for_rollback_of(&id);
    assert_eq!(rollback["counts"]["succeeded"], 3, "the hosts that were touched");
    mesh.trace().of(&id).at_most_at_once(1);
    mesh.check();
}

#[test]
fn all_agents_are_killed_at_any_moment_and_no_turn_runs_twice() {
    let mut mesh = Mesh::of(3);
    mesh.group("config = \"OneAtATime\"\nattempts = 1");
    mesh.begin_with(&Bundle::new("v1"));
    let id = mesh.submit("web-2", &Bundle::new("v2"));
    wait_until("web-1 is through", || mesh.trace().of(&id).has_ended("ValidateService", "web-1"));

    mesh.names().iter().for_each(|name| mesh.kill(name));
    mesh.names().iter().for_each(|name| mesh.start(name));

    let view = mesh.wait_for_end(&id);
    if view["status"] == "Succeeded" {
        assert_eq!(view["counts"]["succeeded"], 3);
        for host in mesh.names() {
            assert!(mesh.trace().of(&id).has_ended("ValidateService", &host), "on {host}");
        }
    } else {
        let turns = view["hosts"].as_array().expect("hosts");
        let was_killed = |turn: &&serde_json::Value| turn["error_code"] == "FailedAfterRestart";
        assert_eq!(turns.iter().filter(was_killed).count(), 1, "{view:#}");
        mesh.wait_for_rollback_of(&id);
    }
    mesh.trace().of(&id).at_most_at_once(1);
    mesh.check();
}

#[test]
fn an_agent_told_to_end_in_a_hook_lets_it_end_and_goes_on_when_it_is_back() {
    let mut mesh = Mesh::of(3);
    mesh.group("config = \"OneAtATime\"");
    mesh.begin_with(&Bundle::new("v1"));
    let id = mesh.submit("web-1", &Bundle::new("v2").does(Deed::Hold, "AfterInstall", "web-2"));
    mesh.wait_for_hook_on(&id, "AfterInstall", "web-2");

    mesh.agent("web-2").terminate();
    wait_until("web-2 knows that it shall end", || mesh.agent("web-2").log_text().contains("stopping"));
    assert!(mesh.agent_mut("web-2").ended().is_none(), "a hook still runs");
    mesh.go("v2");
    let ended = mesh.agent_mut("web-2").wait();
    assert!(ended.success(), "{ended}");
    assert!(mesh.trace().of(&id).has_ended("AfterInstall", "web-2"), "the hook came to its own end");
    assert!(!mesh.trace().of(&id).has_begun("ApplicationStart", "web-2"), "no further event began");
    mesh.start("web-2");

    mesh.wait_for(&id, "Succeeded");
    let trace = mesh.trace().of(&id);
    trace.at_most_at_once(1);
    let events = ["ApplicationStop", "BeforeInstall", "AfterInstall", "ApplicationStart", "ValidateService"];
    assert_eq!(trace.events("web-2"), events);
    mesh.check();
}

#[test]
fn a_host_that_joins_late_catches_up() {
    let mut mesh = Mesh::of(2);
    mesh.group("config = \"OneAtATime\"");
    let first = mesh.begin_with(&Bundle::new("v1"));

    mesh.add(3);
    mesh.wait_until_whole();

    wait_until("web-3 knows what was before it", || mesh.agent("web-3").deployment(&first).is_some());
    let history = mesh.agent("web-3").skein(&["history", "--entries", "--verify"]);
    history.expect(0, &["submitted: hello/prod", &first, "are right"]);
    mesh.deploy("web-3", &Bundle::new("v2")).expect(0, &["Succeeded", "on 3 of 3 hosts"]);
    mesh.check();
}

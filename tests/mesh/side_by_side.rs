//! Several things at the same time, and people who watch or change their minds.

use rustix::process::Signal;

use crate::bundle::{Bundle, Deed};
use crate::world::{Mesh, Watcher, turn_of, wait_until};

#[test]
fn two_groups_share_hosts_and_each_keeps_its_own_policy() {
    let mesh = Mesh::of(3);
    mesh.group_called("prod", "config = \"OneAtATime\"");
    mesh.group_called("side", "config = \"HalfAtATime\"");
    for group in ["hello/prod", "hello/side"] {
        let id = mesh.submit_to("web-1", group, &Bundle::new("v1"), &["--override", "config=AllAtOnce"]);
        mesh.wait_for(&id, "Succeeded");
    }

    let held = Bundle::new("v2").does(Deed::Hold, "AfterInstall", "web-1");
    let prod = mesh.submit_to("web-1", "hello/prod", &held, &[]);
    let side = mesh.submit_to("web-2", "hello/side", &held, &[]);
    mesh.wait_for_hook_on(&prod, "AfterInstall", "web-1");
    mesh.wait_for_hook_on(&side, "AfterInstall", "web-1");
    mesh.go("v2");

    for id in [&prod, &side] {
        mesh.wait_for(id, "Succeeded");
        mesh.trace().of(id).at_most_at_once(1);
    }
    mesh.check();
}

#[test]
fn a_running_deployment_refuses_a_second_names_itself_and_lets_one_queue() {
    let mesh = Mesh::of(3);
    mesh.group("config = \"OneAtATime\"");
    mesh.begin_with(&Bundle::new("v1"));
    let running = mesh.submit("web-1", &Bundle::new("v2").does(Deed::Hold, "BeforeInstall", "web-1"));
    mesh.wait_for_hook_on(&running, "BeforeInstall", "web-1");
    let source = Bundle::new("v3").write(mesh.path()).display().to_string();

    let refused = mesh.agent("web-2").skein(&["deploy", "hello/prod", &source]);
    refused.expect(3, &[&running, "hello/prod is still running", "--queue"]);
    let document = mesh.agent("web-2").json(&["deploy", "hello/prod", &source]);
    assert_eq!(document["error"]["code"], "ALREADY_RUNNING");

    let queued = mesh.submit_to("web-2", "hello/prod", &Bundle::new("v3"), &["--queue"]);
    let view = mesh.agent("web-2").json(&["status", &queued]);
    assert_eq!(view["status"], "Queued");
    assert_eq!(view["blockers"][0]["code"], "QUEUED", "{view:#}");
    let third = mesh.agent("web-3").skein(&["deploy", "hello/prod", &source, "--queue"]);
    third.expect(3, &[&queued, "waiting already"]);

    mesh.go("v2");
    mesh.wait_for(&running, "Succeeded");
    mesh.wait_for(&queued, "Succeeded");
    let begun = mesh.trace().0.iter().position(|line| line.deployment == queued).expect("it ran");
    let ended = mesh.trace().0.iter().rposition(|line| line.deployment == running).expect("it ran");
    assert!(ended < begun, "one after the other");
    mesh.check();
}

#[test]
fn a_deployment_stopped_in_the_middle_ends_at_the_next_event() {
    let mesh = Mesh::of(3);
    mesh.group("config = \"OneAtATime\"");
    mesh.begin_with(&Bundle::new("v1"));
    let source =
        Bundle::new("v2").does(Deed::Hold, "BeforeInstall", "web-2").write(mesh.path()).display().to_string();
    let watcher = Watcher::start(mesh.agent("web-1").command(&["deploy", "hello/prod", &source]));
    wait_until("web-2 is in its turn", || mesh.trace().is_held("BeforeInstall", "web-2"));
    let list = mesh.agent("web-3").json(&["deployments"]);
    let id = list[0]["id"].as_str().expect("an id");

    mesh.agent("web-3")
        .skein(&["stop", id])
        .expect(0, &[id, "the turn under way comes to the end of its event first"]);
    mesh.go("v2");

    watcher.end().expect(6, &["Stopped", "MANUAL_STOP"]);
    let view = mesh.wait_for(id, "Stopped");
    assert_eq!(turn_of(&view, "web-1")["status"], "Succeeded");
    assert_eq!(turn_of(&view, "web-2")["error_code"], "Stopped", "{view:#}");
    assert_eq!(turn_of(&view, "web-3")["status"], "Skipped");
    assert_eq!(mesh.trace().of(id).hosts(), ["web-1", "web-2"]);
    mesh.agent("web-3").skein(&["stop", id]).expect(1, &[id, "over already (Stopped)"]);
    mesh.check();
}

#[test]
fn a_hook_that_hangs_is_ended_at_its_timeout() {
    let mesh = Mesh::of(1);
    mesh.group("config = \"OneAtATime\"");

    let ran = mesh.deploy("web-1", &Bundle::new("v1").does(Deed::Hang, "AfterInstall", "*").timeout(1));

    ran.expect(
        4,
        &[
            "web-1 failed: script `hook.sh` of AfterInstall",
            "did not end within 1 seconds",
            "not rolled back",
        ],
    );
    let view = mesh.agent("web-1").json(&["deployments"]);
    let view = mesh.agent("web-1").json(&["status", view[0]["id"].as_str().expect("an id")]);
    assert_eq!(turn_of(&view, "web-1")["error_code"], "ScriptTimedOut");
    assert!(!mesh.trace().has_ended("AfterInstall", "web-1"));
    mesh.deploy("web-1", &Bundle::new("v2")).expect(0, &["Succeeded"]);
    mesh.check();
}

#[test]
fn whoever_stops_waiting_leaves_the_deployment_running() {
    let mesh = Mesh::of(1);
    mesh.group("config = \"OneAtATime\"");
    let source =
        Bundle::new("v1").does(Deed::Hold, "AfterInstall", "*").write(mesh.path()).display().to_string();

    let ran = mesh.agent("web-1").skein(&["deploy", "hello/prod", &source, "--wait-timeout", "1s"]);

    ran.expect(7, &["not over after 1s", "goes on"]);
    let list = mesh.agent("web-1").json(&["deployments"]);
    let id = list[0]["id"].as_str().expect("an id");
    let said =
        format!("{id} goes on without you: skein status {id} --watch shows it, skein stop {id} stops it");
    for (signal, code) in [(Signal::INT, 130), (Signal::TERM, 143)] {
        let mut watcher = Watcher::start(mesh.agent("web-1").command(&["status", id, "--watch"]));
        watcher.wait_for_line();
        watcher.signal(signal);
        watcher.end().expect(code, &[&said]);
    }
    mesh.go("v1");
    mesh.wait_for(id, "Succeeded");
}

#[test]
fn what_a_script_wrote_can_be_read_on_any_host() {
    let mesh = Mesh::of(3);
    mesh.group("config = \"OneAtATime\"");
    let id = mesh.begin_with(&Bundle::new("v1"));

    let all = mesh.agent("web-3").skein(&["logs", &id, "web-2"]);
    all.expect(0, &["BeforeInstall of v1 on web-2", "ValidateService of v1 on web-2"]);
    let one = mesh.agent("web-1").skein(&["logs", &id, "web-2", "--event", "AfterInstall"]);
    one.expect(0, &["AfterInstall of v1 on web-2"]);
    assert!(!one.stdout.contains("ValidateService"), "{one:?}");
    mesh.agent("web-1").skein(&["logs", &id, "web-9"]).expect(1, &["no host `web-9`", "skein hosts"]);
    for host in mesh.names() {
        mesh.agent(&host).skein(&["history", "--verify"]).expect(0, &[&id, "are right"]);
    }
}

//! Canaries, zones and bakes; restarts; stops that take effect at once.

use std::time::{Duration, Instant};

use crate::bundle::{Bundle, Deed};
use crate::world::{Mesh, turn_of, wait_until};

#[test]
fn the_canary_goes_first_and_then_zone_by_zone_with_bakes() {
    let mesh = Mesh::in_zones(&["b", "a", "b", "a"]);
    mesh.group(
        "config = \"AllAtOnce\"\n[canary]\nhosts = 1\nbake = \"2s\"\n[zones]\nminimum_healthy = 1\nbake = \"1s\"",
    );
    let off = ["--override", "canary.enabled=false", "--override", "zones.enabled=false"];
    let first = mesh.submit_to("web-1", "hello/prod", &Bundle::new("v1"), &off);
    mesh.wait_for(&first, "Succeeded");

    let since = Instant::now();
    let id = mesh.submit("web-2", &Bundle::new("v2"));
    let mut baking = serde_json::Value::Null;
    wait_until("the canary bakes", || {
        baking = mesh.agent("web-3").deployment(&id).unwrap_or_default();
        baking["status"] == "Baking"
    });
    assert_eq!(baking["waves"][0]["name"], "canary");
    assert_eq!(baking["waves"][0]["status"], "Baking");
    assert!(baking["waves"][0]["bakes_until"].is_string(), "{baking:#}");
    assert_eq!(baking["blockers"][0]["code"], "BAKING");
    mesh.agent("web-4")
        .skein(&["status", &id])
        .expect(0, &["Baking", "the canary is watched", "zone a", "zone b"]);

    let view = mesh.wait_for(&id, "Succeeded");
    assert!(since.elapsed() >= Duration::from_secs(3), "two bakes, of 2 s and 1 s");
    let waves = view["waves"].as_array().expect("waves");
    let names: Vec<_> = waves.iter().map(|wave| (wave["name"].as_str(), wave["status"].as_str())).collect();
    let well = |name| (Some(name), Some("Succeeded"));
    assert_eq!(names, [well("canary"), well("zone a"), well("zone b")]);
    let trace = mesh.trace().of(&id);
    // One host of each zone must stay in service, so the hosts go one at a
    // time.
    assert_eq!(trace.hosts(), ["web-1", "web-2", "web-4", "web-3"]);
    trace.at_most_at_once(1);
    mesh.check();
}

#[test]
fn a_restart_runs_what_is_installed_without_a_download() {
    let mesh = Mesh::of(3);
    mesh.group("config = \"OneAtATime\"");
    mesh.agent("web-2")
        .skein(&["deploy", "hello/prod", "--restart"])
        .expect(3, &["there is nothing to restart"]);
    mesh.begin_with(&Bundle::new("v1"));

    let ran = mesh.agent("web-2").skein(&["deploy", "hello/prod", "--restart"]);

    ran.expect(0, &["Succeeded", "never fewer than 2 of 3 in service"]);
    let deployments = mesh.agent("web-3").json(&["deployments", "hello/prod"]);
    let (restart, first) = (&deployments[0], &deployments[1]);
    assert_eq!(restart["revision"], first["revision"]);
    let trace = mesh.trace().of(restart["id"].as_str().expect("an id"));
    trace.at_most_at_once(1);
    assert_eq!(trace.hosts(), ["web-1", "web-2", "web-3"]);
    for host in trace.hosts() {
        assert_eq!(
            trace.events(&host),
            ["ApplicationStop", "ApplicationStart", "ValidateService"],
            "on {host}"
        );
    }
    mesh.check();
}

#[test]
fn a_stop_now_does_not_wait_for_the_script_that_runs() {
    let mesh = Mesh::of(3);
    mesh.group("config = \"OneAtATime\"\n[rollback]\nenabled = false");
    mesh.begin_with(&Bundle::new("v1"));
    let id = mesh.submit("web-1", &Bundle::new("v2").does(Deed::Hang, "AfterInstall", "web-1"));
    mesh.wait_for_hook_on(&id, "AfterInstall", "web-1");

    let since = Instant::now();
    mesh.agent("web-3").skein(&["stop", &id, "--now"]).expect(0, &["the turn under way is cut short"]);

    let view = mesh.wait_for(&id, "Stopped");
    assert!(since.elapsed() < Duration::from_secs(50), "its script would have run for 100 s");
    let turn = turn_of(&view, "web-1");
    assert_eq!((&turn["status"], &turn["event"]), (&"Failed".into(), &"AfterInstall".into()));
    assert_eq!(turn["error_code"], "Stopped");
    assert_eq!(turn["message"], "the deployment was stopped while AfterInstall ran");
    assert_eq!(turn_of(&view, "web-2")["status"], "Skipped");
    assert_eq!(view["reason"]["code"], "MANUAL_STOP");
    mesh.check();
}

#[test]
fn groups_share_a_configuration_by_name() {
    let mesh = Mesh::of(2);
    let file = mesh.path().join("careful.toml");
    std::fs::write(&file, "name = \"careful\"\nminimum_healthy = 1\n[canary]\nhosts = 1\n").expect("a file");
    let file = file.display().to_string();
    mesh.agent("web-1").skein(&["config", "set", &file]).expect(0, &["careful is set", "canary of 1 host"]);
    mesh.group("config = \"careful\"");
    mesh.agent("web-2").skein(&["config", "list"]).expect(0, &["OneAtATime", "careful", "hello/prod"]);
    mesh.agent("web-2").skein(&["config", "show", "careful"]).expect(0, &["minimum_healthy = 1"]);
    mesh.agent("web-2").skein(&["config", "delete", "careful"]).expect(3, &["is used by hello/prod"]);
    let id = mesh.submit("web-1", &Bundle::new("v1"));
    let view = mesh.wait_for(&id, "Succeeded");
    assert_eq!(view["waves"].as_array().map(Vec::len), Some(2));
    let refused = mesh.agent("web-1").skein(&["group", "show", "hello/prod"]);
    refused.expect(0, &["config = \"careful\""]);
    mesh.group("config = \"OneAtATime\"");
    mesh.agent("web-2").skein(&["config", "delete", "careful"]).expect(0, &["careful is deleted"]);
    mesh.check();
}

//! Tests hosts that join late, and rollbacks to a bundle that no host has any longer.

use std::fs;
use std::path::PathBuf;

use serde_json::Value;

use crate::agent::Agent;
use crate::bundle::{Bundle, Deed};
use crate::world::{Mesh, wait_until};

/// Returns what a host runs in `hello/prod`, as another host knows it.
fn standing(mesh: &Mesh, of: &str) -> Value {
    let hosts = mesh.agent("web-1").get("/v1/hosts").unwrap_or_default();
    let all = hosts.as_array().cloned().unwrap_or_default();
    let host = all.into_iter().find(|host| host["name"] == of);
    host.map(|host| host["groups"]["hello/prod"].clone()).unwrap_or_default()
}

#[track_caller]
fn wait_for_revision(mesh: &Mesh, host: &str, revision: &Value) {
    wait_until(&format!("{host} is well at {revision}"), || {
        let standing = standing(mesh, host);
        standing["health"] == "Healthy" && standing["revision"] == *revision
    });
}

/// Returns the group's deployments that no person requested, the newest first.
fn catch_ups(mesh: &Mesh) -> Vec<Value> {
    let deployments = mesh.agent("web-2").json(&["deployments", "hello/prod"]);
    let all = deployments.as_array().cloned().unwrap_or_default();
    all.into_iter().filter(|view| view["creator"] == "autoscale").collect()
}

#[test]
fn a_host_that_joins_late_gets_the_last_good_revision_and_a_bad_host_is_tried_once() {
    let mut mesh = Mesh::of(2);
    mesh.group("config = \"OneAtATime\"");
    let first = mesh.begin_with(&Bundle::new("v1").does(Deed::Fail, "ValidateService", "web-4"));
    let revision = mesh.agent("web-1").deployment(&first).expect("known")["revision"].clone();

    mesh.add(3);

    wait_for_revision(&mesh, "web-3", &revision);
    let caught = catch_ups(&mesh);
    assert_eq!(caught.len(), 1, "{caught:#?}");
    let id = caught[0]["id"].as_str().expect("an id").to_string();
    let view = mesh.wait_for(&id, "Succeeded");
    let hosts = view["hosts"].as_array().expect("hosts");
    assert_eq!(hosts.iter().map(|host| host["name"].clone()).collect::<Vec<_>>(), ["web-3"]);
    assert_eq!(mesh.trace().of(&id).hosts(), ["web-3"]);

    // On the next host the revision does not start.
    mesh.add(4);
    wait_until("web-4 is given up", || {
        standing(&mesh, "web-4")["behind"]["why"]["code"] == "ATTEMPTS_USED_UP"
    });
    let failed = catch_ups(&mesh);
    assert_eq!((failed.len(), &failed[0]["status"]), (2, &"Failed".into()), "{failed:#?}");
    let words = ["Behind: web-4 (joined at", "not tried again", "exit code 3"];
    mesh.agent("web-2").skein(&["status", "hello/prod"]).expect(0, &words);
    mesh.agent("web-2").skein(&["hosts"]).expect(0, &words[1..]);
    mesh.agent("web-2").skein(&["explain", failed[0]["id"].as_str().expect("an id")]).expect(0, &words);
    let group = mesh.agent("web-1").get("/v1/groups/hello/prod").expect("a group");
    assert_eq!((&group["last_deployment"], &group["last_status"]), (&first.into(), &"Succeeded".into()));
    mesh.check();
}

#[test]
fn a_host_that_joins_in_the_middle_gets_the_previous_revision_and_follows() {
    let mut mesh = Mesh::of(2);
    mesh.group("config = \"OneAtATime\"");
    let first = mesh.begin_with(&Bundle::new("v1"));
    let second = mesh.submit("web-1", &Bundle::new("v2").does(Deed::Hold, "BeforeInstall", "web-1"));
    mesh.wait_for_hook_on(&second, "BeforeInstall", "web-1");
    let revision = |id: &str| mesh.agent("web-1").deployment(id).expect("known")["revision"].clone();
    let (old, new) = (revision(&first), revision(&second));

    mesh.add(3);

    wait_for_revision(&mesh, "web-3", &old);
    let running = mesh.agent("web-2").deployment(&second).expect("known");
    assert_eq!((&running["status"], &running["healthy"]["total"]), (&"InProgress".into(), &2.into()));
    mesh.go("v2");
    mesh.wait_for(&second, "Succeeded");
    wait_for_revision(&mesh, "web-3", &new);
    assert_eq!(catch_ups(&mesh).len(), 2);
    mesh.check();
}

/// While one host is being brought up to date, no other can leave service. The
/// restart waits for that host and is not refused.
#[test]
fn a_restart_waits_for_a_catch_up() {
    let mut mesh = Mesh::of(3);
    mesh.group("config = \"OneAtATime\"");
    mesh.begin_with(&Bundle::new("v1").does(Deed::Hold, "BeforeInstall", "web-4"));
    mesh.add(4);
    wait_until("web-4 is being brought up to date", || catch_ups(&mesh).len() == 1);
    let id = catch_ups(&mesh)[0]["id"].as_str().expect("an id").to_string();
    mesh.wait_for_hook_on(&id, "BeforeInstall", "web-4");

    let restart = ["deploy", "hello/prod", "--restart", "--detach"];
    let ran = mesh.agent("web-1").skein(&restart);

    ran.expect(0, &[]);
    mesh.go("v1");
    let view = mesh.wait_for(ran.stdout.trim(), "Succeeded");
    assert_eq!(view["counts"]["succeeded"], 4, "{view:#}");
    mesh.check();
}

fn hex(revision: &Value) -> String {
    revision.as_str().expect("a digest").trim_start_matches("blake3:").to_string()
}

/// Returns the files in which a host recorded a revision that it unpacked.
fn notes(agent: &Agent, hex: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut below = vec![agent.data.clone()];
    while let Some(dir) = below.pop() {
        for entry in fs::read_dir(dir).expect("a directory").filter_map(Result::ok) {
            if entry.path().is_dir() {
                below.push(entry.path());
            } else if entry.file_name().to_string_lossy().contains(&format!("inventory-{hex}")) {
                found.push(entry.path());
            }
        }
    }
    found
}

#[test]
fn the_way_back_needs_no_bundle_and_is_refused_if_nobody_has_the_revision() {
    let mesh = Mesh::of(2);
    mesh.group("config = \"OneAtATime\"");
    let first = mesh.begin_with(&Bundle::new("v1"));
    mesh.deploy("web-1", &Bundle::new("v2")).expect(0, &[]);
    let old = mesh.agent("web-1").deployment(&first).expect("known")["revision"].clone();
    let digits = hex(&old);
    for agent in &mesh.agents {
        fs::remove_file(agent.data.join("bundles").join(&digits)).expect("evicted");
        assert_eq!(notes(agent, &digits).len(), 1, "on {}", agent.name);
    }

    let ran = mesh.agent("web-2").skein(&["rollback", "hello/prod", "--to", &digits[..8]]);

    ran.expect(0, &["Succeeded", "on 2 of 2 hosts"]);
    for agent in &mesh.agents {
        assert!(!agent.data.join("bundles").join(&digits).exists(), "nothing was fetched");
        assert!(agent.log_text().contains("used again"), "in the log of {}", agent.name);
        wait_for_revision(&mesh, &agent.name, &old);
    }

    let newer = mesh.agent("web-1").json(&["deployments", "hello/prod"])[1]["revision"].clone();
    let digits = hex(&newer);
    for agent in &mesh.agents {
        fs::remove_file(agent.data.join("bundles").join(&digits)).expect("evicted");
        notes(agent, &digits).iter().for_each(|note| fs::remove_file(note).expect("removed"));
    }
    let rollback = |to: &str| mesh.agent("web-2").skein(&["rollback", "hello/prod", "--to", to]);
    rollback(&digits[..12]).expect(3, &["no host that can be reached has revision", "skein push"]);
    rollback("abcdef123456").expect(3, &["was ever deployed successfully to hello/prod"]);
    rollback("v1").expect(2, &["invalid revision `v1`", "6"]);
    mesh.check();
}

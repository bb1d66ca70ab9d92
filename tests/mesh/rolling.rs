//! Deployments that succeed, and deployments that stop as they should.

use crate::bundle::{Bundle, Deed};
use crate::world::Mesh;

#[test]
fn five_hosts_are_updated_one_at_a_time() {
    let mesh = Mesh::of(5);
    mesh.group("config = \"OneAtATime\"");
    mesh.begin_with(&Bundle::new("v1"));

    let ran = mesh.deploy("web-3", &Bundle::new("v2"));

    ran.expect(0, &["Succeeded", "never fewer than 4 of 5 in service"]);
    let deployments = mesh.agent("web-5").json(&["deployments", "hello/prod"]);
    let view = &deployments[0];
    assert_eq!(view["healthy"]["lowest_seen"], 4);
    assert_eq!(view["counts"]["succeeded"], 5);
    let trace = mesh.trace().of(view["id"].as_str().expect("an id"));
    trace.at_most_at_once(1);
    assert_eq!(trace.hosts(), ["web-1", "web-2", "web-3", "web-4", "web-5"]);
    let events = ["ApplicationStop", "BeforeInstall", "AfterInstall", "ApplicationStart", "ValidateService"];
    for host in trace.hosts() {
        assert_eq!(trace.events(&host), events, "on {host}");
    }
    mesh.check();
}

#[test]
fn a_failing_hook_is_rolled_back() {
    let mesh = Mesh::of(3);
    mesh.group("config = \"OneAtATime\"");
    mesh.begin_with(&Bundle::new("v1"));

    let bad = Bundle::new("v2").does(Deed::Fail, "ValidateService", "web-2");
    let ran = mesh.deploy("web-1", &bad);

    ran.expect(
        5,
        &[
            "web-2 failed: script `hook.sh` of ValidateService",
            "exit code 3",
            "ValidateService finds a fault",
        ],
    );
    let deployments = mesh.agent("web-3").json(&["deployments"]);
    assert_eq!(deployments[0]["creator"], "rollback");
    assert_eq!(deployments[0]["status"], "Succeeded");
    assert_eq!(deployments[1]["status"], "Failed");
    assert_eq!(deployments[1]["rolled_back_by"], deployments[0]["id"]);
    assert_eq!(deployments[1]["rollback_status"], "Succeeded");
    assert_eq!(deployments[0]["revision"], deployments[2]["revision"]);
    let rollback = mesh.trace().of(deployments[0]["id"].as_str().expect("an id"));
    rollback.at_most_at_once(1);
    assert!(!rollback.hosts().contains(&"web-3".to_string()), "web-3 was never touched");
    mesh.check();
}

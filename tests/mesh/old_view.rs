//! A host that has lost its mesh says that its view is old.

use rustix::process::Signal;
use serde_json::Value;

use crate::bundle::Bundle;
use crate::world::{Mesh, wait_until};

/// Returns true if each element of a JSON document says that it is old.
fn is_old(document: &Value) -> bool {
    let says_so = |one: &Value| one["stalled"]["code"] == "NO_MAJORITY" && one["as_of"].is_string();
    match document.as_array() {
        Some(all) => !all.is_empty() && all.iter().all(says_so),
        None => says_so(document),
    }
}

#[test]
fn no_command_shows_the_view_of_a_host_without_a_majority_as_the_present() {
    let mut mesh = Mesh::of(5);
    mesh.group("config = \"OneAtATime\"");
    let id = mesh.begin_with(&Bundle::new("v1"));
    let questions: [&[&str]; 10] = [
        &["status"],
        &["status", "hello/prod"],
        &["status", &id],
        &["hosts"],
        &["hosts", "hello/prod"],
        &["deployments"],
        &["explain", &id],
        &["group", "list"],
        &["config", "list"],
        &["history"],
    ];
    for question in questions {
        assert!(!is_old(&mesh.agent("web-1").json(question)), "{question:?}");
    }

    // All three stop at once. If they were killed one by one, the others could
    // still count one Down.
    ["web-3", "web-4", "web-5"].iter().for_each(|name| mesh.agent(name).signal(Signal::STOP));
    ["web-3", "web-4", "web-5"].iter().for_each(|name| mesh.kill(name));
    let agent = mesh.agent("web-1");
    wait_until("web-1 knows that it knows no more", || {
        let status = agent.get("/v1/status").unwrap_or_default();
        is_old(&status) && status["hosts"]["unknown"] == 3
    });
    for question in questions {
        let ran = agent.skein(question);
        let first = ran.stdout.lines().next().unwrap_or_default();
        assert!(first.starts_with("warning: this host reaches 2 of 5 voters"), "{question:?}: {ran:?}");
        assert!(first.contains("what it shows is as of 20"), "{question:?}: {first}");
        assert!(is_old(&agent.json(question)), "{question:?}");
    }
    // Too few hosts are left to count them Down.
    let status = |host: &Value| (host["name"].to_string(), host["status"].to_string());
    let hosts = agent.get("/v1/hosts").unwrap_or_default();
    let unknown: Vec<_> = hosts.as_array().expect("a list").iter().map(status).collect();
    let is_unknown = unknown.iter().filter(|(_, status)| status == "\"Unknown\"").count();
    assert_eq!(is_unknown, 3, "{unknown:?}");
    let group = agent.get("/v1/groups/hello/prod").expect("the group");
    assert_eq!((&group["healthy"], &group["unknown"]), (&2.into(), &3.into()), "{group:#}");
    let metrics = agent.get_text("/metrics").expect("metrics");
    for line in
        ["skein_stalled{} 1", "skein_hosts{status=\"unknown\"} 3", "skein_as_of_timestamp_seconds{} 1"]
    {
        assert!(metrics.contains(line), "no {line} in {metrics}");
    }
    agent.skein(&["status", "d-ABCDEFGHI"]).expect(1, &["this host reaches 2 of 5 voters"]);

    ["web-3", "web-4", "web-5"].iter().for_each(|name| mesh.start(name));
    mesh.wait_until_whole();
    assert!(!is_old(&mesh.agent("web-1").get("/v1/status").expect("a status")));
    mesh.check();
}

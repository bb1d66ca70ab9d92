//! Tests that a person lets the mesh continue when most voters are gone for good.

use std::os::unix::fs::PermissionsExt as _;

use rustix::process::Signal;

use crate::agent::skein;
use crate::bundle::Bundle;
use crate::world::{Mesh, wait_until};

#[test]
fn one_host_of_three_goes_on_with_the_recovery_key_and_the_others_come_back() {
    let mut mesh = Mesh::of(3);
    mesh.group("config = \"AllAtOnce\"");
    mesh.begin_with(&Bundle::new("v1"));
    wait_until("all three vote", || {
        let status = mesh.agent("web-1").get("/v1/status").unwrap_or_default();
        status["voters"].as_array().is_some_and(|voters| voters.len() == 3)
    });
    mesh.agent("web-1").skein(&["mesh", "recover"]).expect(3, &["3 of 3 voters", "needs no recovery"]);

    // At once, or the others would count one of them Down.
    ["web-2", "web-3"].iter().for_each(|name| mesh.agent(name).signal(Signal::STOP));
    ["web-2", "web-3"].iter().for_each(|name| mesh.kill(name));
    let agent = mesh.agent("web-1");
    wait_until("web-1 has no majority", || {
        agent.get("/v1/status").is_some_and(|status| status["stalled"]["code"] == "NO_MAJORITY")
    });
    agent.skein(&["status"]).expect(0, &["reaches 1 of 3 voters", "`skein mesh recover`"]);

    agent
        .skein(&["mesh", "recover"])
        .expect(3, &["--gone web-2,web-3 --yes", "out of reach", "two\nhistories"]);
    agent.skein(&["mesh", "recover", "--yes"]).expect(2, &["--gone"]);
    let partly = agent.skein(&["mesh", "recover", "--yes", "--gone", "web-2"]);
    partly.expect(3, &["web-3 is out of reach too"]);
    let other = mesh.path().join("other");
    let init = skein(&["mesh", "init", "--data-dir", &other.display().to_string()]);
    assert!(init.stderr.contains("Move it off this host"), "{init:?}");
    let key = other.join("recovery.key");
    let mode = std::fs::metadata(&key).expect("the key").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let given_up = ["mesh", "recover", "--yes", "--gone", "web-3,web-2"];
    let wrong = agent.skein(&[&given_up[..], &["--key", &key.display().to_string()]].concat());
    wrong.expect(1, &["is the recovery key of mesh", "and this host is in mesh"]);

    // An operator keeps the key elsewhere, not on this host.
    let kept = mesh.path().join("kept-safe");
    std::fs::rename(agent.data.join("recovery.key"), &kept).expect("moved away");
    agent.skein(&given_up).expect(1, &["recovery.key does not exist", "--key FILE"]);
    let recovered = agent.skein(&[&given_up[..], &["--key", &kept.display().to_string()]].concat());
    recovered.expect(0, &["The mesh goes on from web-1", "epoch 1", "`skein mesh remove web-2`"]);

    wait_until("web-1 leads", || {
        agent
            .get("/v1/status")
            .is_some_and(|status| status["leader"] == "web-1" && status["stalled"].is_null())
    });
    for asked in [&["history"][..], &["history", "--entries"], &["status"]] {
        agent.skein(asked).expect(0, &["recovered the mesh", "from web-1", "gave up web-2, web-3"]);
    }
    let id = mesh.submit("web-1", &Bundle::new("v2"));
    let done = |count: u64| {
        mesh.agent("web-1").deployment(&id).is_some_and(|view| view["counts"]["succeeded"] == count)
    };
    wait_until("web-1 has v2", || done(1));

    // One of the old majority comes back with its disk, and then the other.
    for (name, count) in [("web-2", 2), ("web-3", 3)] {
        mesh.start(name);
        let state = |name: &str| mesh.agent(name).get("/v1/status").unwrap_or_default();
        wait_until("it has the recovered ledger", || {
            let (first, back) = (state("web-1"), state(name));
            back["recovered"]["epoch"] == 1
                && back["index"] == first["index"]
                && back["hash"] == first["hash"]
        });
        wait_until("it has v2", || {
            let hosts = mesh.agent("web-1").get("/v1/hosts").unwrap_or_default();
            let all = hosts.as_array().cloned().unwrap_or_default();
            let revisions: Vec<_> =
                all.iter().map(|host| host["groups"]["hello/prod"]["revision"].clone()).collect();
            revisions.iter().filter(|revision| **revision == revisions[0]).count() as u64 >= count
        });
    }
    mesh.wait_until_whole();
    wait_until("all three vote again", || {
        let status = mesh.agent("web-2").get("/v1/status").unwrap_or_default();
        status["voters"].as_array().is_some_and(|voters| voters.len() == 3)
    });
    mesh.check();
}

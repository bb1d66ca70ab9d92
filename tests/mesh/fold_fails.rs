//! An entry that no agent can fold, because of an error in the agent.

use crate::bundle::Bundle;
use crate::world::{Mesh, wait_until};

#[test]
fn agents_whose_fold_fails_stay_up_and_go_on_once_they_are_mended() {
    let mut mesh = Mesh::of(3);
    mesh.group("config = \"AllAtOnce\"");
    mesh.begin_with(&Bundle::new("v1"));
    let names = mesh.names();
    for name in &names {
        mesh.kill(name);
        mesh.agent_mut(name).wrapper = vec!["env".into(), "SKEIN_FOLD_PANICS_ON=hello/bad".into()];
        mesh.start(name);
    }
    mesh.wait_until_whole();

    // All of them fold it at once. The answer names the entry and what to do.
    let file = mesh.path().join("bad.toml");
    std::fs::write(&file, "application = \"hello\"\nname = \"bad\"\ntags = [[\"role=web\"]]\n")
        .expect("a file");
    let set = mesh.agent("web-1").skein(&["group", "set", "--yes", &file.display().to_string()]);
    assert_ne!(set.code, 0);
    assert!(
        set.stderr.contains("of the ledger failed") && set.stderr.contains("install an agent"),
        "{}",
        set.stderr
    );
    for name in &names {
        let told = || mesh.agent(name).json(&["status"]);
        wait_until("it says that it has stopped", || told()["stalled"]["code"] == "FOLD_FAILED");
        assert!(told()["stalled"]["numbers"]["entry"].as_u64().is_some(), "{:#}", told());
        let group = mesh.agent(name).json(&["status", "hello/prod"]);
        assert_eq!(group["stalled"]["code"], "FOLD_FAILED", "an old view is called old");
        assert!(mesh.agent(name).log_text().contains("of the ledger failed"));
    }

    // One that starts again does not end. It stops at the entry again, or waits for a
    // leader if its disk does not say yet that the entry is committed.
    mesh.kill("web-2");
    mesh.start("web-2");
    wait_until("it says that it does not go on", || {
        let status = mesh.agent("web-2").get("/v1/status").unwrap_or_default();
        ["FOLD_FAILED", "NO_LEADER"].iter().any(|code| status["stalled"]["code"] == *code)
    });

    for name in &names {
        mesh.kill(name);
        mesh.agent_mut(name).wrapper.clear();
        mesh.start(name);
    }
    mesh.wait_until_whole();
    wait_until("they go on with that entry", || {
        names.iter().all(|name| mesh.agent(name).get("/v1/groups/hello/bad").is_some())
    });
    mesh.deploy("web-3", &Bundle::new("v2")).expect(0, &["Succeeded"]);
    // The logs hold the panics, which `Mesh::check` would not accept.
}

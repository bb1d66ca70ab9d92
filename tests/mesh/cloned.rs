//! A machine that was copied: two agents with one host's key.

use std::process::Command;

use crate::agent::Agent;
use crate::world::{Mesh, wait_until};

/// Returns the number of hosts that have a twin, as the agent says.
fn twins(agent: &Agent) -> Option<usize> {
    Some(agent.get("/v1/status")?["twins"].as_array()?.len())
}

#[test]
fn a_copied_data_directory_that_is_started_elsewhere_is_found_out_and_both_are_named() {
    let mut mesh = Mesh::of(3);
    let copied = mesh.agent("web-2").data.clone();
    // An image is taken of a machine that is off, and comes up twice.
    mesh.kill("web-2");
    let copy = mesh.prepare(9);
    let ran = Command::new("cp").arg("-a").arg(&copied).arg(&copy.data).output().expect("cp runs");
    assert!(ran.status.success(), "{ran:?}");
    mesh.start("web-2");
    mesh.wait_until_whole();
    mesh.start("web-9");

    wait_until("the others know of two agents", || twins(mesh.agent("web-1")) == Some(1));
    let said = mesh.agent("web-1").skein(&["status"]).stdout;
    let words = [
        "two agents run with the key of",
        &mesh.agent("web-2").listen().replace(':', "/tcp/"),
        &mesh.agent("web-9").listen().replace(':', "/tcp/"),
        "a data directory was copied",
        "stop one of them, then start the other again",
    ];
    for word in words {
        assert!(said.contains(word), "nothing is said of `{word}`: {said}");
    }
    wait_until("one of the two says it in its log", || {
        let says = |name: &str| mesh.agent(name).log_text().contains("two agents run with this host's key");
        says("web-2") || says("web-9")
    });

    // The way out that it names.
    mesh.kill("web-9");
    mesh.kill("web-2");
    mesh.start("web-2");
    wait_until("there is one agent again", || twins(mesh.agent("web-1")) == Some(0));
    mesh.wait_until_whole();
    mesh.check();
}

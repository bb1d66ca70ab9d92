//! Agents of two releases in one mesh. The earlier release is this program with the forms of
//! that version only (`SKEIN_WIRE`), which the newer one keeps: see `proto/src/form.rs`.

use crate::bundle::{Bundle, Deed};
use crate::world::{Mesh, wait_until};

const PREVIOUS: u16 = 5;
const MOVED: &str = "the mesh moved to version 6";

/// Ends the agent, lets `meanwhile` happen, and starts it again as the newest release.
fn upgrade(mesh: &mut Mesh, name: &str, meanwhile: impl FnOnce(&Mesh)) {
    mesh.agent(name).terminate();
    meanwhile(mesh);
    let ended = mesh.agent_mut(name).wait();
    assert!(ended.success(), "{name}: {ended}");
    mesh.agent_mut(name).wrapper.clear();
    mesh.start(name);
    mesh.wait_until_whole();
}

fn has_moved(mesh: &Mesh) -> bool {
    mesh.agent("web-1").skein(&["history", "--entries"]).stdout.contains(MOVED)
}

#[test]
fn agents_are_upgraded_one_by_one_in_the_middle_of_a_release() {
    let mut mesh = Mesh::speaking(PREVIOUS, 3);
    mesh.group("config = \"OneAtATime\"");
    mesh.begin_with(&Bundle::new("v1"));
    let id = mesh.submit("web-1", &Bundle::new("v2").does(Deed::Hold, "AfterInstall", "web-2"));
    mesh.wait_for_hook_on(&id, "AfterInstall", "web-2");

    upgrade(&mut mesh, "web-3", |_| {});
    upgrade(&mut mesh, "web-1", |_| {});
    assert!(!has_moved(&mesh), "web-2 could not read it");
    upgrade(&mut mesh, "web-2", |mesh| {
        wait_until("web-2 knows that it shall end", || mesh.agent("web-2").log_text().contains("stopping"));
        mesh.go("v2");
    });

    mesh.wait_for(&id, "Succeeded");
    wait_until("the mesh moves on once all its agents can read that", || has_moved(&mesh));
    let trace = mesh.trace().of(&id);
    trace.at_most_at_once(1);
    let events = ["ApplicationStop", "BeforeInstall", "AfterInstall", "ApplicationStart", "ValidateService"];
    for name in mesh.names() {
        assert_eq!(trace.events(&name), events, "on {name}");
    }
    mesh.deploy("web-3", &Bundle::new("v3")).expect(0, &["Succeeded", "on 3 of 3 hosts"]);
    mesh.check();
}

#[test]
fn an_agent_that_is_downgraded_by_mistake_says_so_and_loses_nothing() {
    let mut mesh = Mesh::of(3);
    mesh.group("config = \"OneAtATime\"");
    mesh.begin_with(&Bundle::new("v1"));

    mesh.kill("web-3");
    mesh.agent_mut("web-3").speak(PREVIOUS);
    mesh.start("web-3");
    let ended = mesh.agent_mut("web-3").wait();
    assert!(!ended.success(), "it does not take part: {ended}");
    let log = mesh.agent("web-3").log_text();
    assert!(log.contains("needs version 6, this agent reads up to 5"), "{log}");
    let data = std::fs::read_dir(&mesh.agent("web-3").data).expect("its data directory");
    let names: Vec<_> = data.map(|entry| entry.expect("an entry").file_name()).collect();
    let is_aside = |name: &&std::ffi::OsString| name.to_string_lossy().contains(".damaged-");
    assert_eq!(names.iter().find(is_aside), None, "its store stays where it is");

    mesh.agent_mut("web-3").wrapper.clear();
    mesh.start("web-3");
    mesh.wait_until_whole();
    assert!(!mesh.agent("web-3").log_text().contains("forgotten everything"));
    mesh.deploy("web-3", &Bundle::new("v2")).expect(0, &["Succeeded", "on 3 of 3 hosts"]);
    mesh.check();
}

//! Frozen agents: to the others they seem cut off, and later they continue as
//! if no time had passed.

use rustix::process::Signal;

use crate::bundle::{Bundle, Deed};
use crate::world::{Mesh, wait_until};

fn freeze(mesh: &Mesh, names: &[&str]) {
    names.iter().for_each(|name| mesh.agent(name).signal(Signal::STOP));
}

fn thaw(mesh: &Mesh, names: &[&str]) {
    names.iter().for_each(|name| mesh.agent(name).signal(Signal::CONT));
}

fn is_down(mesh: &Mesh, seen_by: &str, names: &[&str]) -> bool {
    let hosts = mesh.agent(seen_by).get("/v1/hosts").unwrap_or_default();
    let host = |name: &str| hosts.as_array().and_then(|list| list.iter().find(|host| host["name"] == name));
    names.iter().all(|name| host(name).is_some_and(|host| host["status"] == "Down"))
}

#[test]
fn a_minority_cut_off_in_a_turn_costs_time_and_nothing_else() {
    let mesh = Mesh::of(5);
    mesh.group("config = \"OneAtATime\"\nlost_after = \"50s\"");
    mesh.begin_with(&Bundle::new("v1"));
    let id = mesh.submit("web-3", &Bundle::new("v2").does(Deed::Hold, "AfterInstall", "web-2"));
    mesh.wait_for_hook_on(&id, "AfterInstall", "web-2");

    // The host in its turn, and the leader if that is another host.
    let leader = mesh.leader();
    let other = if leader == "web-2" { "web-4" } else { leader.as_str() };
    let minority = ["web-2", other];
    let seen_by = mesh.names().into_iter().find(|name| !minority.contains(&name.as_str())).expect("a host");
    freeze(&mesh, &minority);
    mesh.go("v2");
    wait_until("the others count them Down", || is_down(&mesh, &seen_by, &minority));
    let view = mesh.agent(&seen_by).deployment(&id).expect("the deployment");
    assert_eq!(view["status"], "InProgress");
    // The majority can still commit.
    mesh.group_on(&seen_by, "canary", "config = \"AllAtOnce\"");

    thaw(&mesh, &minority);
    let view = mesh.wait_for(&id, "Succeeded");
    assert_eq!(view["counts"]["succeeded"], 5);
    mesh.trace().of(&id).at_most_at_once(1);
    mesh.wait_until_whole();
    mesh.check();
}

#[test]
fn a_host_left_alone_refuses_with_numbers_and_recovers() {
    let mesh = Mesh::of(3);
    mesh.group("config = \"OneAtATime\"");
    mesh.begin_with(&Bundle::new("v1"));

    freeze(&mesh, &["web-2", "web-3"]);
    let bundle = Bundle::new("v2").write(mesh.path()).display().to_string();
    let ran = mesh.agent("web-1").skein(&["deploy", "hello/prod", &bundle, "--detach"]);
    ran.expect(1, &["did not commit this within 15 s", "voters are connected", "`skein status`"]);

    thaw(&mesh, &["web-2", "web-3"]);
    mesh.wait_until_whole();
    // The deployment may have been submitted after all. In both cases the mesh
    // works.
    wait_until("no deployment runs", || {
        let list = mesh.agent("web-1").get("/v1/deployments").unwrap_or_default();
        list.as_array().is_some_and(|list| list.iter().all(|one| !one["finished_at"].is_null()))
    });
    mesh.deploy("web-1", &Bundle::new("v3")).expect(0, &["Succeeded"]);
    mesh.check();
}

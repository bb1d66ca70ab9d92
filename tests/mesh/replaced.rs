//! A machine that is replaced by a new one, which says so when it joins.

use crate::bundle::Bundle;
use crate::world::{Mesh, wait_until};

/// Returns the names of all hosts, as one host lists them.
fn hosts(mesh: &Mesh, on: &str) -> Vec<String> {
    let listed = mesh.agent(on).get("/v1/hosts").unwrap_or_default();
    let hosts = listed.as_array().cloned().unwrap_or_default();
    hosts.iter().map(|host| host["name"].as_str().unwrap_or_default().to_string()).collect()
}

#[test]
fn a_new_machine_takes_the_place_of_one_that_is_down_and_of_none_that_is_up() {
    let mut mesh = Mesh::of(4);
    mesh.group("config = \"OneAtATime\"");
    mesh.begin_with(&Bundle::new("v1"));

    // While web-2 is up, nothing is replaced.
    let newcomer = mesh.prepare(9);
    newcomer.flags.extend(["--replace", "web-2"].map(String::from));
    mesh.start("web-9");
    let says = |mesh: &Mesh, name: &str, words: &str| mesh.agent(name).log_text().contains(words);
    wait_until("web-9 says why it is not let in", || {
        says(
            &mesh,
            "web-9",
            "this host is to take the place of web-2, which is up: stop the agent there first",
        )
    });
    assert_eq!(hosts(&mesh, "web-1"), ["web-1", "web-2", "web-3", "web-4"]);

    // Its machine burns. It is counted Down, and the newcomer has its place.
    mesh.kill("web-2");
    wait_until("web-9 has taken the place of web-2", || {
        hosts(&mesh, "web-1") == ["web-1", "web-3", "web-4", "web-9"]
    });
    wait_until("web-9 is caught up", || {
        let group = mesh.agent("web-1").get("/v1/groups/hello/prod").unwrap_or_default();
        group["hosts"] == 4 && group["healthy"] == 4
    });
    mesh.agent("web-1").skein(&["history", "--entries"]).expect(0, &["web-9 joined in the place of web-2"]);
    let source = Bundle::new("v2").write(mesh.path()).display().to_string();
    let ran = mesh.agent("web-9").skein(&["deploy", "hello/prod", &source]);
    ran.expect(0, &["Succeeded", "on 4 of 4 hosts"]);

    // The old machine comes back after all.
    mesh.start("web-2");
    wait_until("web-2 hears that it was taken out", || {
        says(&mesh, "web-2", "this host was taken out of the mesh")
    });
    assert_eq!(hosts(&mesh, "web-3"), ["web-1", "web-3", "web-4", "web-9"]);
    mesh.kill("web-2");
    mesh.check();
}

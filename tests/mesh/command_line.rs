//! The commands that people type, and the questions and warnings before data is
//! lost.

use std::fs;

use crate::bundle::{Bundle, Deed};
use crate::world::{Mesh, wait_until};

fn user() -> String {
    let uid = nix::unistd::getuid();
    nix::unistd::User::from_uid(uid).expect("users").map_or(format!("uid {uid}"), |user| user.name)
}

#[test]
fn a_group_loses_what_watches_over_it_only_by_a_word() {
    let mesh = Mesh::of(1);
    let agent = mesh.agent("web-1");
    let file = mesh.path().join("group.toml");
    let set = |more: &str, flags: &[&str]| {
        let text = format!("application = \"hello\"\nname = \"shop\"\ntags = [[\"role=web\"]]\n{more}");
        fs::write(&file, text).expect("a file");
        agent.skein(&[&["group", "set", file.to_str().expect("a path")], flags].concat())
    };
    let alarm = "[[alarm]]\nname = \"pager\"\n";
    set(alarm, &["--dry-run"]).expect(0, &["would be new", "Nothing was changed"]);
    agent.skein(&["group", "show", "hello/shop"]).expect(1, &["hello/shop"]);
    set(alarm, &[]).expect(0, &["is set"]);

    let other = "[deployment]\nconfig = \"AllAtOnce\"\n";
    set(other, &["--dry-run"]).expect(0, &["- alarm.pager.name", "AllAtOnce", "Nothing was changed"]);
    set(other, &[])
        .expect(3, &["nothing was changed", "alarm.pager", "--yes", "skein group show hello/shop"]);
    let refused = set(other, &["--json"]);
    assert!(refused.code == 3 && refused.stdout.contains("NOT_CONFIRMED"), "{refused:?}");
    agent.skein(&["alarm", "list"]).expect(0, &["hello/shop pager"]);
    set(other, &["--yes"]).expect(0, &["is set"]);
    agent.skein(&["alarm", "list"]).expect(0, &["No group has alarms"]);
    set(other, &[]).expect(0, &["is set"]);
}

#[test]
fn a_group_or_the_beginning_of_an_id_is_enough_and_a_person_is_named() {
    let mesh = Mesh::of(2);
    mesh.group("config = \"OneAtATime\"");
    mesh.begin_with(&Bundle::new("v1"));
    let agent = mesh.agent("web-1");
    agent.skein(&["stop", "hello/prod"]).expect(1, &["no deployment of hello/prod is running", "Succeeded"]);
    let failing = Bundle::new("v2").does(Deed::Fail, "AfterInstall", "web-1");
    let id = mesh.submit("web-1", &failing);
    mesh.wait_for(&id, "Failed");
    mesh.wait_for_rollback_of(&id);

    let by = format!("{} on web-1", user());
    assert_eq!(agent.json(&["status", &id])["by"], by.as_str());
    agent.skein(&["explain", &id]).expect(0, &[&by]);
    agent.skein(&["explain", &id[..6]]).expect(0, &[&id, "web-1: Failed"]);
    agent.skein(&["explain", "hello/prod"]).expect(0, &["It rolls back"]);
    agent.skein(&["status", "d-"]).expect(1, &["deployments begin with `d-`"]);
    agent.skein(&["logs", &id[..6], "--failed"]).expect(0, &["==> web-1 <=="]);
    let all = agent.json(&["logs", "hello/prod", "--all"]);
    let hosts: Vec<_> = all.as_array().expect("a list").iter().map(|log| log["name"].to_string()).collect();
    assert!(hosts.contains(&"\"web-1\"".to_string()), "{hosts:?}");
    agent.skein(&["logs", &id]).expect(2, &["HOST"]);
    wait_until("the log names hosts", || mesh.agent("web-2").log_text().contains("from=web-1("));
    mesh.check();
}

#[test]
fn no_second_mesh_is_made_beside_an_agent_unless_its_directory_is_named() {
    let mesh = Mesh::of(1);
    let agent = mesh.agent("web-1");
    let data = agent.data.display().to_string();
    agent.skein(&["mesh", "init"]).expect(1, &["an agent runs on this host already", &data, "--data-dir"]);
    let other = mesh.path().join("other").display().to_string();
    agent.skein(&["mesh", "init", "--data-dir", &other]).expect(0, &["is made"]);
}

//! The ways to join a mesh, and what a token says when its host is gone.

use std::fs;
use std::io::Write;
use std::process::Stdio;

use crate::agent::{Ran, command, skein};
use crate::world::{Mesh, wait_until};

#[test]
fn a_token_outlives_the_host_that_printed_it_and_is_read_where_nobody_sees_it() {
    let mut mesh = Mesh::of(3);
    let token = mesh.agent("web-1").skein(&["mesh", "token"]).stdout.trim().to_string();
    mesh.kill("web-1");
    let file = mesh.path().join("token");
    fs::write(&file, &token).expect("a file");

    let agent = mesh.prepare(4);
    agent.flags = vec!["--tag".into(), "role=web".into(), "--join-file".into(), file.display().to_string()];
    let name = agent.name.clone();
    mesh.start(&name);

    wait_until("it is in", || {
        mesh.agent("web-2").get("/v1/status").is_some_and(|status| status["hosts"]["total"] == 4)
    });
    assert!(!mesh.agent(&name).log_text().contains("command line"));
    // The log says in plain words why the first address of the token was of no use.
    wait_until("the log says so", || mesh.agent(&name).log_text().contains("connection refused"));
    let log = mesh.agent(&name).log_text();
    assert!(!log.contains("Failed to negotiate") && !log.contains("os error"), "{log}");
    // Once the host is a member, it no longer needs the token.
    fs::remove_file(&file).expect("a file of ours");
    mesh.kill(&name);
    mesh.start(&name);
    wait_until("it is back", || {
        mesh.agent(&name).get("/v1/status").is_some_and(|status| status["hosts"]["connected"] == 2)
    });
    mesh.check();
}

#[test]
fn a_token_is_read_from_standard_input_or_a_file_and_warned_of_on_the_command_line() {
    let mesh = Mesh::of(1);
    let data = |name: &str| mesh.path().join(name).display().to_string();
    let mut child = command(&["mesh", "join", "-", "--data-dir", &data("by-pipe")])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("skein runs");
    writeln!(child.stdin.take().expect("a pipe"), "{}", mesh.token()).expect("written");
    let ran = Ran::of(child.wait_with_output().expect("it ends"));
    ran.expect(0, &["belongs to mesh"]);
    assert!(!ran.stderr.contains("warning"), "{ran:?}");

    let file = mesh.path().join("token");
    fs::write(&file, mesh.token()).expect("a file");
    let from = file.display().to_string();
    skein(&["mesh", "join", "--token-file", &from, "--data-dir", &data("by-file")])
        .expect(0, &["belongs to mesh"]);
    skein(&["mesh", "join", mesh.token(), "--data-dir", &data("by-word")])
        .expect(0, &["belongs to mesh", "warning", "`skein mesh join -`"]);
    fs::write(&file, "something else").expect("a file");
    skein(&["mesh", "join", "--token-file", &from, "--data-dir", &data("by-none")])
        .expect(1, &["holds no join token", "begins with `skein1.`"]);
    mesh.check();
}

/// The ledger still says where it was, and no majority is there to write down where it is.
#[test]
fn an_agent_that_has_moved_says_of_itself_where_it_is_now() {
    let mut mesh = Mesh::of(3);
    let (before, now) = (mesh.agent("web-1").listen().replace(':', "/tcp/"), mesh.free_address());
    mesh.names().iter().for_each(|name| mesh.kill(name));
    mesh.agent_mut("web-1").move_to(now);
    mesh.start("web-1");
    wait_until("it answers", || mesh.agent("web-1").get("/v1/status").is_some());

    let check = |what: &str, text: String| {
        assert!(text.contains(&now.to_string()), "{what} does not say where it is: {text}");
        assert!(!text.contains(&before), "{what} says where it was: {text}");
    };
    let agent = mesh.agent("web-1");
    check("status", agent.json(&["status"])["addresses"].to_string());
    let hosts = agent.json(&["hosts"]);
    let own = hosts.as_array().expect("a list").iter().find(|host| host["is_self"] == true);
    check("hosts", own.expect("itself")["addresses"].to_string());
    let (file, entered) = (mesh.path().join("token"), mesh.path().join("entered"));
    fs::write(&file, agent.skein(&["mesh", "token"]).stdout).expect("a file");
    let (file, data) = (file.display().to_string(), entered.display().to_string());
    skein(&["mesh", "join", "--token-file", &file, "--data-dir", &data]).expect(0, &["belongs to mesh"]);
    check("the token", fs::read_to_string(entered.join("join-addresses")).expect("addresses"));
}

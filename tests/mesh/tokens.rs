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

use super::*;

#[tokio::test]
async fn a_socket_that_is_not_there_says_what_to_do() {
    let directory = tempfile::tempdir().expect("a directory");
    let client = Client::new(directory.path().join("none.sock"));
    let error = client.get::<serde_json::Value>("/v1/status").await.expect_err("nobody is there");
    let text = error.to_string();
    assert!(error.is_unreachable());
    assert!(text.contains("none.sock") && text.contains("skein agent") && text.contains("--api"), "{text}");
}

#[tokio::test]
async fn an_agent_that_dies_in_the_middle_is_told_from_one_that_refuses() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("dies.sock");
    let listener = tokio::net::UnixListener::bind(&path).expect("bound");
    tokio::spawn(async move { listener.accept().await.map(drop) });
    let error = Client::new(path).get::<serde_json::Value>("/v1/status").await.expect_err("it dies");
    assert!(matches!(error, ClientError::Broken { .. }), "{error}");
}

#[test]
fn a_terminal_is_shown_harmless_words_and_a_script_the_exact_ones() {
    let said = serde_json::json!({ "reason": "\u{1b}[2Jby \u{7}ann" }).to_string();
    let read =
        |client: Client| -> serde_json::Value { client.parse(said.as_bytes(), Lines::One).expect("JSON") };
    let client = Client::new("none.sock".into());
    assert_eq!(read(client.clone())["reason"], "[2Jby ann");
    assert_eq!(read(client.exact(true))["reason"], "\u{1b}[2Jby \u{7}ann");
}

#[tokio::test]
async fn the_first_socket_at_which_an_agent_answers_is_taken() {
    let directory = tempfile::tempdir().expect("a directory");
    let (none, there) = (directory.path().join("none.sock"), directory.path().join("there.sock"));
    let listener = tokio::net::UnixListener::bind(&there).expect("bound");
    tokio::spawn(async move { listener.accept().await.map(drop) });
    let client = Client::of(vec![none.clone(), there.clone()]);
    let error = client.get::<serde_json::Value>("/v1/status").await.expect_err("it goes away");
    assert!(matches!(&error, ClientError::Broken { socket, .. } if *socket == there), "{error}");
    std::fs::remove_file(&there).expect("removed");
    let error = client.get::<serde_json::Value>("/v1/status").await.expect_err("nobody is there");
    assert!(
        error.to_string().contains("none.sock or ") && error.to_string().contains("there.sock"),
        "{error}"
    );
}

#[test]
fn who_may_not_use_a_socket_is_told_who_may() {
    let directory = tempfile::tempdir().expect("a directory");
    let socket = directory.path().join("a.sock");
    std::fs::write(&socket, "").expect("a file");
    let nogroup = nix::unistd::Gid::from_raw(65_534);
    if nix::unistd::chown(&socket, None, Some(nogroup)).is_err() {
        println!("skipped: needs root");
        return;
    }
    let name =
        nix::unistd::Group::from_gid(nogroup).ok().flatten().map_or("65534".into(), |group| group.name);
    let error = ClientError::NotAllowed { socket: socket.clone() }.to_string();
    assert!(error.contains(&format!("members of group `{name}`")) && error.contains("sudo"), "{error}");
    nix::unistd::chown(&socket, None, Some(nix::unistd::Gid::from_raw(0))).expect("root");
    let error = ClientError::NotAllowed { socket }.to_string();
    assert!(error.contains("socket_group in agent.toml"), "{error}");
}

#[tokio::test]
async fn an_answer_ends_what_is_sent_although_nobody_reads_it() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("early.sock");
    let listener = tokio::net::UnixListener::bind(&path).expect("bound");
    let agent = tokio::spawn(async move {
        use tokio::io::AsyncWriteExt;
        let (mut stream, _) = listener.accept().await.expect("a client");
        let body = r#"{"error":{"code":"INVALID_BUNDLE","message":"no","refused":false}}"#;
        let head = format!("HTTP/1.1 400 Bad Request\r\ncontent-length: {}\r\n\r\n", body.len());
        stream.write_all(format!("{head}{body}").as_bytes()).await.expect("answered");
        // The stream is neither read from nor closed.
        stream
    });
    let (sender, pieces) = tokio::sync::mpsc::channel(1);
    let sending = tokio::spawn(async move { while sender.send(Ok(vec![7; 65_536].into())).await.is_ok() {} });
    let answer = Client::new(path).upload::<serde_json::Value>("/v1/bundles", pieces, None).await;
    assert!(matches!(&answer, Err(ClientError::Refused(body)) if body.message == "no"), "{answer:?}");
    let _stream = agent.await.expect("it answers");
    sending.await.expect("it is not waited for");
}

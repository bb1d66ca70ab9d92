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

#[test]
fn a_groups_name_survives_a_path() {
    assert_eq!(encoded("a/b+c d@e"), "a%2Fb%2Bc%20d%40e");
}

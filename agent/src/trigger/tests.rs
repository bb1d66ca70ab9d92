use std::sync::{Arc, Mutex};

use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use proto::id::{DeploymentId, HostId};
use proto::time::LedgerTime;
use proto::trigger::{ToldHost, TriggerEvent};

use super::*;

fn to_tell(target: Target) -> ToTell {
    let told = Told {
        id: "e-0123".into(),
        at: LedgerTime::from_millis(1_700_000_000_000),
        event: TriggerEvent::InstanceFailure,
        group: "hello/prod".parse().expect("a name"),
        deployment: DeploymentId::derive(b"d"),
        creator: "user",
        status: "InProgress",
        revision: ("blake3:00".into(), "dir".into()),
        rollback_of: None,
        reason: None,
        host: Some(ToldHost {
            host: HostId::from_public_key([1; 32]),
            name: "web-1".into(),
            failure: Some(("ScriptFailed", Some("ValidateService"), "exit code 3".into())),
        }),
    };
    ToTell { trigger: "chat".into(), target, told }
}

async fn told(target: Target) -> Result<(), String> {
    tell(&crate::host::http_client().expect("a client"), to_tell(target), CancellationToken::new()).await
}

type Received = Arc<Mutex<Vec<(HeaderMap, String)>>>;

async fn receiver() -> (String, Received) {
    async fn take(State(received): State<Received>, headers: HeaderMap, body: String) -> StatusCode {
        received.lock().expect("a lock").push((headers, body));
        StatusCode::NO_CONTENT
    }
    let received = Received::default();
    let router = Router::new()
        .route("/hook", post(take))
        .route("/away", post(|| async { axum::response::Redirect::temporary("/hook") }))
        .with_state(received.clone());
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let at = format!("http://{}", listener.local_addr().expect("an address"));
    tokio::spawn(async move { axum::serve(listener, router).await });
    (at, received)
}

#[tokio::test]
async fn a_webhook_is_signed_so_that_its_receiver_can_tell() {
    let (at, received) = receiver().await;
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("secret");
    std::fs::write(&file, "key\n").expect("a file");
    crate::private::narrow(&file, 0o600).expect("closed to others");
    let secret_file = Some(file.display().to_string());

    let url = format!("{at}/hook");
    assert_eq!(told(Target::Webhook { url: url.clone(), secret_file: secret_file.clone() }).await, Ok(()));
    let (headers, body) = received.lock().expect("a lock")[0].clone();
    let header = |name: &str| headers[name].to_str().expect("text").to_string();
    let timestamp: u64 = header("x-skein-timestamp").parse().expect("seconds");
    assert_eq!(header("x-skein-signature"), signature::of(b"key", timestamp, body.as_bytes()));
    assert_eq!(header("x-skein-event-id"), "e-0123");
    let body: Value = serde_json::from_str(&body).expect("JSON");
    assert_eq!(body["event"], "InstanceFailure");
    assert_eq!(body["at"], "2023-11-14T22:13:20.000Z");
    assert_eq!(body["error"]["event"], "ValidateService");
    assert_eq!(body["host"]["name"], "web-1");

    assert_eq!(told(Target::Webhook { url: url.clone(), secret_file: None }).await, Ok(()));
    assert!(received.lock().expect("a lock")[1].0.get("x-skein-signature").is_none());

    std::fs::remove_file(&file).expect("removed");
    let failed = told(Target::Webhook { url, secret_file }).await.expect_err("no secret");
    assert!(failed.contains("cannot read secret_file"), "{failed}");
    assert_eq!(received.lock().expect("a lock").len(), 2, "nothing is sent unsigned instead");
}

#[tokio::test]
async fn what_is_no_success_is_said() {
    let (at, received) = receiver().await;
    for (path, says) in [("/none", "404"), ("/away", "307")] {
        let target = Target::Webhook { url: format!("{at}{path}"), secret_file: None };
        let failed = told(target).await.expect_err(path);
        assert!(failed.contains(says), "{failed}");
    }
    let nobody = Target::Webhook { url: "http://127.0.0.1:1/token-in-path".into(), secret_file: None };
    let failed = told(nobody).await.expect_err("nobody listens");
    assert!(!failed.contains("token-in-path"), "{failed}");
    assert!(received.lock().expect("a lock").is_empty(), "a redirection is not followed");
}

#[tokio::test]
async fn a_command_reads_it_on_its_standard_input() {
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("told");
    let exec = |command: String| Target::Exec { command };
    assert_eq!(told(exec(format!("tee {}", file.display()))).await, Ok(()));
    let body: Value = serde_json::from_str(&std::fs::read_to_string(&file).expect("told")).expect("JSON");
    assert_eq!((&body["id"], &body["trigger"]), (&json!("e-0123"), &json!("chat")));
}

/// Every user who may look at the group sees what went wrong.
#[tokio::test]
async fn a_failure_says_nothing_of_a_commands_arguments() {
    for (program, says) in [("false", "exit code 1"), ("no-such-command-here", "cannot start")] {
        let command = format!("{program} --token s3cret");
        let failed = told(Target::Exec { command }).await.expect_err(program);
        assert!(failed.contains(says) && failed.contains(program), "{failed}");
        assert!(!failed.contains("s3cret"), "{failed}");
    }
}

#[tokio::test]
async fn a_failure_says_nothing_of_a_webhooks_address_but_its_host() {
    let (at, _) = receiver().await;
    let answering = at.trim_start_matches("http://");
    let urls = [
        format!("http://user:s3cret@{answering}/none/s3cret?token=s3cret"),
        format!("http://user:s3cret@{answering}/away?token=s3cret"),
        "http://user:s3cret@127.0.0.1:1/s3cret?token=s3cret".to_string(),
        "http://user:s3cret@host.invalid/s3cret?token=s3cret".to_string(),
        "http://user:s3cret@[/s3cret".to_string(),
        "ftp://user:s3cret@127.0.0.1/s3cret".to_string(),
        "s3cret".to_string(),
    ];
    for url in urls {
        let failed = told(Target::Webhook { url: url.clone(), secret_file: None }).await;
        let failed = failed.expect_err("nobody takes it");
        assert!(!failed.contains("s3cret"), "{url}: {failed}");
    }
}

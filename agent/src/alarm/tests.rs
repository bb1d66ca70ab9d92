use std::time::Duration;

use axum::Router;
use axum::http::StatusCode;
use axum::routing::get;
use proto::alarm::OnUnreadable;

use super::*;

fn to_read(source: AlarmSource) -> ToRead {
    let alarm = Alarm {
        name: "errors".into(),
        source,
        every: Duration::from_secs(10),
        timeout: Duration::from_millis(800),
        unreadable: OnUnreadable::Stop,
    };
    let deployment = DeploymentId::derive(b"d");
    ToRead { group: "hello/prod".parse().expect("a name"), deployment, alarm }
}

async fn check(source: AlarmSource, state: AlarmState, detail: &str) {
    let reading = read(&reqwest::Client::new(), to_read(source.clone()), CancellationToken::new()).await;
    assert_eq!(reading.state, state, "{source:?}: {reading:?}");
    assert!(reading.detail.contains(detail), "{source:?}: {reading:?}");
}

#[tokio::test]
async fn a_commands_exit_code_is_the_state() {
    let exec = |command: &str| AlarmSource::Exec { command: command.into() };
    check(exec("true"), AlarmState::Ok, "").await;
    check(exec("false"), AlarmState::Active, "").await;
    check(exec("test 1 -eq 1"), AlarmState::Ok, "").await;
    check(exec("ls /there/is/none"), AlarmState::Unreadable, "exit code 2, neither 0").await;
    check(exec("printenv DEPLOYMENT_ID"), AlarmState::Ok, "d-").await;
    check(exec("sleep 30"), AlarmState::Unreadable, "did not end within 0.8 s").await;
    check(exec("/there/is/none"), AlarmState::Unreadable, "cannot start").await;
}

/// Queries servers that may be found in Prometheus's place; the
/// tests of the mesh query the real one.
#[tokio::test]
async fn what_is_no_answer_of_a_prometheus_is_unreadable() {
    let hang = || async {
        tokio::time::sleep(Duration::from_secs(30)).await;
        "late"
    };
    let refused = r#"{"status":"error","errorType":"bad_data","error":"parse error: no arguments"}"#;
    let router = Router::new()
        .route("/page/api/v1/query", get(|| async { (StatusCode::BAD_GATEWAY, "<html>") }))
        .route("/hang/api/v1/query", get(hang))
        .route("/error/api/v1/query", get(move || async move { (StatusCode::BAD_REQUEST, refused) }))
        .route("/long/api/v1/query", get(|| async { " ".repeat(2 * 1024 * 1024) }));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let at = format!("http://{}", listener.local_addr().expect("an address"));
    tokio::spawn(async move { axum::serve(listener, router).await });
    for (path, detail) in [
        ("page", "not as a Prometheus server does"),
        ("hang", "did not answer within 0.8 s"),
        ("error", "parse error: no arguments"),
        ("long", "more than 1048576 bytes"),
    ] {
        let source = AlarmSource::Prometheus { url: format!("{at}/{path}/"), query: "up == 0".into() };
        check(source, AlarmState::Unreadable, detail).await;
    }
    let nobody = AlarmSource::Prometheus { url: "http://127.0.0.1:1".into(), query: "up".into() };
    check(nobody, AlarmState::Unreadable, "").await;
}

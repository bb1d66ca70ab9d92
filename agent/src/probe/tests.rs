use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Instant;

use proto::id::{GroupName, HostId};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::*;
use crate::install::Record;
use crate::install::state::{ARCHIVE, State};

fn group() -> GroupName {
    "hello/prod".parse().expect("a name")
}

fn task(probe: Probe, timeout: Duration) -> ProbeTask {
    ProbeTask { group: group(), subject: HostId::from_public_key([1; 32]), probe, timeout }
}

/// Starts a server that answers every connection with these bytes once it has read a request,
/// and then closes it unless `hangs` is true.
async fn server(answer: &'static str, hangs: bool) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("an address");
    let address = listener.local_addr().expect("an address").to_string();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut request = [0; 4_096];
            let read = stream.read(&mut request).await.unwrap_or(0);
            assert!(read == 0 || request.starts_with(b"GET /health?deep=1 HTTP/1.1\r\nhost: 127.0.0.1:"));
            // A client that has seen enough may be gone.
            let _ = stream.write_all(answer.as_bytes()).await;
            if hangs {
                tokio::time::sleep(Duration::from_secs(3_600)).await;
            }
        }
    });
    address
}

async fn get(answer: &'static str, hangs: bool) -> Result<(), String> {
    let url = format!("http://{}/health?deep=1", server(answer, hangs).await);
    let result = look(task(Probe::Http(url.clone()), Duration::from_millis(500)), "/".into()).await;
    result.map_err(|error| {
        let rest = error.strip_prefix(&format!("GET {url}: "));
        rest.unwrap_or_else(|| panic!("`{error}` does not say what was asked")).to_owned()
    })
}

#[tokio::test]
async fn the_status_of_an_answer_decides() {
    assert_eq!(get("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok", false).await, Ok(()));
    assert_eq!(get("HTTP/1.1 204 No Content\r\n\r\n", false).await, Ok(()));
    let elsewhere = "HTTP/1.1 302 Found\r\nlocation: http://127.0.0.1:1/\r\ncontent-length: 0\r\n\r\n";
    assert_eq!(get(elsewhere, false).await, Ok(()), "redirects are not followed");
    // A body that never ends does not matter if the status is good.
    assert_eq!(get("HTTP/1.1 200 OK\r\ncontent-length: 9999999\r\n\r\nx", true).await, Ok(()));
    let bad = "HTTP/1.1 503 Service Unavailable\r\ncontent-length: 20\r\n\r\nno\n\nthe database is";
    assert_eq!(
        get(bad, false).await,
        Err("it answered 503 Service Unavailable: the database is".into()),
        "the last line of what came before it was cut off"
    );
    let missing = "HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n";
    assert_eq!(get(missing, false).await, Err("it answered 404 Not Found".into()));
    assert_eq!(get("SSH-2.0-OpenSSH_9.0\r\n", false).await, Err("it does not answer in HTTP".into()));
    assert_eq!(get("", true).await, Err("no answer within 0.5 s".into()));
}

#[tokio::test]
async fn an_address_is_well_if_it_takes_a_connection() {
    let second = Duration::from_secs(1);
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("an address");
    let address = listener.local_addr().expect("an address").to_string();
    let probe = Probe::Tcp(address.clone());
    assert_eq!(look(task(probe.clone(), second), "/".into()).await, Ok(()));
    drop(listener);
    let refused = format!("connecting to {address}: cannot connect: Connection refused");
    assert_eq!(look(task(probe, second), "/".into()).await, Err(refused));
    let nowhere = Probe::Http("http://127.0.0.1:1/".into());
    let refused = "GET http://127.0.0.1:1/: cannot connect: Connection refused".to_owned();
    assert_eq!(look(task(nowhere, second), "/".into()).await, Err(refused));
}

/// Creates a deployment root in which a revision with this script is installed.
fn installed(script: &str) -> TempDir {
    let root = TempDir::new().expect("a directory");
    let state = State::new(root.path(), &group().id());
    let dir = state.deployment_dir("d-ABCDEFGHI");
    let archive = dir.join(ARCHIVE);
    std::fs::create_dir_all(&archive).expect("a directory");
    std::fs::write(archive.join("check.sh"), format!("#!/bin/sh\n{script}\n")).expect("a file");
    std::fs::set_permissions(archive.join("check.sh"), std::fs::Permissions::from_mode(0o644)).expect("set");
    state.mark_last_successful(&dir, &Record(tempfile::tempfile().expect("a file"))).expect("marked");
    root
}

async fn exec(root: &Path, timeout: Duration) -> Result<(), String> {
    let result = look(task(Probe::Exec("check.sh".into()), timeout), root.to_owned()).await;
    result.map_err(|error| error.strip_prefix("script `check.sh`: ").expect("what was run").to_owned())
}

#[tokio::test]
async fn a_script_runs_where_the_revision_is_and_its_end_decides() {
    let second = Duration::from_secs(10);
    let root = installed("[ \"$DEPLOYMENT_ID $APPLICATION_NAME\" = 'd-ABCDEFGHI hello' ] && [ -f check.sh ]");
    assert_eq!(exec(root.path(), second).await, Ok(()));
    let root = installed("echo looking; echo 'the queue is full' >&2; exit 3");
    assert_eq!(exec(root.path(), second).await, Err("it ended with exit code 3: the queue is full".into()));
    let root = installed("echo 'nobody listens'; kill -9 $$");
    assert_eq!(exec(root.path(), second).await, Err("it ended with signal 9: nobody listens".into()));
    let nothing = TempDir::new().expect("a directory");
    let error = exec(nothing.path(), second).await.expect_err("nothing is installed");
    assert_eq!(error, "no revision is installed whose script it could be");
}

#[tokio::test]
async fn a_script_that_takes_too_long_is_killed_whole() {
    let root = installed("sleep 300 & echo $! > child; wait");
    let began = Instant::now();
    assert_eq!(exec(root.path(), Duration::from_millis(700)).await, Err("no answer within 0.7 s".into()));
    assert!(began.elapsed() < Duration::from_secs(20));
    let archive = State::new(root.path(), &group().id()).deployment_dir("d-ABCDEFGHI").join(ARCHIVE);
    let child = std::fs::read_to_string(archive.join("child")).expect("it had begun");
    let stat = format!("/proc/{}/stat", child.trim());
    let is_gone = || std::fs::read_to_string(&stat).map_or(true, |stat| stat.contains(") Z"));
    while !is_gone() {
        assert!(began.elapsed() < Duration::from_secs(20), "the script's child is still there");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

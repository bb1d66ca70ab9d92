use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use proto::config::Config;
use proto::id::{GroupName, HostId, MeshId};
use proto::io::{Refusal, Request as Ask};
use proto::node::{Node, Stored};
use proto::statement::Intent;
use proto::time::Time;
use serde_json::{Value, json};

use super::*;
use crate::backend::Outside;
use crate::backend::stand_in::StandIn;
use crate::client::{Client, ClientError, Pieces};
use crate::command::{Command, NodeHandle};
use crate::view::StatusView;

/// An API on a real socket, with a node that knows nothing and refuses every change.
struct Agent {
    client: Client,
    stopping: CancellationToken,
    directory: tempfile::TempDir,
    _socket: ApiSocket,
}

impl Drop for Agent {
    fn drop(&mut self) {
        self.stopping.cancel();
    }
}

fn config() -> Config {
    Config {
        host: HostId::from_public_key([1; 32]),
        mesh: MeshId([7; 16]),
        name: "web-1".into(),
        tags: BTreeSet::new(),
        zone: String::new(),
        addresses: vec!["/ip4/127.0.0.1/tcp/1".into()],
        founds: false,
        seed: 1,
        voters_max: 5,
        wire: proto::wire::WIRE,
        replaces: String::new(),
        log_kept: proto::config::LOG_KEPT_DEFAULT,
        fold_panics_on: None,
        overlay: Default::default(),
    }
}

fn refuse(request: &Ask) -> Refusal {
    let group: GroupName = "a/b".parse().expect("a name");
    match request {
        Ask::Intent(Intent::SetGroup(group)) => Refusal::AlreadyRunning {
            group: group.name.clone(),
            running: "d-ABCDEFGH1".parse().expect("an id"),
        },
        Ask::Intent(Intent::Stop { deployment, .. }) => Refusal::UnknownDeployment(*deployment),
        Ask::Intent(_) | Ask::Deploy(_) | Ask::Rollback { .. } | Ask::Freeze { .. } | Ask::Recover(_) => {
            Refusal::UnknownGroup(group)
        }
    }
}

async fn agent() -> Agent {
    let (node, mut inbox, _) = NodeHandle::new();
    let owned = Node::start(config(), Stored::default(), Time::from_micros(1)).expect("an empty store");
    tokio::spawn(async move {
        while let Some(command) = inbox.recv().await {
            match command {
                Command::Read(look) => look(&owned),
                Command::Request { request, reply } => drop(reply.send(Err(refuse(&request)))),
            }
        }
    });
    let directory = tempfile::tempdir().expect("a directory");
    let backend =
        Backend { node, data_dir: directory.path().into(), outside: Outside::Double(StandIn::Takes) };
    let path = directory.path().join("run/skein.sock");
    let (socket, listener) = ApiSocket::bind(&path, None).await.expect("bound");
    let stopping = CancellationToken::new();
    tokio::spawn(serve_socket(listener, Arc::new(backend), stopping.clone()));
    Agent { client: Client::new(path), stopping, directory, _socket: socket }
}

fn pieces(pieces: usize) -> Pieces {
    let (sender, receiver) = tokio::sync::mpsc::channel(1);
    tokio::spawn(async move {
        for _ in 0..pieces {
            // The receiver is gone once the agent has answered.
            if sender.send(Ok(vec![7; 65_536].into())).await.is_err() {
                return;
            }
        }
    });
    receiver
}

#[tokio::test]
async fn a_bundle_is_sent_as_bytes_and_its_path_is_only_a_word() {
    let agent = agent().await;
    let to = "/v1/bundles?origin=%2Froot%2Fapp%20one";
    let sent: RevisionView = agent.client.upload(to, pieces(100), None).await.expect("taken");
    assert_eq!((sent.size, sent.origin.as_str()), (6_553_600, "/root/app one"));
    for claimed in ["s3%3A%2F%2Fb%2Fk", "github%3Ao%2Fr%40c", ""] {
        let to = format!("/v1/bundles?origin={claimed}");
        assert_eq!(
            refused(agent.client.upload(&to, pieces(1), None).await).code,
            "INVALID_BODY",
            "{claimed}"
        );
    }
}

#[tokio::test]
async fn who_sends_too_much_is_told_so_before_it_is_sent() {
    let agent = agent().await;
    let (size, to) = (4_000 * 65_536, "/v1/bundles?origin=%2Fx");
    let answer = agent.client.upload::<Value>(to, pieces(4_000), Some(size)).await;
    assert_eq!(refused(answer).message, "too large");
}

#[tokio::test]
async fn no_client_makes_the_agent_open_a_file() {
    let agent = agent().await;
    for source in ["/etc/shadow", "file:///etc/shadow", "./x", "x"] {
        let body = refused(agent.client.post("/v1/bundles", &json!({ "source": source })).await);
        assert_eq!(body.code, "LOCAL_PATH", "{source}");
        for words in ["opens no files", "POST /v1/bundles", "application/octet-stream"] {
            assert!(body.message.contains(words), "{}", body.message);
        }
    }
}

fn refused(answer: Result<Value, ClientError>) -> ErrorBody {
    match answer {
        Err(ClientError::Refused(body)) => body,
        other => panic!("not refused: {other:?}"),
    }
}

#[tokio::test]
async fn whoever_asks_for_progress_gets_it_before_the_answer() {
    let agent = agent().await;
    let mut told = Vec::new();
    let body = PushBody { source: "s3://b/slow".into() };
    let answer = agent.client.post_watching::<Value>("/v1/bundles", &body, |far| told.push(far.bytes)).await;
    assert_eq!(refused(answer).message, "s3://b/slow holds no appspec.yml");
    assert_eq!(told, [7]);
    let answer = agent.client.post_watching::<Value>("/v1/nothing", &body, |_| ()).await;
    assert_eq!(refused(answer).code, "NO_SUCH_PATH");
}

#[tokio::test]
async fn a_fresh_agent_answers_every_question() {
    let agent = agent().await;
    let status: Value = agent.client.get("/v1/status").await.expect("a status");
    assert_eq!(status["name"], "web-1");
    assert_eq!(status["hosts"]["total"], 0);
    for path in ["/v1/hosts", "/v1/groups", "/v1/deployments"] {
        assert_eq!(agent.client.get::<Value>(path).await.expect(path), json!([]), "{path}");
    }
    let history: Value = agent.client.get("/v1/history?verify=true&limit=5").await.expect("a history");
    assert_eq!(history["entries"], json!([]));
}

#[tokio::test]
async fn every_operation_of_the_document_is_there() {
    let agent = agent().await;
    let document: Value = agent.client.get("/v1/openapi.json").await.expect("a document");
    for operation in openapi::OPERATIONS {
        assert!(document["paths"][operation.path][operation.method].is_object(), "{}", operation.path);
        if operation.path.ends_with("/events") || operation.path == "/metrics" {
            continue;
        }
        let path = operation.path.replace("{id}", "d-ABCDEFGH1").replace(['{', '}'], "");
        let answer: Result<Value, ClientError> = match operation.method {
            "get" => agent.client.get(&path).await,
            "put" => agent.client.put(&path, &json!({})).await,
            "delete" => agent.client.delete(&path).await,
            _ => agent.client.post(&path, &json!({})).await,
        };
        if let Err(error) = answer {
            let body = refused(Err(error));
            assert!(
                !["NO_SUCH_PATH", "METHOD_NOT_ALLOWED"].contains(&body.code.as_str()),
                "{path}: {body:?}"
            );
        }
    }
}

/// Returns what an operation says of a body without a known key.
async fn said_of_unknown_key(client: &Client, operation: &openapi::Operation) -> String {
    let path = operation.path.replace("{id}", "d-ABCDEFGH1").replace(['{', '}'], "");
    let body = json!({ "0": null });
    let answer: Result<Value, ClientError> = match operation.method {
        "put" => client.put(&path, &body).await,
        "post" => client.post(&path, &body).await,
        method => panic!("{method} {path} takes no body"),
    };
    refused(answer).message
}

#[tokio::test]
async fn the_document_lists_the_keys_that_bodies_have() {
    let agent = agent().await;
    for operation in openapi::OPERATIONS.iter().filter(|operation| !operation.body.is_empty()) {
        let said = said_of_unknown_key(&agent.client, operation).await;
        let known = said.strip_prefix("the body: unknown key `0`; known here: ");
        let known = known.unwrap_or_else(|| panic!("{}: {said}", operation.path));
        // A group file that requires approvals is refused, for now.
        let taken: BTreeSet<&str> = known.split(", ").filter(|key| *key != "approvals").collect();
        let listed: BTreeSet<&str> = operation.body.iter().copied().collect();
        assert_eq!(listed, taken, "{} {}", operation.method, operation.path);
    }
}

#[tokio::test]
async fn refusals_have_codes_and_say_whether_policy_refuses() {
    let agent = agent().await;
    let client = &agent.client;
    let check = |body: ErrorBody, code: &str, refused: bool, words: &str| {
        assert_eq!((body.code.as_str(), body.refused), (code, refused), "{}", body.message);
        assert!(body.message.contains(words), "`{}` does not say `{words}`", body.message);
    };
    let group = json!({ "application": "a", "name": "b", "tags": [["role=web"]] });
    check(refused(client.put("/v1/groups/a/b", &group).await), "ALREADY_RUNNING", true, "d-ABCDEFGH1");
    check(refused(client.put("/v1/groups/a/c", &group).await), "INVALID_GROUP", false, "names group a/c");
    let typo = json!({ "application": "a", "name": "b", "tgas": [] });
    check(refused(client.put("/v1/groups/a/b", &typo).await), "INVALID_BODY", false, "did you mean `tags`?");
    check(refused(client.get("/v1/groups/a/b").await), "UNKNOWN_GROUP", false, "skein group list");
    check(refused(client.get("/v1/hosts?group=a/b").await), "UNKNOWN_GROUP", false, "a/b");
    check(refused(client.get("/v1/hosts?group=ab").await), "INVALID_QUERY", false, "group name");
    check(refused(client.get("/v1/deployments/x").await), "INVALID_NAME", false, "deployment id");
    check(
        refused(client.get("/v1/deployments/d-ABCDEFGH1").await),
        "UNKNOWN_DEPLOYMENT",
        false,
        "skein deployments",
    );
    check(
        refused(client.post("/v1/deployments/d-ABCDEFGH1/stop", &json!({})).await),
        "UNKNOWN_DEPLOYMENT",
        false,
        "",
    );
    check(
        refused(client.post("/v1/bundles", &json!({"source": "s3://b/x"})).await),
        "INVALID_BUNDLE",
        false,
        "appspec.yml",
    );
    check(
        refused(client.post("/v1/bundles", &json!({"source": "s3://b/unfit"})).await),
        "INVALID_BUNDLE",
        true,
        "appspec.yml",
    );
    check(refused(client.get("/v1/nothing").await), "NO_SUCH_PATH", false, "openapi");
    check(refused(client.delete("/v1/status").await), "METHOD_NOT_ALLOWED", false, "DELETE");
    let large = json!({ "source": "x".repeat(BODY_BYTES_MAX) });
    check(
        refused(client.post("/v1/bundles", &large).await),
        "INVALID_BODY",
        false,
        "longer than 262144 bytes",
    );
    check(
        refused(client.post("/v1/bundles", &json!([])).await),
        "INVALID_BODY",
        false,
        "an object is expected",
    );
    check(refused(client.get("/v1/groups/%00/%ff").await), "INVALID_PATH", false, "");
}

#[tokio::test]
async fn a_socket_is_private_replaced_if_dead_and_respected_if_alive() {
    use std::os::unix::fs::PermissionsExt;
    let agent = agent().await;
    let path = agent.client.socket().to_path_buf();
    let mode = std::fs::metadata(&path).expect("the socket").permissions().mode();
    assert_eq!(mode & 0o777, 0o660);
    assert!(matches!(ApiSocket::bind(&path, None).await, Err(listen::BindError::InUse { .. })));

    if nix::unistd::geteuid().is_root() {
        use std::os::unix::fs::MetadataExt;
        let given = agent.directory.path().join("given.sock");
        let group = nix::unistd::Gid::from_raw(65_534);
        let _socket = ApiSocket::bind(&given, Some(group)).await.expect("bound");
        assert_eq!(std::fs::metadata(&given).expect("the socket").gid(), 65_534);
    } else {
        println!("skipped: needs root");
    }

    let dead = agent.directory.path().join("dead.sock");
    drop(std::os::unix::net::UnixListener::bind(&dead).expect("bound"));
    assert!(dead.exists());
    let (socket, _listener) = ApiSocket::bind(&dead, None).await.expect("replaced");
    drop(socket);
    assert!(!dead.exists(), "cleared away");

    let held = agent.directory.path().join("held.sock");
    let by_another = std::os::unix::net::UnixListener::bind(&held).expect("bound");
    let let_go = tokio::spawn(async move {
        tokio::time::sleep(Duration::from_millis(200)).await;
        drop(by_another);
    });
    ApiSocket::bind(&held, None).await.expect("waited for");
    let_go.await.expect("let go");

    let file = agent.directory.path().join("file");
    std::fs::write(&file, "precious").expect("written");
    assert!(matches!(ApiSocket::bind(&file, None).await, Err(listen::BindError::NotASocket { .. })));
    assert_eq!(std::fs::read_to_string(&file).expect("still there"), "precious");
    assert!(matches!(
        ApiSocket::bind(Path::new("/proc/none/x.sock"), None).await,
        Err(listen::BindError::Bind { .. })
    ));
}

#[tokio::test]
async fn tcp_only_answers_questions() {
    let agent = agent().await;
    let (node, mut inbox, _) = NodeHandle::new();
    let owned = Node::start(config(), Stored::default(), Time::from_micros(1)).expect("an empty store");
    tokio::spawn(async move {
        while let Some(Command::Read(look)) = inbox.recv().await {
            look(&owned);
        }
    });
    let backend =
        Backend { node, data_dir: agent.directory.path().into(), outside: Outside::Double(StandIn::Answers) };
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("bound");
    let address = listener.local_addr().expect("an address");
    let names = BTreeSet::from(["x".to_string()]);
    tokio::spawn(serve_tcp(listener, Arc::new(backend), names, agent.stopping.clone()));
    let ask_of = async |head: &str, name: &str| {
        use tokio::io::{AsyncReadExt, AsyncWriteExt};
        let mut stream = tokio::net::TcpStream::connect(address).await.expect("connected");
        let request =
            format!("{head} HTTP/1.1\r\nhost: {name}\r\nconnection: close\r\ncontent-length: 0\r\n\r\n");
        stream.write_all(request.as_bytes()).await.expect("sent");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.expect("an answer");
        answer
    };
    let ask = async |head: &str| ask_of(head, "x").await;
    for (name, status) in [("127.0.0.1:7718", "200"), ("localhost", "200"), ("evil.example", "421")] {
        let answer = ask_of("GET /v1/status", name).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status}")), "{name}: {answer}");
    }
    assert!(ask_of("GET /v1/status", "evil.example").await.contains("`http_hosts` in its agent.toml"));
    assert!(ask("GET /v1/groups").await.starts_with("HTTP/1.1 200"));
    assert!(ask("POST /v1/bundles").await.starts_with("HTTP/1.1 403"));
    let metrics = ask("GET /metrics").await;
    assert!(metrics.contains("skein_hosts{status=\"up\"} 0") && metrics.contains("# EOF"), "{metrics}");
}

/// The ledger may have an older word on it, and no majority for a newer one.
#[tokio::test]
async fn an_agent_says_of_itself_where_it_is_now_and_how_its_disk_is() {
    let agent = agent().await;
    let status: StatusView = agent.client.get("/v1/status").await.expect("an answer");
    assert_eq!(status.addresses, ["/ip4/127.0.0.1/tcp/9"]);
    assert!(status.disk.is_some_and(|disk| disk.starts_with("disk full")));
}

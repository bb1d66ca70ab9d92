//! Alarms that stop a release, receivers that are told of it, and freezes.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::{Arc, Mutex};

use hmac::{Hmac, KeyInit, Mac};
use serde_json::Value;
use sha2::Sha256;

use crate::bundle::{Bundle, Deed};
use crate::world::{Mesh, Watcher, wait_until};

/// Returns a command that reports an alarm once the file `fires` exists, and
/// records the host that ran it.
fn check_errors(world: &Path) -> String {
    let script = world.join("check-errors");
    let text = format!(
        "#!/bin/sh\necho \"$TEST_HOST\" >>'{0}/read-by'\n\
         if [ -e '{0}/fires' ]; then echo '7 % of all requests fail'; exit 1; fi\necho well\n",
        world.display()
    );
    fs::write(&script, text).expect("a file");
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).expect("executable");
    script.display().to_string()
}

fn with_alarm(mesh: &Mesh, more: &str) -> String {
    format!(
        "config = \"OneAtATime\"\n[rollback]\non = [\"alarm\"]\n[[alarm]]\nname = \"errors\"\nexec = \"{}\"\n\
         every = \"1s\"\n{more}",
        check_errors(mesh.path())
    )
}

fn held() -> Bundle {
    Bundle::new("v2").does(Deed::Hold, "BeforeInstall", "web-2")
}

/// Brings the mesh to v1, and holds v2 in the second host's turn, while a command watches it.
fn in_the_middle(mesh: &Mesh) -> (Watcher, String) {
    mesh.begin_with(&Bundle::new("v1"));
    let held = held().write(mesh.path());
    let watcher =
        Watcher::start(mesh.agent("web-1").command(&["deploy", "hello/prod", &held.display().to_string()]));
    let mut id = String::new();
    wait_until("the second release is submitted", || {
        let deployments = mesh.agent("web-1").json(&["deployments", "hello/prod"]);
        id = deployments[0]["id"].as_str().unwrap_or_default().into();
        deployments.as_array().is_some_and(|all| all.len() == 2)
    });
    mesh.wait_for_hook_on(&id, "BeforeInstall", "web-2");
    (watcher, id)
}

#[test]
fn an_alarm_stops_the_release_and_it_is_rolled_back() {
    let mesh = Mesh::of(3);
    mesh.group(&with_alarm(&mesh, ""));
    let (watcher, id) = in_the_middle(&mesh);

    fs::write(mesh.path().join("fires"), "").expect("a file");
    wait_until("the alarm is seen", || {
        mesh.agent("web-3").deployment(&id).is_some_and(|view| view["alarm"]["name"] == "errors")
    });
    mesh.go("v2");

    let ran = watcher.end();
    ran.expect(5, &["alarm `errors` is active since", "7 % of all requests fail", "ALARM_ACTIVE"]);
    let view = mesh.wait_for(&id, "Stopped");
    assert_eq!(view["reason"]["code"], "ALARM_ACTIVE", "{view:#}");
    assert_eq!(view["alarm"]["state"], "ALARM");
    assert_eq!(mesh.trace().of(&id).hosts(), ["web-1", "web-2"], "web-3 was left alone");
    assert!(
        !mesh.trace().of(&id).events("web-2").contains(&"AfterInstall".to_string()),
        "it ended at the next event"
    );
    // The alarm still fires, but it does not block the rollback.
    mesh.wait_for_rollback_of(&id);
    // A new release is stopped before its first turn.
    let ran = mesh.deploy("web-1", &Bundle::new("v3"));
    ran.expect(6, &["ALARM_ACTIVE"]);
    let newest = mesh.agent("web-1").json(&["deployments", "hello/prod"])[0]["id"].clone();
    assert_eq!(mesh.trace().of(newest.as_str().expect("an id")).hosts(), [""; 0]);
    mesh.check();
}

#[test]
fn an_alarm_set_by_hand_stops_what_runs_and_refuses_what_is_new() {
    let mesh = Mesh::of(3);
    mesh.group("config = \"OneAtATime\"\n[rollback]\nenabled = false\n[[alarm]]\nname = \"pager\"");
    let (watcher, id) = in_the_middle(&mesh);
    let agent = mesh.agent("web-3");

    agent.skein(&["alarm", "set", "hello/prod", "pagr"]).expect(1, &["has no alarm `pagr`", "it has pager"]);
    agent
        .skein(&["alarm", "set", "hello/prod", "pager", "--reason", "carts are empty"])
        .expect(0, &["is set"]);
    mesh.go("v2");

    watcher.end().expect(6, &["alarm `pager` is active", "carts are empty", "not rolled back"]);
    mesh.wait_for(&id, "Stopped");
    agent
        .skein(&["alarm", "list", "hello/prod"])
        .expect(0, &["pager", "ALARM", "carts are empty", "on web-3"]);
    agent.skein(&["status", "hello/prod"]).expect(0, &["Alarm pager: ALARM since"]);
    let refused = mesh.deploy("web-2", &Bundle::new("v3"));
    refused.expect(3, &["alarm `pager` of hello/prod is active", "--override alarms=ignore"]);
    let source = Bundle::new("v3").write(mesh.path()).display().to_string();
    agent.skein(&["deploy", "hello/prod", &source, "--override", "alarms=ignore"]).expect(0, &["Succeeded"]);
    agent.skein(&["alarm", "clear", "hello/prod", "pager"]).expect(0, &["is cleared"]);
    mesh.deploy("web-2", &Bundle::new("v4")).expect(0, &["Succeeded"]);
    mesh.check();
}

#[test]
fn another_host_reads_the_alarm_when_its_reader_is_killed() {
    let mut mesh = Mesh::of(4);
    mesh.group(&with_alarm(&mesh, ""));
    mesh.begin_with(&Bundle::new("v1"));
    let id = mesh.submit("web-1", &held());
    mesh.wait_for_hook_on(&id, "BeforeInstall", "web-2");
    let readers = |mesh: &Mesh| fs::read_to_string(mesh.path().join("read-by")).unwrap_or_default();
    // The line of readers differs for each deployment: the host that read last
    // is the current reader.
    wait_until("it is read twice by one host", || {
        let text = readers(&mesh);
        let last: Vec<&str> = text.lines().rev().take(2).collect();
        matches!(last[..], [one, other] if one == other)
    });
    let reader = readers(&mesh).lines().last().expect("a reader").to_string();

    mesh.kill(&reader);
    wait_until("another host reads", || readers(&mesh).lines().last().is_some_and(|last| last != reader));
    fs::write(mesh.path().join("fires"), "").expect("a file");
    let seen_by = mesh.other_than(&reader).name.clone();
    wait_until("the alarm is seen", || {
        mesh.agent(&seen_by).deployment(&id).is_some_and(|view| view["alarm"]["name"] == "errors")
    });
    mesh.go("v2");
    mesh.start(&reader);
    mesh.wait_for(&id, "Stopped");
    mesh.check();
}

#[test]
fn an_alarm_that_cannot_be_read_stops_the_release_unless_told_otherwise() {
    let mesh = Mesh::of(2);
    mesh.group("config = \"OneAtATime\"\n[[alarm]]\nname = \"errors\"\nexec = \"no-such-command-here\"\nevery = \"1s\"");
    let ran = mesh.deploy("web-1", &Bundle::new("v1"));
    ran.expect(6, &["alarm `errors` cannot be read", "cannot start `no-such-command-here`"]);
    mesh.group(
        "config = \"OneAtATime\"\n[[alarm]]\nname = \"errors\"\nexec = \"no-such-command-here\"\nevery = \"1s\"\n\
         unreadable = \"ignore\"",
    );
    mesh.deploy("web-1", &Bundle::new("v1")).expect(0, &["Succeeded"]);
    mesh.check();
}

#[test]
fn a_frozen_group_begins_nothing_new() {
    let mesh = Mesh::of(3);
    mesh.group("config = \"OneAtATime\"");
    mesh.begin_with(&Bundle::new("v1"));
    mesh.deploy("web-1", &Bundle::new("v2")).expect(0, &["Succeeded"]);
    let agent = mesh.agent("web-2");

    agent.skein(&["freeze", "hello/prod", "--until", "soon"]).expect(2, &["neither a duration"]);
    agent.skein(&["freeze", "hello/prod", "--until", "1969-01-01T00:00:00Z"]).expect(2, &["is past"]);
    agent
        .skein(&["freeze", "hello/prod", "--until", "2h", "--reason", "black friday"])
        .expect(0, &["is frozen until"]);
    mesh.deploy("web-3", &Bundle::new("v3"))
        .expect(3, &["hello/prod is frozen until", "on web-2 (black friday)", "skein unfreeze"]);
    mesh.agent("web-3").skein(&["status", "hello/prod"]).expect(0, &["Frozen until", "black friday"]);
    mesh.agent("web-1").skein(&["rollback", "hello/prod"]).expect(0, &["Succeeded"]);
    mesh.agent("web-1").skein(&["unfreeze", "hello/prod"]).expect(0, &["is not frozen"]);
    mesh.deploy("web-3", &Bundle::new("v3")).expect(0, &["Succeeded"]);
    agent.skein(&["freeze", "hello/prod", "--until", "2s"]).expect(0, &["is frozen until"]);
    wait_until("the freeze is over by itself", || {
        agent.get("/v1/groups/hello/prod").is_some_and(|view| view["frozen"].is_null())
    });
    mesh.check();
}

/// A request that was received: its headers, by lower-case names, and its body.
type Heard = (Vec<(String, String)>, String);

/// A small HTTP server that keeps what it receives, and fails the first
/// request.
struct Receiver {
    url: String,
    told: Arc<Mutex<Vec<Heard>>>,
}

impl Receiver {
    fn start() -> Receiver {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let url = format!("http://{}/hook", listener.local_addr().expect("an address"));
        let told = Arc::new(Mutex::new(Vec::new()));
        let heard = told.clone();
        std::thread::spawn(move || {
            for (number, stream) in listener.incoming().enumerate() {
                let Ok(mut stream) = stream else { continue };
                let mut reader = BufReader::new(stream.try_clone().expect("a stream"));
                let mut headers = Vec::new();
                let mut line = String::new();
                while reader.read_line(&mut line).is_ok_and(|read| read > 2) {
                    if let Some((name, value)) = line.trim_end().split_once(": ") {
                        headers.push((name.to_lowercase(), value.to_string()));
                    }
                    line.clear();
                }
                let length = headers.iter().find(|(name, _)| name == "content-length");
                // An agent that was killed at the start of a request has sent nothing.
                let Some(length) = length.and_then(|(_, length)| length.parse::<usize>().ok()) else {
                    continue;
                };
                let mut body = vec![0; length];
                if reader.read_exact(&mut body).is_err() {
                    continue;
                }
                let status = if number == 0 { "503 Service Unavailable" } else { "204 No Content" };
                if number > 0 {
                    let body = String::from_utf8(body).expect("JSON is UTF-8");
                    heard.lock().expect("a lock").push((headers, body));
                }
                let answer = format!("HTTP/1.1 {status}\r\nconnection: close\r\ncontent-length: 0\r\n\r\n");
                let _ = stream.write_all(answer.as_bytes());
            }
        });
        Receiver { url, told }
    }

    /// Returns the event, the deployment and the host of each message, one for
    /// each id.
    fn events(&self) -> Vec<(String, String, String)> {
        let mut seen = std::collections::BTreeSet::new();
        let told = self.told.lock().expect("a lock");
        let bodies = told.iter().map(|(_, body)| serde_json::from_str::<Value>(body).expect("JSON"));
        let text = |value: &Value| value.as_str().unwrap_or_default().to_string();
        bodies
            .filter(|body| seen.insert(text(&body["id"])))
            .map(|body| (text(&body["event"]), text(&body["deployment"]), text(&body["host"]["name"])))
            .collect()
    }
}

#[test]
fn a_webhook_is_told_everything_and_can_check_who_says_so() {
    let mut mesh = Mesh::of(3);
    let receiver = Receiver::start();
    let secret = mesh.path().join("secret");
    fs::write(&secret, "between us\n").expect("a file");
    fs::set_permissions(&secret, fs::Permissions::from_mode(0o600)).expect("closed to others");
    mesh.group(&format!(
        "config = \"OneAtATime\"\n[[trigger]]\nname = \"chat\"\n\
         on = [\"DeploymentStart\", \"DeploymentSuccess\", \"InstanceStart\", \"InstanceSuccess\"]\n\
         webhook = {{ url = \"{}\", secret_file = \"{}\" }}",
        receiver.url,
        secret.display()
    ));

    let first = mesh.submit("web-1", &Bundle::new("v1").does(Deed::Hold, "AfterInstall", "web-2"));
    mesh.wait_for_hook_on(&first, "AfterInstall", "web-2");
    wait_until("the receiver hears of the first hosts", || receiver.events().len() >= 4);
    // Any host that tells may fail at any time. The other test covers that
    // web-2 fails in its turn.
    mesh.kill("web-3");
    mesh.go("v1");
    mesh.start("web-3");
    mesh.wait_for(&first, "Succeeded");

    let mut expected = vec![("DeploymentStart", ""), ("DeploymentSuccess", "")];
    for host in ["web-1", "web-2", "web-3"] {
        expected.extend([("InstanceStart", host), ("InstanceSuccess", host)]);
    }
    expected.sort_unstable();
    wait_until("the receiver has heard of everything", || {
        let events = receiver.events();
        let mut events: Vec<(&str, &str)> =
            events.iter().map(|(event, _, host)| (event.as_str(), host.as_str())).collect();
        events.sort_unstable();
        events == expected
    });
    for (headers, body) in receiver.told.lock().expect("a lock").iter() {
        let header = |name: &str| &headers.iter().find(|(known, _)| known == name).expect(name).1;
        let mut mac = Hmac::<Sha256>::new_from_slice(b"between us").expect("a key");
        mac.update(format!("{}.{body}", header("x-skein-timestamp")).as_bytes());
        let expected: String = mac.finalize().into_bytes().iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(*header("x-skein-signature"), format!("sha256={expected}"));
        assert!(body.contains(header("x-skein-event-id")));
    }
    wait_until("nothing waits to be told", || {
        mesh.agent("web-1")
            .get("/v1/groups/hello/prod")
            .is_some_and(|view| view["triggers"][0]["waiting"] == 0 && view["triggers"][0]["given_up"] == 0)
    });
    mesh.check();
}

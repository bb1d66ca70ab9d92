//! Health checks against real applications: scripts that ask them over HTTP,
//! and connections from other hosts.

use std::fs;
use std::io::ErrorKind;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::agent::SKEIN;
use crate::bundle::Bundle;
use crate::world::{Mesh, turn_of, wait_until};

const APPSPEC: &str = "\
version: 0.0
os: linux
hooks:
  ApplicationStop:
    - location: stop.sh
      timeout: 30
  ApplicationStart:
    - location: start.sh
      timeout: 60
";

/// `skein demo-app` is a web server. Each host has its own address.
const START: &str = r#"#!/bin/sh
set -eu
tries=0
while [ -e "$TEST_WORLD/hold.$TEST_HOST" ] && [ "$tries" -lt 500 ]; do sleep 0.1; tries=$((tries + 1)); done
broken=
[ ! -f broken ] || broken=--broken
SKEIN demo-app "$(cat "$TEST_WORLD/$TEST_HOST.address")" "$(cat release)" \
    --pid-file "$TEST_WORLD/$TEST_HOST.pid" $broken >>"$TEST_WORLD/$TEST_HOST.app.log" 2>&1 </dev/null &
tries=0
while [ ! -f "$TEST_WORLD/$TEST_HOST.pid" ] && [ "$tries" -lt 300 ]; do sleep 0.05; tries=$((tries + 1)); done
[ -f "$TEST_WORLD/$TEST_HOST.pid" ]
"#;

const STOP: &str = r#"#!/bin/sh
set -eu
[ -f "$TEST_WORLD/$TEST_HOST.pid" ] || exit 0
kill "$(cat "$TEST_WORLD/$TEST_HOST.pid")" 2>/dev/null || rm -f "$TEST_WORLD/$TEST_HOST.pid"
tries=0
while [ -f "$TEST_WORLD/$TEST_HOST.pid" ] && [ "$tries" -lt 300 ]; do sleep 0.05; tries=$((tries + 1)); done
"#;

const CHECK: &str = r#"#!/bin/sh
exec SKEIN demo-app "$(cat "$TEST_WORLD/$TEST_HOST.address")" "$(cat release)" --check
"#;

/// Hosts with one application each.
struct Applications {
    mesh: Mesh,
}

impl Applications {
    fn new(hosts: u8, grace: &str) -> Applications {
        let mesh = Mesh::of(hosts);
        for name in mesh.names() {
            let listen = mesh.agent(&name).listen();
            let (ip, _) = listen.rsplit_once(':').expect("an address");
            fs::write(mesh.path().join(format!("{name}.address")), format!("{ip}:8080")).expect("a file");
        }
        mesh.group(&format!(
            "config = \"OneAtATime\"\n[health]\nexec = \"check.sh\"\nevery = \"1s\"\ntimeout = \"1s\"\nrise = 2\n\
             fall = 2\ngrace = \"{grace}\""
        ));
        Applications { mesh }
    }

    fn bundle(&self, release: &str, is_broken: bool) -> String {
        let bundle = self.mesh.path().join(format!("hello-{release}"));
        fs::create_dir_all(&bundle).expect("a directory");
        fs::write(bundle.join("appspec.yml"), APPSPEC).expect("a file");
        fs::write(bundle.join("release"), release).expect("a file");
        if is_broken {
            fs::write(bundle.join("broken"), "").expect("a file");
        }
        for (name, text) in [("start.sh", START), ("stop.sh", STOP), ("check.sh", CHECK)] {
            let path = bundle.join(name);
            fs::write(&path, text.replace("SKEIN", SKEIN)).expect("a file");
            fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("set");
        }
        bundle.display().to_string()
    }

    fn hold(&self, host: &str) -> PathBuf {
        let path = self.mesh.path().join(format!("hold.{host}"));
        fs::write(&path, "").expect("a file");
        path
    }

    /// Kills the application, as a crash would.
    fn kill(&self, host: &str) {
        let file = self.mesh.path().join(format!("{host}.pid"));
        let pid = fs::read_to_string(&file).expect("it runs").parse().expect("a pid");
        kill_process(Pid::from_raw(pid).expect("a pid"), Signal::KILL).expect("a process of ours");
        fs::remove_file(file).expect("it is there");
    }

    /// Starts the application again, as a person would after a crash.
    fn revive(&self, host: &str, bundle: &str) {
        let status = Command::new("./start.sh")
            .current_dir(bundle)
            .env("TEST_WORLD", self.mesh.path())
            .env("TEST_HOST", host)
            .status();
        assert!(status.expect("it can be started").success());
    }

    fn wait_for_turn(&self, deployment: &str, host: &str, status: &str) {
        wait_until(&format!("{host} is {status}"), || {
            let view = self.mesh.agent("web-3").deployment(deployment);
            view.is_some_and(|view| turn_of(&view, host)["status"] == status)
        });
    }

    fn standing(&self, host: &str) -> Value {
        let hosts = self.mesh.agent("web-2").json(&["hosts", "hello/prod"]);
        let hosts = hosts.as_array().expect("hosts");
        let host = hosts.iter().find(|view| view["name"] == host).expect("the host");
        host["groups"]["hello/prod"].clone()
    }
}

#[test]
fn an_application_that_is_unwell_after_the_update_fails_the_turn_and_is_rolled_back() {
    let hosts = Applications::new(3, "5s");
    let good = hosts.bundle("v1", false);
    hosts.mesh.agent("web-1").skein(&["deploy", "hello/prod", &good]).expect(0, &["Succeeded"]);

    // All of its scripts succeed.
    let bad = hosts.bundle("v2", true);
    let ran = hosts.mesh.agent("web-2").skein(&["deploy", "hello/prod", &bad]);

    ran.expect(
        5,
        &["web-1 failed: the health check did not pass within 5 s of the last event: 0 of 2 successes"],
    );
    let deployments = hosts.mesh.agent("web-3").json(&["deployments"]);
    let failed = deployments[1]["id"].as_str().expect("an id");
    let view = hosts.mesh.agent("web-3").deployment(failed).expect("the deployment");
    let turn = turn_of(&view, "web-1");
    assert_eq!(
        (turn["status"].as_str(), turn["error_code"].as_str()),
        (Some("Failed"), Some("HealthCheckFailed"))
    );
    let message = turn["message"].as_str().expect("a message");
    assert!(
        message.contains("probes failed; the last failure: script `check.sh`: it ended with exit code"),
        "{message}"
    );
    assert_eq!(turn_of(&view, "web-2")["status"], "Skipped");
    assert_eq!(
        (deployments[0]["creator"].as_str(), deployments[0]["status"].as_str()),
        (Some("rollback"), Some("Succeeded"))
    );
    assert_eq!(hosts.standing("web-1")["health"], "Healthy");
    hosts.mesh.check();
}

#[test]
fn an_application_that_dies_in_the_middle_pauses_the_rollout_until_it_is_back() {
    let hosts = Applications::new(3, "5m");
    let (first, second) = (hosts.bundle("v1", false), hosts.bundle("v2", false));
    let mesh = &hosts.mesh;
    mesh.agent("web-1").skein(&["deploy", "hello/prod", &first]).expect(0, &["Succeeded"]);
    let held = hosts.hold("web-2");
    let ran = mesh.agent("web-1").skein(&["deploy", "hello/prod", &second, "--detach"]);
    ran.expect(0, &[]);
    let id = ran.stdout.trim();
    hosts.wait_for_turn(id, "web-1", "Succeeded");
    hosts.wait_for_turn(id, "web-2", "InProgress");

    hosts.kill("web-1");
    wait_until("web-1 counts as unhealthy", || hosts.standing("web-1")["health"] == "Unhealthy");
    fs::remove_file(held).expect("it is there");
    hosts.wait_for_turn(id, "web-2", "Succeeded");

    let view = mesh.agent("web-3").deployment(id).expect("the deployment");
    assert_eq!(view["status"], "InProgress");
    assert_eq!(turn_of(&view, "web-3")["status"], "Pending", "2 of 3 must stay in service");
    let blocker = &view["blockers"][0];
    assert_eq!(
        (blocker["code"].as_str(), blocker["numbers"]["unwell"].as_u64()),
        (Some("HEALTH_CONSTRAINTS"), Some(1))
    );
    let since = hosts.standing("web-1")["since"].as_str().expect("a moment").to_string();
    let named = format!("web-1 unhealthy since {since}: script `check.sh`: it ended with exit code");
    assert!(blocker["message"].as_str().expect("words").contains(&named), "{blocker}");
    assert!(turn_of(&view, "web-1")["message"].as_str().is_some_and(|said| said.contains(&since)));
    let status = ["2 of 3 hosts healthy", &format!("web-1 is unhealthy since {since}"), &named];
    mesh.agent("web-3").skein(&["status", "hello/prod"]).expect(0, &status);
    mesh.agent("web-2").skein(&["explain", id]).expect(0, &[&named]);
    mesh.agent("web-2").skein(&["hosts", "hello/prod"]).expect(0, &[&format!("Unhealthy since {since}")]);

    hosts.revive("web-1", &second);
    mesh.wait_for(id, "Succeeded");
    assert_eq!(hosts.standing("web-1")["health"], "Healthy");
    let history = mesh.agent("web-2").skein(&["history", "--entries", "hello/prod"]);
    history.expect(0, &["web-1 is unhealthy: script `check.sh`", "web-1 is healthy again"]);
    mesh.check();
}

/// Accepts connections until it is closed.
struct Listener(Arc<AtomicBool>, Option<JoinHandle<()>>);

impl Listener {
    fn new(listener: TcpListener) -> Listener {
        let closed = Arc::new(AtomicBool::new(false));
        let ends = closed.clone();
        listener.set_nonblocking(true).expect("set");
        let thread = std::thread::spawn(move || {
            while !ends.load(Ordering::Relaxed) {
                match listener.accept() {
                    Ok(connection) => drop(connection),
                    Err(error) if error.kind() == ErrorKind::WouldBlock => {
                        std::thread::sleep(Duration::from_millis(5));
                    }
                    Err(_) => {}
                }
            }
        });
        Listener(closed, Some(thread))
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
        let _ = self.1.take().map(JoinHandle::join);
    }
}

#[test]
fn observers_look_from_afar_and_most_of_them_must_confirm() {
    let mesh = Mesh::of(4);
    let everywhere = TcpListener::bind("0.0.0.0:0").expect("an address");
    let port = everywhere.local_addr().expect("an address").port();
    let application = Listener::new(everywhere);
    mesh.group(&format!(
        "config = \"OneAtATime\"\n[health]\ntcp = \"127.0.0.1:{port}\"\nevery = \"1s\"\ntimeout = \"1s\"\nrise = 2\n\
         fall = 2\nfrom = \"observers\""
    ));
    mesh.begin_with(&Bundle::new("v1"));
    let unhealthy = |of: &Mesh| {
        let group = of.agent("web-2").json(&["group", "show", "hello/prod"]);
        group["unhealthy"].as_array().expect("hosts").clone()
    };
    assert_eq!(unhealthy(&mesh), [] as [Value; 0]);

    // The application still runs, but listens on an address that no other host can reach.
    drop(application);
    let here = TcpListener::bind(("127.0.0.1", port)).expect("the same port");
    let application = Listener::new(here);
    wait_until("no host is healthy", || unhealthy(&mesh).len() == 4);
    for host in unhealthy(&mesh) {
        let error = host["error"].as_str().expect("an error");
        assert!(error.contains("well on the host, but confirmed by "), "{error}");
        assert!(error.contains(" of 3 observers: connecting to 127."), "{error}");
    }

    drop(application);
    let application = Listener::new(TcpListener::bind(("0.0.0.0", port)).expect("the same port"));
    wait_until("all hosts are healthy again", || unhealthy(&mesh).is_empty());
    drop(application);
    mesh.check();
}

#[test]
fn a_check_that_could_not_work_is_refused_with_its_line() {
    let mesh = Mesh::of(1);
    let set = |health: &str| {
        let file = Path::new(mesh.path()).join("group.toml");
        let text =
            format!("application = \"hello\"\nname = \"x\"\ntags = [[\"role=web\"]]\n[health]\n{health}\n");
        fs::write(&file, text).expect("a file");
        mesh.agent("web-1").skein(&["group", "set", &file.display().to_string()])
    };
    set("exec = \"check.sh\"\nfrom = \"observers\"").expect(1, &["cannot be run from observers"]);
    set("http = \"http://localhost/\"\nrize = 3").expect(1, &["group.toml:6", "did you mean `rise`?"]);
    set("http = \"https://localhost/\"").expect(1, &["https://localhost/", "for https, use exec"]);
    set("tcp = \"localhost:1\"\nevery = \"1m\"\nrise = 3\ngrace = \"1m\"").expect(
        1,
        &["no host could pass within grace = 60 s: 3 successes in a row, 60 s apart, take at least 122 s"],
    );
}

//! A mesh of agents, created for one test and removed with it.

use std::collections::BTreeSet;
use std::fs;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tempfile::TempDir;

use crate::agent::{Agent, Ran, skein};
use crate::bundle::Bundle;
use crate::cut_off::Net;
use crate::trace::Trace;

/// The time within which everything must happen. It is far longer than needed,
/// because the machine may be busy; a wait takes that long only if it fails.
pub(crate) const DEADLINE: Duration = Duration::from_secs(60);
/// The pause between two looks.
const LOOK_EVERY: Duration = Duration::from_millis(40);

/// Returns the namespace of each host, by its number.
type Namespaces = Box<dyn Fn(u8) -> String>;

/// A mesh of agents `web-1`, `web-2`, …
pub(crate) struct Mesh {
    pub(crate) agents: Vec<Agent>,
    network: [u8; 3],
    token: String,
    /// The namespace in which each agent runs; None means this process's own.
    namespace: Option<Namespaces>,
    is_quic: bool,
    /// The version that the agents speak; `None` for the newest.
    speaks: Option<u16>,
    watchdog: Child,
    // Last, so that the directory is removed after everything that uses it.
    dir: TempDir,
}

impl Mesh {
    /// Starts a mesh in which every agent is connected to every other one.
    pub(crate) fn of(hosts: u8) -> Mesh {
        let mut mesh = Mesh::founded();
        for number in 2..=hosts {
            mesh.add(number);
        }
        mesh.wait_until_whole();
        mesh
    }

    /// Starts a mesh with each agent in a zone.
    pub(crate) fn in_zones(zones: &[&str]) -> Mesh {
        let mut mesh = Mesh::founded_in(&["--zone", zones[0]]);
        for (number, zone) in (2..).zip(&zones[1..]) {
            let agent = mesh.prepare(number);
            agent.flags.extend(["--zone".to_string(), (*zone).to_string()]);
            let name = agent.name.clone();
            mesh.start(&name);
        }
        mesh.wait_until_whole();
        mesh
    }

    /// Starts a mesh with each agent in its own network namespace.
    pub(crate) fn in_namespaces(net: &Net, hosts: u8) -> Mesh {
        let names: Vec<String> = (0..=hosts).map(|number| net.namespace(number)).collect();
        let namespace = Box::new(move |number: u8| names[usize::from(number)].clone());
        let mut mesh = Mesh::founded_by([10, 77, 0], Some(namespace), false, None, &[]);
        for number in 2..=hosts {
            mesh.add(number);
        }
        mesh.wait_until_whole();
        mesh
    }

    /// Starts a mesh whose agents are connected by QUIC only.
    pub(crate) fn over_quic(hosts: u8) -> Mesh {
        let mut mesh = Mesh::founded_by(free_network(), None, true, None, &[]);
        for number in 2..=hosts {
            mesh.add(number);
        }
        mesh.wait_until_whole();
        mesh
    }

    /// Starts a mesh of one agent.
    fn founded() -> Mesh {
        Mesh::founded_in(&[])
    }

    fn founded_in(flags: &[&str]) -> Mesh {
        Mesh::founded_by(free_network(), None, false, None, flags)
    }

    /// Starts a mesh of agents of an earlier release, by the version that they speak.
    pub(crate) fn speaking(version: u16, hosts: u8) -> Mesh {
        let mut mesh = Mesh::founded_by(free_network(), None, false, Some(version), &[]);
        for number in 2..=hosts {
            mesh.add(number);
        }
        mesh.wait_until_whole();
        mesh
    }

    fn founded_by(
        network: [u8; 3],
        namespace: Option<Namespaces>,
        is_quic: bool,
        speaks: Option<u16>,
        flags: &[&str],
    ) -> Mesh {
        let dir = tempfile::Builder::new().prefix("skein-mesh-").tempdir().expect("a directory");
        let watchdog = watchdog(dir.path());
        let (agents, token) = (Vec::new(), String::new());
        let mut mesh = Mesh { agents, network, token, namespace, is_quic, speaks, watchdog, dir };
        let mut first = mesh.agent_of(1);
        first.flags.extend(flags.iter().map(ToString::to_string));
        skein(&["mesh", "init", "--data-dir", &first.data.display().to_string()]).expect(0, &["is made"]);
        mesh.agents.push(first);
        mesh.start("web-1");
        wait_until("web-1 founds the mesh", || {
            mesh.agents[0].get("/v1/status").is_some_and(|status| status["leader"] == "web-1")
        });
        mesh.token = mesh.agents[0].skein(&["mesh", "token"]).stdout.trim().to_string();
        mesh
    }

    /// Returns an address in this mesh's network that none of its agents has.
    pub(crate) fn free_address(&self) -> Ipv4Addr {
        let [a, b, c] = self.network;
        Ipv4Addr::new(a, b, c, 200)
    }

    fn agent_of(&self, number: u8) -> Agent {
        let [a, b, c] = self.network;
        let address = Ipv4Addr::new(a, b, c, number);
        let mut agent = Agent::new(self.path(), &format!("web-{number}"), address, &["--tag", "role=web"]);
        if let Some(namespace) = &self.namespace {
            agent.wrapper = ["ip", "netns", "exec", &namespace(number)].map(String::from).to_vec();
        }
        if self.is_quic {
            agent.over_quic();
        }
        if let Some(version) = self.speaks {
            agent.speak(version);
        }
        agent
    }

    /// Adds an agent, starts it and lets it join. Returns its name.
    pub(crate) fn add(&mut self, number: u8) -> String {
        let agent = self.prepare(number);
        let name = agent.name.clone();
        self.start(&name);
        name
    }

    /// Adds an agent, but does not start it.
    pub(crate) fn prepare(&mut self, number: u8) -> &mut Agent {
        let mut agent = self.agent_of(number);
        agent.flags.extend(["--join".to_string(), self.token.clone()]);
        self.agents.push(agent);
        self.agents.last_mut().expect("just added")
    }

    pub(crate) fn path(&self) -> &Path {
        self.dir.path()
    }

    pub(crate) fn token(&self) -> &str {
        &self.token
    }

    pub(crate) fn agent(&self, name: &str) -> &Agent {
        self.agents.iter().find(|agent| agent.name == name).expect("an agent of this mesh")
    }

    pub(crate) fn agent_mut(&mut self, name: &str) -> &mut Agent {
        self.agents.iter_mut().find(|agent| agent.name == name).expect("an agent of this mesh")
    }

    pub(crate) fn names(&self) -> Vec<String> {
        self.agents.iter().map(|agent| agent.name.clone()).collect()
    }

    pub(crate) fn start(&mut self, name: &str) {
        let pid = self.agent_mut(name).start();
        let told = self.watchdog.stdin.as_mut().expect("a pipe");
        writeln!(told, "{pid}").expect("the watchdog listens");
    }

    pub(crate) fn kill(&mut self, name: &str) {
        self.agent_mut(name).kill();
    }

    pub(crate) fn running(&self) -> impl Iterator<Item = &Agent> {
        self.agents.iter().filter(|agent| agent.is_running())
    }

    /// Returns a running agent other than the given one.
    pub(crate) fn other_than(&self, name: &str) -> &Agent {
        self.running().find(|agent| agent.name != name).expect("another agent")
    }

    /// Returns the name of the leader, as the first running agent sees it.
    pub(crate) fn leader(&self) -> String {
        let mut leader = String::new();
        wait_until("there is a leader", || {
            let status = self.running().find_map(|agent| agent.get("/v1/status"));
            leader = status.and_then(|s| s["leader"].as_str().map(str::to_string)).unwrap_or_default();
            !leader.is_empty()
        });
        leader
    }

    /// Waits until every running agent is connected to every other one, all are
    /// up, and the right number of hosts vote.
    #[track_caller]
    pub(crate) fn wait_until_whole(&self) {
        let hosts = self.running().count();
        let voters = match hosts {
            0..=2 => 1,
            3..=4 => 3,
            _ => 5,
        };
        wait_until("the mesh is whole", || {
            self.running().all(|agent| {
                agent.get("/v1/status").is_some_and(|status| {
                    let counts = &status["hosts"];
                    counts["up"].as_u64() >= Some(hosts as u64)
                        && counts["connected"] == hosts - 1
                        && status["voters"].as_array().is_some_and(|list| list.len() == voters)
                        // Before that, the mesh needs its first voter.
                        && status["outgoing_voters"].is_null()
                        && !status["leader"].is_null()
                })
            })
        });
    }

    /// Sets the group `hello/prod` of all hosts, with these lines of
    /// `[deployment]` and further sections.
    #[track_caller]
    pub(crate) fn group(&self, lines: &str) {
        self.group_called("prod", lines);
    }

    #[track_caller]
    pub(crate) fn group_called(&self, name: &str, lines: &str) {
        self.define(self.any(), name, lines);
    }

    #[track_caller]
    pub(crate) fn group_on(&self, on: &str, name: &str, lines: &str) {
        self.define(self.agent(on), name, lines);
    }

    #[track_caller]
    fn define(&self, on: &Agent, name: &str, lines: &str) {
        let text = format!(
            "application = \"hello\"\nname = \"{name}\"\ntags = [[\"role=web\"]]\n[deployment]\n{lines}\n"
        );
        let file = self.path().join(format!("{name}.toml"));
        fs::write(&file, text).expect("a file");
        on.skein(&["group", "set", "--yes", &file.display().to_string()]).expect(0, &["is set"]);
    }

    fn any(&self) -> &Agent {
        self.running().next().expect("a running agent")
    }

    /// Submits a bundle on a host, and returns the deployment's id.
    #[track_caller]
    pub(crate) fn submit(&self, on: &str, bundle: &Bundle) -> String {
        self.submit_to(on, "hello/prod", bundle, &[])
    }

    #[track_caller]
    pub(crate) fn submit_to(&self, on: &str, group: &str, bundle: &Bundle, flags: &[&str]) -> String {
        let source = bundle.write(self.path()).display().to_string();
        let args = [&["deploy", group, &source, "--detach"], flags].concat();
        let ran = self.agent(on).skein(&args);
        ran.expect(0, &[]);
        ran.stdout.trim().to_string()
    }

    /// Deploys a bundle and waits for the end, as a person would.
    #[track_caller]
    pub(crate) fn deploy(&self, on: &str, bundle: &Bundle) -> Ran {
        let source = bundle.write(self.path()).display().to_string();
        self.agent(on).skein(&["deploy", "hello/prod", &source])
    }

    /// Deploys a first revision to all hosts at once, so that they are healthy.
    #[track_caller]
    pub(crate) fn begin_with(&self, bundle: &Bundle) -> String {
        let id = self.submit_to("web-1", "hello/prod", bundle, &["--override", "config=AllAtOnce"]);
        self.wait_for(&id, "Succeeded");
        id
    }

    /// Lets the hooks of a version continue that
    /// [`Deed::Hold`](crate::bundle::Deed::Hold) has stopped.
    pub(crate) fn go(&self, version: &str) {
        fs::write(self.path().join(format!("go.{version}")), "").expect("a file");
    }

    pub(crate) fn trace(&self) -> Trace {
        Trace::read(self.path())
    }

    #[track_caller]
    pub(crate) fn wait_for_hook_on(&self, deployment: &str, event: &str, host: &str) {
        wait_until(&format!("{event} of {deployment} begins on {host}"), || {
            self.trace().of(deployment).has_begun(event, host)
        });
    }

    /// Waits until all running agents say that the deployment is over with this
    /// status, and returns the view of one of them.
    #[track_caller]
    pub(crate) fn wait_for(&self, deployment: &str, status: &str) -> Value {
        let view = self.wait_for_end(deployment);
        assert_eq!(view["status"], status, "{view:#}");
        view
    }

    /// Waits like [`Mesh::wait_for`], but for any final status.
    #[track_caller]
    pub(crate) fn wait_for_end(&self, deployment: &str) -> Value {
        let over = ["Succeeded", "Failed", "Stopped"];
        let mut views = Vec::new();
        wait_until(&format!("{deployment} is over on every host"), || {
            views = self.running().map(|agent| agent.deployment(deployment).unwrap_or_default()).collect();
            views.iter().all(|view| over.iter().any(|over| view["status"] == *over))
        });
        let view = views.swap_remove(0);
        for other in &views {
            assert_eq!(other["status"], view["status"], "hosts disagree on the end");
        }
        view
    }

    /// Waits until the rollback of a deployment has succeeded.
    #[track_caller]
    pub(crate) fn wait_for_rollback_of(&self, deployment: &str) -> Value {
        let mut id = String::new();
        wait_until(&format!("{deployment} is rolled back by another"), || {
            let view = self.any().deployment(deployment).unwrap_or_default();
            id = view["rolled_back_by"].as_str().unwrap_or_default().into();
            !id.is_empty()
        });
        self.wait_for(&id, "Succeeded")
    }

    /// Checks the claims that must hold after every test: the hosts agree on the ledger, its
    /// hash chain is valid, no hook ran twice, and no agent died of a bug.
    #[track_caller]
    pub(crate) fn check(&self) {
        self.trace().no_turn_ran_twice();
        wait_until("all hosts have folded the same ledger", || {
            let seen: BTreeSet<String> = self
                .running()
                .map(|agent| agent.get("/v1/status").map(|s| format!("{} {}", s["index"], s["hash"])))
                .map(|seen| seen.unwrap_or_default())
                .collect();
            seen.len() == 1 && !seen.contains("")
        });
        for agent in self.running() {
            agent.skein(&["history", "--verify"]).expect(0, &["are right"]);
        }
        for agent in &self.agents {
            let log = agent.log_text();
            let bad = log.lines().find(|line| line.contains("panicked") || line.contains("internal error"));
            assert_eq!(bad, None, "in the log of {}", agent.name);
        }
    }

    fn dump(&mut self) {
        const TAIL: usize = 60;
        eprintln!("--- the trace");
        self.trace().0.iter().for_each(|line| eprintln!("  {line:?}"));
        for agent in &mut self.agents {
            let ended = if agent.is_running() { agent.ended() } else { None };
            let by_itself = ended.map(|status| format!(", ended by itself: {status}")).unwrap_or_default();
            eprintln!("--- {} (runs: {}{by_itself})", agent.name, agent.is_running());
            if agent.is_running() {
                for args in [&["status"][..], &["deployments"], &["history"]] {
                    let ran = agent.skein(args);
                    eprintln!("{}{}", ran.stdout, ran.stderr);
                }
            }
            let log = agent.log_text();
            let lines: Vec<&str> = log.lines().collect();
            let tail = &lines[lines.len().saturating_sub(TAIL)..];
            tail.iter().for_each(|line| eprintln!("  {line}"));
        }
    }
}

impl Drop for Mesh {
    fn drop(&mut self) {
        if std::thread::panicking() {
            for agent in self.running() {
                agent.signal(rustix::process::Signal::CONT);
            }
            self.dump();
        }
        self.agents.clear();
        // The watchdog removes the directory, which ends hooks that still wait.
        drop(self.watchdog.stdin.take());
        let _ = self.watchdog.wait();
    }
}

/// Kills the agents and removes the mesh's directory once this process has
/// ended in any way.
fn watchdog(dir: &Path) -> Child {
    let script = "while read pid; do pids=\"$pids $pid\"; done
        [ -z \"$pids\" ] || kill -9 $pids
        rm -rf \"$0\"";
    Command::new("/bin/sh")
        .args(["-c", script])
        .arg(dir)
        .process_group(0)
        .stdin(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("a shell")
}

/// Returns a network of loopback addresses that no other test uses, 127.a.b.*, by the process
/// id and a counter.
fn free_network() -> [u8; 3] {
    static NEXT: AtomicU8 = AtomicU8::new(1);
    let [.., high, low] = std::process::id().to_be_bytes();
    loop {
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        // 127.0.* is used by other programs.
        let network = [127, 1 + high % 250, low ^ number];
        let address = Ipv4Addr::new(network[0], network[1], network[2], 1);
        if TcpListener::bind((address, 7717)).is_ok() {
            return network;
        }
    }
}

/// Waits until `is_so` returns true. Fails if that takes too long.
#[track_caller]
pub(crate) fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) {
    wait_at_most(DEADLINE, what, &mut is_so);
}

#[track_caller]
pub(crate) fn wait_at_most(deadline: Duration, what: &str, mut is_so: impl FnMut() -> bool) {
    let since = Instant::now();
    while !is_so() {
        assert!(since.elapsed() < deadline, "waited {deadline:?} in vain until {what}");
        std::thread::sleep(LOOK_EVERY);
    }
}

/// A running `skein` command, and what it prints.
pub(crate) struct Watcher(Child);

impl Watcher {
    pub(crate) fn start(mut command: Command) -> Watcher {
        Watcher(command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("skein runs"))
    }

    /// Waits until the command has printed its first line, and therefore
    /// handles signals.
    pub(crate) fn wait_for_line(&mut self) {
        let stdout = self.0.stdout.as_mut().expect("a pipe");
        let mut byte = [0];
        while stdout.read(&mut byte).expect("a pipe") == 1 && byte != *b"\n" {}
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.0), signal).expect("a process of ours");
    }

    pub(crate) fn end(self) -> Ran {
        Ran::of(self.0.wait_with_output().expect("a child of ours"))
    }
}

/// Returns one host's part in a deployment.
#[track_caller]
pub(crate) fn turn_of<'a>(view: &'a Value, host: &str) -> &'a Value {
    let turns = view["hosts"].as_array().expect("hosts");
    turns.iter().find(|turn| turn["name"] == host).expect("the host's turn")
}

//! Measures how quickly an agent in a mesh of 10,000 hosts answers: `cargo
//! bench -p skein-agent --bench fleet [-- HOSTS]`. It prints a table and judges
//! nothing.
//!
//! The agent and the commands are real; one host in a hundred is Down. Only the
//! agent's store is generated, because 10,000 agents do not run on one machine:
//! a node in this process, under the agent's own name, commits the entries of
//! the other hosts, and the agent continues from the resulting store. The other
//! hosts have no address, so the agent does not dial them.

#[path = "../proto/tests/fold/fleet.rs"]
mod fleet;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use fleet::Fleet;
use proto::config::{Config, VOTERS_DEFAULT};
use proto::id::{HostId, MeshId};
use proto::io::{Input, Output};
use proto::node::{Fence, Node, Stored};
use proto::policy::{Minimum, Policy};
use proto::statement::{Report, Statement};
use proto::time::Time;

const SKEIN: &str = env!("CARGO_BIN_EXE_skein");
const HOSTS: u32 = 10_000;
const ROUNDS: usize = 20;
/// The longest time that an agent may take until it answers.
const START_MAX: Duration = Duration::from_secs(120);

fn main() {
    // `cargo test --benches` only checks that the program starts.
    if std::env::args().any(|argument| argument == "--test") {
        return;
    }
    let hosts = std::env::args().find_map(|argument| argument.parse().ok()).unwrap_or(HOSTS);
    let home = tempfile::tempdir().expect("a directory");
    let mut agent = Agent::found(home.path());
    let identity = agent.status();
    agent.stop();
    let fleet = fleet_of(hosts);
    fill(&home.path().join("store"), &identity, &fleet);

    let began = Instant::now();
    agent.start();
    let total = u64::from(hosts) + 1;
    agent.wait_for("the fleet", |status| status["hosts"]["total"] == total && status["leader"].is_string());
    row(
        &format!("an agent's start with {hosts} hosts in its store"),
        &[began.elapsed().as_secs_f64() * 1_000.0],
    );

    let bundle = bundle(home.path());
    let wish = ["plan", "web/prod", &bundle];
    let most = [&wish[..], &["--override", "minimum_healthy=95%"]].concat();
    let deployment = fleet::submission("first", Policy::default()).deployment.to_string();
    for (what, arguments) in [
        ("skein plan, OneAtATime: refused, with what would help", &wish[..]),
        ("skein plan, 95 % stay healthy", &most[..]),
        ("the same --json", &[&most[..], &["--json"]].concat()),
        ("skein status", &["status"]),
        ("skein status of a deployment", &["status", &deployment]),
        ("skein explain", &["explain", &deployment]),
        ("skein history", &["history", "web/prod"]),
    ] {
        let mut took: Vec<f64> = (0..ROUNDS).map(|_| agent.time(arguments)).collect();
        took.sort_by(f64::total_cmp);
        row(what, &took);
    }
}

fn row(what: &str, sorted: &[f64]) {
    let (p50, max) = (sorted[sorted.len() / 2], sorted[sorted.len() - 1]);
    println!("{what:<58} p50 {p50:.0}  max {max:.0} ms (of {})", sorted.len());
}

/// Returns a mesh whose hosts have all been deployed to once; one in a hundred
/// is Down now.
fn fleet_of(hosts: u32) -> Fleet {
    let mut fleet = Fleet::new(hosts);
    fleet.deploy("first", Policy { minimum: Minimum::AllAtOnce, ..Policy::default() }, |_| false);
    for number in 0..hosts / 100 {
        fleet.say(1, Report::HostDown { host: fleet::host(2 + 50 * number), incarnation: 1 });
    }
    fleet
}

fn bundle(home: &Path) -> String {
    let dir = home.join("bundle");
    fs::create_dir_all(&dir).expect("a directory");
    fs::write(dir.join("appspec.yml"), "version: 0.0\nos: linux\n").expect("an AppSpec file");
    dir.display().to_string()
}

/// Commits the fleet's entries after what the store holds.
fn fill(store: &Path, identity: &serde_json::Value, fleet: &Fleet) {
    let text = |key: &str| identity[key].as_str().expect("it is said").to_string();
    let mesh = data_encoding::HEXLOWER.decode(text("mesh").as_bytes()).expect("hex digits");
    let mesh = MeshId(mesh.try_into().expect("16 bytes"));
    let db = sled::open(store).expect("the store");
    let pairs = db.iter().map(|pair| pair.map(|(key, value)| (key.to_vec(), value.to_vec())));
    let stored: BTreeMap<Vec<u8>, Vec<u8>> = pairs.collect::<Result<_, _>>().expect("what it holds");
    let config = Config {
        host: text("host").parse().expect("a host id"),
        mesh,
        name: text("name"),
        tags: BTreeSet::new(),
        zone: String::new(),
        addresses: Vec::new(),
        founds: false,
        seed: 1,
        voters_max: VOTERS_DEFAULT,
        wire: proto::wire::WIRE,
        replaces: String::new(),
        log_kept: proto::config::LOG_KEPT_DEFAULT,
        fold_panics_on: None,
        overlay: Default::default(),
    };
    let mut writer = Writer::new(config, stored);
    for entry in &fleet.entries {
        let mut body = entry.statement.clone();
        if let Statement::Report(Report::HostJoined(record)) = &mut body {
            record.addresses.clear();
        }
        let frame = proto::wire::proposal(mesh, entry.proposal, body);
        writer.hear(entry.proposal.host, frame);
    }
    let rollout = writer.node.state().rollouts().values().next().expect("one deployment");
    assert!(rollout.status().is_over(), "the fleet was deployed to");
    for (key, value) in &writer.stored {
        db.insert(key, value.as_slice()).expect("written");
    }
    for key in &writer.removed {
        db.remove(key).expect("removed");
    }
    db.flush().expect("written");
}

/// A node whose disk is a map in memory.
struct Writer {
    node: Node,
    now: Time,
    stored: BTreeMap<Vec<u8>, Vec<u8>>,
    removed: BTreeSet<Vec<u8>>,
}

impl Writer {
    /// Starts the node, and waits until it leads.
    fn new(config: Config, stored: BTreeMap<Vec<u8>, Vec<u8>>) -> Writer {
        let since_1970 = std::time::UNIX_EPOCH.elapsed().expect("after 1970");
        let now = Time::from_micros(u64::try_from(since_1970.as_micros()).expect("before the year 500,000"));
        let node =
            Node::start(config, Stored { fence: Some(Fence::of(&stored)), contents: stored.clone() }, now)
                .expect("a store of a healthy agent");
        let mut writer = Writer { node, now, stored, removed: BTreeSet::new() };
        while writer.node.mesh().leader.is_none() {
            writer.now = writer.node.next_wake().expect("it waits for its election").max(writer.now);
            writer.handle(Input::Wake);
        }
        writer
    }

    fn hear(&mut self, from: HostId, frame: Vec<u8>) {
        self.handle(Input::Received { from, frame });
    }

    fn handle(&mut self, input: Input) {
        self.node.handle(input, self.now);
        while let Some(output) = self.node.poll_output() {
            let Output::Persist(write) = output else { continue };
            for (key, value) in write.changes {
                match value {
                    Some(value) => {
                        self.removed.remove(&key);
                        self.stored.insert(key, value);
                    }
                    None => {
                        self.stored.remove(&key);
                        self.removed.insert(key);
                    }
                }
            }
            self.node.handle(Input::Persisted(write.id), self.now);
        }
    }
}

/// A real agent. It ends when this is dropped.
struct Agent {
    home: PathBuf,
    process: Option<Child>,
}

impl Agent {
    /// Starts the first agent of a mesh.
    fn found(home: &Path) -> Agent {
        let mut agent = Agent { home: home.to_owned(), process: None };
        agent.skein(&["mesh", "init", "--data-dir", &home.display().to_string()]);
        agent.start();
        agent.wait_for("the first agent", |status| status["leader"].is_string());
        agent
    }

    fn start(&mut self) {
        let mut command = Command::new(SKEIN);
        command.arg("agent").arg("--data-dir").arg(&self.home).arg("--api").arg(self.home.join("api.sock"));
        command.args(["--name", "observer", "--listen", "127.0.0.1:0"]);
        let log = fs::File::create(self.home.join("log")).expect("a log");
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        self.process = Some(command.spawn().expect("an agent"));
    }

    fn stop(&mut self) {
        let mut process = self.process.take().expect("it runs");
        let id = process.id().to_string();
        Command::new("kill").args(["-TERM", &id]).status().expect("kill runs");
        process.wait().expect("it ends");
    }

    fn skein(&self, arguments: &[&str]) -> std::process::Output {
        let mut command = Command::new(SKEIN);
        command.env("SKEIN_API", self.home.join("api.sock")).args(arguments);
        command.output().expect("skein runs")
    }

    fn status(&self) -> serde_json::Value {
        serde_json::from_slice(&self.skein(&["status", "--json"]).stdout).unwrap_or_default()
    }

    fn wait_for(&self, what: &str, holds: impl Fn(&serde_json::Value) -> bool) {
        let began = Instant::now();
        while !holds(&self.status()) {
            assert!(began.elapsed() < START_MAX, "waited {START_MAX:?} for {what}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Returns the milliseconds that a command takes, from its start to its
    /// end.
    fn time(&self, arguments: &[&str]) -> f64 {
        let began = Instant::now();
        let output = self.skein(arguments);
        let took = began.elapsed().as_secs_f64() * 1_000.0;
        // Exit code 3 is a refusal, which is an answer too.
        let has_answered = matches!(output.status.code(), Some(0 | 3)) && !output.stdout.is_empty();
        assert!(has_answered, "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        took
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        if let Some(process) = &mut self.process {
            let _ = process.kill();
            let _ = process.wait();
        }
    }
}

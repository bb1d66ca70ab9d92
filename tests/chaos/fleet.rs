//! Agents on the hosts of a network, and the command line for them.

use std::fs::{self, File};
use std::net::Ipv4Addr;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tempfile::TempDir;

use crate::application;
use crate::namespaces::{Network, address};

const SKEIN: &str = env!("CARGO_BIN_EXE_skein");
/// The time within which everything must happen. It is far longer than needed,
/// because the machine may be busy.
const DEADLINE: Duration = Duration::from_secs(90);
/// The time within which `skein` must answer, in seconds.
const ANSWER_SECONDS: &str = "10";
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// Covers a hook's pause, the start of its server, and what an agent needs to
/// end meanwhile.
const STOP_MAX: Duration = Duration::from_secs(30);

/// A mesh of agents, each on its own host.
pub(crate) struct Fleet {
    pub(crate) network: Network,
    hosts: u8,
    agents: Vec<Option<Child>>,
    impostor: Option<Child>,
    token: String,
    dir: TempDir,
}

/// The exit code and the output of a command.
pub(crate) struct Answer {
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Fleet {
    /// Returns a mesh in which all agents are up, with one spare namespace for
    /// an impostor.
    pub(crate) fn of(hosts: u8) -> Fleet {
        let dir = tempfile::Builder::new().prefix("skein-chaos-").tempdir().expect("a directory");
        let network = Network::of(hosts + 1);
        let agents = (0..hosts).map(|_| None).collect();
        let mut fleet = Fleet { network, hosts, agents, impostor: None, token: String::new(), dir };
        let made = Command::new(SKEIN).args(["mesh", "init", "--data-dir"]).arg(fleet.data(1)).output();
        assert!(made.expect("skein runs").status.success(), "a mesh is made");
        fleet.start(1);
        fleet.wait("host 1 answers", |fleet| {
            fleet.json(1, &["status"]).is_some_and(|s| !s["leader"].is_null())
        });
        fleet.token = fleet.skein(1, &["mesh", "token"]).stdout.trim().to_string();
        (2..=hosts).for_each(|host| fleet.start(host));
        fleet.wait_until_whole();
        fleet
    }

    pub(crate) fn hosts(&self) -> std::ops::RangeInclusive<u8> {
        1..=self.hosts
    }

    pub(crate) fn path(&self) -> &Path {
        self.dir.path()
    }

    fn data(&self, host: u8) -> PathBuf {
        self.path().join(format!("web-{host}"))
    }

    fn socket(&self, host: u8) -> PathBuf {
        self.path().join(format!("web-{host}.sock"))
    }

    pub(crate) fn log(&self, host: u8) -> String {
        fs::read_to_string(self.path().join(format!("web-{host}.log"))).unwrap_or_default()
    }

    /// Returns the command of agent `web-{host}`: `command` runs it, and it
    /// uses the log and the processes of `world`.
    fn agent(&self, mut command: Command, address: Ipv4Addr, host: u8, data: &Path, world: &str) -> Command {
        let log = self.path().join(format!("{world}.log"));
        let log = File::options().create(true).append(true).open(log).expect("a log");
        command.args(["agent", "--name", &format!("web-{host}"), "--tag", "role=web"]);
        command.args(["--listen", &format!("{address}:7717"), "--data-dir"]).arg(data);
        if !self.token.is_empty() && host != 1 {
            command.args(["--join", &self.token]);
        }
        command.env("TEST_WORLD", self.path()).env("TEST_HOST", world).env("NO_COLOR", "1");
        command.env_remove("SKEIN_API").stdin(Stdio::null());
        // The agent gets its own process group, so that no signal to it reaches
        // the test.
        command.stdout(log.try_clone().expect("a log")).stderr(log).process_group(0);
        command
    }

    /// Starts what a host starts at boot: the installed application, if any,
    /// and the agent.
    pub(crate) fn power_on(&mut self, host: u8) {
        let version = fs::read_to_string(self.path().join(format!("web-{host}.version"))).unwrap_or_default();
        if !version.is_empty() {
            application::boot(&self.network, host, version.trim(), self.path());
        }
        self.start(host);
    }

    pub(crate) fn start(&mut self, host: u8) {
        let (begun, world) = (self.network.on(host, SKEIN), format!("web-{host}"));
        let mut command = self.agent(begun, address(host), host, &self.data(host), &world);
        command.arg("--api").arg(self.socket(host));
        self.agents[usize::from(host) - 1] = Some(command.spawn().expect("the agent starts"));
    }

    /// Starts a second agent with a copy of this host's disk, at another
    /// address. It stands for another machine, so it has its own processes:
    /// neither those that the copied disk names nor the host's application
    /// exist there.
    pub(crate) fn clone_of(&mut self, host: u8) {
        let (from, to) = (self.data(host), self.path().join("impostor"));
        let _ = fs::remove_dir_all(&to);
        let copied = Command::new("cp").arg("-a").args([&from, &to]).output().expect("cp runs");
        // Files that the running agent removes during the copy may be missing
        // in it.
        assert!(to.exists(), "{}", String::from_utf8_lossy(&copied.stderr));
        let spare = self.hosts + 1;
        let mut begun = self.network.on(spare, "unshare");
        begun.args(["--pid", "--fork", "--mount-proc", "--kill-child", SKEIN]);
        let mut command = self.agent(begun, address(spare), host, &to, "impostor");
        command.arg("--api").arg(self.path().join("impostor.sock"));
        self.impostor = Some(command.spawn().expect("the agent starts"));
    }

    pub(crate) fn end_clone(&mut self) {
        if let Some(mut impostor) = self.impostor.take() {
            let _ = impostor.kill();
            let _ = impostor.wait();
            self.network.kill_all(self.hosts + 1);
        }
    }

    pub(crate) fn is_running(&self, host: u8) -> bool {
        self.agents[usize::from(host) - 1].is_some()
    }

    pub(crate) fn signal(&self, host: u8, signal: Signal) {
        if let Some(child) = &self.agents[usize::from(host) - 1] {
            // The agent may have ended by itself; the check at the end finds
            // that.
            let _ = kill_process(Pid::from_child(child), signal);
        }
    }

    /// Kills the agent. Its hooks and the application continue.
    pub(crate) fn kill(&mut self, host: u8) {
        self.signal(host, Signal::KILL);
        self.reap(host);
    }

    /// Asks the agent to end, and kills it if that takes too long.
    pub(crate) fn stop(&mut self, host: u8) {
        self.signal(host, Signal::TERM);
        let since = Instant::now();
        let Some(mut child) = self.agents[usize::from(host) - 1].take() else { return };
        while child.try_wait().expect("a child").is_none() {
            if since.elapsed() > STOP_MAX {
                child.kill().expect("a child");
            }
            thread::sleep(LOOK_EVERY);
        }
    }

    /// Kills every process on the host.
    pub(crate) fn power_off(&mut self, host: u8) {
        self.network.kill_all(host);
        self.reap(host);
    }

    fn reap(&mut self, host: u8) {
        if let Some(mut child) = self.agents[usize::from(host) - 1].take() {
            child.wait().expect("a child");
        }
    }

    /// Runs `skein` on this host.
    pub(crate) fn skein(&self, host: u8, arguments: &[&str]) -> Answer {
        // A frozen agent does not answer, and the faults must continue.
        let mut command = Command::new("timeout");
        command.args([ANSWER_SECONDS, SKEIN]).args(arguments);
        command.env("SKEIN_API", self.socket(host)).env("NO_COLOR", "1").stdin(Stdio::null());
        Answer::of(command.output().expect("skein runs"))
    }

    /// Returns the document that `skein … --json` prints, if it prints one.
    pub(crate) fn json(&self, host: u8, arguments: &[&str]) -> Option<Value> {
        let answer = self.skein(host, &[arguments, &["--json"]].concat());
        serde_json::from_str(&answer.stdout).ok()
    }

    /// Submits a version, and returns the deployment's id if the submission is
    /// acknowledged.
    pub(crate) fn submit(&self, on: u8, version: &str, is_good: bool, more: &[&str]) -> Option<String> {
        let bundle = application::bundle(self.path(), version, is_good).display().to_string();
        let answer = self.skein(on, &[&["deploy", "hello/prod", &bundle, "--detach"], more].concat());
        (answer.code == 0).then(|| answer.stdout.trim().to_string())
    }

    /// Returns the deployment's status, as this host sees it.
    pub(crate) fn status_of(&self, on: u8, deployment: &str) -> Option<String> {
        let view = self.json(on, &["status", deployment])?;
        view["status"].as_str().map(str::to_string)
    }

    pub(crate) fn has_ended(&self, on: u8, deployment: &str) -> bool {
        let status = self.status_of(on, deployment).unwrap_or_default();
        ["Succeeded", "Failed", "Stopped"].contains(&status.as_str())
    }

    /// Sets the group `hello/prod` with these lines of `[deployment]`.
    pub(crate) fn group(&self, lines: &str) {
        let file = self.path().join("prod.toml");
        let text = "application = \"hello\"\nname = \"prod\"\ntags = [[\"role=web\"]]\n[deployment]\n";
        fs::write(&file, format!("{text}{lines}\n")).expect("written");
        let answer = self.skein(1, &["group", "set", &file.display().to_string()]);
        assert_eq!(answer.code, 0, "{}{}", answer.stdout, answer.stderr);
    }

    /// Waits until every agent runs and sees all others as up.
    #[track_caller]
    pub(crate) fn wait_until_whole(&self) {
        self.wait("the mesh is whole", |fleet| {
            fleet.hosts().all(|host| {
                fleet.json(host, &["status"]).is_some_and(|status| {
                    let counts = &status["hosts"];
                    counts["up"] == fleet.hosts
                        && counts["connected"] == fleet.hosts - 1
                        && !status["leader"].is_null()
                })
            })
        });
    }

    #[track_caller]
    pub(crate) fn wait(&self, what: &str, is_so: impl Fn(&Fleet) -> bool) {
        let since = Instant::now();
        while !is_so(self) {
            if since.elapsed() > DEADLINE {
                self.tell();
                panic!("waited {DEADLINE:?} in vain: {what}");
            }
            thread::sleep(LOOK_EVERY);
        }
    }

    /// Checks that no agent has panicked or ended by itself, and that the hash
    /// chain of every ledger is valid.
    #[track_caller]
    pub(crate) fn check(&self) {
        for host in self.hosts() {
            let log = self.log(host);
            let panicked = log.lines().find(|line| line.contains("panicked"));
            assert_eq!(panicked, None, "in the log of web-{host}");
            let verified = self.skein(host, &["history", "--verify"]);
            assert_eq!(verified.code, 0, "web-{host}: {}{}", verified.stdout, verified.stderr);
        }
    }

    /// Returns the agent's private memory in KiB: the pages that it shares with
    /// no other process.
    pub(crate) fn private_kib(&self, host: u8) -> u64 {
        let child = self.agents[usize::from(host) - 1].as_ref().expect("a running agent");
        let rollup = fs::read_to_string(format!("/proc/{}/smaps_rollup", child.id())).unwrap_or_default();
        let private = rollup.lines().filter(|line| line.starts_with("Private_"));
        private.filter_map(|line| line.split_whitespace().nth(1)?.parse::<u64>().ok()).sum()
    }

    /// Prints what a person would look at first.
    pub(crate) fn tell(&self) {
        const TAIL: usize = 120;
        for host in self.hosts() {
            eprintln!("--- web-{host} (runs: {})", self.is_running(host));
            for arguments in [&["status"][..], &["hosts"], &["status", "hello/prod"], &["deployments"]] {
                let answer = self.skein(host, arguments);
                eprintln!("$ skein {}\n{}{}", arguments.join(" "), answer.stdout, answer.stderr);
            }
            let log = self.log(host);
            let lines: Vec<&str> = log.lines().collect();
            lines[lines.len().saturating_sub(TAIL)..].iter().for_each(|line| eprintln!("  {line}"));
        }
    }
}

impl Drop for Fleet {
    fn drop(&mut self) {
        self.end_clone();
        for host in self.hosts() {
            // A frozen process must continue before it can be killed and
            // reaped.
            self.signal(host, Signal::CONT);
            self.power_off(host);
        }
    }
}

impl Answer {
    fn of(output: Output) -> Answer {
        Answer {
            code: output.status.code().unwrap_or(-1),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }
}

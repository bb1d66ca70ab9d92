//! The demo's hosts: an agent for each, as a child process with its own directory, socket and port.

use std::fs::File;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Output, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;
use tokio::process::{Child, Command};

use crate::client::Client;
use crate::secret_file;
use crate::view::StatusView;

/// Time for agents to be ready. On a busy machine they need a second or two; more
/// means that something is wrong.
const READY_MAX: Duration = Duration::from_secs(60);
/// Time for an agent to end by itself.
const END_MAX: Duration = Duration::from_secs(3);
/// The number of lines of an agent's log to show if the demo fails.
const LOG_LINES_MAX: usize = 8;

/// One host of the demo.
pub(super) struct Host {
    pub(super) name: String,
    /// The directory with all of this host's files.
    pub(super) directory: PathBuf,
    pub(super) socket: PathBuf,
    /// The address of its sample application.
    pub(super) application: SocketAddr,
    agent: Option<Child>,
}

/// All hosts of the demo.
pub(super) struct Fleet {
    pub(super) hosts: Vec<Host>,
    pub(super) executable: PathBuf,
    /// Removed on drop, unless it is kept.
    directory: TempDir,
}

impl Fleet {
    /// Creates directories and ports for this many hosts; nothing runs yet.
    pub(super) fn prepare(hosts: u16) -> anyhow::Result<Self> {
        let executable = std::env::current_exe().context("cannot find this executable")?;
        let directory = tempfile::Builder::new().prefix("skein-demo-").tempdir();
        let directory = directory.context("cannot make a temporary directory (TMPDIR says where)")?;
        // Hold all ports until all are chosen, so that no two are the same.
        let ports: Vec<TcpListener> =
            (0..hosts).map(|_| TcpListener::bind("127.0.0.1:0")).collect::<Result<_, _>>()?;
        let mut prepared = Vec::new();
        for (number, port) in (1..).zip(&ports) {
            let name = format!("web-{number}");
            let own = directory.path().join(&name);
            std::fs::create_dir(&own).with_context(|| format!("cannot make {}", own.display()))?;
            prepared.push(Host {
                socket: own.join("skein.sock"),
                application: port.local_addr()?,
                directory: own,
                name,
                agent: None,
            });
        }
        Ok(Fleet { hosts: prepared, executable, directory })
    }

    pub(super) fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// Returns the first host, whose agent gets the commands.
    pub(super) fn first(&self) -> &Host {
        &self.hosts[0]
    }

    /// Runs `skein` with these arguments against the first host's agent; the
    /// output goes where this process's does.
    pub(super) async fn skein(&self, arguments: &[&str]) -> anyhow::Result<ExitStatus> {
        let status = self.command(arguments).status().await;
        status.with_context(|| format!("cannot run skein {}", arguments.join(" ")))
    }

    /// Does the same, but discards the output.
    pub(super) async fn skein_silently(&self, arguments: &[&str]) -> anyhow::Result<ExitStatus> {
        let status = self.command(arguments).stdout(Stdio::null()).status().await;
        status.with_context(|| format!("cannot run skein {}", arguments.join(" ")))
    }

    /// Does the same, but returns the output, and fails if the command does.
    pub(super) async fn skein_quietly(&self, arguments: &[&str]) -> anyhow::Result<String> {
        let output = self.command(arguments).stderr(Stdio::piped()).stdout(Stdio::piped()).output().await;
        let Output { status, stdout, stderr } =
            output.with_context(|| format!("cannot run skein {}", arguments.join(" ")))?;
        if !status.success() {
            bail!("skein {}: {}", arguments.join(" "), String::from_utf8_lossy(&stderr).trim());
        }
        Ok(String::from_utf8_lossy(&stdout).trim().to_string())
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.executable);
        command
            .args(arguments)
            .env("SKEIN_API", &self.first().socket)
            .stdin(Stdio::null())
            .kill_on_drop(true);
        command
    }

    /// Starts the agent of one host, which joins by the token if one is given.
    pub(super) fn start(&mut self, at: usize, token: Option<&str>) -> anyhow::Result<()> {
        let executable = self.executable.clone();
        let host = &mut self.hosts[at];
        let log = File::create(host.directory.join("agent.log")).context("cannot write an agent's log")?;
        let mut command = Command::new(&executable);
        command
            .arg("agent")
            .args(["--name", &host.name, "--listen", "127.0.0.1:0", "--tag", "role=web", "--tag", "env=demo"])
            .arg("--data-dir")
            .arg(host.directory.join("data"))
            .arg("--deploy-root")
            .arg(host.directory.join("deploy"))
            .arg("--api")
            .arg(&host.socket);
        if let Some(token) = token {
            let file = host.directory.join("token");
            std::fs::remove_file(&file).ok();
            secret_file::create(&file, token).context("cannot write the join token")?;
            command.arg("--join-file").arg(file);
        }
        let child = command
            .env("SKEIN_BIN", &executable)
            .env("HELLO_DIR", &host.directory)
            .env("HELLO_PORT", host.application.port().to_string())
            .stdin(Stdio::null())
            .stdout(log.try_clone().context("cannot write an agent's log")?)
            .stderr(log)
            // Ctrl-C is for the demo, which then ends its agents in order.
            .process_group(0)
            .spawn();
        host.agent = Some(child.with_context(|| format!("cannot start the agent of {}", host.name))?);
        Ok(())
    }

    /// Waits until the agent of one host sees this many hosts and knows the leader.
    pub(super) async fn wait_for(&mut self, at: usize, hosts: usize) -> anyhow::Result<()> {
        let begun = Instant::now();
        let host = &mut self.hosts[at];
        let client = Client::new(host.socket.clone());
        loop {
            let status = client.get::<StatusView>("/v1/status").await;
            if status.is_ok_and(|status| status.hosts.up >= hosts && status.leader.is_some()) {
                return Ok(());
            }
            if let Some(agent) = &mut host.agent
                && let Some(status) = agent.try_wait().context("cannot look after an agent")?
            {
                bail!("the agent of {} ended by itself ({status})", host.name);
            }
            if begun.elapsed() > READY_MAX {
                bail!("{} did not see {hosts} hosts within {} s", host.name, READY_MAX.as_secs());
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Ends all agents and the sample applications.
    pub(super) async fn end(mut self) {
        self.signal_agents();
        let deadline = Instant::now() + END_MAX;
        for host in &mut self.hosts {
            let Some(agent) = &mut host.agent else { continue };
            let left = deadline.saturating_duration_since(Instant::now());
            if tokio::time::timeout(left, agent.wait()).await.is_err() {
                // A turn may be in progress, but its result is not needed.
                let _ = agent.kill().await;
            }
        }
        for host in &self.hosts {
            end_application(host);
        }
        // Removing the directory also ends what a late script may still start.
        drop(self.directory);
    }

    /// Signals the agents twice, so that they end soon: their running events are of no use.
    fn signal_agents(&self) {
        for _ in 0..2 {
            let pids = self.hosts.iter().filter_map(|host| host.agent.as_ref()?.id());
            pids.for_each(|pid| send(pid, Signal::TERM));
        }
    }

    /// Returns the last lines of the agents' logs.
    pub(super) fn logs(&self) -> String {
        let tail = |host: &Host| {
            let log = std::fs::read_to_string(host.directory.join("agent.log")).unwrap_or_default();
            let lines: Vec<&str> = log.lines().collect();
            let last = lines[lines.len().saturating_sub(LOG_LINES_MAX)..].join("\n  ");
            format!("{}:\n  {last}\n", host.name)
        };
        self.hosts.iter().map(tail).collect()
    }

    /// Keeps the agents running; from now on only the user ends them.
    pub(super) fn leave_running(self) {
        let _ = self.directory.keep();
    }

    /// Returns the agents' process ids.
    pub(super) fn pids(&self) -> Vec<u32> {
        self.hosts.iter().filter_map(|host| host.agent.as_ref()?.id()).collect()
    }
}

fn end_application(host: &Host) {
    let pid = std::fs::read_to_string(host.directory.join("app.pid")).ok();
    if let Some(pid) = pid.and_then(|pid| pid.parse().ok()) {
        send(pid, Signal::TERM);
    }
}

fn send(pid: u32, signal: Signal) {
    // A process that has ended needs no signal.
    if let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) {
        let _ = kill_process(pid, signal);
    }
}

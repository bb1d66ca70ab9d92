//! One agent: its process, its files, and the ways to ask it.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::net::Ipv4Addr;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

/// The program under test.
pub(crate) const SKEIN: &str = env!("CARGO_BIN_EXE_skein");
/// Every agent has its own address, so all can use the same port. It lies below
/// the ephemeral ports, so that no outgoing connection takes it while the agent
/// is down.
const PORT: u16 = 7717;
/// The longest wait for an answer, since the agent may be stopped.
const ANSWER_MAX: Duration = Duration::from_secs(5);

pub(crate) struct Agent {
    pub(crate) name: String,
    pub(crate) data: PathBuf,
    pub(crate) socket: PathBuf,
    pub(crate) log: PathBuf,
    /// The directory of the whole mesh, which hooks find in `TEST_WORLD`.
    world: PathBuf,
    listen: String,
    /// Flags besides the name, the address and the data directory.
    pub(crate) flags: Vec<String>,
    /// The command that runs the agent; empty if it runs directly.
    pub(crate) wrapper: Vec<String>,
    process: Option<Child>,
}

/// The output of a command, and its exit code.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Agent {
    pub(crate) fn new(world: &Path, name: &str, address: Ipv4Addr, flags: &[&str]) -> Agent {
        Agent {
            name: name.to_string(),
            data: world.join(name),
            socket: world.join(format!("{name}.sock")),
            log: world.join(format!("{name}.log")),
            world: world.to_path_buf(),
            listen: format!("{address}:{PORT}"),
            flags: flags.iter().map(ToString::to_string).collect(),
            wrapper: Vec::new(),
            process: None,
        }
    }

    pub(crate) fn listen(&self) -> &str {
        &self.listen
    }

    /// Listens there, the next time that it is started.
    pub(crate) fn move_to(&mut self, address: Ipv4Addr) {
        self.listen = format!("{address}:{PORT}");
    }

    /// Makes the agent listen on QUIC only.
    pub(crate) fn over_quic(&mut self) {
        let (address, port) = self.listen.split_once(':').expect("an address and a port");
        self.listen = format!("/ip4/{address}/udp/{port}/quic-v1");
    }

    /// Lets the agent play an earlier release, which reads and speaks up to this version.
    pub(crate) fn speak(&mut self, version: u16) {
        self.wrapper = vec!["env".into(), format!("SKEIN_WIRE={version}")];
    }

    /// Starts the agent, which may take a moment to answer. Returns its pid.
    pub(crate) fn start(&mut self) -> u32 {
        assert!(self.process.is_none(), "{} runs already", self.name);
        let log = File::options().create(true).append(true).open(&self.log).expect("a log");
        let program: Vec<&str> = self.wrapper.iter().map(String::as_str).chain([SKEIN]).collect();
        let child = Command::new(program[0])
            .args(&program[1..])
            .args(["agent", "--name", &self.name, "--listen", &self.listen])
            .arg("--data-dir")
            .arg(&self.data)
            .arg("--api")
            .arg(&self.socket)
            .args(&self.flags)
            .env("TEST_WORLD", &self.world)
            .env("TEST_HOST", &self.name)
            .env("NO_COLOR", "1")
            .env_remove("SKEIN_API")
            // An interrupted test ends its agents itself.
            .process_group(0)
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("a log"))
            .stderr(log)
            .spawn()
            .expect("the agent starts");
        let pid = child.id();
        self.process = Some(child);
        pid
    }

    pub(crate) fn pid(&self) -> u32 {
        self.process.as_ref().expect("a running agent").id()
    }

    pub(crate) fn is_running(&self) -> bool {
        self.process.is_some()
    }

    pub(crate) fn signal(&self, signal: Signal) {
        let child = self.process.as_ref().expect("a running agent");
        let pid = Pid::from_child(child);
        kill_process(pid, signal).expect("a process of ours");
    }

    /// Kills the agent as a power failure would, but hooks that run continue.
    pub(crate) fn kill(&mut self) {
        self.signal(Signal::KILL);
        self.wait();
    }

    pub(crate) fn terminate(&self) {
        self.signal(Signal::TERM);
    }

    /// Waits until the process has ended.
    pub(crate) fn wait(&mut self) -> ExitStatus {
        let mut child = self.process.take().expect("a running agent");
        child.wait().expect("a child of ours")
    }

    /// Returns how the process ended, if it has.
    pub(crate) fn ended(&mut self) -> Option<ExitStatus> {
        let ended = self.process.as_mut().expect("a started agent").try_wait().expect("a child of ours");
        if ended.is_some() {
            self.process = None;
        }
        ended
    }

    /// Returns the command `skein` on this host.
    pub(crate) fn command(&self, args: &[&str]) -> Command {
        let mut command = command(args);
        command.env("SKEIN_API", &self.socket);
        command
    }

    pub(crate) fn skein(&self, args: &[&str]) -> Ran {
        Ran::of(self.command(args).output().expect("skein runs"))
    }

    /// Returns the document that `skein … --json` prints.
    pub(crate) fn json(&self, args: &[&str]) -> Value {
        let ran = self.skein(&[args, &["--json"]].concat());
        serde_json::from_str(&ran.stdout).unwrap_or_else(|error| panic!("{args:?}: {error}: {ran:?}"))
    }

    /// Asks the API directly, because starting a program for each of many looks
    /// is too slow. Returns `None` without an answer, or if it is not a
    /// success.
    pub(crate) fn get(&self, path: &str) -> Option<Value> {
        serde_json::from_str(&self.get_text(path)?).ok()
    }

    /// Gets an answer that is not JSON; otherwise the same as [`Agent::get`].
    pub(crate) fn get_text(&self, path: &str) -> Option<String> {
        let mut stream = UnixStream::connect(&self.socket).ok()?;
        stream.set_read_timeout(Some(ANSWER_MAX)).expect("a socket");
        write!(stream, "GET {path} HTTP/1.1\r\nHost: skein\r\nConnection: close\r\n\r\n").ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).ok()?;
        let (head, body) = answer.split_once("\r\n\r\n")?;
        if !head.starts_with("HTTP/1.1 200") {
            return None;
        }
        Some(body.to_string())
    }

    pub(crate) fn deployment(&self, id: &str) -> Option<Value> {
        self.get(&format!("/v1/deployments/{id}"))
    }

    pub(crate) fn log_text(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        if let Some(mut child) = self.process.take() {
            // The agent may have ended by itself.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// Returns the command `skein` on no host in particular.
pub(crate) fn command(args: &[&str]) -> Command {
    let mut command = Command::new(SKEIN);
    command.args(args).env("NO_COLOR", "1").env_remove("SKEIN_API").stdin(Stdio::null());
    command
}

pub(crate) fn skein(args: &[&str]) -> Ran {
    Ran::of(command(args).output().expect("skein runs"))
}

impl Ran {
    pub(crate) fn of(output: Output) -> Ran {
        Ran {
            code: output.status.code().unwrap_or(-1),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    /// Checks the exit code, and that the output contains these words.
    #[track_caller]
    pub(crate) fn expect(&self, code: i32, words: &[&str]) {
        let text = format!("{}{}", self.stdout, self.stderr);
        assert_eq!(self.code, code, "the exit code of: {text}");
        for word in words {
            assert!(text.contains(word), "nothing is said of `{word}`: {text}");
        }
    }
}

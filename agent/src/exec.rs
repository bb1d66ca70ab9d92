//! Runs a command on this host that is not a lifecycle hook: an alarm's or a
//! trigger's. It starts without a shell, and ends in time with all its children.

use std::os::unix::process::CommandExt as _;
use std::process::{ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rustix::process::{Pid, Signal, getppid, kill_process_group, set_parent_process_death_signal};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::process::{Child, Command};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::child_env::without_units_own;

/// The most bytes of a command's output to read: enough for a line to people.
const OUTPUT_BYTES_MAX: usize = 4 * 1024;
/// Time to wait for the rest of the output after the command has ended: a child
/// that it left behind may hold the output open forever.
const OUTPUT_PATIENCE: Duration = Duration::from_millis(500);

/// A command to run.
pub(crate) struct Exec<'a> {
    /// The program and its arguments, separated by spaces; no shell sees them.
    pub(crate) command: &'a str,
    /// Variables in addition to the agent's own environment.
    pub(crate) environment: Vec<(&'static str, String)>,
    pub(crate) stdin: Vec<u8>,
    pub(crate) timeout: Duration,
}

/// The result of a command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Ended {
    /// `None` if a signal ended it.
    pub(crate) code: Option<i32>,
    /// The first line of either output.
    pub(crate) said: String,
}

/// The reason why a command has no result.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ExecError {
    #[error("no command is given")]
    Empty,
    #[error("cannot start `{program}` on this host: {cause}")]
    Start { program: String, cause: std::io::Error },
    #[error("cannot wait for `{program}`: {cause}")]
    Wait { program: String, cause: std::io::Error },
    #[error("`{program}` did not end within {} s", limit.as_secs_f32())]
    TimedOut { program: String, limit: Duration },
    #[error("`{program}` is no longer needed")]
    Cancelled { program: String },
}

/// Runs a command until it ends. If it does not end by itself in time, kills its process group.
pub(crate) async fn run(exec: Exec<'_>, cancel: &CancellationToken) -> Result<Ended, ExecError> {
    let mut words = exec.command.split_whitespace();
    let program = words.next().ok_or(ExecError::Empty)?.to_string();
    let mut command = Command::new(&program);
    command.args(words).envs(exec.environment).current_dir("/");
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    without_units_own(command.as_std_mut());
    own_session(command.as_std_mut());
    end_with_agent(command.as_std_mut());
    let mut child = command.spawn().map_err(|cause| ExecError::Start { program: program.clone(), cause })?;
    let group = child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
    let (input, stdin) = (child.stdin.take(), exec.stdin);
    tokio::spawn(async move {
        if let Some(mut input) = input {
            // A command need not read its input.
            let _ = input.write_all(&stdin).await;
        }
    });
    let said = Said::default();
    let readers = [
        tokio::spawn(listen(child.stdout.take(), said.clone())),
        tokio::spawn(listen(child.stderr.take(), said.clone())),
    ];
    let ended = tokio::select! {
        biased;
        status = child.wait() => status.map_err(|cause| ExecError::Wait { program, cause }),
        () = cancel.cancelled() => Err(ExecError::Cancelled { program }),
        () = tokio::time::sleep(exec.timeout) => Err(ExecError::TimedOut { program, limit: exec.timeout }),
    };
    match ended {
        Ok(status) => Ok(Ended { code: status.code(), said: first_line(readers, said, status).await }),
        Err(error) => {
            kill(&mut child, group).await;
            Err(error)
        }
    }
}

/// Starts the command in its own session, and so in its own process group and
/// without a terminal. If it asks a terminal, it gets an error at once, instead
/// of being stopped or reading what is typed to the agent.
#[expect(unsafe_code, reason = "a process begins its own session, and nobody else can")]
pub(crate) fn own_session(command: &mut std::process::Command) {
    let begin = || {
        rustix::process::setsid()?;
        Ok(())
    };
    // SAFETY: between fork and exec it makes one system call, allocates nothing
    // and takes no lock.
    unsafe { command.pre_exec(begin) };
}

/// Lets the command be killed if the agent is, because the next agent knows nothing
/// of it. Processes that the command itself started continue. (A hook, which may
/// leave half of an application behind, is ended with all its processes by the next
/// agent.) The command must be started on a thread that lasts as long as the agent.
#[expect(unsafe_code, reason = "a process asks for its own end in no other way")]
pub(crate) fn end_with_agent(command: &mut std::process::Command) {
    let agent = rustix::process::getpid();
    let ask = move || {
        set_parent_process_death_signal(Some(Signal::KILL))?;
        // The agent may have been killed before that.
        if getppid() == Some(agent) { Ok(()) } else { Err(rustix::io::Errno::CANCELED.into()) }
    };
    // SAFETY: between fork and exec it makes two system calls, allocates nothing
    // and takes no lock.
    unsafe { command.pre_exec(ask) };
}

/// The part of both outputs that was read so far.
type Said = Arc<Mutex<Vec<u8>>>;

/// Reads an output to its end, and keeps the beginning: unread output would block the command.
async fn listen(stream: Option<impl AsyncRead + Unpin>, said: Said) {
    let Some(mut stream) = stream else { return };
    let mut chunk = [0; 4 * 1024];
    // An error ends the stream, too.
    while let Ok(read @ 1..) = stream.read(&mut chunk).await {
        let mut said = said.lock().unwrap_or_else(PoisonError::into_inner);
        let room = OUTPUT_BYTES_MAX.saturating_sub(said.len());
        said.extend_from_slice(&chunk[..read.min(room)]);
    }
}

async fn first_line(readers: [JoinHandle<()>; 2], said: Said, status: ExitStatus) -> String {
    let [stdout, stderr] = readers;
    // A process that still writes continues, and is read in the background.
    let _ = tokio::time::timeout(OUTPUT_PATIENCE, async { tokio::join!(stdout, stderr) }).await;
    let said = said.lock().unwrap_or_else(PoisonError::into_inner);
    let text = String::from_utf8_lossy(&said);
    match text.lines().map(str::trim).find(|line| !line.is_empty()) {
        Some(line) => line.to_string(),
        None => status.to_string(),
    }
}

async fn kill(child: &mut Child, group: Option<Pid>) {
    // Errors mean that no process is left in the group, which is the aim.
    let _ = group.map(|group| kill_process_group(group, Signal::KILL));
    let _ = child.wait().await;
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    /// Time enough, even on a busy machine.
    const PATIENCE: Duration = Duration::from_secs(20);

    async fn check(command: &str, expected: Result<(Option<i32>, &str), &str>) {
        check_within(PATIENCE, command, expected).await;
    }

    async fn check_within(timeout: Duration, command: &str, expected: Result<(Option<i32>, &str), &str>) {
        let environment = vec![("ALARM_NAME", "errors".into())];
        let exec = Exec { command, environment, stdin: b"hello\n".to_vec(), timeout };
        let since = Instant::now();
        let ended = run(exec, &CancellationToken::new()).await;
        assert!(since.elapsed() < PATIENCE, "{command} took {:?}", since.elapsed());
        match (ended, expected) {
            (Ok(ended), Ok((code, said))) => {
                assert_eq!((ended.code, ended.said.as_str()), (code, said), "{command}");
            }
            (Err(error), Err(says)) => assert!(error.to_string().contains(says), "{command}: {error}"),
            (ended, expected) => panic!("{command}: {ended:?}, not {expected:?}"),
        }
    }

    /// Waits until the process whose id is in the file is gone, or a zombie.
    async fn until_gone(pid_file: &std::path::Path) {
        let since = Instant::now();
        let pid = std::fs::read_to_string(pid_file).expect("it had begun");
        let pid: u32 = pid.trim().parse().expect("a process id");
        let stat = format!("/proc/{pid}/stat");
        while std::fs::read_to_string(&stat).is_ok_and(|stat| !stat.contains(") Z")) {
            assert!(since.elapsed() < PATIENCE, "the command's child is still there");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    fn script(directory: &std::path::Path, text: &str) -> String {
        use std::os::unix::fs::PermissionsExt;
        let path = directory.join("script");
        // Written by another process: a file that this one has had open for
        // writing may still be busy in a child forked meanwhile.
        let wrote = std::process::Command::new("/bin/sh")
            .args(["-c", "printf '%s' \"$1\" >\"$0\""])
            .arg(&path)
            .arg(format!("#!/bin/sh\n{text}\n"))
            .status();
        assert!(wrote.is_ok_and(|status| status.success()));
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).expect("executable");
        path.display().to_string()
    }

    #[tokio::test]
    async fn a_command_ends_with_its_code_and_its_first_line() {
        check("true", Ok((Some(0), "exit status: 0"))).await;
        check("false", Ok((Some(1), "exit status: 1"))).await;
        check("cat", Ok((Some(0), "hello"))).await;
        check("printenv ALARM_NAME", Ok((Some(0), "errors"))).await;
        check("echo $HOME ;false", Ok((Some(0), "$HOME ;false"))).await;
        // It leads its own session.
        check("awk BEGIN{getline<\"/proc/self/stat\";print($1==$6)}", Ok((Some(0), "1"))).await;
        check("no-such-command-here", Err("cannot start `no-such-command-here`")).await;
        check("", Err("no command")).await;
    }

    #[tokio::test]
    async fn a_command_that_hangs_is_ended_with_its_children() {
        let directory = tempfile::tempdir().expect("a directory");
        let child = directory.path().join("child");
        let text = format!("sleep 300 & echo $! >{}; wait", child.display());
        let hangs = script(directory.path(), &text);
        check_within(Duration::from_secs(2), &hangs, Err("did not end within 2 s")).await;
        until_gone(&child).await;
    }

    #[test]
    fn a_command_is_killed_with_its_agent() {
        use std::os::unix::process::ExitStatusExt as _;
        // To the kernel, the thread that started the command is the agent.
        let started = std::thread::spawn(|| {
            let mut command = std::process::Command::new("sleep");
            end_with_agent(command.arg("60"));
            command.spawn().expect("it starts")
        });
        let mut child = started.join().expect("started");
        assert_eq!(child.wait().expect("a child").signal(), Some(Signal::KILL.as_raw()));
    }

    #[tokio::test]
    async fn a_child_that_is_left_behind_holds_up_nobody() {
        let directory = tempfile::tempdir().expect("a directory");
        check(&script(directory.path(), "sleep 30 & echo done; exit 1"), Ok((Some(1), "done"))).await;
        check(&script(directory.path(), "yes | head -c 300000; exit 1"), Ok((Some(1), "y"))).await;
    }
}

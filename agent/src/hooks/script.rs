//! One script as a process: starting it, waiting for it, stopping it.

use std::io::{self, BufRead, BufReader};
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use nix::errno::Errno;
use proto::appspec::Script;
use rustix::process::{Pid, Signal, kill_process_group};
use tokio::process::{Child, Command};
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::cgroup::Cgroup;
use super::output::Output;
use super::running::Running;
use super::user::RunAs;
use super::{HookError, Hooks};

/// Credentials that are the agent's, not the application's. The official agent
/// takes AWS's from its own environment, and so from its scripts'.
pub(crate) const NOT_FOR_SCRIPTS: [&str; 5] = [
    "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "AWS_CREDENTIAL_FILE",
    "GITHUB_TOKEN",
];

/// Runs the script at `path` to its end, or stops it.
pub(super) async fn run(
    hooks: &Hooks<'_>,
    script: &Script,
    path: &Path,
    output: &Output,
    cancel: &CancellationToken,
) -> Result<(), HookError> {
    let cgroup = Cgroup::make();
    let running = Running::begin(hooks, script, cgroup.as_ref());
    let over = || running.iter().for_each(Running::ended);
    let limit = hooks.patience.for_script.map_or(script.timeout, |most| script.timeout.min(most));
    let started = start(hooks, script, path, cgroup.as_ref(), running.as_ref()).await;
    let mut child = started.inspect_err(|_| over())?;
    let group = child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
    let readers = follow(&mut child, output);
    let ended = tokio::select! {
        // In this order, so that a script that ended in time has ended in time.
        biased;
        status = child.wait() => status.map_err(HookError::Wait).and_then(judge),
        () = cancel.cancelled() => Err(HookError::Cancelled),
        () = tokio::time::sleep(limit) => Err(HookError::TimedOut(limit)),
    };
    if matches!(ended, Err(HookError::Cancelled | HookError::TimedOut(_))) {
        stop(&mut child, group, hooks.patience.after_terminate).await;
        if let Some(cgroup) = &cgroup {
            cgroup.kill();
        }
    }
    over();
    if !drained(readers, hooks.patience.for_output).await {
        let what = "has ended, but a process that it started keeps its output open";
        output.note(&format!("Warning - {} {what}", script.location));
        tracing::warn!(script = script.location, event = hooks.event, "script {what}");
    }
    ended
}

fn judge(status: ExitStatus) -> Result<(), HookError> {
    match (status.code(), status.signal()) {
        (Some(0), _) => Ok(()),
        (Some(code), _) => Err(HookError::ExitCode(code)),
        (None, signal) => Err(HookError::Signal(signal.unwrap_or(0))),
    }
}

/// How often, 10 ms apart, we try to start a script that is still open for
/// writing somewhere.
const BUSY_TRIES_MAX: u32 = 100;

async fn start(
    hooks: &Hooks<'_>,
    script: &Script,
    path: &Path,
    cgroup: Option<&Cgroup>,
    running: Option<&Running>,
) -> Result<Child, HookError> {
    let spawn = |shell| {
        let mut command = command(hooks, script, path, shell)?;
        if let Some(running) = running {
            running.enter(&mut command);
        }
        if let Some(cgroup) = cgroup {
            cgroup.enter(&mut command);
        }
        // Last: another user may not move itself.
        if let (Some(user), false) = (&script.runas, script.sudo) {
            RunAs::look_up(user).map_err(HookError::RunAs)?.apply(&mut command);
        }
        Ok(command.spawn())
    };
    let mut spawned = spawn(None)?;
    // A process that we forked elsewhere just when this file was unpacked holds
    // it open until it becomes its own program, which is a matter of moments.
    for _ in 0..BUSY_TRIES_MAX {
        if !matches!(&spawned, Err(error) if error.kind() == io::ErrorKind::ExecutableFileBusy) {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
        spawned = spawn(None)?;
    }
    let spawned = match spawned {
        // No `#!`: such a file is a shell's, by old custom.
        Err(error) if error.raw_os_error() == Some(Errno::ENOEXEC as i32) => {
            spawn(Some(Path::new("/bin/sh")))?
        }
        spawned => spawned,
    };
    spawned.map_err(|cause| HookError::Start { advice: advice(path, &cause), cause })
}

/// With `sudo` the user is sudo's to become; without, ours.
pub(super) fn command(
    hooks: &Hooks<'_>,
    script: &Script,
    path: &Path,
    shell: Option<&Path>,
) -> Result<Command, HookError> {
    let words = shell.into_iter().chain([path]);
    let mut command = if script.sudo {
        let mut command = Command::new("sudo");
        command.args(script.runas.iter().flat_map(|user| ["-u", user])).arg("--").args(words);
        command
    } else {
        let mut command = Command::new(shell.unwrap_or(path));
        command.args(words.skip(1));
        command
    };
    command.envs(hooks.environment.iter().map(|(name, value)| (name, value)));
    for name in NOT_FOR_SCRIPTS {
        command.env_remove(name);
    }
    command.current_dir(hooks.archive).process_group(0);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    Ok(command)
}

/// Why a file that is there is said not to be: its first line names a program
/// that is not.
fn advice(path: &Path, cause: &io::Error) -> &'static str {
    if cause.kind() != io::ErrorKind::NotFound {
        return "";
    }
    let mut first = Vec::new();
    let read = std::fs::File::open(path)
        .and_then(|file| BufReader::new(io::Read::take(file, 1_024)).read_until(b'\n', &mut first));
    match read {
        Ok(_) if first.ends_with(b"\r\n") => {
            ": its lines end as on Windows (CR LF), so its interpreter is not found; save it with Unix line ends"
        }
        Ok(_) => ": the interpreter that its first line names is not on this host",
        Err(_) => "",
    }
}

fn follow(child: &mut Child, output: &Output) -> Vec<JoinHandle<io::Result<()>>> {
    let stdout = child.stdout.take().map(|stream| tokio::spawn(output.clone().follow("stdout", stream)));
    let stderr = child.stderr.take().map(|stream| tokio::spawn(output.clone().follow("stderr", stream)));
    stdout.into_iter().chain(stderr).collect()
}

/// Waits for both streams to end. If they do not, they are read on in the
/// background: closing them would kill the process that still writes.
async fn drained(readers: Vec<JoinHandle<io::Result<()>>>, patience: Duration) -> bool {
    let all = async {
        for reader in readers {
            // What could be read was logged; an error ends the stream.
            let _ = reader.await;
        }
    };
    timeout(patience, all).await.is_ok()
}

/// Asks the whole group to end, then ends it.
async fn stop(child: &mut Child, group: Option<Pid>, patience: Duration) {
    let signal = |signal| group.map(|group| kill_process_group(group, signal));
    // Errors mean that nobody is left in the group, which is what we want.
    let _ = signal(Signal::TERM);
    let _ = timeout(patience, child.wait()).await;
    // Also if the script itself has ended: its children may not have.
    let _ = signal(Signal::KILL);
    let _ = child.wait().await;
}

//! One script as a process: starts it, waits for it, and stops it.

use std::io;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use nix::errno::Errno;
use proto::appspec::Script;
use rustix::process::{Pid, Signal, kill_process, kill_process_group};
use tokio::process::{Child, Command};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::cause;
use super::cgroup::Cgroup;
use super::keeper::Logs;
use super::output::Output;
use super::pipes::Pipes;
use super::process::members;
use super::running::Running;
use super::user::{RunAs, Su};
use super::{HookError, Hooks};
use crate::child_env::without_agents_own;
use crate::exec::own_session;
use crate::script_file::ScriptFile;

/// Runs the script at `path` until it ends, or stops it.
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
    let (mut child, by_su) = started.inspect_err(|_| over())?;
    let group = child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
    let mut pipes = Pipes::follow(&mut child, Logs::of(hooks), output);
    let ended = tokio::select! {
        // Check in this order, so that a script that ended in time counts as such.
        biased;
        status = child.wait() => status.map_err(HookError::Wait).and_then(|status| judge(status, script, path)),
        () = cancel.cancelled() => Err(HookError::Cancelled),
        () = tokio::time::sleep(limit) => Err(HookError::TimedOut(limit)),
    };
    let is_stopped = matches!(ended, Err(HookError::Cancelled | HookError::TimedOut(_)));
    if is_stopped {
        stop(&mut child, group, by_su, hooks.patience.after_terminate).await;
        if let Some(cgroup) = &cgroup {
            cgroup.kill();
        }
    }
    over();
    // A stopped script closes its output at once. Otherwise, an agent that is
    // stopping has no time to wait for a service.
    let never = CancellationToken::new();
    let hurry = if is_stopped { &never } else { cancel };
    let patience = hooks.patience.for_output;
    let brief = HANDED_OVER_AFTER.min(patience / 4);
    // Soon, because an agent that is killed before it takes the pipe with it.
    if !pipes.drained(brief, hurry).await && !pipes.hand_over(patience - brief, hurry).await {
        let what = "has ended, but a process that it started keeps its output open";
        output.note(&format!("Warning - {} {what}", script.location));
        tracing::warn!(script = %path.display(), "a script {what}");
    }
    ended
}

/// Most that a script starts in the background for itself ends with it, so a process to
/// read on is not started for each.
const HANDED_OVER_AFTER: Duration = Duration::from_millis(200);

fn judge(status: ExitStatus, script: &Script, path: &Path) -> Result<(), HookError> {
    match (status.code(), status.signal()) {
        (Some(0), _) => Ok(()),
        (Some(code), _) => Err(HookError::ExitCode { code, why: cause::of_exit_code(code, script, path) }),
        (None, signal) => Err(HookError::Signal(signal.unwrap_or(0))),
    }
}

/// The number of attempts, 10 ms apart, to start a script that another process
/// still has open for writing.
const BUSY_TRIES_MAX: u32 = 100;

async fn start(
    hooks: &Hooks<'_>,
    script: &Script,
    path: &Path,
    cgroup: Option<&Cgroup>,
    running: Option<&Running>,
) -> Result<(Child, bool), HookError> {
    let mut user = None;
    if let (Some(name), false) = (&script.runas, script.sudo) {
        user = Some(RunAs::look_up(name).map_err(HookError::RunAs)?);
    }
    let su = match &user {
        Some(user) => Su::that_lets(user).await,
        None => None,
    };
    let spawn = |shell: Option<&Path>| {
        let mut command = command(hooks, script, path, shell, su.as_ref());
        // First: the process group is part of the record.
        own_session(command.as_std_mut());
        if let Some(running) = running {
            running.enter(&mut command);
        }
        if let Some(cgroup) = cgroup {
            cgroup.enter(&mut command);
        }
        // Last: another user may not have the right to join the group.
        if let Some(user) = &user {
            user.apply(&mut command, su.is_some());
        }
        command.spawn()
    };
    // A file without `#!` is a shell script, by old custom.
    let shell = user.as_ref().map_or(Path::new(SHELL), RunAs::shell);
    let is_for_shell = ScriptFile::read(path).is_ok_and(|file| !file.starts_by_itself());
    let first = (is_for_shell && user.is_some()).then_some(shell);
    let mut spawned = spawn(first);
    // A process that we forked elsewhere just when this file was unpacked holds
    // it open until it executes its own program, which takes only moments.
    for _ in 0..BUSY_TRIES_MAX {
        if !matches!(&spawned, Err(error) if error.kind() == io::ErrorKind::ExecutableFileBusy) {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
        spawned = spawn(first);
    }
    let is_unknown = matches!(&spawned, Err(error) if error.raw_os_error() == Some(Errno::ENOEXEC as i32));
    if is_unknown && is_for_shell {
        spawned = spawn(Some(shell));
    }
    let spawned = spawned.map(|child| (child, su.is_some()));
    spawned.map_err(|cause| HookError::Start { why: cause::of_start(&cause, script, path), cause })
}

/// The shell for scripts without an interpreter and without a user.
const SHELL: &str = "/bin/sh";

/// Builds the command of the script's process. With `sudo`, sudo changes to the user.
pub(super) fn command(
    hooks: &Hooks<'_>,
    script: &Script,
    path: &Path,
    shell: Option<&Path>,
    su: Option<&Su<'_>>,
) -> Command {
    let words: Vec<&Path> = shell.into_iter().chain([path]).collect();
    let mut command = if script.sudo {
        let mut command = Command::new("sudo");
        command.args(script.runas.iter().flat_map(|user| ["-u", user])).arg("--").args(words);
        command
    } else if let Some(su) = su {
        su.command(&words)
    } else {
        let mut command = Command::new(words[0]);
        command.args(&words[1..]);
        command
    };
    command.envs(hooks.environment.iter().map(|(name, value)| (name, value)));
    without_agents_own(command.as_std_mut());
    command.current_dir(hooks.archive);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// Sends SIGTERM to the whole group, then SIGKILL. If `su` leads the group, it gets
/// no SIGTERM: it ends with the script, and would kill the script after two seconds.
async fn stop(child: &mut Child, group: Option<Pid>, by_su: bool, patience: Duration) {
    // Errors mean that no process is left in the group, which is the aim.
    match group {
        Some(group) if by_su => {
            let asked = members(group.as_raw_nonzero().get()).filter_map(Pid::from_raw);
            for member in asked.filter(|member| *member != group) {
                let _ = kill_process(member, Signal::TERM);
            }
        }
        Some(group) => {
            let _ = kill_process_group(group, Signal::TERM);
        }
        None => {}
    }
    let _ = timeout(patience, child.wait()).await;
    // Even if the script itself has ended, its children may still run.
    let _ = group.map(|group| kill_process_group(group, Signal::KILL));
    let _ = child.wait().await;
}

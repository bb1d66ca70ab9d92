//! Runs a script once, as hooks are run: in the installed revision's directory, in its
//! own session, without input, and stopped with all its processes if it takes too long.

use std::io;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};

use proto::entry::{FAILURE_LOG_MAX, keep_end};
use proto::id::GroupName;
use rustix::process::{Pid, Signal, kill_process_group};
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::process::Command;

use super::{ProbeError, last_line};
use crate::child_env::without_agents_own;
use crate::exec::{end_with_agent, own_session};
use crate::hooks;
use crate::host_side::unaltered;
use crate::install::state::{ARCHIVE, State};

/// The most characters of the last line of its output to report.
const SAID_CHARS_MAX: usize = 120;

pub(super) async fn run(script: &str, group: &GroupName, deploy_root: &Path) -> Result<(), ProbeError> {
    let installed = installed(group, deploy_root)?;
    let archive = installed.join(ARCHIVE);
    let path = archive.join(script);
    if !Path::new(script).is_absolute() {
        unaltered(&archive, script).await?;
        hooks::make_executable(&path).map_err(ProbeError::Start)?;
    }
    let mut command = Command::new(&path);
    command.env("APPLICATION_NAME", group.application()).env("DEPLOYMENT_GROUP_NAME", group.group());
    command.env("DEPLOYMENT_GROUP_ID", group.id());
    command.env("DEPLOYMENT_ID", installed.file_name().unwrap_or_default());
    without_agents_own(command.as_std_mut());
    command.current_dir(&archive);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    own_session(command.as_std_mut());
    end_with_agent(command.as_std_mut());
    let mut child = command.spawn().map_err(ProbeError::Start)?;
    let pid = child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
    let _whole = pid.map(Whole);
    let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
    let both = async { tokio::join!(tail(stdout), tail(stderr)) };
    // A background child may keep the output open; only the script's own end counts.
    let mut both = std::pin::pin!(both);
    let status = tokio::select! {
        (stdout, stderr) = &mut both => return judge(child.wait().await.map_err(ProbeError::Start)?, &stdout, &stderr),
        status = child.wait() => status.map_err(ProbeError::Start)?,
    };
    if status.success() {
        return Ok(());
    }
    let (stdout, stderr) = both.await;
    judge(status, &stdout, &stderr)
}

async fn unaltered(archive: &Path, script: &str) -> Result<(), ProbeError> {
    let (archive, script) = (archive.to_owned(), script.to_owned());
    let checked = tokio::task::spawn_blocking(move || unaltered::check(&archive, &script)).await;
    match checked {
        Ok(Ok(())) => Ok(()),
        Ok(Err(error)) => Err(ProbeError::Start(io::Error::other(error))),
        Err(error) => Err(ProbeError::Start(io::Error::other(error))),
    }
}

fn judge(status: ExitStatus, stdout: &[u8], stderr: &[u8]) -> Result<(), ProbeError> {
    let how = match (status.code(), status.signal()) {
        (Some(0), _) => return Ok(()),
        (Some(code), _) => format!("exit code {code}"),
        (None, signal) => format!("signal {}", signal.unwrap_or(0)),
    };
    let said = [stderr, stdout].into_iter().map(|text| last_line(text, SAID_CHARS_MAX));
    Err(ProbeError::Ended { how, said: said.into_iter().find(|line| !line.is_empty()).unwrap_or_default() })
}

/// Returns the directory of the deployment whose Install completed last.
fn installed(group: &GroupName, deploy_root: &Path) -> Result<PathBuf, ProbeError> {
    let marked = State::new(deploy_root, &group.id()).last_successful().map_err(ProbeError::Start)?;
    marked.ok_or(ProbeError::NothingInstalled)
}

/// Reads a stream and returns the end of its output.
async fn tail(stream: Option<impl AsyncRead + Unpin>) -> Vec<u8> {
    let mut tail = Vec::new();
    let mut buffer = [0; 4 * 1024];
    let Some(mut stream) = stream else { return tail };
    // An error ends it, too.
    while let Ok(read @ 1..) = stream.read(&mut buffer).await {
        tail.extend_from_slice(&buffer[..read]);
        if tail.len() > 4 * FAILURE_LOG_MAX {
            tail = keep_end(&String::from_utf8_lossy(&tail), FAILURE_LOG_MAX).into();
        }
    }
    tail
}

/// Kills the process group when the probe is over, however that came about.
struct Whole(Pid);

impl Drop for Whole {
    fn drop(&mut self) {
        // An error means that no process is left in it, which is the aim.
        let _ = kill_process_group(self.0, Signal::KILL);
    }
}

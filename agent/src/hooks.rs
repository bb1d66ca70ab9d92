//! Runs the scripts of one lifecycle event.
//!
//! A script runs in its own session without a terminal, so that it can be stopped with all its
//! processes; in the revision's directory; with no input; and as the user that the AppSpec file names.
//! Nothing is passed through a shell. Hooks may run twice: nothing here assumes that they run once.

mod cause;
mod cgroup;
mod keeper;
mod left_processes;
mod log_file;
mod output;
mod pipes;
mod process;
mod running;
mod script;
mod user;

use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use proto::appspec::Script;
use proto::entry::ErrorCode;
use tokio_util::sync::CancellationToken;

pub(crate) use keeper::{VERB as KEEP_OUTPUT, keep as keep_output};
pub(crate) use left_processes::{Ended, end_left};
pub(crate) use log_file::files as log_files;
use output::Output;
pub(crate) use user::{RunAs, UserError};

use crate::regular_file;

/// Time limits for scripts and processes that should end by themselves.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Patience {
    /// The time between SIGTERM and SIGKILL.
    pub(crate) after_terminate: Duration,
    /// The time for a background child to close the output of a script that has ended.
    pub(crate) for_output: Duration,
    /// The time limit of a script, instead of its AppSpec file's.
    pub(crate) for_script: Option<Duration>,
}

impl Default for Patience {
    fn default() -> Patience {
        // Both as in version 2 of the official agent.
        let (after_terminate, for_output) = (Duration::from_secs(5), Duration::from_secs(5));
        Patience { after_terminate, for_output, for_script: None }
    }
}

/// One event, and everything that its scripts need.
#[derive(Debug)]
pub(crate) struct Hooks<'e> {
    /// The event's name, as in `LIFECYCLE_EVENT`.
    pub(crate) event: &'e str,
    /// The scripts in order; the first that fails ends the event.
    pub(crate) scripts: &'e [Script],
    /// The deployment's directory, which holds the record of the running script.
    pub(crate) dir: &'e Path,
    /// The unpacked revision that the scripts belong to.
    pub(crate) archive: &'e Path,
    /// Environment variables for the scripts, besides the agent's own.
    pub(crate) environment: &'e [(&'static str, String)],
    /// The scripts.log for their output.
    pub(crate) log: &'e Path,
    /// The deployment's id, which is in each line of `deployments_log`.
    pub(crate) deployment: &'e str,
    /// The log with the same lines of all deployments of this host.
    pub(crate) deployments_log: &'e Path,
    pub(crate) patience: Patience,
}

impl Hooks<'_> {
    /// Returns the script's path. A location may start with a slash, which means the bundle's top.
    fn path_of(&self, script: &Script) -> PathBuf {
        self.archive.join(script.location.trim_start_matches('/'))
    }
}

/// The failure of an event.
#[derive(Debug, thiserror::Error)]
#[error("script `{script}` of {event}")]
pub(crate) struct HookFailure {
    pub(crate) event: String,
    /// The script's location, as the AppSpec file gives it.
    pub(crate) script: String,
    /// The script's full path: in this deployment's revision, or in an older one's.
    pub(crate) path: PathBuf,
    /// The end of the output of this event's scripts.
    pub(crate) log: String,
    #[source]
    pub(crate) cause: HookError,
}

/// The reason why a script failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum HookError {
    #[error("there is no `{}`: check `location` in the AppSpec file, and that the bundle holds the script", path.display())]
    Missing { path: PathBuf },
    #[error(
        "`{}` is not the script that came with its bundle, so it does not run: {how}; deploy the revision again",
        path.display()
    )]
    Altered { path: PathBuf, how: String },
    #[error("cannot make `{}` executable", path.display())]
    NotExecutable {
        path: PathBuf,
        #[source]
        cause: io::Error,
    },
    #[error("cannot run it as another user")]
    RunAs(#[source] UserError),
    #[error("`{}` is a {kind}, not a script: check `location` in the AppSpec file", path.display())]
    NotAFile { path: PathBuf, kind: &'static str },
    #[error("cannot start it{}", after_colon(why))]
    Start {
        /// The cause that was found, if any.
        why: Option<String>,
        #[source]
        cause: io::Error,
    },
    #[error("it failed with exit code {code}{}", after_colon(why))]
    ExitCode { code: i32, why: Option<String> },
    #[error("it was ended by signal {0}")]
    Signal(i32),
    #[error("it did not end within {} seconds and was stopped; `timeout` in the AppSpec file says how long it may take", .0.as_secs())]
    TimedOut(Duration),
    #[error("it was told to stop, because its deployment or its agent was")]
    Cancelled,
    #[error("cannot write `{}`", path.display())]
    Log {
        path: PathBuf,
        #[source]
        cause: io::Error,
    },
    #[error("cannot tell how it ended")]
    Wait(#[source] io::Error),
}

fn after_colon(why: &Option<String>) -> String {
    why.as_ref().map_or_else(String::new, |why| format!(": {why}"))
}

impl HookError {
    /// Returns CodeDeploy's code for the failure.
    pub(crate) fn code(&self) -> ErrorCode {
        match self {
            HookError::Missing { .. } => ErrorCode::ScriptMissing,
            HookError::NotExecutable { .. } => ErrorCode::ScriptNotExecutable,
            HookError::TimedOut(_) => ErrorCode::ScriptTimedOut,
            HookError::Cancelled => ErrorCode::Stopped,
            HookError::RunAs(_)
            | HookError::NotAFile { .. }
            | HookError::Start { .. }
            | HookError::ExitCode { .. }
            | HookError::Signal(_)
            | HookError::Wait(_) => ErrorCode::ScriptFailed,
            HookError::Log { .. } | HookError::Altered { .. } => ErrorCode::UnknownError,
        }
    }
}

/// Adds a line of the agent's own to a scripts.log.
pub(crate) fn note(log: &Path, text: &str) -> io::Result<()> {
    let time = jiff::Zoned::now().strftime("%Y-%m-%d %H:%M:%S").to_string();
    log_file::LogFile::open(log)?.add(format!("{time} {text}\n").as_bytes())
}

/// Runs the event's scripts one after the other. An event without scripts succeeds and leaves no log.
pub(crate) async fn run(hooks: &Hooks<'_>, cancel: &CancellationToken) -> Result<(), HookFailure> {
    let Some(first) = hooks.scripts.first() else { return Ok(()) };
    let failure = |script: &Script, log: String, cause| HookFailure {
        event: hooks.event.to_owned(),
        script: script.location.clone(),
        path: hooks.path_of(script),
        log,
        cause,
    };
    let output = Output::open(hooks).map_err(|cause| failure(first, String::new(), cause))?;
    output.note(&format!("LifecycleEvent - {}", hooks.event));
    for script in hooks.scripts {
        if let Err(cause) = one(hooks, script, &output, cancel).await {
            let failed = failure(script, output.tail(), cause);
            // Write the failure to the log, even where it is ignored.
            output.note(&format!("Failed - {}: {}", script.location, failed.cause));
            return Err(failed);
        }
    }
    Ok(())
}

async fn one(
    hooks: &Hooks<'_>,
    script: &Script,
    output: &Output,
    cancel: &CancellationToken,
) -> Result<(), HookError> {
    let path = hooks.path_of(script);
    let Ok(metadata) = path.metadata() else { return Err(HookError::Missing { path }) };
    make_executable(&path).map_err(|cause| HookError::NotExecutable { path: path.clone(), cause })?;
    output.note(&format!("Script - {}", script.location));
    if !metadata.is_file() {
        let kind = regular_file::kind_in_words(metadata.file_type());
        return Err(HookError::NotAFile { path, kind });
    }
    script::run(hooks, script, &path, output, cancel).await
}

/// Makes a script executable: bundles come from zips and from Windows, where nothing is.
pub(crate) fn make_executable(path: &Path) -> io::Result<()> {
    let metadata = path.metadata()?;
    let mode = metadata.permissions().mode();
    if metadata.is_dir() || mode & 0o111 == 0o111 {
        return Ok(());
    }
    // If not all users may run it, it is enough that this one may.
    if mode & 0o111 != 0 && rustix::fs::access(path, rustix::fs::Access::EXEC_OK).is_ok() {
        return Ok(());
    }
    tracing::debug!(script = %path.display(), "script is not executable, making it so");
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode & 0o7777 | 0o111))
}

#[cfg(test)]
mod tests;

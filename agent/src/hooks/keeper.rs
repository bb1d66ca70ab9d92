//! Reads the output that arrives after a script has ended, because a service that
//! it started still writes to it.
//!
//! Closing the pipe would kill the service with SIGPIPE at its next line, and a full pipe
//! without a reader would block it. The service also outlives the agent, and `skein local`. So
//! the pipe goes to a separate process, the keeper, which continues the agent's log until no
//! process can write to the pipe. It takes over a moment after the script has ended: the pipe
//! breaks only if the agent is killed (SIGKILL) within that moment.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;
use std::process::{Child, Command, ExitCode, Stdio};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};

use super::Hooks;
use super::output::{Lines, Output};
use crate::exec::own_session;

/// The argument with which this program runs as a keeper.
pub(crate) const VERB: &str = "keep-output";
/// The only environment variable that a keeper needs: the time zone of the log's lines.
const TIME_ZONE: &str = "TZ";
/// The number of bytes to read at once; between a service's lines the keeper waits in the read.
const READ_BYTES_MAX: usize = 8 * 1024;

/// The logs that the lines go to.
#[derive(Clone, Debug)]
pub(super) struct Logs {
    pub(super) log: PathBuf,
    pub(super) deployment: String,
    pub(super) deployments_log: PathBuf,
}

impl Logs {
    pub(super) fn of(hooks: &Hooks<'_>) -> Logs {
        Logs {
            log: hooks.log.to_owned(),
            deployment: hooks.deployment.to_owned(),
            deployments_log: hooks.deployments_log.to_owned(),
        }
    }
}

/// Returns true if keepers can be started; a unit test's own program cannot be one.
pub(super) const fn is_there() -> bool {
    !cfg!(test)
}

/// Hands the reading ends of standard output and standard error to a keeper. Returns its
/// process id.
pub(super) fn hand_over([stdout, stderr]: [OwnedFd; 2], logs: &Logs) -> io::Result<u32> {
    // The running program, even if another one has replaced it on disk.
    let mut command = Command::new("/proc/self/exe");
    command.arg(VERB).arg(&logs.deployment).arg(&logs.log).arg(&logs.deployments_log);
    command.env_clear().envs(std::env::var_os(TIME_ZONE).map(|zone| (TIME_ZONE, zone))).current_dir("/");
    // The keeper reads from its own standard output too: to the system that is a
    // descriptor like any other.
    command.stdin(stdout).stdout(stderr).stderr(Stdio::null());
    own_session(&mut command);
    let keeper = command.spawn()?;
    let id = keeper.id();
    let mut keepers = KEEPERS.lock().unwrap_or_else(PoisonError::into_inner);
    // Reap keepers that have ended; they stay in the process table until then.
    keepers.retain_mut(|keeper| !matches!(keeper.try_wait(), Ok(Some(_)) | Err(_)));
    keepers.push(keeper);
    Ok(id)
}

/// Waits until this keeper has read to the end.
pub(super) async fn ended(id: u32) {
    let has_ended = |keeper: &mut Child| matches!(keeper.try_wait(), Ok(Some(_)) | Err(_));
    loop {
        let is_over = {
            let mut keepers = KEEPERS.lock().unwrap_or_else(PoisonError::into_inner);
            // One that is not there any longer was found to have ended.
            keepers.iter_mut().find(|keeper| keeper.id() == id).is_none_or(has_ended)
        };
        if is_over {
            return;
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

/// The time from one look at a keeper to the next.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// The keepers that this process has started and that may still run: one for each
/// service that writes to its hook's output.
static KEEPERS: Mutex<Vec<Child>> = Mutex::new(Vec::new());

/// Runs a keeper with the arguments that follow [`VERB`].
pub(crate) fn keep(mut arguments: impl Iterator<Item = OsString>) -> ExitCode {
    let (Some(deployment), Some(log), Some(deployments_log)) =
        (arguments.next(), arguments.next(), arguments.next())
    else {
        return ExitCode::FAILURE;
    };
    let logs = Logs {
        log: log.into(),
        deployment: deployment.to_string_lossy().into_owned(),
        deployments_log: deployments_log.into(),
    };
    // Without a log, read all the same: the service must not block.
    let output = Output::go_on(&logs).ok();
    let also = output.clone();
    let stderr =
        std::thread::spawn(move || read_on(io::stdout().as_fd().try_clone_to_owned(), "stderr", also));
    read_on(io::stdin().as_fd().try_clone_to_owned(), "stdout", output);
    let _ = stderr.join();
    ExitCode::SUCCESS
}

/// Reads until no process can write any longer.
fn read_on(stream: io::Result<OwnedFd>, name: &'static str, output: Option<Output>) {
    let Ok(stream) = stream.inspect(block) else { return };
    let mut stream = File::from(stream);
    let mut lines = Lines::new(name);
    let mut buffer = vec![0; READ_BYTES_MAX];
    loop {
        match stream.read(&mut buffer) {
            Ok(0) => break,
            Ok(read) => output.iter().for_each(|output| output.add(&mut lines, &buffer[..read])),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(_) => break,
        }
    }
    output.iter().for_each(|output| output.end(&mut lines));
}

/// Makes the pipe blocking again; the agent read it without blocking.
fn block(stream: &OwnedFd) {
    let flags = fcntl_getfl(stream).unwrap_or(OFlags::empty());
    // If this fails, the first read reports it and ends.
    let _ = fcntl_setfl(stream, flags - OFlags::NONBLOCK);
}

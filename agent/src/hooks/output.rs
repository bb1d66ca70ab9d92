//! The output of scripts: every line goes to scripts.log, and the end is kept for
//! the report of a failure.

use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use proto::entry::{FAILURE_LOG_MAX, keep_end};
use tokio::io::AsyncReadExt;
use tokio::net::unix::pipe::Receiver;
use tokio_util::sync::CancellationToken;

use super::keeper::Logs;
use super::log_file::LogFile;
use super::{HookError, Hooks};

/// A longer line is cut into lines of this many bytes: a script that never ends a
/// line must not fill the agent's memory.
const LINE_BYTES_MAX: usize = 16 * 1024;

/// The bytes of a stream's current line, which has not ended yet.
#[derive(Debug)]
pub(super) struct Lines {
    prefix: String,
    line: Vec<u8>,
}

impl Lines {
    pub(super) fn new(name: &'static str) -> Lines {
        Lines { prefix: format!("[{name}]"), line: Vec::new() }
    }
}

/// The log of one event. Clones write to the same log.
#[derive(Clone, Debug)]
pub(super) struct Output {
    sink: Arc<Mutex<Sink>>,
}

#[derive(Debug)]
struct Sink {
    log: LogFile,
    /// The log of all deployments, if it can be written, and this deployment's id.
    deployments: Option<(LogFile, String)>,
    tail: String,
    /// True after the first error, which is logged once; a full disk does not stop a deployment.
    failed: bool,
}

impl Output {
    pub(super) fn open(hooks: &Hooks<'_>) -> Result<Output, HookError> {
        let logs = Logs::of(hooks);
        Output::append(&logs, LogFile::open).map_err(|cause| HookError::Log { path: logs.log, cause })
    }

    /// Continues logs that the agent created. Does not create missing directories again.
    pub(super) fn go_on(logs: &Logs) -> io::Result<Output> {
        Output::append(logs, LogFile::open_in_its_directory)
    }

    fn append(logs: &Logs, open: impl Fn(&Path) -> io::Result<LogFile>) -> io::Result<Output> {
        let log = open(&logs.log)?;
        let deployments = open(&logs.deployments_log).inspect_err(|error| {
            tracing::error!(log = %logs.deployments_log.display(), %error, "cannot write all scripts' output");
        });
        let deployments = deployments.ok().map(|log| (log, logs.deployment.clone()));
        let sink = Sink { log, deployments, tail: String::new(), failed: false };
        Ok(Output { sink: Arc::new(Mutex::new(sink)) })
    }

    /// Adds a line of the agent's own.
    pub(super) fn note(&self, text: &str) {
        self.sink().line("", text.as_bytes());
    }

    /// Returns the end of the output, cut to the size that the ledger takes.
    pub(super) fn tail(&self) -> String {
        keep_end(&self.sink().tail, FAILURE_LOG_MAX).to_owned()
    }

    /// Reads a script's stream to its end, or until `leave` is cancelled. `name`
    /// is `stdout` or `stderr`.
    pub(super) async fn follow(self, name: &'static str, mut stream: Receiver, leave: CancellationToken) {
        let mut lines = Lines::new(name);
        let mut buffer = vec![0; 8 * 1024];
        loop {
            let read = tokio::select! {
                biased;
                () = leave.cancelled() => break,
                read = stream.read(&mut buffer) => read,
            };
            match read {
                // What could be read was logged; an error ends the stream.
                Ok(0) | Err(_) => break,
                Ok(read) => self.add(&mut lines, &buffer[..read]),
            }
        }
        self.end(&mut lines);
    }

    /// Logs the lines that `bytes` complete, and keeps the rest.
    pub(super) fn add(&self, lines: &mut Lines, bytes: &[u8]) {
        let mut rest = bytes;
        while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
            lines.line.extend_from_slice(&rest[..end]);
            self.sink().line(&lines.prefix, &lines.line);
            lines.line.clear();
            rest = &rest[end + 1..];
        }
        lines.line.extend_from_slice(rest);
        if lines.line.len() >= LINE_BYTES_MAX {
            self.end(lines);
        }
    }

    /// Logs the rest as a line.
    pub(super) fn end(&self, lines: &mut Lines) {
        if !lines.line.is_empty() {
            self.sink().line(&lines.prefix, &lines.line);
            lines.line.clear();
        }
    }

    fn sink(&self) -> MutexGuard<'_, Sink> {
        // The lines after a half-written line must not be lost.
        self.sink.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Sink {
    fn line(&mut self, prefix: &str, text: &[u8]) {
        let now = jiff::Zoned::now();
        let time = now.strftime("%Y-%m-%d %H:%M:%S").to_string();
        let line = [time.as_bytes(), b" ", prefix.as_bytes(), text, b"\n"].concat();
        if let Err(error) = self.log.add(&line)
            && !self.failed
        {
            self.failed = true;
            tracing::error!(log = %self.log.path().display(), %error, "cannot write the scripts' output");
        }
        if let Some((log, deployment)) = &mut self.deployments {
            let millis = now.subsec_nanosecond() / 1_000_000;
            let start = format!("[{time}.{millis:03}] [{deployment}]{prefix}");
            let line = [start.as_bytes(), text.trim_ascii(), b"\n"].concat();
            if log.add(&line).is_err() {
                // The deployment's own log has the line, or reports its own error.
                self.deployments = None;
            }
        }
        self.tail += &format!("{prefix}{}\n", String::from_utf8_lossy(text));
        if self.tail.len() > 4 * FAILURE_LOG_MAX {
            self.tail = keep_end(&self.tail, FAILURE_LOG_MAX).to_owned();
        }
    }
}

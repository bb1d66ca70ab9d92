//! The record of a running script: a file in its deployment's directory. If the agent is killed,
//! the script stays, and so does the file with which the next agent finds it ([`super::left_processes`]).
//!
//! The agent writes its own identity and what it runs. The script's process adds
//! its identity before it executes the script, and it executes it only if the agent
//! is still alive then. So a running script has a record at every moment, whenever
//! the agent is killed. The file is not synced: no script outlives a power failure.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use proto::appspec::Script;
use proto::entry::keep_start;
use rustix::fs::{Mode, OFlags};
use rustix::process::getppid;
use serde::{Deserialize, Serialize};
use tokio::process::Command;

use super::Hooks;
use super::cgroup::{Cgroup, Place};
use super::process::{Process, Reach, STAT_BYTES_MAX};

/// The prefix of the file's name. The owner's pid follows, so that two processes
/// that deploy to one root never write the same file.
pub(super) const PREFIX: &str = "running-";
/// The most bytes of a script's location to record; people read it in the log.
const LOCATION_BYTES_MAX: usize = 1_024;

/// The first line of the file, as JSON. The second is the script's line of `/proc/PID/stat`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Record {
    pub(super) reach: Reach,
    /// The agent, or `skein local`.
    pub(super) owner: Process,
    pub(super) deployment: String,
    pub(super) event: String,
    pub(super) script: String,
    pub(super) cgroup: Option<Place>,
}

/// The record of a script. Only [`Running::ended`] removes it: an agent that leaves
/// a script behind in any other way than by being killed must leave the file, too.
#[derive(Debug)]
pub(super) struct Running {
    path: PathBuf,
    owner: Process,
    file: Arc<File>,
    /// The offset of the second line.
    second_line: u64,
}

impl Running {
    /// Writes the record; `None` if that fails. The script runs even if the disk is full.
    pub(super) fn begin(hooks: &Hooks<'_>, script: &Script, cgroup: Option<&Cgroup>) -> Option<Running> {
        let begun = Running::write(hooks, script, cgroup);
        let begun = begun.inspect_err(|error| {
            let (dir, script) = (hooks.dir.display(), &script.location);
            tracing::warn!(%dir, script, %error, "cannot note a running script: nobody ends it if the agent is killed");
        });
        begun.ok()
    }

    fn write(hooks: &Hooks<'_>, script: &Script, cgroup: Option<&Cgroup>) -> io::Result<Running> {
        let record = Record {
            reach: Reach::here()?,
            owner: Process::own()?,
            deployment: hooks.deployment.to_owned(),
            event: hooks.event.to_owned(),
            script: keep_start(&script.location, LOCATION_BYTES_MAX).to_owned(),
            // Without it, the script's process group is still ended.
            cgroup: cgroup.and_then(|cgroup| cgroup.place().ok()),
        };
        let mut line = serde_json::to_vec(&record)?;
        line.push(b'\n');
        // Create it with mode 0600, and never half written.
        let mut file = tempfile::NamedTempFile::new_in(hooks.dir)?;
        file.write_all(&line)?;
        let owner = record.owner;
        let path = file_in(hooks.dir, owner);
        let file = Arc::new(file.persist(&path)?);
        Ok(Running { path, owner, file, second_line: line.len() as u64 })
    }

    /// Makes `command`'s process add itself to the record before it executes the script. Call
    /// this before anything else that should happen in that process.
    #[expect(unsafe_code, reason = "only the process itself knows who it is before it begins")]
    pub(super) fn enter(&self, command: &mut Command) {
        // Another attempt to start it overwrites the last one.
        let (file, at, owner) = (Arc::clone(&self.file), self.second_line, self.owner.pid);
        let write_itself = move || -> rustix::io::Result<()> {
            let mut line = [0; STAT_BYTES_MAX];
            let own = rustix::fs::open(c"/proc/self/stat", OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
            let read = rustix::io::read(&own, &mut line)?;
            rustix::io::pwrite(&*file, &line[..read], at)?;
            Ok(())
        };
        // SAFETY: between fork and exec it makes five system calls, allocates
        // nothing and takes no lock.
        unsafe {
            command.pre_exec(move || {
                // As above, a full disk does not stop a deployment.
                let _ = write_itself();
                // The agent's successor may have looked already.
                let is_orphan = getppid().is_some_and(|parent| parent.as_raw_nonzero().get() != owner);
                if is_orphan { Err(rustix::io::Errno::CANCELED.into()) } else { Ok(()) }
            })
        };
    }

    /// Removes the record after the script has ended, or did not start.
    pub(super) fn ended(&self) {
        if let Err(error) = fs::remove_file(&self.path) {
            // This is harmless: an agent that finds the file sees that nothing of the script
            // runs.
            tracing::warn!(file = %self.path.display(), %error, "cannot remove the note of a script that has ended");
        }
    }
}

fn file_in(dir: &Path, owner: Process) -> PathBuf {
    dir.join(format!("{PREFIX}{}.json", owner.pid))
}

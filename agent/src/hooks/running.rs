//! What is written down of a script for as long as it runs: a file in its
//! deployment's directory. An agent that is killed leaves the script behind,
//! and the file with which the next one finds it ([`super::left`]).
//!
//! The agent writes who it is and what it runs; the script's process adds
//! itself before it becomes the script, which it does only if the agent still
//! lives then. So there is no moment at which a script runs that is not written
//! down, whenever the agent is killed. The disk is not waited for: no script
//! outlives a power failure.

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

/// Begins the file's name; the pid of who runs the script ends it, so that two
/// who deploy to one root never write the same.
pub(super) const PREFIX: &str = "running-";
/// Of a script's location, which people read in the log.
const LOCATION_BYTES_MAX: usize = 1_024;

/// The file's first line, as JSON; the second is the script's line of
/// `/proc/PID/stat`.
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

/// A script that is written down. Only [`Running::ended`] removes it: an agent
/// that leaves a script behind in another way than by being killed must leave
/// the file too.
#[derive(Debug)]
pub(super) struct Running {
    path: PathBuf,
    owner: Process,
    file: Arc<File>,
    /// Where the second line begins.
    second_line: u64,
}

impl Running {
    /// `None` if it cannot be written: a full disk is no reason to run nothing.
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
            // Without it, its group of processes is ended all the same.
            cgroup: cgroup.and_then(|cgroup| cgroup.place().ok()),
        };
        let mut line = serde_json::to_vec(&record)?;
        line.push(b'\n');
        // Of mode 0600, and never half there.
        let mut file = tempfile::NamedTempFile::new_in(hooks.dir)?;
        file.write_all(&line)?;
        let owner = record.owner;
        let path = file_in(hooks.dir, owner);
        let file = Arc::new(file.persist(&path)?);
        Ok(Running { path, owner, file, second_line: line.len() as u64 })
    }

    /// Makes `command`'s process write itself down before it begins. To be
    /// called first of all that is done in it.
    #[expect(unsafe_code, reason = "only the process itself knows who it is before it begins")]
    pub(super) fn enter(&self, command: &mut Command) {
        // Another try to start it writes over the last one.
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
                // As above: a full disk does not stop a deployment.
                let _ = write_itself();
                // Who comes after the agent may have looked already.
                let is_orphan = getppid().is_some_and(|parent| parent.as_raw_nonzero().get() != owner);
                if is_orphan { Err(rustix::io::Errno::CANCELED.into()) } else { Ok(()) }
            })
        };
    }

    /// The script has ended, or never began.
    pub(super) fn ended(&self) {
        if let Err(error) = fs::remove_file(&self.path) {
            // Harmless: whoever finds it sees that nothing of it runs.
            tracing::warn!(file = %self.path.display(), %error, "cannot remove the note of a script that has ended");
        }
    }
}

fn file_in(dir: &Path, owner: Process) -> PathBuf {
    dir.join(format!("{PREFIX}{}.json", owner.pid))
}

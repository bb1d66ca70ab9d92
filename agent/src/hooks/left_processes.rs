//! Finds scripts that outlived the process that ran them, by their records ([`super::running`]),
//! and ends them as a timeout does, before another script works on the same application.
//!
//! It never touches a script whose agent is alive, another process that has the script's pid by now,
//! or processes that a script which has ended left running, since services are started that way.
//!
//! So a script never outlives its agent into another script. Given up: an agent that was killed
//! during a script may return ten seconds later.

use std::fs;
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, geteuid, kill_process_group};

use super::Patience;
use super::cgroup::Cgroup;
use super::process::{Process, Reach, Stat, invalid, runs_in};
use super::running::{PREFIX, Record};
use crate::regular_file;

/// The longest record, in bytes. Ours have a kilobyte or two, or six with the
/// longest path of a control group.
const RECORD_BYTES_MAX: usize = 16 * 1024;
/// The most records to handle at once. A host runs one script per group at a
/// time; records beyond this wait for the next start or event.
const RECORDS_MAX: usize = 1_000;
/// The time for killed processes to disappear; only those that hang in the kernel take longer.
const KILLED_WITHIN: Duration = Duration::from_secs(5);
/// The interval between checks if they have ended.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// A script that was ended.
#[derive(Debug)]
pub(crate) struct Ended {
    /// The directory of its deployment.
    pub(crate) dir: PathBuf,
    pub(crate) deployment: String,
    pub(crate) event: String,
    pub(crate) script: String,
    pub(crate) pid: i32,
    /// True if nothing of it runs any longer.
    pub(crate) is_gone: bool,
}

/// Ends all such scripts of the deployments in these directories, in parallel.
/// Skips records that cannot be read. Blocks.
pub(crate) fn end_left(dirs: &[PathBuf], patience: Patience) -> Vec<Ended> {
    let left: Vec<Left> =
        dirs.iter().flat_map(|dir| records(dir)).take(RECORDS_MAX).filter_map(look).collect();
    for script in &left {
        script.signal(Signal::TERM);
    }
    wait_at_most(patience.after_terminate, || left.iter().all(|script| script.leader.now().is_none()));
    for script in &left {
        script.kill();
    }
    wait_at_most(KILLED_WITHIN, || left.iter().all(Left::is_gone));
    left.into_iter().map(Left::close).collect()
}

fn records(dir: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    let of_ours = entries.filter(|entry| entry.file_name().as_encoded_bytes().starts_with(PREFIX.as_bytes()));
    of_ours.map(|entry| entry.path()).collect()
}

/// Returns the script of a record if it still runs and no process waits for it.
fn look(path: PathBuf) -> Option<Left> {
    let found = read(&path).and_then(|(record, leader)| judge(&path, record, leader));
    match found {
        Ok(Found::NotOurs) => None,
        Ok(Found::Over) => {
            remove(&path);
            None
        }
        Ok(Found::Left(left)) => Some(*left),
        Err(error) => {
            tracing::warn!(file = %path.display(), %error, "cannot tell whether a script outlived its agent");
            None
        }
    }
}

/// The state of a recorded script.
enum Found {
    /// Its owner is alive, or cannot be seen from here.
    NotOurs,
    /// The script has ended, or never ran.
    Over,
    Left(Box<Left>),
}

/// Reads a record. The second line is `None` if no process came to write it.
fn read(path: &Path) -> io::Result<(Record, Option<Stat>)> {
    let file = regular_file::open_no_link(path)?;
    // Otherwise any user could make us, as root, end any process.
    if file.metadata()?.uid() != geteuid().as_raw() {
        return Err(invalid("it belongs to another user"));
    }
    let mut content = Vec::new();
    file.take(RECORD_BYTES_MAX as u64 + 1).read_to_end(&mut content)?;
    if content.len() > RECORD_BYTES_MAX {
        return Err(invalid("it is too long"));
    }
    let mut lines = content.splitn(3, |byte| *byte == b'\n');
    let record = serde_json::from_slice(lines.next().unwrap_or_default())?;
    let leader = match lines.next() {
        None | Some([]) => None,
        Some(line) => Some(Stat::parse(line).ok_or_else(|| invalid("it names no process"))?),
    };
    Ok((record, leader))
}

fn judge(path: &Path, record: Record, leader: Option<Stat>) -> io::Result<Found> {
    let here = Reach::here()?;
    if record.reach.boot != here.boot {
        return Ok(Found::Over);
    }
    if record.reach.pids != here.pids || record.owner.now().is_some() {
        return Ok(Found::NotOurs);
    }
    let Some(leader) = leader else { return Ok(Found::Over) };
    let pid = leader.process.pid;
    if leader.group != pid || pid <= 1 {
        return Err(invalid(format!("process {pid} leads no group")));
    }
    // Once the script itself has ended, what still runs was left on purpose.
    let Some(now) = leader.process.now() else { return Ok(Found::Over) };
    if now.group != pid {
        return Err(invalid(format!("process {pid} has left the group that it led")));
    }
    let group = Pid::from_raw(pid).ok_or_else(|| invalid("no process has that number"))?;
    let cgroup = record.cgroup.as_ref().and_then(Cgroup::at);
    let left = Left { path: path.to_owned(), record, leader: leader.process, group, cgroup };
    Ok(Found::Left(Box::new(left)))
}

/// A running script that no process waits for.
struct Left {
    path: PathBuf,
    record: Record,
    leader: Process,
    group: Pid,
    cgroup: Option<Cgroup>,
}

impl Left {
    fn signal(&self, signal: Signal) {
        // The number stays taken as long as any process is in the group. If it
        // belongs to another process, the group is empty.
        if !self.leader.is_replaced() {
            // An error means the same.
            let _ = kill_process_group(self.group, signal);
        }
    }

    fn kill(&self) {
        // Even if the script itself has ended, its children may still run.
        self.signal(Signal::KILL);
        if let Some(cgroup) = &self.cgroup {
            cgroup.kill();
        }
    }

    fn is_gone(&self) -> bool {
        let is_out = self.cgroup.as_ref().is_none_or(Cgroup::is_empty);
        is_out && (self.leader.is_replaced() || !runs_in(self.leader.pid))
    }

    /// Returns the result. The record of a script that still runs is kept.
    fn close(self) -> Ended {
        let is_gone = self.is_gone();
        if is_gone {
            remove(&self.path);
        }
        let Record { deployment, event, script, .. } = self.record;
        let dir = self.path.parent().unwrap_or(&self.path).to_owned();
        Ended { dir, deployment, event, script, pid: self.leader.pid, is_gone }
    }
}

fn remove(path: &Path) {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            tracing::warn!(file = %path.display(), %error, "cannot remove the note of a script that is over");
        }
        Ok(()) | Err(_) => {}
    }
}

fn wait_at_most(limit: Duration, is_so: impl Fn() -> bool) {
    let since = Instant::now();
    while !is_so() && since.elapsed() < limit {
        std::thread::sleep(LOOK_EVERY);
    }
}

#[cfg(test)]
mod tests;

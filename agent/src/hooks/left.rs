//! Scripts that outlived who ran them, found by what was written down of them
//! ([`super::running`]) and ended as a timeout ends them, before another script
//! works on the same application.
//!
//! Never touched: a script whose agent lives, another process that has its pid
//! by now, and what a script left behind that has ended, since that is how
//! services are started.

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

/// Ours are a kilobyte or two, or six with the longest path of a control group.
const RECORD_BYTES_MAX: usize = 16 * 1024;
/// A host runs one script a group at a time. What is beyond waits for the next
/// start or event.
const RECORDS_MAX: usize = 1_000;
/// For what was killed to be gone; only what hangs in the kernel takes longer.
const KILLED_WITHIN: Duration = Duration::from_secs(5);
/// Between two looks at what is to end.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// One that was ended.
#[derive(Debug)]
pub(crate) struct Ended {
    /// Its deployment's directory.
    pub(crate) dir: PathBuf,
    pub(crate) deployment: String,
    pub(crate) event: String,
    pub(crate) script: String,
    pub(crate) pid: i32,
    /// Whether nothing of it runs any more.
    pub(crate) is_gone: bool,
}

/// Ends all such scripts of the deployments in these directories, side by side.
/// What cannot be read is passed over. Blocks.
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

/// The script, if it is one that runs and that nobody waits for.
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

/// What became of a script that was written down.
enum Found {
    /// Whoever runs it lives, or cannot be seen from here.
    NotOurs,
    /// It does not run any more, or never did.
    Over,
    Left(Box<Left>),
}

/// What the file says; no second line if no process came to write it.
fn read(path: &Path) -> io::Result<(Record, Option<Stat>)> {
    let file = regular_file::open_no_link(path)?;
    // Else any user could have us, as root, end any process.
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
    // Once the script itself has ended, what goes on was left on purpose.
    let Some(now) = leader.process.now() else { return Ok(Found::Over) };
    if now.group != pid {
        return Err(invalid(format!("process {pid} has left the group that it led")));
    }
    let group = Pid::from_raw(pid).ok_or_else(|| invalid("no process has that number"))?;
    let cgroup = record.cgroup.as_ref().and_then(Cgroup::at);
    let left = Left { path: path.to_owned(), record, leader: leader.process, group, cgroup };
    Ok(Found::Left(Box::new(left)))
}

/// A script that runs, and that nobody waits for.
struct Left {
    path: PathBuf,
    record: Record,
    leader: Process,
    group: Pid,
    cgroup: Option<Cgroup>,
}

impl Left {
    fn signal(&self, signal: Signal) {
        // The number stays taken as long as anybody is in the group. Once it is
        // another process's, nobody is.
        if !self.leader.is_replaced() {
            // An error means that too.
            let _ = kill_process_group(self.group, signal);
        }
    }

    fn kill(&self) {
        // Also if the script itself has ended: its children may not have.
        self.signal(Signal::KILL);
        if let Some(cgroup) = &self.cgroup {
            cgroup.kill();
        }
    }

    fn is_gone(&self) -> bool {
        let is_out = self.cgroup.as_ref().is_none_or(Cgroup::is_empty);
        is_out && (self.leader.is_replaced() || !runs_in(self.leader.pid))
    }

    /// What came of it. The file of one that goes on all the same stays.
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

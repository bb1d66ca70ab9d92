//! A control group for one script, where the system allows us to create one.
//! Processes that leave the script's process group (`setsid`, a double fork) stay
//! in it, so that a script is stopped with all its processes.
//!
//! Processes that continue after a script that succeeded are left alone: services are started that way.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};
use tokio::process::Command;

/// A control group that is removed on drop, unless a process in it continues.
#[derive(Debug)]
pub(super) struct Cgroup {
    dir: PathBuf,
}

/// The identity of a control group, for a later agent: another one of the same name has another inode.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Place {
    dir: PathBuf,
    inode: u64,
}

/// The file system's type in the list of mounts.
const TYPE: &str = "cgroup2";
const PREFIX: &str = "skein-hook-";
const NAMES_TRIED_MAX: u32 = 1_000;

/// The control groups of this process that are not dropped yet.
static KEPT: Mutex<BTreeSet<PathBuf>> = Mutex::new(BTreeSet::new());

fn kept() -> MutexGuard<'static, BTreeSet<PathBuf>> {
    KEPT.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Cgroup {
    /// Creates a control group below the agent's own; `None` where that is not possible.
    pub(super) fn make() -> Option<Cgroup> {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let own = fs::read_to_string("/proc/self/cgroup").ok()?;
        let own = own.lines().find_map(|line| line.strip_prefix("0::/"))?;
        let above = mounted_at()?.join(own);
        // Hold the lock until the group is in the set; otherwise another thread
        // could take it for a leftover.
        let mut kept = kept();
        remove_left_over(&above, &kept);
        // In a container, an earlier agent may have had our pid, and its services may still run.
        let made = (0..NAMES_TRIED_MAX).find_map(|_| {
            let number = NEXT.fetch_add(1, Ordering::Relaxed);
            let dir = above.join(format!("{PREFIX}{}-{number}", std::process::id()));
            match fs::create_dir(&dir) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => None,
                made => Some(made.map(|()| dir)),
            }
        });
        let cgroup = Cgroup { dir: made?.ok()? };
        kept.insert(cgroup.dir.clone());
        drop(kept);
        // Without this file it is another kind of file system, or an old kernel.
        cgroup.dir.join("cgroup.kill").exists().then_some(cgroup)
    }

    pub(super) fn place(&self) -> io::Result<Place> {
        Ok(Place { dir: self.dir.clone(), inode: fs::metadata(&self.dir)?.ino() })
    }

    /// Returns the control group that another process created there, if it is still the same.
    pub(super) fn at(place: &Place) -> Option<Cgroup> {
        let is_ours = place.dir.file_name()?.to_str()?.starts_with(PREFIX);
        let is_it =
            fs::symlink_metadata(&place.dir).is_ok_and(|now| now.is_dir() && now.ino() == place.inode);
        let is_control_group = place.dir.join("cgroup.kill").exists();
        // Create the value last, because its drop removes the group.
        (is_ours && is_it && is_control_group).then(|| {
            kept().insert(place.dir.clone());
            Cgroup { dir: place.dir.clone() }
        })
    }

    /// Returns true if nothing runs in it. A group that cannot be read is gone.
    pub(super) fn is_empty(&self) -> bool {
        let events = fs::read_to_string(self.dir.join("cgroup.events")).unwrap_or_default();
        !events.lines().any(|line| line == "populated 1")
    }

    /// Makes `command` start in the group; if that fails, it runs outside.
    #[expect(unsafe_code, reason = "a process can be moved before it starts in no other way")]
    pub(super) fn enter(&self, command: &mut Command) {
        let Ok(members) = File::options().write(true).open(self.dir.join("cgroup.procs")) else { return };
        let enter = move || {
            // Zero means the process that writes.
            let _ = rustix::io::write(&members, b"0");
            Ok(())
        };
        // SAFETY: between fork and exec it makes one system call, allocates
        // nothing and takes no lock.
        unsafe { command.pre_exec(enter) };
    }

    /// Kills all processes in the group.
    pub(super) fn kill(&self) {
        if let Err(error) = fs::write(self.dir.join("cgroup.kill"), "1") {
            tracing::warn!(cgroup = %self.dir.display(), %error, "cannot kill what a script left");
        }
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        // An error of kind busy means that a service lives in it now.
        let _ = fs::remove_dir(&self.dir);
        kept().remove(&self.dir);
    }
}

/// Returns the mount point of version 2 of control groups: the conventional one,
/// or one beside version 1 on hosts that have both.
fn mounted_at() -> Option<PathBuf> {
    let mounts = fs::read_to_string("/proc/self/mounts").ok()?;
    mounts.lines().find_map(|line| {
        let mut words = line.split(' ').skip(1);
        let (place, kind) = (words.next()?, words.next()?);
        (kind == TYPE).then(|| PathBuf::from(place))
    })
}

/// Returns the pid of the process that created the control group of that name.
fn maker(name: &str) -> Option<u32> {
    name.strip_prefix(PREFIX)?.split_once('-')?.0.parse().ok()
}

/// Removes the groups of earlier agents, and of services that have ended since. A
/// group that is in use stays.
fn remove_left_over(above: &Path, kept: &BTreeSet<PathBuf>) {
    for entry in fs::read_dir(above).into_iter().flatten().flatten() {
        let Some(maker) = maker(&entry.file_name().to_string_lossy()) else { continue };
        // A group of a live agent may be empty because its script has not started
        // yet. For our own we know if that is so.
        let is_ours = maker == std::process::id();
        let is_left = if is_ours { !kept.contains(&entry.path()) } else { !is_alive(maker) };
        if is_left {
            let _ = fs::remove_dir(entry.path());
        }
    }
}

fn is_alive(pid: u32) -> bool {
    Path::new(&format!("/proc/{pid}")).exists()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn that_of_a_service_that_has_ended_is_removed_and_one_in_use_stays() {
        let Some(first) = Cgroup::make() else {
            println!("skipped: needs a writable control group");
            return;
        };
        let of_service = first.dir.clone();
        let mut command = Command::new("sleep");
        first.enter(command.arg("600").kill_on_drop(true));
        let mut service = command.spawn().expect("it starts");
        drop(first);
        assert!(of_service.exists(), "its service goes on");

        let in_use = Cgroup::make().expect("another one");
        assert!(of_service.exists(), "its service still goes on");
        service.kill().await.expect("it ends");
        let next = Cgroup::make().expect("one more");
        assert!(!of_service.exists());
        assert!(in_use.dir.exists() && next.dir.exists());
    }
}

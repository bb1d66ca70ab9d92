//! The files that describe a group's deployments, at the official agent's paths:
//!
//! ```text
//! <root>/<group id>/<deployment id>/deployment-archive/    scripts run from here
//! <root>/<group id>/<deployment id>/logs/scripts.log
//! <root>/<group id>/<deployment id>/running-<pid>.json     ours: the script that runs
//! <root>/deployment-logs/codedeploy-agent-deployments.log
//! <root>/deployment-instructions/<group id>-install.json   what Install did
//! <root>/deployment-instructions/<group id>-cleanup        what the next one removes
//! <root>/deployment-instructions/<group id>_last_successful_install
//! <root>/deployment-instructions/<group id>_most_recent_install
//! <root>/deployment-instructions/<group id>-installing.json   ours: what is under way
//! ```

use std::ffi::OsString;
use std::fs;
use std::io;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use super::Record;
use crate::bundle::unpack::{self, DEPTH_MAX};
use crate::whole_file;

/// CodeDeploy's default for `max_revisions`.
pub(crate) const REVISIONS_MAX: usize = 5;

/// The suffix of the file that names the deployment being installed.
const INSTALLING: &str = "-installing.json";

/// The directory of the unpacked bundle within its deployment's directory.
pub(crate) const ARCHIVE: &str = "deployment-archive";

/// The part of the deployment root that belongs to one group.
#[derive(Clone, Debug)]
pub(crate) struct State {
    root: PathBuf,
    group_id: String,
}

impl State {
    /// Creates it; `group_id` is one path component.
    pub(crate) fn new(root: &Path, group_id: &str) -> State {
        State { root: root.to_owned(), group_id: group_id.to_owned() }
    }

    /// Returns the directory of one deployment.
    pub(crate) fn deployment_dir(&self, deployment: &str) -> PathBuf {
        self.group_dir().join(deployment)
    }

    /// Returns the directory of all the group's deployments.
    pub(crate) fn group_dir(&self) -> PathBuf {
        self.root.join(&self.group_id)
    }

    /// Returns the file with what the next Install removes first, one path per line.
    pub(crate) fn cleanup_file(&self) -> PathBuf {
        self.instructions(&format!("{}-cleanup", self.group_id))
    }

    /// Returns the file that tells people what Install did.
    pub(crate) fn install_json(&self) -> PathBuf {
        self.instructions(&format!("{}-install.json", self.group_id))
    }

    /// Returns the file that exists during an installation, and after one was interrupted.
    pub(crate) fn installing_file(&self) -> PathBuf {
        self.instructions(&format!("{}{INSTALLING}", self.group_id))
    }

    /// Returns the log of the scripts of all groups.
    pub(crate) fn deployments_log(&self) -> PathBuf {
        self.root.join("deployment-logs").join("codedeploy-agent-deployments.log")
    }

    /// Returns the groups with an installation in progress or interrupted.
    pub(crate) fn installing(root: &Path) -> io::Result<Vec<State>> {
        let mut groups = Vec::new();
        let entries = match fs::read_dir(root.join("deployment-instructions")) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(groups),
            entries => entries?,
        };
        for entry in entries {
            let name = entry?.file_name();
            if let Some(group_id) = name.to_str().and_then(|name| name.strip_suffix(INSTALLING)) {
                groups.push(State::new(root, group_id));
            }
        }
        Ok(groups)
    }

    fn instructions(&self, name: &str) -> PathBuf {
        self.root.join("deployment-instructions").join(name)
    }

    fn last_successful_file(&self) -> PathBuf {
        self.instructions(&format!("{}_last_successful_install", self.group_id))
    }

    fn most_recent_file(&self) -> PathBuf {
        self.instructions(&format!("{}_most_recent_install", self.group_id))
    }

    /// Returns the deployment whose Install completed last, whatever happened to it afterwards.
    pub(crate) fn last_successful(&self) -> io::Result<Option<PathBuf>> {
        read_marker(&self.last_successful_file())
    }

    /// Returns the deployment whose bundle arrived last, installed or not.
    pub(crate) fn most_recent(&self) -> io::Result<Option<PathBuf>> {
        read_marker(&self.most_recent_file())
    }

    /// Marks the deployment in `dir` as the one whose Install completed last, once the `record` of
    /// what it installed is on stable storage.
    pub(crate) fn mark_last_successful(&self, dir: &Path, record: &Record) -> io::Result<()> {
        whole_file::write_after(&record.0, &self.last_successful_file(), dir.as_os_str().as_bytes())
    }

    /// Marks the deployment in `dir` as the one whose bundle arrived last.
    /// Nothing depends on this before the next event, so the file is not synced:
    /// syncing would take most of the time of a small deployment.
    pub(crate) fn mark_most_recent(&self, dir: &Path) -> io::Result<()> {
        whole_file::replace(&self.most_recent_file(), dir.as_os_str().as_bytes())
    }

    /// Removes the group's oldest deployments, so that with `current` at most `revisions_max`
    /// remain. Never removes the last successful one, which still has scripts to run.
    ///
    /// Deployments without a bundle (restarts, and those that failed before their bundle arrived)
    /// have only logs. They do not count as revisions; the same number of them is kept in addition.
    pub(crate) fn retain(&self, current: &Path, revisions_max: usize) -> io::Result<()> {
        let (revisions, logs) = self.others(current)?;
        let last_successful = self.last_successful()?;
        remove_oldest(revisions, revisions_max.saturating_sub(1), last_successful.as_deref());
        remove_oldest(logs, revisions_max, None);
        Ok(())
    }

    /// Returns the number of bytes that [`State::retain`] would free.
    pub(crate) fn retainable(&self, current: &Path, revisions_max: usize) -> u64 {
        let Ok((revisions, _)) = self.others(current) else { return 0 };
        let last_successful = self.last_successful().ok().flatten();
        let oldest = oldest(revisions, revisions_max.saturating_sub(1), last_successful.as_deref());
        oldest.iter().map(|(_, dir)| bytes_below(dir, DEPTH_MAX)).fold(0, u64::saturating_add)
    }

    /// Removes old logs only.
    pub(crate) fn retain_logs(&self, current: &Path, logs_max: usize) -> io::Result<()> {
        let (_, logs) = self.others(current)?;
        remove_oldest(logs, logs_max, None);
        Ok(())
    }

    /// Returns the group's other deployments: those with a bundle, and those without.
    fn others(&self, current: &Path) -> io::Result<(Vec<Dated>, Vec<Dated>)> {
        let mut others = Vec::new();
        for entry in fs::read_dir(self.group_dir())? {
            let entry = entry?;
            if entry.path() != current && entry.file_type()?.is_dir() {
                others.push((entry.metadata()?.modified()?, entry.path()));
            }
        }
        Ok(others.into_iter().partition(|(_, dir)| dir.join(ARCHIVE).is_dir()))
    }
}

/// A deployment's directory, and the time of the last addition to it.
type Dated = (SystemTime, PathBuf);

/// Returns all but the newest `kept_max`. Leaves out `spared`, in whose place a newer one goes.
fn oldest(mut dirs: Vec<Dated>, kept_max: usize, spared: Option<&Path>) -> Vec<Dated> {
    let extra = dirs.len().saturating_sub(kept_max);
    dirs.retain(|(_, dir)| Some(dir.as_path()) != spared);
    dirs.sort();
    dirs.truncate(extra);
    dirs
}

/// Removes the [`oldest`] directories. One that cannot be removed (a mount point,
/// a locked file) does not fail the deployment.
fn remove_oldest(dirs: Vec<Dated>, kept_max: usize, spared: Option<&Path>) {
    for (_, dir) in oldest(dirs, kept_max, spared) {
        if let Err(error) = unpack::remove(&dir) {
            tracing::warn!(dir = %dir.display(), %error, "cannot remove an old deployment");
        }
    }
}

/// Returns the disk space of the files below a directory, in bytes.
fn bytes_below(dir: &Path, depth_left: usize) -> u64 {
    /// The kernel's unit, whatever the file system's block size.
    const BLOCK: u64 = 512;
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    let bytes = |entry: fs::DirEntry| match entry.metadata() {
        Ok(metadata) if metadata.is_dir() && depth_left > 0 => bytes_below(&entry.path(), depth_left - 1),
        Ok(metadata) => metadata.blocks().saturating_mul(BLOCK),
        Err(_) => 0,
    };
    entries.map(bytes).fold(0, u64::saturating_add)
}

/// Reads a marker; `None` if it does not exist or does not name a directory.
/// There is no checksum; this is how damage by a power loss shows.
fn read_marker(path: &Path) -> io::Result<Option<PathBuf>> {
    let Some(bytes) = whole_file::read(path)? else { return Ok(None) };
    let name = bytes.trim_ascii_end();
    if name.starts_with(b"/") && !name.contains(&0) {
        return Ok(Some(PathBuf::from(OsString::from_vec(name.to_owned()))));
    }
    whole_file::set_aside(path, "it names no directory");
    Ok(None)
}

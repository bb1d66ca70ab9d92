//! The file that marks an installation in progress. An agent that is killed in
//! the middle of one leaves this file; the next agent finishes the installation,
//! so that the host has the complete new revision and never half of one.
//!
//! It goes forward and not back: the new revision is complete in the archive and
//! was found to fit, while the old files may be gone already.
//!
//! The report still says that the agent was killed in Install.

use std::fs::{self, File, TryLockError};
use std::io::{self, Read, Seek, Write};
use std::path::PathBuf;

use proto::policy::FileExists;
use serde::{Deserialize, Serialize};

use super::state::State;
use crate::whole_file;

/// The facts that are needed to start the installation again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Intent {
    /// The deployment's id, which is the name of its directory.
    pub(crate) deployment: String,
    pub(crate) appspec_name: String,
    pub(crate) custom_events: Vec<String>,
    pub(crate) file_exists: FileExists,
}

/// An installation that only this process may carry out. If dropped before
/// [`UnderWay::done`], it still counts as in progress.
#[derive(Debug)]
pub(crate) struct UnderWay {
    path: PathBuf,
    /// The lock; it ends with the process, however that ends.
    _locked: File,
}

impl UnderWay {
    /// Marks the start of an installation.
    /// # Errors
    /// [`io::ErrorKind::ResourceBusy`] if another process installs for the group now.
    pub(crate) fn begin(state: &State, intent: &Intent) -> io::Result<UnderWay> {
        let path = state.installing_file();
        let open = || File::options().read(true).write(true).create(true).truncate(false).open(&path);
        let file = match open() {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                fs::create_dir_all(path.parent().unwrap_or(&path))?;
                open()?
            }
            file => file?,
        };
        let mut file = lock(file)?;
        file.set_len(0)?;
        file.rewind()?;
        let content = serde_json::to_vec(intent)?;
        file.write_all(&content)?;
        whole_file::seal(&file, &content)?;
        file.sync_all()?;
        Ok(UnderWay { path, _locked: file })
    }

    /// Returns the interrupted installation, if there is one.
    pub(crate) fn interrupted(state: &State) -> io::Result<Option<(UnderWay, Intent)>> {
        let path = state.installing_file();
        let file = match File::options().read(true).write(true).open(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            file => file?,
        };
        let mut file = match lock(file) {
            // It is not interrupted: another process is working on it.
            Err(error) if error.kind() == io::ErrorKind::ResourceBusy => return Ok(None),
            locked => locked?,
        };
        let mut content = Vec::new();
        file.read_to_end(&mut content)?;
        // The file is completely on disk before anything else is touched.
        let is_whole = whole_file::is_as_sealed(&file, &content)?;
        let under_way = UnderWay { path, _locked: file };
        match serde_json::from_slice(&content) {
            _ if !is_whole => under_way.done().map(|()| None),
            Ok(intent) if under_way.path.exists() => Ok(Some((under_way, intent))),
            Ok(_) => Ok(None),
            Err(_) => under_way.done().map(|()| None),
        }
    }

    /// Removes the file once the installation has ended, successfully or not, and
    /// its result was reported.
    pub(crate) fn done(self) -> io::Result<()> {
        super::remove_file(&self.path)
    }
}

fn lock(file: File) -> io::Result<File> {
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(io::Error::new(
            io::ErrorKind::ResourceBusy,
            "another installation of this group is under way",
        )),
        Err(TryLockError::Error(error)) => Err(error),
    }
}

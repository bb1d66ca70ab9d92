//! What tells that an installation is under way. An agent that is killed in
//! the middle of one leaves this file; whoever comes next finishes it, so that
//! the host has the new revision, and never half of one.
//!
//! Forward and not back: all of the new revision is in the archive and was
//! found to fit, while the old files may be gone already.

use std::fs::{self, File, TryLockError};
use std::io::{self, Read, Seek, Write};
use std::path::PathBuf;

use proto::policy::FileExists;
use serde::{Deserialize, Serialize};

use super::state::State;
use crate::whole_file;

/// All that it takes to begin the installation again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Intent {
    /// The deployment's id, which is its directory's name.
    pub(crate) deployment: String,
    pub(crate) appspec_name: String,
    pub(crate) custom_events: Vec<String>,
    pub(crate) file_exists: FileExists,
}

/// An installation that only this process may carry out. Dropped before
/// [`UnderWay::done`], it is still under way for whoever looks next.
#[derive(Debug)]
pub(crate) struct UnderWay {
    path: PathBuf,
    /// Ends with the process, however that ends.
    _locked: File,
}

impl UnderWay {
    /// # Errors
    /// [`io::ErrorKind::ResourceBusy`] if the group is being installed to now.
    pub(crate) fn begin(state: &State, intent: &Intent) -> io::Result<UnderWay> {
        let path = state.installing_file();
        fs::create_dir_all(path.parent().unwrap_or(&path))?;
        let mut file =
            lock(File::options().read(true).write(true).create(true).truncate(false).open(&path)?)?;
        file.set_len(0)?;
        file.rewind()?;
        let content = serde_json::to_vec(intent)?;
        file.write_all(&content)?;
        whole_file::seal(&file, &content)?;
        file.sync_all()?;
        Ok(UnderWay { path, _locked: file })
    }

    /// The one that was cut off, if one was.
    pub(crate) fn interrupted(state: &State) -> io::Result<Option<(UnderWay, Intent)>> {
        let path = state.installing_file();
        let file = match File::options().read(true).write(true).open(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            file => file?,
        };
        let mut file = match lock(file) {
            // Not cut off: somebody is at it.
            Err(error) if error.kind() == io::ErrorKind::ResourceBusy => return Ok(None),
            locked => locked?,
        };
        let mut content = Vec::new();
        file.read_to_end(&mut content)?;
        // It is whole on the disk before anything else is touched.
        let is_whole = whole_file::is_as_sealed(&file, &content)?;
        let under_way = UnderWay { path, _locked: file };
        match serde_json::from_slice(&content) {
            _ if !is_whole => under_way.done().map(|()| None),
            Ok(intent) if under_way.path.exists() => Ok(Some((under_way, intent))),
            Ok(_) => Ok(None),
            Err(_) => under_way.done().map(|()| None),
        }
    }

    /// It came to its end, well or badly, and that was told.
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

//! Install: the files of a bundle replace those of the previous one.
//!
//! Everything is planned first, so that obstacles are found while the old revision still stands
//! (the official agent looks only after removing it). Then the old files are removed, the new
//! ones are written in the order of the AppSpec file, and modes, owners and the like follow.
//!
//! The cleanup file is the journal: a path is in it before it is on the disk. So whatever an
//! interrupted installation left, the next one removes. It has the official agent's own format, as has
//! everything else in [`state`]: a host can change from one agent to the other between two deployments.

mod access_list;
mod apply;
mod attributes;
mod cleanup;
mod expand;
mod file_plan;
mod folder;
pub(crate) mod originals;
mod problem;
mod room;
mod same;
mod selection;
mod selinux;
pub(crate) mod state;
pub(crate) mod unfinished;

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use proto::appspec::AppSpec;
use proto::policy::FileExists;

use crate::bundle::cache::no_space;
use crate::whole_file;
pub(crate) use file_plan::foresee;
use originals::Originals;
use problem::Problem;
use state::State;

/// The reason why an installation did not complete.
#[derive(Debug, thiserror::Error)]
pub(crate) enum InstallError {
    /// Found before anything was touched: the old revision still stands.
    #[error(
        "no installed file was changed (scripts of earlier events may have stopped the application), because the \
         installation could not be carried out: {}", listed(.0)
    )]
    Plan(Vec<Problem>),
    #[error("cannot remove `{}`, which the installation before this one has made", path.display())]
    Remove {
        path: PathBuf,
        #[source]
        cause: io::Error,
    },
    #[error(
        "cannot copy `{}` ({bytes} bytes) to `{}`{}; the next installation removes what is there so far",
        source_path.display(), destination.display(), no_space(destination, cause)
    )]
    Copy {
        source_path: PathBuf,
        destination: PathBuf,
        bytes: u64,
        #[source]
        cause: io::Error,
    },
    #[error("cannot make the directory `{}`{}", path.display(), no_space(path, cause))]
    Mkdir {
        path: PathBuf,
        #[source]
        cause: io::Error,
    },
    #[error("cannot set the {what} of `{}`", path.display())]
    Attribute {
        what: &'static str,
        path: PathBuf,
        #[source]
        cause: io::Error,
    },
    #[error("cannot keep the record of this installation in `{}`{}", path.display(), no_space(path, cause))]
    State {
        path: PathBuf,
        #[source]
        cause: io::Error,
    },
}

fn listed(problems: &[Problem]) -> String {
    /// The most problems to list: more would not fit into a failure's message, so
    /// the others are counted.
    const SHOWN: usize = 8;
    let shown = problems.iter().take(SHOWN).map(ToString::to_string);
    let mut text = shown.collect::<Vec<_>>().join("; ");
    if let Some(more @ 1..) = problems.len().checked_sub(SHOWN) {
        text += &format!("; and {more} more");
    }
    text
}

/// The cleanup file of a completed installation. It is complete, but not on stable storage before
/// [`State::mark_last_successful`] has returned.
#[derive(Debug)]
#[must_use]
pub(crate) struct Record(pub(crate) File);

/// Installs the bundle in `archive`; its files get the modes and owners of
/// `originals`. Blocks. May be run again after any failure.
/// # Errors
/// See [`InstallError`]. After [`InstallError::Plan`] nothing has changed.
pub(crate) fn install(
    appspec: &AppSpec,
    archive: &Path,
    originals: &Originals,
    file_exists: FileExists,
    state: &State,
) -> Result<Record, InstallError> {
    watched(appspec, archive, originals, file_exists, state, &mut || ())
}

/// A callback after every change on the disk, for tests: the points at which an agent may be killed.
type Witness<'w> = &'w mut dyn FnMut();

fn watched(
    appspec: &AppSpec,
    archive: &Path,
    originals: &Originals,
    file_exists: FileExists,
    state: &State,
    witness: Witness<'_>,
) -> Result<Record, InstallError> {
    let cleanup_file = state.cleanup_file();
    let recorded = |path: PathBuf| move |cause| InstallError::State { path, cause };
    let previous = cleanup::Previous::read(&cleanup_file).map_err(recorded(cleanup_file.clone()))?;
    let host = file_plan::Host {
        previous: &previous,
        file_exists: appspec.file_exists.unwrap_or(file_exists),
        adopts_equal: state.last_successful().is_ok_and(|last| last.is_none()),
        instructions: cleanup_file.parent().unwrap_or(&cleanup_file),
    };
    let plan = file_plan::plan(appspec, archive, originals, &host).map_err(InstallError::Plan)?;
    previous.remove(witness)?;
    remove_file(&cleanup_file).map_err(recorded(cleanup_file.clone()))?;
    witness();
    whole_file::replace(&state.install_json(), &plan.to_json()).map_err(recorded(state.install_json()))?;
    let mut journal = cleanup::Journal::open(&cleanup_file).map_err(recorded(cleanup_file))?;
    witness();
    let made = apply::apply(&plan, &mut journal, witness)?;
    attributes::apply(&plan, &made, &mut journal, witness)?;
    journal.seal()
}

fn remove_file(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

#[cfg(test)]
mod tests;

//! Install: the files of a bundle take the place of those of the one before.
//!
//! First all is planned, and whatever is in the way is found while the old
//! revision still stands (the official agent looks only after it has removed
//! it). Then the old files go, the new ones are laid down in the AppSpec's
//! order, and modes, owners and so on follow.
//!
//! The cleanup file is the journal: a path is in it before it is on the disk,
//! so whatever an install that was cut off has left, the next one removes. It
//! is the official agent's own format, and so is all else in [`state`]: a host
//! can change from one agent to the other between two deployments.

mod access_list;
mod apply;
mod attributes;
mod cleanup;
mod expand;
mod folder;
pub(crate) mod originals;
mod plan;
mod problem;
mod room;
mod same;
mod selection;
mod selinux;
pub(crate) mod state;
pub(crate) mod unfinished;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use proto::appspec::AppSpec;
use proto::policy::FileExists;

use crate::bundle::cache::no_space;
use crate::whole_file;
use originals::Originals;
pub(crate) use plan::foresee;
use problem::Problem;
use state::State;

/// Why an installation did not come to its end.
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
    /// More would not fit into a failure's message; the count tells of the rest.
    const SHOWN: usize = 8;
    let shown = problems.iter().take(SHOWN).map(ToString::to_string);
    let mut text = shown.collect::<Vec<_>>().join("; ");
    if let Some(more @ 1..) = problems.len().checked_sub(SHOWN) {
        text += &format!("; and {more} more");
    }
    text
}

/// Installs the bundle in `archive`, whose files get the modes and owners of
/// `originals`. Blocks. May be run again after any failure.
/// # Errors
/// See [`InstallError`]; after [`InstallError::Plan`] nothing has changed.
pub(crate) fn install(
    appspec: &AppSpec,
    archive: &Path,
    originals: &Originals,
    file_exists: FileExists,
    state: &State,
) -> Result<(), InstallError> {
    watched(appspec, archive, originals, file_exists, state, &mut || ())
}

/// Hears of every change on the disk right after it: where an agent may die.
type Witness<'w> = &'w mut dyn FnMut();

fn watched(
    appspec: &AppSpec,
    archive: &Path,
    originals: &Originals,
    file_exists: FileExists,
    state: &State,
    witness: Witness<'_>,
) -> Result<(), InstallError> {
    let cleanup_file = state.cleanup_file();
    let recorded = |path: PathBuf| move |cause| InstallError::State { path, cause };
    let previous = cleanup::Previous::read(&cleanup_file).map_err(recorded(cleanup_file.clone()))?;
    let host = plan::Host {
        previous: &previous,
        file_exists: appspec.file_exists.unwrap_or(file_exists),
        adopts_equal: state.last_successful().is_ok_and(|last| last.is_none()),
        instructions: cleanup_file.parent().unwrap_or(&cleanup_file),
    };
    let plan = plan::plan(appspec, archive, originals, &host).map_err(InstallError::Plan)?;
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

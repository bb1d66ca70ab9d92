//! The plan of an installation: its steps, or the problems that prevent it.

mod planner;

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use proto::appspec::AppSpec;
use proto::policy::FileExists;
use serde_json::{Value, json};

use super::cleanup::Previous;
use super::originals::Originals;
use super::problem::Problem;
use super::room;
use super::selection::{self, Change};
use planner::Planner;

/// One object to create.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Step {
    Mkdir { directory: PathBuf },
    Copy(Copy),
}

/// A file or link of the bundle, and its attributes on the host before `permissions` change them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Copy {
    pub(super) source: PathBuf,
    pub(super) destination: PathBuf,
    /// True for a symbolic link, which is installed with its target unchanged.
    pub(super) is_link: bool,
    pub(super) bytes: u64,
    pub(super) mode: u32,
    pub(super) owner: (u32, u32),
    /// The number of bytes that are freed by replacing what exists there; `None`
    /// if nothing may be replaced.
    pub(super) replaces: Option<u64>,
    /// The line of the AppSpec file that caused this copy.
    pub(super) line: usize,
}

impl Step {
    /// Returns the file that the step creates.
    pub(super) fn file(&self) -> Option<&PathBuf> {
        match self {
            Step::Copy(copy) => Some(&copy.destination),
            Step::Mkdir { .. } => None,
        }
    }

    /// Returns the directory that the step creates.
    pub(super) fn directory(&self) -> Option<&PathBuf> {
        match self {
            Step::Mkdir { directory } => Some(directory),
            Step::Copy(_) => None,
        }
    }
}

/// The objects to create, then the changes of their attributes, each in order.
#[derive(Debug, Default)]
pub(super) struct Plan {
    pub(super) steps: Vec<Step>,
    pub(super) changes: Vec<Change>,
}

impl Plan {
    /// Formats the plan in the official agent's form.
    pub(super) fn to_json(&self) -> Vec<u8> {
        let step = |step: &Step| match step {
            Step::Mkdir { directory } => json!({"type": "mkdir", "directory": text(directory)}),
            Step::Copy(Copy { source, destination, .. }) => {
                json!({"type": "copy", "source": text(source), "destination": text(destination)})
            }
        };
        let steps = self.steps.iter().map(step);
        let changes = self.changes.iter().flat_map(Change::to_json);
        json!({"instructions": steps.chain(changes).collect::<Vec<Value>>()}).to_string().into_bytes()
    }

    /// Returns the changes of each file and link, by path.
    pub(super) fn changes_of_files(&self) -> HashMap<&Path, Vec<&Change>> {
        let mut of_files: HashMap<&Path, Vec<&Change>> = HashMap::new();
        for change in self.changes.iter().filter(|change| !change.is_directory) {
            of_files.entry(&change.at).or_default().push(change);
        }
        of_files
    }
}

pub(super) fn text(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}

/// The host that a plan is for.
pub(super) struct Host<'h> {
    /// The files of the previous revision.
    pub(super) previous: &'h Previous,
    pub(super) file_exists: FileExists,
    /// True if an existing file may be adopted when it already has the new content. This holds
    /// if nothing was ever installed from this deployment root, so that an earlier host of the
    /// same name may have left the file.
    pub(super) adopts_equal: bool,
    /// The directory in which the journal is written.
    pub(super) instructions: &'h Path,
}

/// Plans the installation of `archive` after the removal of `host.previous`.
/// # Errors
/// All problems that prevent it.
pub(super) fn plan(
    appspec: &AppSpec,
    archive: &Path,
    originals: &Originals,
    host: &Host<'_>,
) -> Result<Plan, Vec<Problem>> {
    let mut planner = Planner::new(archive, originals, Some(host));
    host.previous.goes().for_each(|path| planner.needs_to_write_beside(path));
    let (steps, mut problems) = planner.run(appspec);
    let changes = selection::select(&appspec.permissions, &steps, &mut problems);
    if problems.is_empty() {
        problems = room::missing(&steps, host);
    }
    if problems.is_empty() { Ok(Plan { steps, changes }) } else { Err(problems) }
}

/// Returns the problems that would prevent an installation on any host, even an
/// empty one, each with the line of the AppSpec file that causes it.
pub(crate) fn foresee(appspec: &AppSpec, archive: &Path) -> Vec<(usize, Problem)> {
    let originals = Originals::default();
    let (steps, mut problems) = Planner::new(archive, &originals, None).run(appspec);
    selection::select(&appspec.permissions, &steps, &mut problems);
    problems.into_iter().filter_map(|problem| Some((problem.line_if_on_every_host()?, problem))).collect()
}

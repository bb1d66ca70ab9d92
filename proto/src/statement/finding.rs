//! Findings: the statements that every host works out from the ledger.
//!
//! The end of a deployment is an entry (`Finished`), although every host could
//! compute it: history can be read without folding, and a rollback waits until all
//! hosts agree that there is something to undo.

use super::Row;
use crate::entry::Submission;
use crate::id::DeploymentId;

/// What every host works out from the ledger. Any host may propose it, and all would
/// propose the same bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Finding {
    /// Time has passed, and something waits for that.
    Tick,
    /// The deployment is over.
    Finished {
        /// The deployment that is over.
        deployment: DeploymentId,
    },
    /// The mesh itself submits a deployment, a rollback or a catch-up, which is spelled
    /// out. It is taken only if the fold comes to the same contents, byte for byte.
    Spelled(Box<Submission>),
    /// All hosts of the mesh speak at least this version, so from here on each may say
    /// what only this version can. An agent that does not speak it takes no part.
    MeshVersion(u16),
}

impl Finding {
    pub(super) fn row(&self) -> Row<'_> {
        match self {
            Finding::Tick => Row::new("Tick"),
            Finding::Finished { deployment } => Row::new("Finished").deployment(*deployment),
            Finding::Spelled(it) => Row::new("Submitted").group(&it.group).deployment(it.deployment),
            Finding::MeshVersion(_) => Row::new("MeshVersion"),
        }
    }
}

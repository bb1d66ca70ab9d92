//! The parts of the agent that the API needs: the node, and the work outside the node, such as
//! packing bundles and reading logs.

mod in_mesh;
#[cfg(test)]
pub(crate) mod stand_in;

use std::path::PathBuf;
use std::sync::Arc;

use proto::id::{DeploymentId, Digest, HostId};
use proto::lifecycle::LifecycleEvent;
use proto::revision::Revision;
use serde::{Deserialize, Serialize};

use crate::ballast::Ballast;
use crate::bundle::bundle_store::Bundles;
use crate::bundle::transfer_progress::Progress;
use crate::bundle::upload::Upload;
use crate::command::NodeHandle;
use crate::host_side::HostSide;
use crate::reachable;
use crate::transport::Counts;

/// The interface between the API and the agent.
pub(crate) struct Backend {
    pub(crate) node: NodeHandle,
    pub(crate) data_dir: PathBuf,
    pub(crate) outside: Outside,
}

/// The work outside the node: an agent's, or a double in tests, so that they can run the API without
/// the rest.
pub(crate) enum Outside {
    Agent(Box<AgentParts>),
    #[cfg(test)]
    Double(stand_in::StandIn),
}

/// The parts of a real agent.
pub(crate) struct AgentParts {
    pub(crate) bundles: Bundles,
    pub(crate) host_side: Arc<HostSide>,
    pub(crate) ballast: Ballast,
}

impl Backend {
    /// Fetches a bundle from a remote SOURCE, as users type it, into this host's cache, and checks
    /// its AppSpec file. Gives copies to other hosts.
    pub(crate) async fn bring(&self, source: String, progress: Progress) -> Result<Brought, BackendError> {
        match &self.outside {
            Outside::Agent(parts) => {
                let brought = parts.bundles.bring(source, progress).await?;
                parts.bundles.spread(&brought.revision).await;
                Ok(brought)
            }
            #[cfg(test)]
            Outside::Double(double) => double.bring(&source, &progress).await,
        }
    }

    /// Does the same with an archive that a client uploads.
    pub(crate) async fn take(&self, upload: Upload) -> Result<Brought, BackendError> {
        match &self.outside {
            Outside::Agent(parts) => {
                let brought = parts.bundles.take(upload).await?;
                parts.bundles.spread(&brought.revision).await;
                Ok(brought)
            }
            #[cfg(test)]
            Outside::Double(double) => double.take(upload).await,
        }
    }

    /// Returns true if any host has the bundle, packed or unpacked. Looks on this host first, then
    /// asks the hosts that it is connected to.
    pub(crate) async fn have(&self, digest: Digest) -> Result<bool, BackendError> {
        match &self.outside {
            Outside::Agent(parts) => in_mesh::have(parts.bundles.transport(), &parts.host_side, digest).await,
            #[cfg(test)]
            Outside::Double(_) => Ok(true),
        }
    }

    /// Reads the script log of a host; asks that host if it is another one.
    pub(crate) async fn logs(&self, request: LogRequest) -> Result<LogPage, BackendError> {
        match &self.outside {
            Outside::Agent(parts) => {
                let transport = parts.bundles.transport();
                in_mesh::logs(&self.node, &parts.host_side, transport, request).await
            }
            #[cfg(test)]
            Outside::Double(double) => Ok(double.logs(request)),
        }
    }

    /// Returns the addresses at which this host can be dialled now.
    pub(crate) fn addresses(&self) -> Vec<String> {
        match &self.outside {
            Outside::Agent(parts) => reachable::addresses(parts.bundles.transport()),
            #[cfg(test)]
            Outside::Double(_) => vec!["/ip4/127.0.0.1/tcp/9".into()],
        }
    }

    /// Returns the problem with the data directory's disk; `None` if there is none.
    pub(crate) fn disk(&self) -> Option<String> {
        match &self.outside {
            Outside::Agent(parts) => parts.ballast.room().words(),
            #[cfg(test)]
            Outside::Double(_) => Some("disk full: `/var/lib/skein` has 3 MiB free".into()),
        }
    }

    /// Returns the counts of frames to other hosts since the agent's start.
    pub(crate) fn frames(&self) -> Counts {
        match &self.outside {
            Outside::Agent(parts) => parts.bundles.transport().counts(),
            #[cfg(test)]
            Outside::Double(_) => Counts::default(),
        }
    }
}

/// A bundle that is ready to be deployed.
#[derive(Clone, Debug)]
pub(crate) struct Brought {
    pub(crate) revision: Revision,
    /// Oddities that may be mistakes.
    pub(crate) warnings: Vec<String>,
}

impl From<Revision> for Brought {
    fn from(revision: Revision) -> Self {
        Brought { revision, warnings: Vec::new() }
    }
}

/// The part of a script log to read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct LogRequest {
    pub(crate) deployment: DeploymentId,
    pub(crate) host: HostId,
    /// If set, only the lines of this event.
    pub(crate) event: Option<LifecycleEvent>,
    /// The byte offset in the log at which to start.
    pub(crate) from: u64,
}

/// A piece of a log: whole lines, at most a megabyte.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct LogPage {
    pub(crate) text: String,
    /// The byte offset at which to continue. If it equals the requested offset, there is no more
    /// text now.
    pub(crate) next: u64,
}

/// An error from the rest of the agent.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub(crate) struct BackendError {
    pub(crate) kind: BackendErrorKind,
    /// A full sentence that includes the causes.
    pub(crate) message: String,
}

/// The category of a [`BackendError`], which says who must act.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BackendErrorKind {
    /// The request cannot be right: for example, the source is not a bundle or has a link that
    /// leads out of it.
    Invalid,
    /// The bundle was checked and refused, because no host could deploy it.
    Unfit,
    /// The requested thing does not exist.
    NotFound,
    /// It exists, but could not be reached now.
    Unavailable,
}

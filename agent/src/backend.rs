//! The parts of the agent that the API needs: the node, and the work outside the node, such as
//! packing bundles and reading logs.

use std::path::PathBuf;

use futures::future::BoxFuture;
use proto::id::{DeploymentId, Digest, HostId};
use proto::lifecycle::LifecycleEvent;
use proto::revision::Revision;
use serde::{Deserialize, Serialize};

use crate::bundle::progress::Progress;
use crate::bundle::upload::Upload;
use crate::command::NodeHandle;
use crate::transport::Counts;

/// An asynchronous result.
type Later<T> = BoxFuture<'static, Result<T, BackendError>>;

/// The interface between the API and the agent. It holds closures, so that tests can run the API
/// without the rest.
pub(crate) struct Backend {
    pub(crate) node: NodeHandle,
    pub(crate) data_dir: PathBuf,
    /// Fetches a bundle from a remote SOURCE, as users type it, into this host's cache, and checks
    /// its AppSpec file.
    pub(crate) pack: Box<dyn Fn(String, Progress) -> Later<Brought> + Send + Sync>,
    /// Does the same with an archive that a client uploads.
    pub(crate) take: Box<dyn Fn(Upload) -> Later<Brought> + Send + Sync>,
    /// Returns true if any host has the bundle, packed or unpacked. Looks on this host first, then
    /// asks the hosts that it is connected to.
    pub(crate) have: Box<dyn Fn(Digest) -> Later<bool> + Send + Sync>,
    /// Returns the addresses at which this host can be dialled now.
    pub(crate) addresses: Box<dyn Fn() -> Vec<String> + Send + Sync>,
    /// The problem with the data directory's disk; `None` if there is none.
    pub(crate) disk: Box<dyn Fn() -> Option<String> + Send + Sync>,
    /// Returns the counts of frames to other hosts since the agent's start.
    pub(crate) frames: Box<dyn Fn() -> Counts + Send + Sync>,
    /// Reads the script log of a host; asks that host if it is another one.
    pub(crate) logs: Box<dyn Fn(LogRequest) -> Later<LogPage> + Send + Sync>,
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

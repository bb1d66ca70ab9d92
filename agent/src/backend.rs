//! What the API needs of the rest of the agent: the node, and two things that
//! the node does not do.

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

/// Something that ends later.
type Later<T> = BoxFuture<'static, Result<T, BackendError>>;

/// The seam between the API and the agent. Closures, so that the API can be
/// tried without the rest.
pub(crate) struct Backend {
    pub(crate) node: NodeHandle,
    pub(crate) data_dir: PathBuf,
    /// Brings a bundle into this host's cache, from a remote SOURCE as users type
    /// it, and checks its AppSpec file.
    pub(crate) pack: Box<dyn Fn(String, Progress) -> Later<Brought> + Send + Sync>,
    /// The same with an archive that a client sends.
    pub(crate) take: Box<dyn Fn(Upload) -> Later<Brought> + Send + Sync>,
    /// Whether any host has the bundle, packed or unpacked; this one is looked
    /// at first, then those that it is connected to.
    pub(crate) have: Box<dyn Fn(Digest) -> Later<bool> + Send + Sync>,
    /// Where this host can be dialled now.
    pub(crate) addresses: Box<dyn Fn() -> Vec<String> + Send + Sync>,
    /// What became of frames to other hosts, since the start.
    pub(crate) frames: Box<dyn Fn() -> Counts + Send + Sync>,
    /// Reads a host's script log; asks the other host if it is not this one.
    pub(crate) logs: Box<dyn Fn(LogRequest) -> Later<LogPage> + Send + Sync>,
}

/// A bundle that can be deployed.
#[derive(Clone, Debug)]
pub(crate) struct Brought {
    pub(crate) revision: Revision,
    /// What is odd about it, as it may be meant otherwise.
    pub(crate) warnings: Vec<String>,
}

impl From<Revision> for Brought {
    fn from(revision: Revision) -> Self {
        Brought { revision, warnings: Vec::new() }
    }
}

/// Which part of which log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct LogRequest {
    pub(crate) deployment: DeploymentId,
    pub(crate) host: HostId,
    /// One event's lines alone.
    pub(crate) event: Option<LifecycleEvent>,
    /// From this byte of the log on.
    pub(crate) from: u64,
}

/// A piece of a log: whole lines, at most a megabyte.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct LogPage {
    pub(crate) text: String,
    /// Where to go on reading. Equal to what was asked for: there is no more now.
    pub(crate) next: u64,
}

/// Why it could not be done.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub(crate) struct BackendError {
    pub(crate) kind: BackendErrorKind,
    /// A whole sentence, causes included.
    pub(crate) message: String,
}

/// Whose fault it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BackendErrorKind {
    /// What was asked for cannot be right: no bundle, or an escaping link.
    Invalid,
    /// The bundle was judged, and no host could deploy it: it is refused.
    Unfit,
    /// It is not there.
    NotFound,
    /// It is, but was not to be had now.
    Unavailable,
}

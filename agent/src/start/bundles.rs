//! Bundles on their ways: from the operator into the cache, and from other
//! hosts.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use proto::appspec;
use proto::id::{Digest, HostId};
use proto::node::Node;
use proto::revision::Revision;

use crate::backend::{BackendError, BackendErrorKind};
use crate::bundle::source::Source;
use crate::bundle::unpack::{self, Limits};
use crate::bundle::{self, AcquireError, Cache, exchange};
use crate::command::NodeHandle;
use crate::host_side::{Fetch, FetchError};
use crate::telemetry::chain;
use crate::transport::Handle;

/// The cache, and the hosts that may have what is not in it.
#[derive(Clone)]
pub(super) struct Bundles {
    cache: Cache,
    transport: Handle,
    node: NodeHandle,
}

impl Bundles {
    pub(super) fn new(cache: Cache, transport: Handle, node: NodeHandle) -> Self {
        Bundles { cache, transport, node }
    }

    pub(super) fn cache(&self) -> Cache {
        self.cache.clone()
    }

    pub(super) fn path_of(&self) -> impl Fn(&Digest) -> PathBuf + Send + 'static {
        let cache = self.cache();
        move |digest| cache.path(digest)
    }

    pub(super) fn fetch(&self) -> Fetch {
        let bundles = self.clone();
        Arc::new(move |revision, sources| {
            let bundles = bundles.clone();
            Box::pin(async move { bundles.bring(revision, sources).await })
        })
    }

    /// Ahead of the turn that needs it: a failure is that turn's to tell.
    pub(super) async fn prefetch(self, revision: Revision, sources: Vec<HostId>) {
        let digest = revision.digest;
        if let Err(cause) = self.bring(revision, sources).await {
            tracing::debug!(%digest, %cause, "not fetched ahead of its turn");
        }
    }

    async fn bring(&self, revision: Revision, sources: Vec<HostId>) -> Result<PathBuf, FetchError> {
        let Revision { digest, size, .. } = revision;
        if self.cache.has(&digest) {
            return Ok(self.cache.path(&digest));
        }
        let part = self.cache.part(&digest);
        exchange::fetch_from_any(&self.transport, &sources, digest, size, &part).await?;
        let cache = self.cache();
        Ok(tokio::task::spawn_blocking(move || cache.adopt(&digest)).await??)
    }

    /// Brings an operator's source into the cache; refuses what could not be
    /// deployed anywhere.
    pub(super) async fn pack(self, source: String) -> Result<Revision, BackendError> {
        let source: Source = source.parse().map_err(|error| invalid(chain(&error)))?;
        if let Source::Cached(digest) = &source
            && !self.cache.has(digest)
        {
            return self.from_mesh(*digest).await;
        }
        let cache = self.cache();
        let packed = tokio::task::spawn_blocking(move || {
            let revision = bundle::acquire(&source, &cache).map_err(|error| acquire_error(&error))?;
            check_appspec(&cache.path(&revision.digest), &revision.origin)?;
            Ok(revision)
        });
        packed.await.map_err(|error| unavailable(error.to_string()))?
    }

    /// A bundle that was deployed before may still be with those who have it.
    async fn from_mesh(&self, digest: Digest) -> Result<Revision, BackendError> {
        let known = self.node.read(move |node| known_revision(node, digest)).await;
        let Some((revision, sources)) = known.map_err(|error| unavailable(error.to_string()))? else {
            return Err(not_found(format!(
                "bundle {digest} is neither in this host's cache nor part of any deployment: `skein push SOURCE` \
                 brings it into the mesh"
            )));
        };
        self.bring(revision.clone(), sources).await.map_err(|error| unavailable(chain(error.as_ref())))?;
        Ok(revision)
    }
}

fn known_revision(node: &Node, digest: Digest) -> Option<(Revision, Vec<HostId>)> {
    let state = node.state();
    let mut submissions = state.rollouts().values().map(|rollout| &rollout.submission);
    let submission = submissions.find(|submission| submission.revision.digest == digest)?;
    let mut sources = submission.holders.clone();
    sources.extend(state.groups().values().flat_map(|group| state.holders(group, digest)));
    sources.retain(|source| *source != node.host());
    Some((submission.revision.clone(), sources))
}

/// Whether every host will be able to read what is to be done.
fn check_appspec(archive: &Path, origin: &str) -> Result<(), BackendError> {
    let directory = tempfile::tempdir_in(archive.parent().unwrap_or(Path::new(".")));
    let directory = directory.map_err(|error| unavailable(format!("cannot unpack `{origin}`: {error}")))?;
    let unpacked = directory.path().join("bundle");
    unpack::unpack(archive, &unpacked, Limits::default()).map_err(|error| invalid(chain(&error)))?;
    for name in ["appspec.yml", "appspec.yaml"] {
        let Ok(bytes) = std::fs::read(unpacked.join(name)) else { continue };
        return match appspec::parse(name, &bytes) {
            Ok(_) => Ok(()),
            Err(mistakes) => {
                let lines: Vec<String> = mistakes.iter().map(ToString::to_string).collect();
                Err(invalid(format!("`{origin}` cannot be deployed: {}", lines.join("; "))))
            }
        };
    }
    Err(invalid(format!(
        "there is no appspec.yml at the top of `{origin}`, so nobody knows how to install it"
    )))
}

fn acquire_error(error: &AcquireError) -> BackendError {
    let message = chain(error);
    match error {
        AcquireError::Read { cause, .. } if cause.kind() == std::io::ErrorKind::NotFound => {
            not_found(message)
        }
        AcquireError::NotCached { .. } => not_found(message),
        AcquireError::Read { .. } | AcquireError::Cache { .. } => unavailable(message),
        AcquireError::NoArchive { .. } | AcquireError::Pack { .. } => invalid(message),
    }
}

fn invalid(message: String) -> BackendError {
    BackendError { kind: BackendErrorKind::Invalid, message }
}

fn not_found(message: String) -> BackendError {
    BackendError { kind: BackendErrorKind::NotFound, message }
}

fn unavailable(message: String) -> BackendError {
    BackendError { kind: BackendErrorKind::Unavailable, message }
}

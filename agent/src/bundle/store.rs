//! The bundles of this host: brought into its cache from a source, or fetched
//! from other hosts, and checked before anybody is told of them.

use std::path::PathBuf;
use std::sync::Arc;

use proto::appspec::CustomEvents;
use proto::id::{Digest, HostId};
use proto::node::Node;
use proto::revision::Revision;

use super::fetcher::Fetcher;
use super::progress::Progress;
use super::remote::Settings;
use super::source::Source;
use super::{AcquireError, Cache, acquire, download::DownloadError};
use crate::backend::{BackendError, BackendErrorKind, Brought};
use crate::check;
use crate::command::NodeHandle;
use crate::host_side::{APPSPEC_NAME, FetchError};
use crate::telemetry::chain;
use crate::transport::Handle;

/// The cache, and the way to the other hosts' caches.
#[derive(Clone)]
pub(crate) struct Bundles {
    cache: Cache,
    transport: Handle,
    node: NodeHandle,
    fetcher: Fetcher,
    settings: Arc<Settings>,
}

impl Bundles {
    pub(crate) fn new(cache: Cache, transport: Handle, node: NodeHandle, settings: Settings) -> Self {
        let fetcher = Fetcher::new(transport.clone(), node.clone(), cache.clone());
        Bundles { cache, transport, node, fetcher, settings: Arc::new(settings) }
    }

    pub(crate) fn fetcher(&self) -> Fetcher {
        self.fetcher.clone()
    }

    pub(crate) fn transport(&self) -> &Handle {
        &self.transport
    }

    /// Brings a bundle into the cache and checks its AppSpec file.
    pub(crate) async fn bring(&self, source: String, progress: Progress) -> Result<Brought, BackendError> {
        let source: Source = source.parse().map_err(|error| invalid(chain(&error)))?;
        if let Source::Cached(digest) = &source
            && !self.cache.has(digest)
        {
            return self.find_in_mesh(*digest).await.map(Brought::from);
        }
        let brought = acquire(source, &self.cache, &self.settings, &progress).await;
        let (revision, cache) = (brought.map_err(|error| refused(&error))?, self.cache.clone());
        let checked = tokio::task::spawn_blocking(move || {
            let warnings = check_appspec(&cache, &revision)?;
            Ok(Brought { revision, warnings })
        });
        checked.await.unwrap_or_else(|error| Err(invalid(format!("the bundle cannot be read: {error}"))))
    }

    /// A bundle that was deployed before may still be with those who have it.
    async fn find_in_mesh(&self, digest: Digest) -> Result<Revision, BackendError> {
        let unavailable = |message| BackendError { kind: BackendErrorKind::Unavailable, message };
        let known = self.node.read(move |node| known_revision(node, digest)).await;
        let Some((revision, holders)) = known.map_err(|error| unavailable(error.to_string()))? else {
            let message = format!(
                "bundle {digest} is neither in this host's cache nor part of any deployment: \
                 `skein push SOURCE` brings it into the mesh"
            );
            return Err(BackendError { kind: BackendErrorKind::NotFound, message });
        };
        let fetched = self.fetch(&revision, &holders).await;
        fetched.map_err(|error| unavailable(chain(error.as_ref())))?;
        Ok(revision)
    }

    /// Fetches a bundle into the cache: from the hosts that should have it,
    /// then from any other that is there.
    pub(crate) async fn fetch(&self, revision: &Revision, sources: &[HostId]) -> Result<PathBuf, FetchError> {
        Ok(self.fetcher.fetch(revision, sources).await?)
    }
}

fn known_revision(node: &Node, digest: Digest) -> Option<(Revision, Vec<HostId>)> {
    let state = node.state();
    let mut submissions = state.rollouts().values().map(|rollout| &rollout.submission);
    let submission = submissions.find(|submission| submission.revision.digest == digest)?;
    let mut holders = submission.holders.clone();
    holders.extend(state.groups().values().flat_map(|group| state.holders(group, digest)));
    Some((submission.revision.clone(), holders))
}

/// What is odd about a bundle fills no screen.
const WARNINGS_TOLD_MAX: usize = 20;

/// Nothing is submitted that no host could deploy: the AppSpec file is there,
/// has no mistake, and every script that it names is in the bundle. Returns what is
/// odd about it.
fn check_appspec(cache: &Cache, revision: &Revision) -> Result<Vec<String>, BackendError> {
    let custom = CustomEvents::Only(&[]);
    let origin = &revision.origin;
    let found = check::check(&cache.path(&revision.digest), APPSPEC_NAME, custom, check::Rules::Service)
        .map_err(|error| invalid(format!("`{origin}` cannot be deployed: {}", chain(&error))))?;
    for warning in &found.warnings {
        tracing::warn!(origin, %warning, "the bundle is odd");
    }
    if found.mistakes.is_empty() {
        let more = found.warnings.len().saturating_sub(WARNINGS_TOLD_MAX);
        let told = found.warnings.iter().take(WARNINGS_TOLD_MAX).map(ToString::to_string);
        let rest = (more > 0).then(|| format!("… and {more} more: `skein local --check` lists all"));
        return Ok(told.chain(rest).collect());
    }
    let lines: Vec<String> = found.mistakes.iter().map(ToString::to_string).collect();
    Err(invalid(format!("`{origin}` cannot be deployed:\n  {}", lines.join("\n  "))))
}

fn refused(error: &AcquireError) -> BackendError {
    let kind = match error {
        AcquireError::NotCached { .. } => BackendErrorKind::NotFound,
        AcquireError::Read { cause, .. } if cause.kind() == std::io::ErrorKind::NotFound => {
            BackendErrorKind::NotFound
        }
        AcquireError::Download { cause, .. } => match cause {
            DownloadError::NoArchive | DownloadError::TooLarge { .. } => BackendErrorKind::Invalid,
            DownloadError::Open(_)
            | DownloadError::GaveUp { .. }
            | DownloadError::TooPatient { .. }
            | DownloadError::NoRoom { .. }
            | DownloadError::Cache(_)
            | DownloadError::Writer(_) => BackendErrorKind::Unavailable,
        },
        AcquireError::Read { .. }
        | AcquireError::NoArchive { .. }
        | AcquireError::Pack { .. }
        | AcquireError::Cache { .. }
        | AcquireError::Panicked(_) => BackendErrorKind::Invalid,
    };
    BackendError { kind, message: chain(error) }
}

fn invalid(message: String) -> BackendError {
    BackendError { kind: BackendErrorKind::Invalid, message }
}

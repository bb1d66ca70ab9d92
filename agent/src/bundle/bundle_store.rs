//! The bundles of this host. They are brought into the cache from a source, or fetched from
//! other hosts, and checked before any host may deploy them.
//!
//! The agent that is asked to deploy downloads the bundle, once, and the other hosts take it
//! from there by its digest. Kept: credentials on one host, one digest for all, no thundering
//! herd. Given up: a host that could read S3 faster than its neighbours does not.

use std::collections::{BTreeSet, VecDeque};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use proto::appspec::CustomEvents;
use proto::id::{Digest, HostId};
use proto::node::Node;
use proto::revision::Revision;
use tokio::sync::Semaphore;

use super::download::{self, BYTES_MAX, DownloadError};
use super::fetcher::{Fetcher, FetcherError};
use super::remote::Settings;
use super::source::Source;
use super::transfer_progress::Progress;
use super::upload::{self, Upload, UploadError};
use super::{AcquireError, Cache, acquire};
use crate::backend::{BackendError, BackendErrorKind, Brought};
use crate::check;
use crate::command::NodeHandle;
use crate::host_side::APPSPEC_NAME;
use crate::host_side::deployment::EventError;
use crate::telemetry::chain;
use crate::transport::Handle;

/// The last bundles that were checked, with their oddities: a client that sends a
/// bundle soon refers to it by its digest.
type Checked = VecDeque<(Digest, Vec<String>)>;

/// The cache, and access to the other hosts' caches.
#[derive(Clone)]
pub(crate) struct Bundles {
    cache: Cache,
    transport: Handle,
    node: NodeHandle,
    fetcher: Fetcher,
    settings: Arc<Settings>,
    /// The bytes of bundles that other hosts announced and that are being fetched.
    announced: Arc<Mutex<u64>>,
    uploads: Arc<Semaphore>,
    checked: Arc<Mutex<Checked>>,
}

impl Bundles {
    pub(crate) fn new(cache: Cache, transport: Handle, node: NodeHandle, settings: Settings) -> Self {
        let fetcher = Fetcher::new(transport.clone(), node.clone(), cache.clone());
        let uploads = Arc::new(Semaphore::new(upload::AT_ONCE_MAX));
        let (settings, announced) = (Arc::new(settings), Arc::default());
        Bundles { cache, transport, node, fetcher, settings, announced, uploads, checked: Arc::default() }
    }

    pub(crate) fn fetcher(&self) -> Fetcher {
        self.fetcher.clone()
    }

    pub(super) fn node(&self) -> &NodeHandle {
        &self.node
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
        self.checked(brought.map_err(|error| refused(&error))?).await
    }

    /// Takes a bundle from a client into the cache and checks its AppSpec file.
    pub(crate) async fn take(&self, mut upload: Upload) -> Result<Brought, BackendError> {
        let origin = upload.origin.clone();
        let taken = match self.uploads.try_acquire() {
            Ok(_permit) => {
                let bytes_max = self.settings.bytes_max.unwrap_or(download::BYTES_MAX);
                upload::take(&self.cache, bytes_max, upload::SILENCE_MAX, &mut upload).await
            }
            Err(_) => Err(UploadError::Busy),
        };
        let (digest, size) = taken.map_err(|error| not_taken(&origin, &error))?;
        self.checked(Revision { digest, size, origin }).await
    }

    /// Checks the bundle and adds its oddities.
    async fn checked(&self, revision: Revision) -> Result<Brought, BackendError> {
        let digest = revision.digest;
        if let Some(warnings) = self.known_warnings(digest) {
            return Ok(Brought { revision, warnings });
        }
        let cache = self.cache.clone();
        let checked = tokio::task::spawn_blocking(move || {
            let warnings = check_appspec(&cache, &revision)?;
            Ok(Brought { revision, warnings })
        });
        let checked = checked.await;
        let checked =
            checked.unwrap_or_else(|error| Err(invalid(format!("the bundle cannot be read: {error}"))))?;
        let mut known = self.checked.lock().unwrap_or_else(PoisonError::into_inner);
        known.push_back((digest, checked.warnings.clone()));
        let beyond = known.len().saturating_sub(CHECKED_KEPT_MAX);
        known.drain(..beyond);
        drop(known);
        Ok(checked)
    }

    fn known_warnings(&self, digest: Digest) -> Option<Vec<String>> {
        let known = self.checked.lock().unwrap_or_else(PoisonError::into_inner);
        known.iter().find(|(known, _)| *known == digest).map(|(_, warnings)| warnings.clone())
    }

    /// Finds a bundle that was deployed before, and that other hosts may still have.
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
        fetched.map_err(|error| unavailable(chain(&error)))?;
        Ok(revision)
    }

    /// Fetches a bundle into the cache: from the hosts that should have it, then
    /// from any connected host.
    pub(crate) async fn fetch(
        &self,
        revision: &Revision,
        sources: &[HostId],
    ) -> Result<PathBuf, FetcherError> {
        self.fetcher.fetch(revision, sources).await
    }
}

impl Bundles {
    /// Keeps a copy of another host's bundle, if its announced size is within this host's limits.
    pub(crate) async fn hold(&self, revision: &Revision, from: HostId) -> Result<(), HoldError> {
        if self.cache.has(&revision.digest) {
            return Ok(());
        }
        let limit = self.settings.bytes_max.unwrap_or(BYTES_MAX);
        if revision.size > limit {
            return Err(HoldError::TooLarge { size: revision.size, limit });
        }
        let _announced = self.announce(revision.size).await?;
        self.fetcher.fetch_all_or_nothing(revision, from).await?;
        Ok(())
    }

    /// Counts a bundle that is about to arrive among those that no deployment
    /// names; fails if there are too many bytes of these.
    async fn announce(&self, size: u64) -> Result<Announced, HoldError> {
        let cached = self.cache.bundles().unwrap_or_default();
        let unnamed = self.node.read(move |node| {
            let named: BTreeSet<Digest> =
                node.state().rollouts().values().map(|rollout| rollout.submission.revision.digest).collect();
            cached.iter().filter(|(digest, _)| !named.contains(digest)).map(|(_, size)| size).sum::<u64>()
        });
        let unnamed = unnamed.await.map_err(|_| HoldError::Stopping)?;
        let mut coming = self.announced.lock().unwrap_or_else(PoisonError::into_inner);
        let held = unnamed.saturating_add(*coming);
        // A single one may be as large as any bundle may.
        if held > 0 && held.saturating_add(size) > UNNAMED_BYTES_MAX {
            return Err(HoldError::Quota { size, held });
        }
        *coming += size;
        Ok(Announced { all: self.announced.clone(), size })
    }
}

/// The most bytes of bundles that others asked this host to keep and that no deployment
/// names: half of the cache, so that the other half is left for deployed ones.
const UNNAMED_BYTES_MAX: u64 = 4 * 1024 * 1024 * 1024;

/// A bundle that is being fetched; counted until dropped.
struct Announced {
    all: Arc<Mutex<u64>>,
    size: u64,
}

impl Drop for Announced {
    fn drop(&mut self) {
        *self.all.lock().unwrap_or_else(PoisonError::into_inner) -= self.size;
    }
}

/// The reason why a copy is not kept for another host.
#[derive(Debug, thiserror::Error)]
pub(crate) enum HoldError {
    #[error(
        "a bundle of {size} bytes is not kept here: the limit is {limit} (`bytes_max` under `[sources]`)"
    )]
    TooLarge { size: u64, limit: u64 },
    #[error(
        "a bundle of {size} bytes is not kept here: bundles that no deployment names take {held} bytes \
         already, and may take {UNNAMED_BYTES_MAX}"
    )]
    Quota { size: u64, held: u64 },
    #[error("the agent is stopping")]
    Stopping,
    #[error(transparent)]
    Fetch(#[from] FetcherError),
}

fn known_revision(node: &Node, digest: Digest) -> Option<(Revision, Vec<HostId>)> {
    let state = node.state();
    let mut submissions = state.rollouts().values().map(|rollout| &rollout.submission);
    let submission = submissions.find(|submission| submission.revision.digest == digest)?;
    let mut holders = submission.holders.clone();
    holders.extend(state.groups().values().flat_map(|group| state.holders(group, digest)));
    Some((submission.revision.clone(), holders))
}

/// The number of checked bundles to remember, at a few kilobytes each: more than
/// are sent between an upload and its deployment.
const CHECKED_KEPT_MAX: usize = 32;
/// The number of oddities to report, so that they do not fill the screen.
const WARNINGS_TOLD_MAX: usize = 20;

/// Refuses a bundle that no host could deploy: its AppSpec file must exist and have no mistakes,
/// and every script that it names must be in the bundle. Returns the bundle's oddities.
fn check_appspec(cache: &Cache, revision: &Revision) -> Result<Vec<String>, BackendError> {
    let custom = CustomEvents::Only(&[]);
    let origin = &revision.origin;
    let found = check::check(&cache.path(&revision.digest), APPSPEC_NAME, custom, check::Hosts::Others)
        .map_err(|mut error| {
            if let EventError::NoAppSpec { archive, .. } = &mut error {
                // Its path in the cache would tell users nothing.
                *archive = origin.into();
            }
            unfit(format!("`{origin}` cannot be deployed: {}", chain(&error)))
        })?;
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
    Err(unfit(format!("`{origin}` cannot be deployed:\n  {}", lines.join("\n  "))))
}

fn not_taken(origin: &str, error: &UploadError) -> BackendError {
    let kind = match error {
        UploadError::TooLarge { .. } | UploadError::Kept(DownloadError::NoArchive) => {
            BackendErrorKind::Invalid
        }
        UploadError::Silent { .. } | UploadError::Cut { .. } | UploadError::Busy | UploadError::Kept(_) => {
            BackendErrorKind::Unavailable
        }
    };
    BackendError { kind, message: format!("cannot take `{origin}`: {}", chain(error)) }
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
            | DownloadError::NoRoom(_)
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

fn unfit(message: String) -> BackendError {
    BackendError { kind: BackendErrorKind::Unfit, message }
}

fn invalid(message: String) -> BackendError {
    BackendError { kind: BackendErrorKind::Invalid, message }
}

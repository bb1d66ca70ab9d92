//! The bundles of this host: brought into its cache from a source, or fetched
//! from other hosts, and checked before anybody is told of them.

use std::path::PathBuf;

use proto::appspec;
use proto::id::HostId;
use proto::revision::Revision;

use super::{AcquireError, Cache, acquire, exchange, unpack};
use crate::backend::{BackendError, BackendErrorKind};
use crate::host_side::{APPSPEC_NAME, FetchError};
use crate::telemetry::chain;
use crate::transport::Handle;

/// Hosts that are asked for a bundle besides those that should have it.
const OTHERS_MAX: usize = 32;

/// The cache, and the way to the other hosts' caches.
#[derive(Clone)]
pub(crate) struct Bundles {
    pub(crate) cache: Cache,
    pub(crate) transport: Handle,
}

impl Bundles {
    /// Brings a bundle into the cache and checks its AppSpec file.
    pub(crate) async fn bring(&self, source: String) -> Result<Revision, BackendError> {
        let cache = self.cache.clone();
        let brought = tokio::task::spawn_blocking(move || {
            let source = source.parse().map_err(|error| invalid(chain(&error)))?;
            let revision = acquire(&source, &cache).map_err(|error| refused(&error))?;
            check_appspec(&cache, &revision)?;
            Ok(revision)
        });
        brought.await.unwrap_or_else(|error| Err(invalid(format!("the bundle cannot be read: {error}"))))
    }

    /// Fetches a bundle into the cache: from the hosts that should have it,
    /// then from any other that is there.
    pub(crate) async fn fetch(
        &self,
        revision: Revision,
        mut sources: Vec<HostId>,
    ) -> Result<PathBuf, FetchError> {
        let digest = revision.digest;
        if self.cache.has(&digest) {
            return Ok(self.cache.path(&digest));
        }
        let others = self.transport.connected().into_iter().filter(|host| !sources.contains(host));
        let others: Vec<HostId> = others.take(OTHERS_MAX).collect();
        sources.extend(others);
        let part = self.cache.part(&digest);
        let fetched = exchange::fetch_from_any(&self.transport, &sources, digest, revision.size, &part).await;
        let cache = self.cache.clone();
        match fetched {
            Ok(_) => Ok(tokio::task::spawn_blocking(move || cache.adopt(&digest)).await??),
            // Another fetch of the same bundle was quicker.
            Err(_) if cache.has(&digest) => Ok(cache.path(&digest)),
            Err(error) => Err(error.into()),
        }
    }
}

/// Nothing is submitted that no host could deploy: the AppSpec file is there,
/// has no mistake, and every script that it names is in the bundle.
fn check_appspec(cache: &Cache, revision: &Revision) -> Result<(), BackendError> {
    let broken =
        |error: &dyn std::error::Error| invalid(format!("the bundle cannot be used: {}", chain(error)));
    let scratch = tempfile::tempdir_in(cache.dir()).map_err(|error| broken(&error))?;
    let unpacked = scratch.path().join("unpacked");
    unpack::unpack(&cache.path(&revision.digest), &unpacked, unpack::Limits::default())
        .map_err(|error| broken(&error))?;
    let path = ["appspec.yml", "appspec.yaml"].map(|name| unpacked.join(name));
    let Some(path) = path.into_iter().find(|path| path.is_file()) else {
        return Err(invalid(format!(
            "the bundle {} has no AppSpec file: {APPSPEC_NAME} must lie at its top",
            revision.origin
        )));
    };
    let text = std::fs::read(&path).map_err(|error| broken(&error))?;
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let parsed = appspec::parse(&name, &text).map_err(|mistakes| {
        let lines: Vec<String> = mistakes.iter().map(ToString::to_string).collect();
        invalid(format!("the AppSpec file has mistakes:\n  {}", lines.join("\n  ")))
    })?;
    let missing: Vec<String> = parsed
        .appspec
        .hooks
        .iter()
        .flat_map(|(event, scripts)| scripts.iter().map(move |script| (event, script)))
        .filter(|(_, script)| !unpacked.join(script.location.trim_start_matches('/')).exists())
        .map(|(event, script)| format!("{event}: `{}` is not in the bundle", script.location))
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    Err(invalid(format!("the AppSpec file names scripts that are not there:\n  {}", missing.join("\n  "))))
}

fn refused(error: &AcquireError) -> BackendError {
    let kind = match error {
        AcquireError::NotCached { .. } => BackendErrorKind::NotFound,
        AcquireError::Read { cause, .. } if cause.kind() == std::io::ErrorKind::NotFound => {
            BackendErrorKind::NotFound
        }
        AcquireError::Read { .. }
        | AcquireError::NoArchive { .. }
        | AcquireError::Pack { .. }
        | AcquireError::Cache { .. } => BackendErrorKind::Invalid,
    };
    BackendError { kind, message: chain(error) }
}

fn invalid(message: String) -> BackendError {
    BackendError { kind: BackendErrorKind::Invalid, message }
}

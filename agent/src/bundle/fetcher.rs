//! Bundles from other hosts into this host's cache.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use proto::id::{Digest, HostId};
use proto::revision::Revision;

use super::cache::{Cache, CacheError};
use super::exchange::{self, NoSource};
use crate::command::NodeHandle;
use crate::transport::Handle;

/// Why a bundle is not in the cache.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FetcherError {
    #[error(transparent)]
    NoSource(NoSource),
    #[error("cannot keep bundle {digest:?}")]
    Cache {
        digest: Digest,
        #[source]
        cause: CacheError,
    },
}

/// Fetches each bundle once, however many ask for it. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Fetcher {
    transport: Handle,
    node: NodeHandle,
    cache: Cache,
    /// Held while a bundle is being fetched, and only then there.
    fetching: Arc<Fetching>,
}

impl Fetcher {
    pub(crate) fn new(transport: Handle, node: NodeHandle, cache: Cache) -> Self {
        Fetcher { transport, node, cache, fetching: Arc::default() }
    }

    /// Brings the bundle into the cache, if it is not there, and says where it
    /// lies. The sources are asked first; then whoever is connected, because
    /// any host that had its turn has it too.
    pub(crate) async fn fetch(
        &self,
        revision: &Revision,
        sources: &[HostId],
    ) -> Result<PathBuf, FetcherError> {
        let digest = revision.digest;
        let turn = Turn::of(&self.fetching, digest);
        let _turn = turn.lock.lock().await;
        if self.cache.has(&digest) {
            return Ok(self.cache.path(&digest));
        }
        let hosts = self.whom_to_ask(sources).await;
        self.fetch_from(&hosts, revision).await
    }

    /// The same for another host's sake and from it alone: what is not whole
    /// when this ends, or is given up, is removed.
    pub(crate) async fn fetch_all_or_nothing(
        &self,
        revision: &Revision,
        from: HostId,
    ) -> Result<PathBuf, FetcherError> {
        let turn = Turn::of(&self.fetching, revision.digest);
        let _turn = turn.lock.lock().await;
        if self.cache.has(&revision.digest) {
            return Ok(self.cache.path(&revision.digest));
        }
        let _left = RemovedWhenDropped(self.cache.part(&revision.digest));
        self.fetch_from(&[from], revision).await
    }

    async fn fetch_from(&self, hosts: &[HostId], revision: &Revision) -> Result<PathBuf, FetcherError> {
        let digest = revision.digest;
        let part = self.cache.part(&digest);
        let fetched = exchange::fetch_from_any(&self.transport, hosts, digest, revision.size, &part).await;
        let from = fetched.map_err(FetcherError::NoSource)?;
        tracing::info!(%digest, %from, bytes = revision.size, "bundle fetched");
        let cache = self.cache.clone();
        let adopted = tokio::task::spawn_blocking(move || cache.adopt(&digest)).await;
        // It does not end by itself if the agent is stopping.
        let adopted =
            adopted.unwrap_or_else(|cause| Err(CacheError::Read { path: part, cause: cause.into() }));
        adopted.map_err(|cause| FetcherError::Cache { digest, cause })
    }

    /// Also tells the transport where they can be dialled.
    async fn whom_to_ask(&self, sources: &[HostId]) -> Vec<HostId> {
        let wanted = sources.to_vec();
        let known = self.node.read(move |node| {
            let others = wanted.into_iter().filter(|host| *host != node.host());
            let address = |host| (host, node.state().host(host).map(|host| host.record.addresses.clone()));
            others.map(address).collect::<Vec<_>>()
        });
        // Without the node there is still who is connected.
        let known = known.await.unwrap_or_default();
        let mut hosts = Vec::new();
        for (host, addresses) in known {
            if let Some(addresses) = addresses {
                self.transport.know(host, addresses);
            }
            hosts.push(host);
        }
        let asked: BTreeSet<HostId> = hosts.iter().copied().collect();
        hosts.extend(self.transport.connected().difference(&asked));
        hosts
    }
}

type Fetching = Mutex<BTreeMap<Digest, Arc<tokio::sync::Mutex<()>>>>;

/// A place in the line of those who want one bundle.
struct Turn {
    fetching: Arc<Fetching>,
    digest: Digest,
    lock: Arc<tokio::sync::Mutex<()>>,
}

impl Turn {
    fn of(fetching: &Arc<Fetching>, digest: Digest) -> Self {
        let lock = lock(fetching).entry(digest).or_default().clone();
        Turn { fetching: fetching.clone(), digest, lock }
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let mut fetching = lock(&self.fetching);
        // Nobody else is in line: the map has the other one.
        if Arc::strong_count(&self.lock) == 2 {
            fetching.remove(&self.digest);
        }
    }
}

fn lock(fetching: &Fetching) -> MutexGuard<'_, BTreeMap<Digest, Arc<tokio::sync::Mutex<()>>>> {
    fetching.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A file that is gone with this.
struct RemovedWhenDropped(PathBuf);

impl Drop for RemovedWhenDropped {
    fn drop(&mut self) {
        // A part that became a bundle has another name by now.
        let _ = std::fs::remove_file(&self.0);
    }
}

#[cfg(test)]
mod tests;

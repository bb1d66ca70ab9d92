//! Fetches bundles from other hosts into this host's cache.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use proto::id::{Digest, HostId};
use proto::revision::Revision;

use super::cache::{Cache, CacheError};
use super::exchange::{self, NoSource};
use crate::command::NodeHandle;
use crate::transport::Handle;

/// The reason why a bundle could not be brought into the cache.
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

/// Fetches each bundle once, however many callers ask for it. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Fetcher {
    transport: Handle,
    node: NodeHandle,
    cache: Cache,
    /// One lock for each bundle that is being fetched; entries exist only meanwhile.
    fetching: Arc<Fetching>,
}

impl Fetcher {
    pub(crate) fn new(transport: Handle, node: NodeHandle, cache: Cache) -> Self {
        Fetcher { transport, node, cache, fetching: Arc::default() }
    }

    /// Brings the bundle into the cache if it is not there, and returns its path. Asks the sources
    /// first, then all connected hosts, because any host that has had its turn has the bundle, too.
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

    /// Fetches a bundle that another host asks this one to keep, from that host
    /// only. If this fails or is cancelled, the incomplete part is removed.
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
        // The join fails only if the agent is stopping.
        let adopted =
            adopted.unwrap_or_else(|cause| Err(CacheError::Read { path: part, cause: cause.into() }));
        adopted.map_err(|cause| FetcherError::Cache { digest, cause })
    }

    /// Returns the hosts to ask, and tells the transport their addresses.
    async fn whom_to_ask(&self, sources: &[HostId]) -> Vec<HostId> {
        let wanted = sources.to_vec();
        let known = self.node.read(move |node| {
            let others = wanted.into_iter().filter(|host| *host != node.host());
            let address = |host| (host, node.state().host(host).map(|host| host.record.addresses.clone()));
            others.map(address).collect::<Vec<_>>()
        });
        // Without the node, the connected hosts are still known.
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

/// A place in the queue of callers that want one bundle.
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
        // Only this caller and the map hold the lock: no other caller is in the queue.
        if Arc::strong_count(&self.lock) == 2 {
            fetching.remove(&self.digest);
        }
    }
}

fn lock(fetching: &Fetching) -> MutexGuard<'_, BTreeMap<Digest, Arc<tokio::sync::Mutex<()>>>> {
    fetching.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A file that is removed on drop.
struct RemovedWhenDropped(PathBuf);

impl Drop for RemovedWhenDropped {
    fn drop(&mut self) {
        // A part that became a bundle has another name by now.
        let _ = std::fs::remove_file(&self.0);
    }
}

#[cfg(test)]
mod tests;

//! Limits what one host may take of a resource that all hosts share.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use proto::id::HostId;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// A number of permits for all hosts, and a number for each.
pub(crate) struct Shares {
    all: Arc<Semaphore>,
    each: usize,
    /// The permits of hosts that hold or want one now.
    hosts: Mutex<BTreeMap<HostId, Weak<Semaphore>>>,
}

/// A permit, held until it is dropped.
pub(crate) struct Share {
    _of_all: OwnedSemaphorePermit,
    _of_host: Own,
}

/// A permit of a host's own share, which is needed before one of all can be had.
pub(crate) struct Own {
    _permit: OwnedSemaphorePermit,
    // Keeps the host's entry alive while it counts.
    _host: Arc<Semaphore>,
}

impl Shares {
    pub(crate) fn new(all: usize, each: usize) -> Self {
        Shares { all: Arc::new(Semaphore::new(all)), each, hosts: Mutex::default() }
    }

    /// Waits for a permit of the host's own share.
    pub(crate) async fn own(&self, host: HostId) -> Own {
        let own = self.of(host);
        let permit = own.clone().acquire_owned().await.expect("the semaphore is never closed");
        Own { _permit: permit, _host: own }
    }

    /// Waits for a permit of all, in addition to the host's own.
    pub(crate) async fn of_all(&self, own: Own) -> Share {
        let of_all = self.all.clone().acquire_owned().await.expect("the semaphore is never closed");
        Share { _of_all: of_all, _of_host: own }
    }

    /// Takes a permit if one is free now.
    pub(crate) fn try_take(&self, host: HostId) -> Option<Share> {
        let own = self.of(host);
        let permit = own.clone().try_acquire_owned().ok()?;
        let of_all = self.all.clone().try_acquire_owned().ok()?;
        Some(Share { _of_all: of_all, _of_host: Own { _permit: permit, _host: own } })
    }

    fn of(&self, host: HostId) -> Arc<Semaphore> {
        let mut hosts = self.hosts.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(own) = hosts.get(&host).and_then(Weak::upgrade) {
            return own;
        }
        hosts.retain(|_, own| own.strong_count() > 0);
        let own = Arc::new(Semaphore::new(self.each));
        hosts.insert(host, Arc::downgrade(&own));
        own
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host(number: u8) -> HostId {
        HostId::from_public_key([number; 32])
    }

    #[tokio::test]
    async fn one_host_takes_no_more_than_its_share() {
        let shares = Shares::new(3, 2);
        let (first, _second) = (shares.try_take(host(1)), shares.try_take(host(1)));
        assert!(first.is_some() && shares.try_take(host(1)).is_none());
        let third = shares.try_take(host(2));
        assert!(third.is_some() && shares.try_take(host(3)).is_none(), "three are all there are");
        drop(first);
        assert!(shares.try_take(host(1)).is_some());
    }

    #[tokio::test]
    async fn hosts_that_hold_nothing_are_forgotten() {
        let shares = Shares::new(1_000, 1);
        for number in 0..200 {
            drop(shares.try_take(host(number)));
        }
        let _held = shares.try_take(host(201));
        assert!(shares.hosts.lock().expect("no panic").len() <= 2);
    }
}

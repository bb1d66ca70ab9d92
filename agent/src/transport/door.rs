//! The door: every incoming connection passes it before anything is spent on
//! it, over TCP and QUIC alike.

use std::collections::BTreeMap;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use futures::FutureExt;
use futures::future::BoxFuture;
use libp2p::core::ConnectedPoint;
use libp2p::core::muxing::StreamMuxerBox;
use libp2p::core::transport::{Boxed, DialOpts, ListenerId, TransportError, TransportEvent};
use libp2p::{Multiaddr, PeerId, Transport};

use proto::id::HostId;

use super::is_quic;
use super::places::{Given, Places, Source};
use super::refusals::Refusals;

/// From the first packet to the end of admission, six round trips.
const ADMISSION_MAX: Duration = Duration::from_secs(3);
/// Refused in a row before other work gets its turn.
const REFUSED_AT_ONCE: usize = 64;

/// What is remembered of connections that are not admitted, and of addresses.
pub(super) struct Door {
    places: Mutex<Places>,
    refusals: Mutex<Refusals>,
    /// When the agents were started whose connections are admitted and not yet
    /// reported by the swarm.
    starts: Mutex<BTreeMap<(HostId, Option<Multiaddr>), u64>>,
}

/// Admitted connections that are not reported yet: as many as there may be.
const STARTS_MAX: usize = 1_024;

impl Door {
    pub(super) fn new() -> Self {
        Door {
            places: Mutex::new(Places::new()),
            refusals: Mutex::new(Refusals::new()),
            starts: Mutex::default(),
        }
    }

    /// A connection to an agent that was started then is admitted.
    pub(super) fn started(&self, host: HostId, endpoint: &ConnectedPoint, start: u64) {
        let mut starts = self.starts.lock().unwrap_or_else(PoisonError::into_inner);
        if starts.len() >= STARTS_MAX {
            // Connections that a limit refused were never reported.
            starts.clear();
        }
        starts.insert((host, from_where(endpoint)), start);
    }

    /// When the agent at the other end was started; 0 if that is not known.
    pub(super) fn take_start(&self, host: HostId, endpoint: &ConnectedPoint) -> u64 {
        let mut starts = self.starts.lock().unwrap_or_else(PoisonError::into_inner);
        starts.remove(&(host, from_where(endpoint))).unwrap_or(0)
    }

    /// A host is to be found at these addresses, and no longer at those.
    pub(super) fn know(&self, now: &[Multiaddr], before: &[Multiaddr]) {
        self.places().know(now, before);
    }

    /// A member has come from there.
    pub(super) fn admitted(&self, address: &Multiaddr) {
        self.places().admitted(Source::of(address));
    }

    /// Counts a connection that was refused, and says so if it is the first of
    /// its address.
    pub(super) fn refused(&self, address: &Multiaddr, reason: &str) {
        if self.refusals().note(Source::of(address), reason) {
            tracing::warn!(%address, reason, "connection refused; further ones are counted once a minute");
        }
    }

    /// Says in one line what was refused since the last time.
    pub(super) fn sum_up(&self) {
        if let Some(sum) = self.refusals().sum_up() {
            tracing::warn!(refused = sum, "connections were refused in the last minute");
        }
    }

    fn enter(self: &Arc<Self>, address: &Multiaddr) -> Option<Seat> {
        let given = self.places().enter(Source::of(address), is_quic(address), Instant::now())?;
        Some(Seat { door: self.clone(), given })
    }

    fn places(&self) -> MutexGuard<'_, Places> {
        self.places.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn refusals(&self) -> MutexGuard<'_, Refusals> {
        self.refusals.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What tells apart the connections of one host that comes in. One that we
/// dialled reaches whatever agent runs there now.
fn from_where(endpoint: &ConnectedPoint) -> Option<Multiaddr> {
    match endpoint {
        ConnectedPoint::Listener { send_back_addr, .. } => Some(send_back_addr.clone()),
        ConnectedPoint::Dialer { .. } => None,
    }
}

/// A place, held until dropped.
struct Seat {
    door: Arc<Door>,
    given: Given,
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.door.places().free(self.given.id);
    }
}

type Connection = (PeerId, StreamMuxerBox);

/// A transport behind the door.
pub(super) struct Guarded {
    inner: Boxed<Connection>,
    door: Arc<Door>,
}

impl Guarded {
    pub(super) fn new(inner: Boxed<Connection>, door: Arc<Door>) -> Self {
        Guarded { inner, door }
    }

    /// The connection's way in, if it may come in at all.
    fn take_in(
        &self,
        upgrade: <Boxed<Connection> as Transport>::ListenerUpgrade,
        address: &Multiaddr,
    ) -> Option<BoxFuture<'static, io::Result<Connection>>> {
        let Some(seat) = self.door.enter(address) else {
            self.door.refused(address, "it connects too often");
            return None;
        };
        if seat.given.instead_of.is_some() {
            tracing::trace!(%address, "takes the place of an older stranger");
        }
        let address = address.clone();
        let way_in = async move {
            let reason = tokio::select! {
                biased;
                () = seat.given.displaced.cancelled() => "a newer connection took its place",
                admitted = upgrade => return admitted,
                () = tokio::time::sleep(ADMISSION_MAX) => "it did not prove itself in time",
            };
            seat.door.refused(&address, reason);
            Err(io::Error::new(io::ErrorKind::TimedOut, reason))
        };
        Some(way_in.boxed())
    }
}

impl Transport for Guarded {
    type Output = Connection;
    type Error = io::Error;
    type ListenerUpgrade = BoxFuture<'static, io::Result<Connection>>;
    type Dial = <Boxed<Connection> as Transport>::Dial;

    fn listen_on(&mut self, id: ListenerId, address: Multiaddr) -> Result<(), TransportError<io::Error>> {
        self.inner.listen_on(id, address)
    }

    fn remove_listener(&mut self, id: ListenerId) -> bool {
        self.inner.remove_listener(id)
    }

    fn dial(
        &mut self,
        address: Multiaddr,
        options: DialOpts,
    ) -> Result<Self::Dial, TransportError<io::Error>> {
        self.inner.dial(address, options)
    }

    fn poll(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<TransportEvent<Self::ListenerUpgrade, io::Error>> {
        for _ in 0..REFUSED_AT_ONCE {
            let event = std::task::ready!(Pin::new(&mut self.inner).poll(cx));
            let TransportEvent::Incoming { listener_id, upgrade, local_addr, send_back_addr } = event else {
                // No other event has an upgrade in it.
                return Poll::Ready(event.map_upgrade(|upgrade| upgrade.boxed()));
            };
            if let Some(upgrade) = self.take_in(upgrade, &send_back_addr) {
                return Poll::Ready(TransportEvent::Incoming {
                    listener_id,
                    upgrade,
                    local_addr,
                    send_back_addr,
                });
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

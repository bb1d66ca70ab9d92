//! The door: every incoming connection, over TCP or QUIC, passes it before any work is done for it.

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

/// The time limit from the first packet to the end of admission, six round trips.
const ADMISSION_MAX: Duration = Duration::from_secs(3);
/// The number of connections to refuse in a row before other work gets a turn.
const REFUSED_AT_ONCE: usize = 64;

/// The state of connections that are not admitted, and of their addresses.
pub(super) struct Door {
    places: Mutex<Places>,
    refusals: Mutex<Refusals>,
    /// The start times of agents whose connections are admitted but not yet reported by the swarm.
    starts: Mutex<BTreeMap<(HostId, Option<Multiaddr>), u64>>,
}

/// The most admitted connections that are not reported yet: the limit on all connections.
const STARTS_MAX: usize = 1_024;

impl Door {
    pub(super) fn new() -> Self {
        Door {
            places: Mutex::new(Places::new()),
            refusals: Mutex::new(Refusals::new()),
            starts: Mutex::default(),
        }
    }

    /// Records the start time of an agent whose connection is admitted.
    pub(super) fn started(&self, host: HostId, endpoint: &ConnectedPoint, start: u64) {
        let mut starts = self.starts.lock().unwrap_or_else(PoisonError::into_inner);
        if starts.len() >= STARTS_MAX {
            // Connections that a limit refused are never reported; forget them.
            starts.clear();
        }
        starts.insert((host, from_where(endpoint)), start);
    }

    /// Returns the time at which the agent at the other end was started; 0 if it is not known.
    pub(super) fn take_start(&self, host: HostId, endpoint: &ConnectedPoint) -> u64 {
        let mut starts = self.starts.lock().unwrap_or_else(PoisonError::into_inner);
        starts.remove(&(host, from_where(endpoint))).unwrap_or(0)
    }

    /// Records the addresses of a host, and forgets its previous ones.
    pub(super) fn know(&self, now: &[Multiaddr], before: &[Multiaddr]) {
        self.places().know(now, before);
    }

    /// Records that a member has come from this address.
    pub(super) fn admitted(&self, address: &Multiaddr) {
        self.places().admitted(Source::of(address));
    }

    /// Counts a connection that was refused, and logs it if it is the first of its address.
    pub(super) fn refused(&self, address: &Multiaddr, reason: &str) {
        if self.refusals().note(Source::of(address), reason) {
            tracing::warn!(%address, reason, "connection refused; further ones are counted once a minute");
        }
    }

    /// Logs one line about the connections refused since the last call.
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

/// Returns what distinguishes the incoming connections of one host. A connection
/// that we dialled reaches the agent that runs there now, so it needs nothing.
fn from_where(endpoint: &ConnectedPoint) -> Option<Multiaddr> {
    match endpoint {
        ConnectedPoint::Listener { send_back_addr, .. } => Some(send_back_addr.clone()),
        ConnectedPoint::Dialer { .. } => None,
    }
}

/// A place, held until it is dropped.
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

    /// Returns the upgrade of an incoming connection; `None` if it is refused.
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
                // No other event contains an upgrade.
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

//! Frames and streams to other hosts of the mesh, over libp2p.
//!
//! The transport connects to the hosts that it is told to, keeps these connections, and reports which
//! hosts are connected. Only holders of the mesh key get in: see [`admission`]. Frames may be lost
//! but are never invented, and frames from one host arrive in the order in which they were sent.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use libp2p::identity::Keypair;
use libp2p::multiaddr::Protocol;
use libp2p::{Multiaddr, StreamProtocol, noise};
use proto::id::HostId;
use tokio::sync::{Notify, mpsc, watch};
use tokio_util::sync::CancellationToken;

use crate::held::once_let_go;
use crate::mesh_key::MeshKey;

mod admission;
mod dial_error;
mod dial_targets;
mod door;
mod driver;
mod frames;
mod meter;
mod peers;
mod places;
mod refusals;
mod streams;
mod swarm;
mod tcp_layers;
mod told;

pub(crate) use peers::Counts;
pub(crate) use streams::{AcceptedElsewhere, HeldStream, IncomingStreams, OpenError};
pub(crate) use told::Events;

/// Capacity of the event queue. When it is full, hosts that send to us wait.
const EVENTS_MAX: usize = 1_024;
/// Capacity of the queue of frames to publish; beyond it, frames are dropped and counted.
const PUBLISHED_MAX: usize = 1_024;
/// The most addresses to keep per host; dialling more would not help.
const ADDRESSES_MAX: usize = 16;

/// The delay after which a way into the mesh is tried over QUIC; TCP has usually
/// led there by then. A second connection to the host would do harm: when its
/// agent is killed, the one over QUIC seems to live on.
const QUIC_AFTER: Duration = Duration::from_secs(1);

/// Time for sockets to be ready. `LISTENING_SETTLES` is the time to wait for
/// further addresses after each one.
const LISTENING_MAX: Duration = Duration::from_secs(2);
const LISTENING_SETTLES: Duration = Duration::from_millis(20);

/// The settings of a transport.
pub(crate) struct TransportConfig {
    pub(crate) keypair: Keypair,
    pub(crate) mesh_key: MeshKey,
    pub(crate) listen: Vec<Multiaddr>,
}

/// An event of the transport.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum TransportEvent {
    /// The first connection to the host is up.
    Connected(HostId),
    /// The last connection to the host is gone.
    Disconnected(HostId),
    /// A frame that this host sent has arrived.
    Frame { from: HostId, frame: Vec<u8> },
    /// A published frame has arrived by way of this neighbour.
    Gossip { by: HostId, frame: Vec<u8> },
}

/// The reason why the transport cannot start.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TransportError {
    #[error("cannot listen on {address}{}", in_use(cause))]
    Listen {
        address: Multiaddr,
        #[source]
        cause: libp2p::TransportError<io::Error>,
    },
    #[error("cannot read how this host resolves names")]
    Dns(#[source] io::Error),
    #[error("cannot use the host's key for encryption")]
    Noise(#[source] noise::Error),
    #[error("cannot set up gossip")]
    Gossip(#[source] io::Error),
    #[error("cannot accept frames")]
    Frames(#[source] AcceptedElsewhere),
}

/// Returns advice for the case that another program has the port.
fn in_use(cause: &libp2p::TransportError<io::Error>) -> &'static str {
    match cause {
        libp2p::TransportError::Other(cause) if cause.kind() == io::ErrorKind::AddrInUse => {
            ": another program has this port. If an agent runs here already, stop it first, or give this one an \
             address of its own with --listen"
        }
        libp2p::TransportError::Other(_) | libp2p::TransportError::MultiaddrNotSupported(_) => "",
    }
}

/// Starts the transport and returns once it listens. It runs until [`Handle::stop`], or until
/// the receiver of the events is gone.
pub(crate) async fn start(config: TransportConfig) -> Result<(Handle, Events), TransportError> {
    let shared = Arc::new(Shared::new());
    let mut swarm = swarm::build(&config, shared.door.clone())?;
    let control = swarm.behaviour().streams.new_control();
    let incoming = streams::accept(control.clone(), shared.clone(), frames::PROTOCOL);
    let incoming = incoming.map_err(TransportError::Frames)?;
    for address in &config.listen {
        // An address that the system refuses now may be free a moment later.
        let is_refused = |cause: &_| matches!(cause, libp2p::TransportError::Other(_));
        let listening = once_let_go(async || swarm.listen_on(address.clone()), is_refused).await;
        listening.map_err(|cause| TransportError::Listen { address: address.clone(), cause })?;
    }
    let (events_in, events) = told::channel(EVENTS_MAX);
    let (publish, published) = mpsc::channel(PUBLISHED_MAX);
    tokio::spawn(take_streams(incoming, shared.clone()));
    let driver = driver::Driver {
        swarm,
        topic: swarm::topic(config.mesh_key.id),
        control: control.clone(),
        shared: shared.clone(),
        published,
        events: events_in,
        hosts: Default::default(),
    };
    let running = CancellationToken::new();
    let ended = running.clone().drop_guard();
    tokio::spawn(async move {
        driver.run().await;
        drop(ended);
    });
    let handle = Handle { shared, publish, control, ended: running };
    handle.wait_for_addresses(config.listen.len()).await;
    Ok((handle, events))
}

/// Hands each stream of frames to its host's task, without waiting.
async fn take_streams(mut incoming: IncomingStreams, shared: Arc<Shared>) {
    while let Some((host, stream)) = incoming.next_frames().await {
        let peers = shared.peers.clone();
        tokio::spawn(async move { peers.deliver(host, stream).await });
    }
}

/// The state that the handles share with the swarm's task.
struct Shared {
    peers: Arc<peers::Peers>,
    door: Arc<door::Door>,
    dial_targets: Mutex<dial_targets::DialTargets>,
    /// The addresses at which hosts can be dialled, connected or not.
    addresses: Mutex<BTreeMap<HostId, Vec<Multiaddr>>>,
    /// Notified when a wish was added or taken back.
    changed: Notify,
    /// The addresses at which this host listens.
    listening: watch::Sender<BTreeSet<Multiaddr>>,
    /// The reasons why addresses that may lead into the mesh did not.
    ways_in: Mutex<dial_error::WaysIn>,
    stop: CancellationToken,
}

impl Shared {
    fn new() -> Self {
        Shared {
            peers: Arc::new(peers::Peers::new()),
            door: Arc::new(door::Door::new()),
            dial_targets: Mutex::default(),
            addresses: Mutex::default(),
            changed: Notify::new(),
            listening: watch::Sender::new(BTreeSet::new()),
            ways_in: Mutex::default(),
            stop: CancellationToken::new(),
        }
    }

    fn dial_targets(&self) -> MutexGuard<'_, dial_targets::DialTargets> {
        self.dial_targets.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn ways_in(&self) -> MutexGuard<'_, dial_error::WaysIn> {
        self.ways_in.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn addresses(&self) -> MutexGuard<'_, BTreeMap<HostId, Vec<Multiaddr>>> {
        self.addresses.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn addresses_of(&self, host: HostId) -> Vec<Multiaddr> {
        self.addresses().get(&host).cloned().unwrap_or_default()
    }
}

/// A handle to the transport. No method waits, except those that open a stream or stop.
#[derive(Clone)]
pub(crate) struct Handle {
    shared: Arc<Shared>,
    publish: mpsc::Sender<Vec<u8>>,
    control: libp2p_stream::Control,
    ended: CancellationToken,
}

impl Handle {
    /// Sends the frame to a connected host. The frame is dropped and counted if
    /// the host is not connected, or if too much is queued for it.
    pub(crate) fn send(&self, to: HostId, frame: Vec<u8>) {
        self.shared.peers.send(to, frame);
    }

    /// Sends the frame to all hosts, by way of neighbours. It may have at most
    /// [`swarm::PUBLISH_BYTES_MAX`] bytes. The same bytes again within five
    /// minutes count as the same frame and are not sent.
    pub(crate) fn publish(&self, frame: Vec<u8>) {
        if self.publish.try_send(frame).is_err() {
            peers::count(&self.shared.peers.counters.dropped_full);
        }
    }

    /// Keeps a connection to the host until [`Handle::disconnect`], and dials it
    /// again whenever there is none. Another call replaces the addresses.
    pub(crate) fn connect(&self, host: HostId, addresses: Vec<String>) {
        self.know(host, addresses);
        let addresses = self.shared.addresses_of(host);
        let is_connected = self.shared.peers.is_connected(host);
        self.shared.dial_targets().want(host, addresses, is_connected, Instant::now());
        self.shared.changed.notify_one();
    }

    /// Stores the addresses at which the host can be dialled, in case a stream to
    /// it is needed. Call this once for each host of the mesh.
    pub(crate) fn know(&self, host: HostId, addresses: Vec<String>) {
        let parse = |address: &String| match address.parse::<Multiaddr>() {
            Ok(address) => Some(address),
            Err(cause) => {
                tracing::warn!(%host, address, %cause, "not an address");
                None
            }
        };
        let addresses: Vec<Multiaddr> = addresses.iter().filter_map(parse).take(ADDRESSES_MAX).collect();
        let mut known = self.shared.addresses();
        let before = known.insert(host, addresses.clone()).unwrap_or_default();
        self.shared.door.know(&addresses, &before);
    }

    /// Stops wanting a connection to the host. The present one is closed once no stream is open on it.
    pub(crate) fn disconnect(&self, host: HostId) {
        self.shared.dial_targets().unwant(host);
        self.shared.changed.notify_one();
    }

    /// Wants a connection to any host at the address, as a way into the mesh,
    /// while no host is connected that [`Handle::connect`] asked for.
    pub(crate) fn dial(&self, address: Multiaddr) {
        let after = if is_quic(&address) { QUIC_AFTER } else { Duration::ZERO };
        self.shared.dial_targets().want_address(address, Instant::now() + after);
        self.shared.changed.notify_one();
    }

    /// Returns the reason, in words, why the last dial of an address given to [`Handle::dial`]
    /// failed; `None` if it did not.
    pub(crate) fn why_not(&self, address: &Multiaddr) -> Option<String> {
        self.shared.ways_in().why_not(address)
    }

    /// Opens a stream to a host. If the host is not connected but its addresses
    /// are known, a connection is made for as long as the stream is open.
    pub(crate) async fn open(&self, host: HostId, protocol: StreamProtocol) -> Result<HeldStream, OpenError> {
        streams::reach(&self.control, &self.shared, host, protocol).await
    }

    /// Accepts streams of the protocol from now on; only one caller may.
    pub(crate) fn accept(&self, protocol: StreamProtocol) -> Result<IncomingStreams, AcceptedElsewhere> {
        streams::accept(self.control.clone(), self.shared.clone(), protocol)
    }

    /// Returns the addresses on which this host listens: every address of every interface, if
    /// it listens on all.
    pub(crate) fn listening(&self) -> BTreeSet<Multiaddr> {
        self.shared.listening.borrow().clone()
    }

    async fn wait_for_addresses(&self, number: usize) {
        let mut listening = self.shared.listening.subscribe();
        let listens = async {
            let _ = listening.wait_for(|addresses| addresses.len() >= number).await;
        };
        let _ = tokio::time::timeout(LISTENING_MAX, listens).await;
        // The addresses of interfaces arrive one after the other.
        while tokio::time::timeout(LISTENING_SETTLES, listening.changed())
            .await
            .is_ok_and(|more| more.is_ok())
        {}
    }

    /// Returns the connected hosts.
    pub(crate) fn connected(&self) -> BTreeSet<HostId> {
        self.shared.peers.connected()
    }

    /// Returns the counts of frames since the start.
    pub(crate) fn counts(&self) -> Counts {
        self.shared.peers.counts()
    }

    /// Sends what is queued, closes all connections, and stops.
    pub(crate) async fn stop(&self) {
        self.shared.stop.cancel();
        self.ended.cancelled().await;
    }
}

fn is_quic(address: &Multiaddr) -> bool {
    address.iter().any(|part| matches!(part, Protocol::QuicV1))
}

#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;

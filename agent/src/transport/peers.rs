//! The connected hosts, as the rest of the agent sees them: a queue of frames to
//! each, however many connections carry it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use libp2p::Stream;
use proto::id::HostId;
use proto::wire::FRAME_BYTES_MAX;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

/// The most frames that may be queued for a host. The node sends a few per turn and
/// host. Beyond this limit the host is cut off, and the node repairs the losses.
const QUEUE_FRAMES_MAX: usize = 4_096;
/// The most bytes of these frames: a few snapshots of a large ledger.
const QUEUE_BYTES_MAX: usize = 64 * 1024 * 1024;
/// The most published frames from one host that wait to be taken;
/// `GOSSIP_BYTES_MAX` limits their bytes.
const GOSSIP_MAX: usize = 1_024;
const GOSSIP_BYTES_MAX: usize = 4 * 1024 * 1024;
/// The most streams of frames from one host that are read or wait to be; one is normal.
pub(super) const STREAMS_MAX: usize = 16;
/// The time to wait for a connection to be reported: a stream may be ready a moment before that.
const STREAM_WAITS: Duration = Duration::from_secs(1);

/// The counts of frames since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) sent: u64,
    pub(crate) received: u64,
    pub(crate) published: u64,
    /// Dropped because the host was not connected.
    pub(crate) dropped_unknown: u64,
    /// Dropped because a queue was full: the host's, the queue of frames to publish, or the one of
    /// published frames that have arrived.
    pub(crate) dropped_full: u64,
    /// Dropped because the stream broke during the write.
    pub(crate) dropped_broken: u64,
    /// Not published because it was too long, or because no neighbour could take it.
    pub(crate) dropped_unpublished: u64,
}

#[derive(Debug, Default)]
pub(super) struct Counters {
    pub(super) sent: AtomicU64,
    pub(super) received: AtomicU64,
    pub(super) published: AtomicU64,
    pub(super) dropped_unknown: AtomicU64,
    pub(super) dropped_full: AtomicU64,
    pub(super) dropped_broken: AtomicU64,
    pub(super) dropped_unpublished: AtomicU64,
}

/// A connected host.
struct Peer {
    frames: mpsc::Sender<Vec<u8>>,
    /// The bytes of frames that are queued or being written.
    queued_bytes: Arc<AtomicUsize>,
    gossip: mpsc::Sender<Vec<u8>>,
    gossip_bytes: Arc<AtomicUsize>,
    streams: mpsc::Sender<Stream>,
    closed: CancellationToken,
}

/// The ends of a peer's queues that its tasks hold.
pub(super) struct Mail {
    pub(super) host: HostId,
    pub(super) frames: mpsc::Receiver<Vec<u8>>,
    pub(super) queued_bytes: Arc<AtomicUsize>,
    pub(super) gossip: mpsc::Receiver<Vec<u8>>,
    /// The bytes of the frames that wait in `gossip`.
    pub(super) gossip_bytes: Arc<AtomicUsize>,
    pub(super) streams: mpsc::Receiver<Stream>,
    /// Cancelled once its last connection is gone.
    pub(super) closed: CancellationToken,
}

/// All connected hosts, shared by senders and the swarm's task. No lock is held while anything waits.
pub(super) struct Peers {
    peers: Mutex<BTreeMap<HostId, Peer>>,
    connected: watch::Sender<BTreeSet<HostId>>,
    pub(super) counters: Counters,
}

impl Peers {
    pub(super) fn new() -> Self {
        Peers {
            peers: Mutex::default(),
            connected: watch::Sender::new(BTreeSet::new()),
            counters: Counters::default(),
        }
    }

    /// Adds a host when its first connection is up.
    pub(super) fn add(&self, host: HostId) -> Mail {
        let (frames, frames_out) = mpsc::channel(QUEUE_FRAMES_MAX);
        let (gossip, gossip_in) = mpsc::channel(GOSSIP_MAX);
        let (streams, streams_in) = mpsc::channel(STREAMS_MAX);
        let (queued_bytes, closed) = (Arc::new(AtomicUsize::new(0)), CancellationToken::new());
        let gossip_bytes = Arc::new(AtomicUsize::new(0));
        let peer = Peer {
            frames,
            queued_bytes: queued_bytes.clone(),
            gossip,
            gossip_bytes: gossip_bytes.clone(),
            streams,
            closed: closed.clone(),
        };
        self.lock().insert(host, peer);
        self.connected.send_modify(|connected| {
            connected.insert(host);
        });
        Mail {
            host,
            frames: frames_out,
            queued_bytes,
            gossip: gossip_in,
            gossip_bytes,
            streams: streams_in,
            closed,
        }
    }

    /// Removes a host when its last connection is gone.
    pub(super) fn remove(&self, host: HostId) {
        if let Some(peer) = self.lock().remove(&host) {
            peer.closed.cancel();
        }
        self.connected.send_modify(|connected| {
            connected.remove(&host);
        });
    }

    /// Returns true if everything that was queued is on its way.
    pub(super) fn are_sent(&self) -> bool {
        self.lock().values().all(|peer| peer.queued_bytes.load(Ordering::Relaxed) == 0)
    }

    /// Queues the frame without waiting.
    pub(super) fn send(&self, to: HostId, frame: Vec<u8>) {
        assert!(frame.len() <= FRAME_BYTES_MAX, "a frame of {} bytes", frame.len());
        let peers = self.lock();
        let Some(peer) = peers.get(&to) else {
            count(&self.counters.dropped_unknown);
            return;
        };
        let bytes = frame.len();
        if peer.queued_bytes.fetch_add(bytes, Ordering::Relaxed) + bytes > QUEUE_BYTES_MAX
            || peer.frames.try_send(frame).is_err()
        {
            peer.queued_bytes.fetch_sub(bytes, Ordering::Relaxed);
            count(&self.counters.dropped_full);
        }
    }

    /// Passes on a published frame that arrived by way of the host.
    pub(super) fn gossip(&self, from: HostId, frame: Vec<u8>) {
        let peers = self.lock();
        let Some(peer) = peers.get(&from) else {
            count(&self.counters.dropped_unknown);
            return;
        };
        let bytes = frame.len();
        if peer.gossip_bytes.fetch_add(bytes, Ordering::Relaxed) + bytes > GOSSIP_BYTES_MAX
            || peer.gossip.try_send(frame).is_err()
        {
            peer.gossip_bytes.fetch_sub(bytes, Ordering::Relaxed);
            count(&self.counters.dropped_full);
        }
    }

    /// Passes on a stream of frames that the host has opened.
    pub(super) async fn deliver(&self, host: HostId, stream: Stream) {
        if !self.wait_for(host, STREAM_WAITS).await {
            return;
        }
        if let Some(peer) = self.lock().get(&host) {
            // Streams beyond the host's limit are dropped.
            let _ = peer.streams.try_send(stream);
        }
    }

    /// Waits until the host is connected; returns true if it is.
    pub(super) async fn wait_for(&self, host: HostId, at_most: Duration) -> bool {
        let mut connected = self.connected.subscribe();
        let known = connected.wait_for(|connected| connected.contains(&host));
        matches!(tokio::time::timeout(at_most, known).await, Ok(Ok(_)))
    }

    pub(super) fn connected(&self) -> BTreeSet<HostId> {
        self.connected.borrow().clone()
    }

    pub(super) fn is_connected(&self, host: HostId) -> bool {
        self.connected.borrow().contains(&host)
    }

    pub(super) fn counts(&self) -> Counts {
        let of = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let counters = &self.counters;
        Counts {
            sent: of(&counters.sent),
            received: of(&counters.received),
            published: of(&counters.published),
            dropped_unknown: of(&counters.dropped_unknown),
            dropped_full: of(&counters.dropped_full),
            dropped_broken: of(&counters.dropped_broken),
            dropped_unpublished: of(&counters.dropped_unpublished),
        }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<HostId, Peer>> {
        // Every change to the map is a single call, so it is consistent even if a
        // holder of the lock has panicked.
        self.peers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

pub(super) fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

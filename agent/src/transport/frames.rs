//! Frames on the wire: one long-lived stream per direction between two hosts.
//! Each frame is its length as four bytes, big-endian, and its bytes.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures::io::{AsyncRead, AsyncReadExt, AsyncWriteExt, BufReader};
use libp2p::{Stream, StreamProtocol};
use libp2p_stream::Control;
use proto::id::HostId;
use proto::wire::FRAME_BYTES_MAX;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::task::{AbortHandle, JoinHandle, JoinSet};
use tokio::time::timeout;

use super::peers::{Mail, Peers, STREAMS_MAX, count};
use super::told::Teller;
use super::{TransportEvent, streams};

pub(super) const PROTOCOL: StreamProtocol = StreamProtocol::new("/skein/frames/1");
/// Queued frames are joined up to this size before they are written, so that a
/// burst of small ones is one packet.
const BATCH_BYTES: usize = 64 * 1024;
const BATCH_FRAMES: usize = 256;
/// The size of the read buffer; longer frames bypass it.
const READ_BUFFER_BYTES: usize = 8 * 1024;
/// A frame up to this size, in bytes, may be in transit on each stream of a host.
/// Of longer frames, each host may have only one at a time, until it is taken.
const SMALL_FRAME_BYTES: usize = 64 * 1024;
/// The time limit of a frame that has begun, in addition to the time for its
/// bytes on the slowest link that a mesh can live with (`BYTES_A_SECOND_MIN`).
const FRAME_TIMEOUT: Duration = Duration::from_secs(10);
const BYTES_A_SECOND_MIN: usize = 128 * 1024;
/// The wait after a stream could not be opened although the connection stands.
const OPEN_AGAIN_AFTER: Duration = Duration::from_millis(100);
/// Time to read what has arrived from a host after its connection is gone, before the end is reported.
const DRAIN_MAX: Duration = Duration::from_secs(1);

/// Starts the tasks that receive from and send to a host that has just connected.
/// The returned task ends once the end of the connection was reported. `previous` is
/// the task of the host's last connection, so that everything is reported in order.
pub(super) fn start(
    mail: Mail,
    previous: Option<JoinHandle<()>>,
    control: Control,
    peers: Arc<Peers>,
    events: Teller,
) -> JoinHandle<()> {
    tokio::spawn(async move {
        if let Some(previous) = previous {
            // It can only fail by its own panic, which was reported.
            let _ = previous.await;
        }
        let Mail { host, frames, queued_bytes, gossip, gossip_bytes, streams, closed } = mail;
        let sending = Sending { host, control, peers: peers.clone(), queued_bytes };
        let writer = tokio::spawn(closed.clone().run_until_cancelled_owned(sending.run(frames)));
        // If the receiver is gone, the agent is ending.
        let _ = events.tell(TransportEvent::Connected(host)).await;
        let reader = Reader { host, peers, events: events.clone(), large: Arc::new(Semaphore::new(1)) };
        let receiving = Receiving { reader, gossip_bytes };
        receiving.run(streams, gossip, closed.cancelled_owned()).await;
        let _ = writer.await;
        let _ = events.tell(TransportEvent::Disconnected(host)).await;
    })
}

struct Receiving {
    reader: Reader,
    gossip_bytes: Arc<AtomicUsize>,
}

impl Receiving {
    async fn run(
        self,
        mut streams: mpsc::Receiver<Stream>,
        mut gossip: mpsc::Receiver<Vec<u8>>,
        closed: impl Future<Output = ()>,
    ) {
        let mut closed = std::pin::pin!(closed);
        let mut readers = JoinSet::new();
        let mut oldest_first: VecDeque<AbortHandle> = VecDeque::new();
        loop {
            tokio::select! {
                () = &mut closed => break,
                Some(stream) = streams.recv() => {
                    oldest_first.retain(|reader| !reader.is_finished());
                    // The host writes to its newest stream.
                    if oldest_first.len() >= STREAMS_MAX && let Some(oldest) = oldest_first.pop_front() {
                        oldest.abort();
                    }
                    oldest_first.push_back(readers.spawn(self.reader.clone().read(stream)));
                }
                Some(frame) = gossip.recv() => {
                    self.gossip_bytes.fetch_sub(frame.len(), Ordering::Relaxed);
                    let by = self.reader.host;
                    let _ = self.reader.events.tell(TransportEvent::Gossip { by, frame }).await;
                }
                Some(_) = readers.join_next() => {}
            }
        }
        let drained = async { while readers.join_next().await.is_some() {} };
        let _ = tokio::time::timeout(DRAIN_MAX, drained).await;
        readers.shutdown().await;
    }
}

/// Reads the streams of one host.
#[derive(Clone)]
struct Reader {
    host: HostId,
    peers: Arc<Peers>,
    events: Teller,
    /// The permit for one large frame.
    large: Arc<Semaphore>,
}

impl Reader {
    /// Reads frames until the stream ends.
    async fn read(self, stream: Stream) {
        let mut stream = BufReader::with_capacity(READ_BUFFER_BYTES, stream);
        loop {
            match self.read_frame(&mut stream).await {
                Ok((frame, room)) => {
                    count(&self.peers.counters.received);
                    let event = TransportEvent::Frame { from: self.host, frame };
                    if self.events.tell_with(event, room).await.is_err() {
                        return;
                    }
                }
                Err(cause) => {
                    tracing::debug!(host = %self.host, %cause, "stream of frames ended");
                    return;
                }
            }
        }
    }

    async fn read_frame(
        &self,
        stream: &mut (impl AsyncRead + Unpin),
    ) -> io::Result<(Vec<u8>, Option<OwnedSemaphorePermit>)> {
        let mut length = [0; 4];
        stream.read_exact(&mut length).await?;
        let length = u32::from_be_bytes(length) as usize;
        if length > FRAME_BYTES_MAX {
            return Err(io::Error::new(io::ErrorKind::InvalidData, format!("a frame of {length} bytes")));
        }
        let at_most = FRAME_TIMEOUT + Duration::from_secs((length / BYTES_A_SECOND_MIN) as u64);
        timeout(at_most, self.read_body(stream, length)).await?
    }

    async fn read_body(
        &self,
        stream: &mut (impl AsyncRead + Unpin),
        length: usize,
    ) -> io::Result<(Vec<u8>, Option<OwnedSemaphorePermit>)> {
        let room = match length > SMALL_FRAME_BYTES {
            true => Some(self.large.clone().acquire_owned().await.map_err(io::Error::other)?),
            false => None,
        };
        // It grows with the received bytes: announcing a long frame must not cost us memory.
        let mut frame = Vec::with_capacity(length.min(BATCH_BYTES));
        let read = stream.take(length as u64).read_to_end(&mut frame).await?;
        match read == length {
            true => Ok((frame, room)),
            false => Err(io::ErrorKind::UnexpectedEof.into()),
        }
    }
}

struct Sending {
    host: HostId,
    control: Control,
    peers: Arc<Peers>,
    queued_bytes: Arc<AtomicUsize>,
}

impl Sending {
    /// Sends queued frames until the queue is closed and empty.
    async fn run(self, mut frames: mpsc::Receiver<Vec<u8>>) {
        loop {
            let mut stream = match streams::open(&self.control, self.host, PROTOCOL).await {
                Ok(stream) => stream,
                Err(cause) => {
                    tracing::debug!(host = %self.host, %cause, "no stream for frames");
                    tokio::time::sleep(OPEN_AGAIN_AFTER).await;
                    continue;
                }
            };
            match self.write_all(&mut stream, &mut frames).await {
                Ok(()) => {
                    let _ = stream.close().await;
                    return;
                }
                Err(cause) => tracing::debug!(host = %self.host, %cause, "stream for frames broke"),
            }
        }
    }

    async fn write_all(&self, stream: &mut Stream, frames: &mut mpsc::Receiver<Vec<u8>>) -> io::Result<()> {
        let (mut batch, mut buffer) = (Vec::new(), Vec::new());
        loop {
            let mut end = [0];
            tokio::select! {
                biased;
                // Nothing is ever sent in this direction, so a result means that
                // the stream has ended, before a frame is lost on it.
                ended = stream.read(&mut end) => {
                    return Err(ended.err().unwrap_or_else(|| io::ErrorKind::UnexpectedEof.into()));
                }
                taken = frames.recv_many(&mut batch, BATCH_FRAMES) => {
                    if taken == 0 {
                        return Ok(());
                    }
                }
            }
            let (number, bytes) = (batch.len() as u64, batch.iter().map(Vec::len).sum());
            let written = write_batch(stream, &mut batch, &mut buffer).await;
            self.queued_bytes.fetch_sub(bytes, Ordering::Relaxed);
            let counters = &self.peers.counters;
            let counter = if written.is_ok() { &counters.sent } else { &counters.dropped_broken };
            counter.fetch_add(number, Ordering::Relaxed);
            written?;
        }
    }
}

/// Writes all frames. Leaves both vectors empty and small.
async fn write_batch(stream: &mut Stream, batch: &mut Vec<Vec<u8>>, buffer: &mut Vec<u8>) -> io::Result<()> {
    buffer.clear();
    for frame in batch.drain(..) {
        buffer.extend_from_slice(&(frame.len() as u32).to_be_bytes());
        if frame.len() >= BATCH_BYTES {
            stream.write_all(buffer).await?;
            stream.write_all(&frame).await?;
            buffer.clear();
            continue;
        }
        buffer.extend_from_slice(&frame);
        if buffer.len() >= BATCH_BYTES {
            stream.write_all(buffer).await?;
            buffer.clear();
        }
    }
    stream.write_all(buffer).await?;
    buffer.shrink_to(READ_BUFFER_BYTES);
    stream.flush().await
}

//! Streams to other hosts, by protocol.
//!
//! libp2p-stream drops an incoming stream, without a word to either side, when
//! another one is still being taken. So the accepting side begins each stream
//! with one byte, and the opening side tries again if that does not come.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use futures::StreamExt;
use futures::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use libp2p::{Multiaddr, Stream, StreamProtocol};
use libp2p_stream::{Control, OpenStreamError};
use proto::id::HostId;
use tokio::sync::mpsc;

use super::Shared;
use crate::identity;

const ACCEPTED: u8 = 1;
/// One round trip to agree on the protocol, one for [`ACCEPTED`].
const OPEN_TIMEOUT: Duration = Duration::from_secs(5);
/// To connect to a host for one stream, if it is no neighbour.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// How often it is tried again, and how long after.
const TRIES_MAX: u32 = 5;
const TRY_AGAIN_AFTER: Duration = Duration::from_millis(20);
/// Streams that were accepted and not yet taken; what comes beyond is dropped,
/// and tried again.
const INCOMING_MAX: usize = 256;

/// Why no stream could be opened.
#[derive(Debug, thiserror::Error)]
pub(crate) enum OpenError {
    #[error("not connected to {0}, and where it can be dialled is not known")]
    NoAddress(HostId),
    #[error("no connection to {0} within {limit} s", limit = CONNECT_TIMEOUT.as_secs())]
    NotConnected(HostId),
    #[error("{host} does not speak {protocol}")]
    Protocol { host: HostId, protocol: StreamProtocol },
    #[error("{0} did not open a stream within {limit} s", limit = OPEN_TIMEOUT.as_secs())]
    Timeout(HostId),
    #[error("no stream to {host}")]
    Io {
        host: HostId,
        #[source]
        cause: io::Error,
    },
}

/// Somebody accepts this protocol already.
#[derive(Debug, thiserror::Error)]
#[error("{0} is accepted elsewhere in this agent")]
pub(crate) struct AcceptedElsewhere(StreamProtocol);

/// The streams that others open to us. To accept no more, drop it.
pub(crate) struct IncomingStreams {
    streams: mpsc::Receiver<(HostId, Stream)>,
    shared: Arc<Shared>,
}

impl IncomingStreams {
    /// The next stream, and who opened it; `None` once the transport has stopped.
    pub(crate) async fn next(&mut self) -> Option<(HostId, HeldStream)> {
        let (host, stream) = self.next_frames().await?;
        Some((host, HeldStream { stream, _hold: Hold::new(self.shared.clone(), host, Vec::new(), true) }))
    }

    /// As [`IncomingStreams::next`], but the stream does not hold on to the
    /// connection.
    pub(super) async fn next_frames(&mut self) -> Option<(HostId, Stream)> {
        self.streams.recv().await
    }
}

/// A stream to or from another host. While it is open, the connection is not
/// closed by us, whatever the node wants of it.
pub(crate) struct HeldStream {
    stream: Stream,
    _hold: Hold,
}

impl AsyncRead for HeldStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_read(cx, bytes)
    }
}

impl AsyncWrite for HeldStream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_close(cx)
    }
}

/// Keeps a host connected until dropped.
struct Hold {
    shared: Arc<Shared>,
    host: HostId,
}

impl Hold {
    fn new(shared: Arc<Shared>, host: HostId, addresses: Vec<Multiaddr>, is_connected: bool) -> Self {
        shared.wishes().hold(host, addresses, is_connected, Instant::now());
        shared.changed.notify_one();
        Hold { shared, host }
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        self.shared.wishes().let_go(self.host);
        self.shared.changed.notify_one();
    }
}

/// Opens a stream, over a connection made for it if there is none.
pub(super) async fn reach(
    control: &Control,
    shared: &Arc<Shared>,
    host: HostId,
    protocol: StreamProtocol,
) -> Result<HeldStream, OpenError> {
    let is_connected = shared.peers.is_connected(host);
    let addresses = shared.addresses_of(host);
    if !is_connected && addresses.is_empty() {
        return Err(OpenError::NoAddress(host));
    }
    let hold = Hold::new(shared.clone(), host, addresses, is_connected);
    if !is_connected && !shared.peers.wait_for(host, CONNECT_TIMEOUT).await {
        return Err(OpenError::NotConnected(host));
    }
    Ok(HeldStream { stream: open(control, host, protocol).await?, _hold: hold })
}

pub(super) async fn open(
    control: &Control,
    host: HostId,
    protocol: StreamProtocol,
) -> Result<Stream, OpenError> {
    let opened = async {
        let mut tries = 1;
        loop {
            match try_open(control, host, protocol.clone()).await {
                Err(OpenError::Io { .. }) if tries < TRIES_MAX => tries += 1,
                done => return done,
            }
            tokio::time::sleep(TRY_AGAIN_AFTER).await;
        }
    };
    tokio::time::timeout(OPEN_TIMEOUT, opened).await.unwrap_or(Err(OpenError::Timeout(host)))
}

async fn try_open(control: &Control, host: HostId, protocol: StreamProtocol) -> Result<Stream, OpenError> {
    let failed = |cause| OpenError::Io { host, cause };
    let opened = control.clone().open_stream(identity::peer_id(host), protocol).await;
    let mut stream = opened.map_err(|error| match error {
        OpenStreamError::UnsupportedProtocol(protocol) => OpenError::Protocol { host, protocol },
        OpenStreamError::Io(cause) => failed(cause),
        // The type is open to further variants.
        other => failed(io::Error::other(other)),
    })?;
    let mut accepted = [0];
    stream.read_exact(&mut accepted).await.map_err(failed)?;
    match accepted == [ACCEPTED] {
        true => Ok(stream),
        false => Err(failed(io::Error::from(io::ErrorKind::InvalidData))),
    }
}

/// Accepts streams of the protocol from now on.
pub(super) fn accept(
    mut control: Control,
    shared: Arc<Shared>,
    protocol: StreamProtocol,
) -> Result<IncomingStreams, AcceptedElsewhere> {
    let mut incoming = control.accept(protocol.clone()).map_err(|_| AcceptedElsewhere(protocol))?;
    let (sender, streams) = mpsc::channel(INCOMING_MAX);
    tokio::spawn(async move {
        loop {
            tokio::select! {
                next = incoming.next() => match next {
                    Some((peer, stream)) => greet(&sender, &peer, stream),
                    None => return,
                },
                () = sender.closed() => return,
            }
        }
    });
    Ok(IncomingStreams { streams, shared })
}

/// In a task of its own: the next stream would be dropped if we waited here.
fn greet(sender: &mpsc::Sender<(HostId, Stream)>, peer: &libp2p::PeerId, mut stream: Stream) {
    let Ok(place) = sender.clone().try_reserve_owned() else { return };
    // Admission lets no other in.
    let Some(host) = identity::host_id(peer) else { return };
    tokio::spawn(async move {
        let greeted = async {
            stream.write_all(&[ACCEPTED]).await?;
            stream.flush().await
        };
        if matches!(tokio::time::timeout(OPEN_TIMEOUT, greeted).await, Ok(Ok(()))) {
            place.send((host, stream));
        }
    });
}

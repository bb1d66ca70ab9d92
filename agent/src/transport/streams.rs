//! Streams to other hosts, by protocol.
//!
//! libp2p-stream drops an incoming stream, without telling either side, while
//! another one is still being taken. So the accepting side starts each stream
//! with one byte, and the opening side tries again if the byte does not arrive.

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
/// Time for one round trip to agree on the protocol, and one for [`ACCEPTED`].
const OPEN_TIMEOUT: Duration = Duration::from_secs(5);
/// Time to connect to a host for one stream, if it is not a neighbour.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// The most attempts; `TRY_AGAIN_AFTER` is the wait between them.
const TRIES_MAX: u32 = 5;
const TRY_AGAIN_AFTER: Duration = Duration::from_millis(20);
/// The number of streams that were accepted but not yet taken. Further ones are
/// dropped, and tried again by the other side.
const INCOMING_MAX: usize = 256;

/// The reason why no stream could be opened.
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

/// The error if another part of the agent accepts this protocol already.
#[derive(Debug, thiserror::Error)]
#[error("{0} is accepted elsewhere in this agent")]
pub(crate) struct AcceptedElsewhere(StreamProtocol);

/// The streams that other hosts open to us. Drop it to accept no more.
pub(crate) struct IncomingStreams {
    streams: mpsc::Receiver<(HostId, Stream)>,
    shared: Arc<Shared>,
}

impl IncomingStreams {
    /// Returns the next stream, and the host that opened it; `None` once the transport has stopped.
    pub(crate) async fn next(&mut self) -> Option<(HostId, HeldStream)> {
        let (host, stream) = self.next_frames().await?;
        Some((host, HeldStream { stream, _hold: Hold::new(self.shared.clone(), host, Vec::new(), true) }))
    }

    /// Does the same as [`IncomingStreams::next`], but the stream does not keep the connection open.
    pub(super) async fn next_frames(&mut self) -> Option<(HostId, Stream)> {
        self.streams.recv().await
    }
}

/// A stream to or from another host. While it is open, we do not close the
/// connection, whatever the node wants.
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
        shared.dial_targets().hold(host, addresses, is_connected, Instant::now());
        shared.changed.notify_one();
        Hold { shared, host }
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        self.shared.dial_targets().let_go(self.host);
        self.shared.changed.notify_one();
    }
}

/// Opens a stream; makes a connection for it if there is none.
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
        // The type may get further variants.
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

/// Greets in a separate task: waiting here would drop the next stream.
fn greet(sender: &mpsc::Sender<(HostId, Stream)>, peer: &libp2p::PeerId, mut stream: Stream) {
    let Ok(place) = sender.clone().try_reserve_owned() else { return };
    // Admission lets no other key types in.
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

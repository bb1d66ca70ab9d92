//! Streams to other hosts, by protocol.
//!
//! libp2p-stream drops an incoming stream, without a word to either side, when
//! another one is still being taken. So the accepting side begins each stream
//! with one byte, and the opening side tries again if that does not come.

use std::io;
use std::time::Duration;

use futures::StreamExt;
use futures::io::{AsyncReadExt, AsyncWriteExt};
use libp2p::{Stream, StreamProtocol};
use libp2p_stream::{Control, OpenStreamError};
use proto::id::HostId;
use tokio::sync::mpsc;

use crate::identity;

const ACCEPTED: u8 = 1;
/// One round trip to agree on the protocol, one for [`ACCEPTED`].
const OPEN_TIMEOUT: Duration = Duration::from_secs(5);
/// How often it is tried again, and how long after.
const TRIES_MAX: u32 = 5;
const TRY_AGAIN_AFTER: Duration = Duration::from_millis(20);
/// Streams that were accepted and not yet taken; what comes beyond is dropped,
/// and tried again.
const INCOMING_MAX: usize = 256;

/// Why no stream could be opened.
#[derive(Debug, thiserror::Error)]
pub(crate) enum OpenError {
    #[error("not connected to {0}")]
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
}

impl IncomingStreams {
    /// The next stream, and who opened it; `None` once the transport has stopped.
    pub(crate) async fn next(&mut self) -> Option<(HostId, Stream)> {
        self.streams.recv().await
    }
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
    Ok(IncomingStreams { streams })
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

//! TCP connections: their timeouts, and the layers on top until they are admitted.
//!
//! libp2p's own builder would do the same, but the bytes of a connection could
//! then not be counted from outside: see [`Metered`].

use std::io;
use std::time::Duration;

use libp2p::core::ConnectedPoint;
use libp2p::core::muxing::StreamMuxerBox;
use libp2p::core::transport::timeout::TransportTimeout;
use libp2p::core::upgrade::{InboundConnectionUpgrade, OutboundConnectionUpgrade, Version};
use libp2p::{PeerId, Transport, noise, tcp, yamux};
use multistream_select::{NegotiationError, dialer_select_proto, listener_select_proto};
use tokio::time::timeout;

use super::admission::{self, Gate};
use super::meter::{Meter, Metered};

const NOISE: &str = "/noise";
const YAMUX: &str = "/yamux/1.0.0";
/// The time limit from the first packet to the other end's answer. It tolerates
/// the loss of two packets; a host that needs longer is dialled again.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// The time after which unacknowledged data ends the connection. Without it, the
/// kernel retries for a quarter of an hour, at growing intervals.
const UNACKNOWLEDGED_MAX: Duration = Duration::from_secs(5);
/// The most bytes that a connection may send until it is admitted; encryption and
/// admission take less than one KiB.
const UNADMITTED_BYTES_MAX: usize = 16 * 1024;
/// The most streams of one connection, from both ends. Some twenty are normal; up to eight
/// bundles and sixteen questions may be added. Each may hold 256 KiB of unread bytes.
const STREAMS_MAX: usize = 128;

/// Creates the TCP transport: encrypted, multiplexed, and with admission.
pub(super) fn transport(
    noise: noise::Config,
    gate: Gate,
) -> impl Transport<Output = (PeerId, StreamMuxerBox), Error: Send + Sync, ListenerUpgrade: Send, Dial: Send>
+ Send
+ Unpin {
    let tcp = tcp::tokio::Transport::new(tcp::Config::default().nodelay(true));
    let connected = TransportTimeout::with_outgoing_timeout(tcp, CONNECT_TIMEOUT);
    connected.and_then(move |stream, endpoint| admitted(stream, endpoint, noise, gate))
}

async fn admitted(
    stream: tcp::tokio::TcpStream,
    endpoint: ConnectedPoint,
    noise: noise::Config,
    gate: Gate,
) -> io::Result<(PeerId, StreamMuxerBox)> {
    let socket = socket2::SockRef::from(&stream.0);
    socket.set_tcp_user_timeout(Some(UNACKNOWLEDGED_MAX))?;
    let meter = Meter::of(UNADMITTED_BYTES_MAX);
    let metered = Metered::new(stream, meter.clone());
    let layered = async {
        match endpoint {
            ConnectedPoint::Dialer { .. } => dialled(metered, noise).await,
            ConnectedPoint::Listener { .. } => listened(metered, noise).await,
        }
    };
    let layered = timeout(admission::TIMEOUT, layered).await.unwrap_or_else(|elapsed| Err(elapsed.into()));
    if layered.is_err() {
        gate.not_encrypted(&endpoint, &meter);
    }
    gate.admit(layered?, endpoint, &meter).await.map_err(io::Error::other)
}

async fn dialled(
    stream: Metered<tcp::tokio::TcpStream>,
    noise: noise::Config,
) -> io::Result<(PeerId, StreamMuxerBox)> {
    let failed = |cause: NegotiationError| io::Error::other(cause);
    let (name, stream) = dialer_select_proto(stream, [NOISE], Version::V1Lazy).await.map_err(failed)?;
    let (peer, stream) = noise.upgrade_outbound(stream, name).await.map_err(io::Error::other)?;
    let (name, stream) = dialer_select_proto(stream, [YAMUX], Version::V1Lazy).await.map_err(failed)?;
    let muxer = multiplexing().upgrade_outbound(stream, name).await?;
    Ok((peer, StreamMuxerBox::new(muxer)))
}

async fn listened(
    stream: Metered<tcp::tokio::TcpStream>,
    noise: noise::Config,
) -> io::Result<(PeerId, StreamMuxerBox)> {
    let failed = |cause: NegotiationError| io::Error::other(cause);
    let (name, stream) = listener_select_proto(stream, [NOISE]).await.map_err(failed)?;
    let (peer, stream) = noise.upgrade_inbound(stream, name).await.map_err(io::Error::other)?;
    let (name, stream) = listener_select_proto(stream, [YAMUX]).await.map_err(failed)?;
    let muxer = multiplexing().upgrade_inbound(stream, name).await?;
    Ok((peer, StreamMuxerBox::new(muxer)))
}

fn multiplexing() -> yamux::Config {
    let mut settings = yamux::Config::default();
    settings.set_max_num_streams(STREAMS_MAX);
    settings
}

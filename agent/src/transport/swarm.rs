//! The libp2p swarm: its transports, protocols and limits.

use std::io;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use futures::future::Either;
use libp2p::connection_limits::{self, ConnectionLimits};
use libp2p::core::muxing::StreamMuxerBox;
use libp2p::core::transport::{Boxed, timeout::TransportTimeout};
use libp2p::identity::Keypair;
use libp2p::swarm::NetworkBehaviour;
use libp2p::{PeerId, Swarm, Transport, dns, gossipsub, identify, noise, ping, quic, swarm};
use proto::id::MeshId;

use super::door::{Door, Guarded};
use super::meter::Meter;
use super::{TransportConfig, TransportError, admission::Gate, tcp_layers};
use crate::identity;

/// The time limit of a whole dial: the name look-up, the connection, encryption
/// and admission. Each of these has a shorter limit of its own.
const DIAL_TIMEOUT: Duration = Duration::from_secs(6);
/// The time limit of QUIC's handshake, as of TCP's. A host that needs longer is dialled again.
const QUIC_HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(2);
/// The silence, in milliseconds, after which QUIC takes the other end for gone.
/// Each end sends something at least every `QUIC_ALIVE_EVERY`.
const QUIC_SILENT_MAX_MS: u32 = 6_000;
const QUIC_ALIVE_EVERY: Duration = Duration::from_secs(2);
/// The most unread bytes that a QUIC connection holds. It applies to strangers,
/// too, because the limit cannot be raised after admission. It also limits the
/// speed of a bundle over QUIC, to this number of bytes per round trip.
const QUIC_UNREAD_MAX: u32 = 1024 * 1024;
const QUIC_STREAMS_MAX: u32 = 128;
/// The most connections per peer. Two are normal if both dial at once. The driver closes
/// the rest, but must first let the newest in to see that the older ones are dead.
const PER_PEER_MAX: u32 = 4;
/// The most connections. About twenty are normal. Each costs a file descriptor and up to 60 KiB.
const CONNECTIONS_MAX: u32 = 1_024;
/// The ping interval; finds peers that are silently gone where the node does not look.
const PING_EVERY: Duration = Duration::from_secs(15);
const PING_TIMEOUT: Duration = Duration::from_secs(10);
/// The longest frame that can be published; larger ones travel on streams.
pub(crate) const PUBLISH_BYTES_MAX: usize = 256 * 1024;
/// The time for which duplicates are recognized: longer than any partition whose
/// end brings old messages back.
const DUPLICATES_KEPT: Duration = Duration::from_secs(300);
/// The number of published messages that wait for one peer; gossipsub's default
/// of 5,000 could take half a gibibyte of memory under overload.
const GOSSIP_QUEUE_MAX: usize = 512;

/// The protocols of a connection. The limits come first, so that the others never
/// see a connection that is refused.
#[derive(NetworkBehaviour)]
pub(super) struct Behaviour {
    limits: connection_limits::Behaviour,
    pub(super) gossip: gossipsub::Behaviour,
    identify: identify::Behaviour,
    ping: ping::Behaviour,
    pub(super) streams: libp2p_stream::Behaviour,
}

/// Returns the only topic of a mesh.
pub(super) fn topic(mesh: MeshId) -> gossipsub::IdentTopic {
    gossipsub::IdentTopic::new(format!("skein/{mesh}"))
}

pub(super) fn build(config: &TransportConfig, door: Arc<Door>) -> Result<Swarm<Behaviour>, TransportError> {
    let keypair = &config.keypair;
    let settings = swarm::Config::with_tokio_executor()
        // Connections that are no longer wanted are closed by `Handle::disconnect`.
        .with_idle_connection_timeout(Duration::MAX);
    let behaviour = Behaviour {
        limits: connection_limits::Behaviour::new(
            ConnectionLimits::default()
                .with_max_established_per_peer(Some(PER_PEER_MAX))
                .with_max_established(Some(CONNECTIONS_MAX)),
        ),
        gossip: gossip(config.mesh_key.id)?,
        identify: identify::Behaviour::new(
            identify::Config::new("/skein/1".into(), keypair.public())
                .with_agent_version(concat!("skein/", env!("CARGO_PKG_VERSION")).into())
                .with_cache_size(0),
        ),
        ping: ping::Behaviour::new(ping::Config::new().with_interval(PING_EVERY).with_timeout(PING_TIMEOUT)),
        streams: libp2p_stream::Behaviour::new(),
    };
    Ok(Swarm::new(transport(config, door)?, behaviour, keypair.public().to_peer_id(), settings))
}

fn transport(
    config: &TransportConfig,
    door: Arc<Door>,
) -> Result<Boxed<(PeerId, StreamMuxerBox)>, TransportError> {
    let keypair: &Keypair = &config.keypair;
    let noise = noise::Config::new(keypair).map_err(TransportError::Noise)?;
    let own = identity::own_host_id(keypair);
    let start = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_micros() as u64;
    let gate = Gate { own, mesh_key: config.mesh_key.clone(), door: door.clone(), start };
    let tcp = tcp_layers::transport(noise, gate.clone());
    let quic =
        quic::tokio::Transport::new(quic_settings(keypair)).and_then(move |(peer, connection), end| {
            // QUIC's windows are its limit.
            let connection = StreamMuxerBox::new(connection);
            async move { gate.admit((peer, connection), end, &Meter::of(usize::MAX)).await }
        });
    let either = quic.or_transport(tcp).map(|either, _| match either {
        Either::Left(admitted) | Either::Right(admitted) => admitted,
    });
    let named = dns::tokio::Transport::system(either).map_err(TransportError::Dns)?;
    let timed = TransportTimeout::with_outgoing_timeout(named, DIAL_TIMEOUT);
    Ok(Guarded::new(timed.boxed(), door).boxed())
}

fn quic_settings(keypair: &Keypair) -> quic::Config {
    let mut settings = quic::Config::new(keypair);
    settings.handshake_timeout = QUIC_HANDSHAKE_TIMEOUT;
    settings.max_idle_timeout = QUIC_SILENT_MAX_MS;
    settings.keep_alive_interval = QUIC_ALIVE_EVERY;
    settings.max_concurrent_stream_limit = QUIC_STREAMS_MAX;
    settings.max_stream_data = QUIC_UNREAD_MAX;
    settings.max_connection_data = QUIC_UNREAD_MAX;
    settings
}

/// Creates gossipsub. Messages are anonymous, because members trust one another, and
/// what must be signed is signed inside: gossipsub would verify every copy of a message.
fn gossip(mesh: MeshId) -> Result<gossipsub::Behaviour, TransportError> {
    let settings = gossipsub::ConfigBuilder::default()
        .validation_mode(gossipsub::ValidationMode::Anonymous)
        .message_id_fn(|message| gossipsub::MessageId::new(blake3::hash(&message.data).as_bytes()))
        .max_transmit_size(PUBLISH_BYTES_MAX)
        .duplicate_cache_time(DUPLICATES_KEPT)
        .connection_handler_queue_len(GOSSIP_QUEUE_MAX)
        // In a mesh of up to about twenty hosts all are one hop away, and
        // published messages are rare and small.
        .flood_publish(true)
        .build()
        .map_err(|cause| TransportError::Gossip(io::Error::other(cause)))?;
    let mut gossip = gossipsub::Behaviour::new(gossipsub::MessageAuthenticity::Anonymous, settings)
        .map_err(|cause| TransportError::Gossip(io::Error::other(cause)))?;
    gossip.subscribe(&topic(mesh)).map_err(|cause| TransportError::Gossip(io::Error::other(cause)))?;
    Ok(gossip)
}

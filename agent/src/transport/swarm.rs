//! The libp2p swarm: which transports, which protocols, which limits.

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

/// For all of a dial: a name to look up, a connection, encryption, admission.
/// Each has a shorter limit of its own.
const DIAL_TIMEOUT: Duration = Duration::from_secs(6);
/// For QUIC's handshake, as for TCP's. Whoever needs longer is dialled again.
const QUIC_HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(2);
/// QUIC notices by this that the other end is gone: it sends something at
/// least every `QUIC_ALIVE_EVERY`.
const QUIC_SILENT_MAX_MS: u32 = 6_000;
const QUIC_ALIVE_EVERY: Duration = Duration::from_secs(2);
/// What a QUIC connection holds that was not read: strangers', too, because
/// the limit cannot be raised once one is admitted. It also bounds a bundle's
/// speed over QUIC, to this in each round trip.
const QUIC_UNREAD_MAX: u32 = 1024 * 1024;
const QUIC_STREAMS_MAX: u32 = 128;
/// Two is normal when both dial at once; the driver closes what is more, but
/// the newest must first be let in to show that the older ones are dead.
const PER_PEER_MAX: u32 = 4;
/// About twenty are normal. Each is a file descriptor and up to 60 KiB.
const CONNECTIONS_MAX: u32 = 1_024;
/// Finds a peer that is silently gone where the node does not look.
const PING_EVERY: Duration = Duration::from_secs(15);
const PING_TIMEOUT: Duration = Duration::from_secs(10);
/// The longest frame that can be published; larger ones travel on streams.
pub(crate) const PUBLISH_BYTES_MAX: usize = 256 * 1024;
/// Longer than any partition whose end brings old messages back.
const DUPLICATES_KEPT: Duration = Duration::from_secs(300);
/// Published messages that wait for one peer; gossipsub's 5,000 would be half
/// a gibibyte of memory under overload.
const GOSSIP_QUEUE_MAX: usize = 512;

/// The protocols of a connection. The limits come first: what they refuse, the
/// others never see.
#[derive(NetworkBehaviour)]
pub(super) struct Behaviour {
    limits: connection_limits::Behaviour,
    pub(super) gossip: gossipsub::Behaviour,
    identify: identify::Behaviour,
    ping: ping::Behaviour,
    pub(super) streams: libp2p_stream::Behaviour,
}

/// The one topic of a mesh.
pub(super) fn topic(mesh: MeshId) -> gossipsub::IdentTopic {
    gossipsub::IdentTopic::new(format!("skein/{mesh}"))
}

pub(super) fn build(config: &TransportConfig, door: Arc<Door>) -> Result<Swarm<Behaviour>, TransportError> {
    let keypair = &config.keypair;
    let settings = swarm::Config::with_tokio_executor()
        // Whoever wants a connection no more says so: `Handle::disconnect`.
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
            // Its windows are its limit.
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

/// Anonymous, because members trust one another and what must be signed is
/// signed inside: gossipsub would verify every copy of a message.
fn gossip(mesh: MeshId) -> Result<gossipsub::Behaviour, TransportError> {
    let settings = gossipsub::ConfigBuilder::default()
        .validation_mode(gossipsub::ValidationMode::Anonymous)
        .message_id_fn(|message| gossipsub::MessageId::new(blake3::hash(&message.data).as_bytes()))
        .max_transmit_size(PUBLISH_BYTES_MAX)
        .duplicate_cache_time(DUPLICATES_KEPT)
        .connection_handler_queue_len(GOSSIP_QUEUE_MAX)
        // In a mesh of up to about twenty hosts everybody is one hop away, and
        // what is published is rare and small.
        .flood_publish(true)
        .build()
        .map_err(|cause| TransportError::Gossip(io::Error::other(cause)))?;
    let mut gossip = gossipsub::Behaviour::new(gossipsub::MessageAuthenticity::Anonymous, settings)
        .map_err(|cause| TransportError::Gossip(io::Error::other(cause)))?;
    gossip.subscribe(&topic(mesh)).map_err(|cause| TransportError::Gossip(io::Error::other(cause)))?;
    Ok(gossip)
}

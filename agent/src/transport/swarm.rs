//! The libp2p swarm: which transports, which protocols, which limits.

use std::io;
use std::time::Duration;

use futures::future::Either;
use libp2p::connection_limits::{self, ConnectionLimits};
use libp2p::core::muxing::StreamMuxerBox;
use libp2p::core::transport::{Boxed, timeout::TransportTimeout};
use libp2p::core::upgrade::Version;
use libp2p::identity::Keypair;
use libp2p::swarm::NetworkBehaviour;
use libp2p::{PeerId, Swarm, Transport, dns, gossipsub, identify, noise, ping, quic, swarm, tcp, yamux};
use proto::id::MeshId;

use super::{TransportConfig, TransportError, admission::Gate};
use crate::identity;

/// From the first packet to the end of admission, six round trips. A dial to a
/// host that is gone without a word ends after this.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(6);
/// Connections that are not admitted yet. A whole mesh that starts at once is
/// let in by and by: who is refused dials again.
const PENDING_INCOMING_MAX: u32 = 64;
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

pub(super) fn build(config: &TransportConfig) -> Result<Swarm<Behaviour>, TransportError> {
    let keypair = &config.keypair;
    let settings = swarm::Config::with_tokio_executor()
        // Whoever wants a connection no more says so: `Handle::disconnect`.
        .with_idle_connection_timeout(Duration::MAX);
    let behaviour = Behaviour {
        limits: connection_limits::Behaviour::new(
            ConnectionLimits::default()
                .with_max_pending_incoming(Some(PENDING_INCOMING_MAX))
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
    Ok(Swarm::new(transport(config)?, behaviour, keypair.public().to_peer_id(), settings))
}

fn transport(config: &TransportConfig) -> Result<Boxed<(PeerId, StreamMuxerBox)>, TransportError> {
    let keypair: &Keypair = &config.keypair;
    let tcp = tcp::tokio::Transport::new(tcp::Config::default().nodelay(true))
        .upgrade(Version::V1Lazy)
        .authenticate(noise::Config::new(keypair).map_err(TransportError::Noise)?)
        .multiplex(yamux::Config::default());
    let quic = quic::tokio::Transport::new(quic::Config::new(keypair));
    let either = quic.or_transport(tcp).map(|either, _| match either {
        Either::Left((peer, muxer)) => (peer, StreamMuxerBox::new(muxer)),
        Either::Right((peer, muxer)) => (peer, StreamMuxerBox::new(muxer)),
    });
    let named = dns::tokio::Transport::system(either).map_err(TransportError::Dns)?;
    let gate = Gate { own: identity::own_host_id(keypair), mesh_key: config.mesh_key.clone() };
    let admitted = named.and_then(move |connection, endpoint| gate.admit(connection, endpoint));
    Ok(TransportTimeout::new(admitted, CONNECT_TIMEOUT).boxed())
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

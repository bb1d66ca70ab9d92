//! Real transports on loopback, for tests of the layers above.

use std::time::Duration;

use libp2p::Multiaddr;
use libp2p::identity::Keypair;
use proto::id::HostId;

use super::{Events, Handle, TransportConfig, TransportEvent, start};
use crate::identity;
use crate::mesh_key::MeshKey;

/// Far longer than anything that works takes, even on a busy machine.
pub(crate) const DEADLINE: Duration = Duration::from_secs(20);

pub(crate) const TCP: &str = "/ip4/127.0.0.1/tcp/0";
pub(crate) const QUIC: &str = "/ip4/127.0.0.1/udp/0/quic-v1";

/// A member of a mesh: a transport and its events.
pub(crate) struct Member {
    pub(crate) host: HostId,
    pub(crate) handle: Handle,
    pub(crate) events: Events,
    pub(crate) address: Multiaddr,
    pub(crate) mesh_key: MeshKey,
    keypair: Keypair,
}

impl Member {
    pub(crate) async fn start(mesh_key: &MeshKey, listen: &str) -> Self {
        Self::start_as(Keypair::generate_ed25519(), mesh_key.clone(), listen.parse().unwrap()).await
    }

    async fn start_as(keypair: Keypair, mesh_key: MeshKey, listen: Multiaddr) -> Self {
        let config =
            TransportConfig { keypair: keypair.clone(), mesh_key: mesh_key.clone(), listen: vec![listen] };
        let (handle, events) = start(config).await.unwrap();
        let address = handle.listening().into_iter().next().unwrap();
        Member { host: identity::own_host_id(&keypair), handle, events, address, keypair, mesh_key }
    }

    /// Ends at once, as if killed.
    pub(crate) fn kill(self) -> Dead {
        Dead { keypair: self.keypair, mesh_key: self.mesh_key, address: self.address }
    }

    /// Returns the next event.
    pub(crate) async fn next(&mut self) -> TransportEvent {
        let next = tokio::time::timeout(DEADLINE, self.events.recv()).await;
        next.expect("something happens").expect("the transport runs")
    }

    pub(crate) async fn next_frame(&mut self) -> (HostId, Vec<u8>) {
        match self.next().await {
            TransportEvent::Frame { from, frame } => (from, frame),
            other @ (TransportEvent::Connected(_)
            | TransportEvent::Disconnected(_)
            | TransportEvent::Gossip { .. }) => {
                panic!("{other:?} instead of a frame")
            }
        }
    }

    /// Connects to the other member, and waits until both have seen the event.
    pub(crate) async fn meet(&mut self, other: &mut Member) {
        self.handle.connect(other.host, vec![other.address.to_string()]);
        assert_eq!(self.next().await, TransportEvent::Connected(other.host));
        assert_eq!(other.next().await, TransportEvent::Connected(self.host));
    }
}

/// A member that has ended, and can come back.
pub(crate) struct Dead {
    keypair: Keypair,
    mesh_key: MeshKey,
    address: Multiaddr,
}

impl Dead {
    pub(crate) async fn come_back(self) -> Member {
        Member::start_as(self.keypair, self.mesh_key, self.address).await
    }
}

/// Returns two members that are connected.
pub(crate) async fn pair(listen: &str) -> (Member, Member) {
    let key = MeshKey::generate();
    let (mut a, mut b) = (Member::start(&key, listen).await, Member::start(&key, listen).await);
    a.meet(&mut b).await;
    (a, b)
}

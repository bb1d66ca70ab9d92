//! The task that owns the swarm: it dials the targets, publishes, and reports
//! what happens to connections.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::StreamExt;
use libp2p::core::ConnectedPoint;
use libp2p::gossipsub::{self, IdentTopic};
use libp2p::swarm::dial_opts::{DialOpts, PeerCondition};
use libp2p::swarm::{ConnectionId, DialError, SwarmEvent};
use libp2p::{Multiaddr, PeerId, Swarm, ping};
use libp2p_stream::Control;
use proto::id::HostId;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::dial_error::in_words;
use super::dial_targets::Target;
use super::peers::count;
use super::refusals::SUMMED_UP_EVERY;
use super::swarm::{Behaviour, BehaviourEvent};
use super::told::Teller;
use super::{Shared, frames};
use crate::identity;
use crate::telemetry::chain;

/// The most connections per host. Two hosts that dial each other at once have two, and keep them.
const CONNECTIONS_PER_HOST: usize = 2;
/// The age beyond a host's new connection at which its other ones count as dead, if both are to the
/// same start of its agent. It is longer than the difference between dials that began together.
const STALE_AFTER: Duration = Duration::from_secs(10);
/// Time for queued frames to be sent when the transport stops.
const STOP_MAX: Duration = Duration::from_millis(500);

pub(super) struct Driver {
    pub(super) swarm: Swarm<Behaviour>,
    pub(super) topic: IdentTopic,
    pub(super) control: Control,
    pub(super) shared: Arc<Shared>,
    pub(super) published: mpsc::Receiver<Vec<u8>>,
    pub(super) events: Teller,
    pub(super) hosts: BTreeMap<HostId, Host>,
}

/// A connection to a host.
struct Connection {
    id: ConnectionId,
    since: Instant,
    /// The time at which the agent at its other end was started.
    start: u64,
}

/// The driver's state of a host, kept until the end of its connections was reported.
#[derive(Default)]
pub(super) struct Host {
    /// The connections, oldest first.
    connections: Vec<Connection>,
    /// True if one connection has ended and others have not. If the host's agent
    /// was killed, those over TCP end at once; those over QUIC only seem to live.
    is_doubtful: bool,
    task: Option<JoinHandle<()>>,
}

impl Driver {
    pub(super) async fn run(mut self) {
        let mut sum_up = tokio::time::interval(SUMMED_UP_EVERY);
        loop {
            let next_dial = self.shared.dial_targets().next_dial();
            tokio::select! {
                event = self.swarm.select_next_some() => self.on_event(event),
                Some(frame) = self.published.recv() => self.publish(frame),
                () = self.shared.changed.notified() => {}
                () = sleep_until(next_dial) => {}
                _ = sum_up.tick() => self.shared.door.sum_up(),
                () = self.shared.stop.cancelled() => break,
                () = self.events.unheard() => break,
            }
            self.follow_dial_targets();
        }
        self.stop().await;
    }

    fn follow_dial_targets(&mut self) {
        let now = Instant::now();
        let (unwanted, due) = {
            let mut dial_targets = self.shared.dial_targets();
            (dial_targets.take_unwanted(now), dial_targets.due(now))
        };
        for host in unwanted {
            // This fails if there is no connection; then nothing is left to do.
            let _ = self.swarm.disconnect_peer_id(identity::peer_id(host));
        }
        for (target, addresses) in due {
            self.dial(&target, addresses, now);
        }
    }

    fn dial(&mut self, target: &Target, mut addresses: Vec<Multiaddr>, now: Instant) {
        // Dial from a new port: a dial from the port that we listen on could meet
        // one from the other side, and then both ends would act as the dialler.
        let dial = match target {
            Target::Host(host) | Target::Held(host) => DialOpts::peer_id(identity::peer_id(*host))
                .condition(PeerCondition::Disconnected)
                .addresses(addresses)
                .allocate_new_port()
                .build(),
            Target::Address(_) => match addresses.pop() {
                Some(address) => DialOpts::unknown_peer_id().address(address).allocate_new_port().build(),
                None => return,
            },
        };
        let connection = dial.connection_id();
        self.shared.dial_targets().dialling(target, connection);
        if let Err(cause) = self.swarm.dial(dial) {
            tracing::debug!(?target, %cause, "not dialled");
            self.shared.dial_targets().failed(connection, now);
        }
    }

    fn publish(&mut self, frame: Vec<u8>) {
        let counters = &self.shared.peers.counters;
        match self.swarm.behaviour_mut().gossip.publish(self.topic.clone(), frame) {
            Ok(_) => count(&counters.published),
            Err(cause) => {
                tracing::debug!(%cause, "not published");
                count(&counters.dropped_unpublished);
            }
        }
    }

    fn on_event(&mut self, event: SwarmEvent<BehaviourEvent>) {
        match event {
            SwarmEvent::Behaviour(event) => self.on_behaviour(event),
            SwarmEvent::ConnectionEstablished { peer_id, connection_id, endpoint, .. } => {
                self.on_connection(&peer_id, connection_id, &endpoint);
            }
            SwarmEvent::ConnectionClosed { peer_id, connection_id, cause, .. } => {
                tracing::debug!(peer = %peer_id, cause = cause.map(|cause| chain(&cause)), "connection closed");
                self.on_closed(&peer_id, connection_id);
            }
            SwarmEvent::OutgoingConnectionError { connection_id, peer_id, error } => {
                self.on_failed_dial(connection_id, peer_id, &error);
            }
            SwarmEvent::IncomingConnectionError { send_back_addr, error, .. } => {
                tracing::debug!(address = %send_back_addr, cause = chain(&error), "no connection from there");
            }
            SwarmEvent::NewListenAddr { address, .. } => {
                tracing::info!(%address, "listening");
                self.shared.listening.send_modify(|listening| {
                    listening.insert(address);
                });
            }
            SwarmEvent::ExpiredListenAddr { address, .. } => {
                tracing::info!(%address, "no longer listening");
                self.shared.listening.send_modify(|listening| {
                    listening.remove(&address);
                });
            }
            SwarmEvent::ListenerClosed { addresses, reason: Err(cause), .. } => {
                tracing::error!(?addresses, %cause, "no longer listening");
            }
            SwarmEvent::ListenerError { error, .. } => tracing::warn!(cause = %error, "listener"),
            SwarmEvent::IncomingConnection { .. }
            | SwarmEvent::ListenerClosed { .. }
            | SwarmEvent::Dialing { .. }
            | SwarmEvent::NewExternalAddrCandidate { .. }
            | SwarmEvent::ExternalAddrConfirmed { .. }
            | SwarmEvent::ExternalAddrExpired { .. }
            | SwarmEvent::NewExternalAddrOfPeer { .. }
            | _ => {}
        }
    }

    fn on_behaviour(&mut self, event: BehaviourEvent) {
        match event {
            BehaviourEvent::Gossip(gossipsub::Event::Message { propagation_source, message, .. }) => {
                if let Some(host) = identity::host_id(&propagation_source) {
                    self.shared.peers.gossip(host, message.data);
                }
            }
            BehaviourEvent::Ping(ping::Event { connection, result: Err(cause), peer }) => {
                tracing::debug!(%peer, %cause, "connection does not answer, closing it");
                self.swarm.close_connection(connection);
            }
            BehaviourEvent::Gossip(_) | BehaviourEvent::Ping(_) | BehaviourEvent::Identify(_) => {}
            BehaviourEvent::Streams(()) => {}
            BehaviourEvent::Limits(never) => match never {},
        }
    }

    fn on_connection(&mut self, peer: &PeerId, id: ConnectionId, endpoint: &ConnectedPoint) {
        // Admission lets no other key types in.
        let Some(host) = identity::host_id(peer) else { return };
        let now = Instant::now();
        if endpoint.is_listener() {
            self.shared.door.admitted(endpoint.get_remote_address());
        }
        self.shared.dial_targets().connected(host, id, now);
        self.hosts.retain(|_, host| !host.is_over());
        let entry = self.hosts.entry(host).or_default();
        if entry.connections.is_empty() {
            tracing::info!(%host, address = %endpoint.get_remote_address(), "connected");
            let mail = self.shared.peers.add(host);
            let (previous, control) = (entry.task.take(), self.control.clone());
            let (peers, events) = (self.shared.peers.clone(), self.events.clone());
            entry.task = Some(frames::start(mail, previous, control, peers, events));
        }
        let start = self.shared.door.take_start(host, endpoint);
        entry.connections.push(Connection { id, since: now, start });
        for stale in entry.stale(now, endpoint) {
            tracing::debug!(%host, "closing an older connection");
            self.swarm.close_connection(stale);
        }
        entry.is_doubtful = false;
    }

    fn on_closed(&mut self, peer: &PeerId, id: ConnectionId) {
        let Some(host) = identity::host_id(peer) else { return };
        let Some(entry) = self.hosts.get_mut(&host) else { return };
        entry.connections.retain(|open| open.id != id);
        entry.is_doubtful = !entry.connections.is_empty();
        if entry.connections.is_empty() {
            tracing::info!(%host, "disconnected");
            self.shared.peers.remove(host);
            self.shared.dial_targets().disconnected(host, Instant::now());
        }
    }

    fn on_failed_dial(&mut self, id: ConnectionId, peer: Option<PeerId>, error: &DialError) {
        if let DialError::LocalPeerId { address } = error {
            tracing::debug!(%address, "that is this host itself");
            self.shared.dial_targets().found_ourselves(id);
            return;
        }
        let failures = self.shared.dial_targets().failed(id, Instant::now());
        let (peer, cause) = (peer.map(|peer| peer.to_string()), in_words(error));
        // Log the first failure for the person on call; later ones are not news.
        match failures {
            Some(1) => tracing::info!(peer, cause, "cannot connect, trying again"),
            Some(_) | None => {
                tracing::debug!(peer, failures, cause, details = chain(error), "cannot connect")
            }
        }
        if peer.is_none() {
            self.shared.ways_in().note(error);
        }
    }

    /// Stops after sending what was queued.
    async fn stop(mut self) {
        // The queues empty while the swarm still runs. Then the connections are
        // closed, and each reports when it is done with what it had.
        let deadline = tokio::time::Instant::now() + STOP_MAX;
        let mut closing = false;
        loop {
            if !closing && self.shared.peers.are_sent() {
                closing = true;
                let peers: Vec<PeerId> = self.swarm.connected_peers().copied().collect();
                for peer in peers {
                    let _ = self.swarm.disconnect_peer_id(peer);
                }
            }
            if closing && self.swarm.network_info().num_peers() == 0 {
                break;
            }
            tokio::select! {
                _ = self.swarm.select_next_some() => {}
                () = tokio::time::sleep(Duration::from_millis(2)) => {}
                () = tokio::time::sleep_until(deadline) => break,
            }
        }
        let hosts: Vec<HostId> = self.hosts.keys().copied().collect();
        hosts.into_iter().for_each(|host| self.shared.peers.remove(host));
    }
}

impl Host {
    fn is_over(&self) -> bool {
        self.connections.is_empty() && self.task.as_ref().is_none_or(JoinHandle::is_finished)
    }

    /// Returns the connections that the newest one shows to be superfluous or dead: those beyond
    /// `CONNECTIONS_PER_HOST`, those to an earlier start of the host's agent, and old ones if the host
    /// has dialled us. A host dials only when it has no connection. So if it dials us while we have an
    /// old one, or have just seen one end, it has lost the others too.
    fn stale(&self, now: Instant, endpoint: &ConnectedPoint) -> Vec<ConnectionId> {
        let Some((newest, older)) = self.connections.split_last() else { return Vec::new() };
        let surplus = self.connections.len().saturating_sub(CONNECTIONS_PER_HOST);
        let is_old = |since: Instant| self.is_doubtful || now.duration_since(since) > STALE_AFTER;
        let is_stale = |(at, open): &(usize, &Connection)| {
            *at < surplus || open.start < newest.start || (endpoint.is_listener() && is_old(open.since))
        };
        older.iter().enumerate().filter(is_stale).map(|(_, open)| open.id).collect()
    }
}

async fn sleep_until(instant: Option<Instant>) {
    match instant {
        Some(instant) => tokio::time::sleep_until(instant.into()).await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests;

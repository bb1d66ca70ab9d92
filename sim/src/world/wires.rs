//! What the network has in store, and what hosts are told of it.

use proto::io::Input;

use super::{Event, World};
use crate::host::HostNo;
use crate::network::{Later, NetEvent, Told};

impl World {
    pub(super) fn later(&mut self, later: impl IntoIterator<Item = Later>) {
        for (at, event) in later {
            self.queue.push(at, Event::Network(event));
        }
    }

    pub(super) fn network_event(&mut self, event: NetEvent) {
        let now = self.now;
        match event {
            NetEvent::Dial { from, to } => {
                let reachable = self.hosts[to.index()].stalled_until <= now;
                let later = self.network.dial(from, to, reachable, now);
                self.later(later);
            }
            NetEvent::Up { end, peer, connection } => {
                let (told, later) = self.network.up(end, peer, connection, now);
                self.later(later);
                self.tell(end.host, told);
            }
            NetEvent::Lost { host, peer, connection } => {
                let (told, later) = self.network.lost(host, peer, connection, now);
                self.later(later);
                self.tell(host, told);
            }
            NetEvent::Idle { a, b, since } => {
                let later = self.network.idle(a, b, since, now);
                self.later(later);
            }
            NetEvent::Frame { from, to, connection, frame, gossip } => {
                if !self.network.arrives(from, to, connection) {
                    return;
                }
                let id = self.hosts[from.index()].id;
                let Some(gossip) = gossip else {
                    return self.feed(to, Input::Received { from: id, frame: frame.to_vec() });
                };
                let (is_first, later) = self.network.gossip_arrives(gossip, to, &frame, now);
                self.later(later);
                if is_first {
                    self.feed(to, Input::Gossip { by: id, frame: frame.to_vec() });
                }
            }
        }
    }

    fn tell(&mut self, host: HostNo, told: Vec<Told>) {
        for told in told {
            let id = |peer: HostNo| self.hosts[peer.index()].id;
            let input = match told {
                Told::Connected(peer) => Input::Connected { host: id(peer) },
                Told::Disconnected(peer) => Input::Disconnected { host: id(peer) },
            };
            self.feed(host, input);
        }
    }
}

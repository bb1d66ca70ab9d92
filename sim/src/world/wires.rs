//! Handles the network's events, and feeds hosts what arrives.

use proto::io::Input;

use super::{Claim, Event, World};
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
                    let frame = self.falsified(to, &frame).unwrap_or_else(|| frame.to_vec());
                    self.feed(to, Input::Received { from: id, frame });
                    if std::mem::take(&mut self.is_lied_to) {
                        let what = "it hears of another ledger than its own, and does not say so".into();
                        self.violated(Claim::Agreement, to, what);
                    }
                    return;
                };
                let (is_first, later) = self.network.gossip_arrives(gossip, to, &frame, now);
                self.later(later);
                if is_first {
                    self.feed(to, Input::Gossip { by: id, frame: frame.to_vec() });
                }
            }
        }
    }

    /// Returns the same beacon with the hash of another ledger, if
    /// `Fault::FalseHead` is due for this host. The beacon has the host's own
    /// index, so that the host must notice.
    fn falsified(&mut self, to: HostNo, frame: &[u8]) -> Option<Vec<u8>> {
        let host = &mut self.hosts[to.index()];
        let index = host.node().filter(|_| host.hears_false_head)?.state().index();
        let falsified = proto::promise::falsified(self.mesh, frame, index)?;
        host.hears_false_head = false;
        self.is_lied_to = true;
        Some(falsified)
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

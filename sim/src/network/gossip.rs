//! Published frames: hosts pass them on, and each host receives each frame
//! once.
//!
//! Real gossip sends a host many copies and drops all but the first. Here a
//! copy that cannot be the first is not even queued. Nodes see the same, and a
//! publication costs about one event per host.

use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;

use super::{Later, Network};
use crate::clock::Moment;
use crate::host::HostNo;

/// The number of a publication.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct GossipId(u64);

/// The number of publications that are remembered. There are never as many
/// under way at once, so no host passes on a frame twice.
const REMEMBERED_MAX: usize = 4_096;

#[derive(Debug, Default)]
pub(super) struct Gossip {
    published: u64,
    /// For each publication, the arrival of the earliest copy at each host.
    arrivals: BTreeMap<GossipId, BTreeMap<HostNo, Arrival>>,
    order: VecDeque<GossipId>,
}

#[derive(Clone, Copy, Debug)]
struct Arrival {
    at: Moment,
    arrived: bool,
}

impl Network {
    /// Publishes a frame to all hosts, by way of neighbours.
    pub fn publish(&mut self, from: HostNo, frame: &Rc<[u8]>, now: Moment) -> Vec<Later> {
        self.gossip.published += 1;
        let id = GossipId(self.gossip.published);
        self.gossip.arrivals.insert(id, BTreeMap::from([(from, Arrival { at: now, arrived: true })]));
        self.gossip.order.push_back(id);
        if self.gossip.order.len() > REMEMBERED_MAX
            && let Some(oldest) = self.gossip.order.pop_front()
        {
            self.gossip.arrivals.remove(&oldest);
        }
        self.spread(id, from, frame, 0, now)
    }

    /// Handles the arrival of a copy. Returns true if it is the first one, which
    /// goes to the node; and the copies that the host passes on.
    pub fn gossip_arrives(
        &mut self,
        (id, relays): (GossipId, u8),
        host: HostNo,
        frame: &Rc<[u8]>,
        now: Moment,
    ) -> (bool, Vec<Later>) {
        let Some(arrivals) = self.gossip.arrivals.get_mut(&id) else { return (false, Vec::new()) };
        let arrival = arrivals.entry(host).or_insert(Arrival { at: now, arrived: false });
        if arrival.arrived {
            return (false, Vec::new());
        }
        *arrival = Arrival { at: now, arrived: true };
        if relays >= self.quality.relays {
            return (true, Vec::new());
        }
        (true, self.spread(id, host, frame, relays + 1, now))
    }

    fn spread(
        &mut self,
        id: GossipId,
        host: HostNo,
        frame: &Rc<[u8]>,
        relays: u8,
        now: Moment,
    ) -> Vec<Later> {
        let mut later = Vec::new();
        for peer in self.connected(host) {
            let earliest = self.gossip.arrivals.get(&id).and_then(|known| known.get(&peer)).copied();
            if earliest.is_some_and(|known| known.arrived || known.at <= now) {
                continue;
            }
            let Some((at, event)) = self.copy(host, peer, frame, Some((id, relays)), now) else { continue };
            if earliest.is_some_and(|known| known.at <= at) {
                continue;
            }
            if let Some(arrivals) = self.gossip.arrivals.get_mut(&id) {
                arrivals.insert(peer, Arrival { at, arrived: false });
            }
            later.push((at, event));
        }
        later
    }
}

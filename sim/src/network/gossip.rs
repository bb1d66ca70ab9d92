//! Published frames: passed on from host to host, each host given it once.
//!
//! Real gossip sends a host many copies and drops all but the first. Here a
//! copy that cannot be the first is not even put into the queue: what nodes
//! see is the same, and a publication costs about one event a host.

use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;

use super::{Later, Network};
use crate::clock::Moment;
use crate::host::HostNo;

/// Names one publication.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct GossipId(u64);

/// Publications that are remembered: more than are ever under way at once, so
/// that none is passed on twice by one host.
const REMEMBERED_MAX: usize = 4_096;

#[derive(Debug, Default)]
pub(super) struct Gossip {
    published: u64,
    /// For each host the arrival of its earliest copy, by publication.
    arrivals: BTreeMap<GossipId, BTreeMap<HostNo, Arrival>>,
    order: VecDeque<GossipId>,
}

#[derive(Clone, Copy, Debug)]
struct Arrival {
    at: Moment,
    arrived: bool,
}

impl Network {
    /// A frame to everybody, by way of neighbours.
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

    /// A copy has come. Returns whether it is the first, for the node, and the
    /// copies that the host passes on.
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

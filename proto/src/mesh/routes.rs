//! Routes through an overlay of bounded degree: by which neighbour a frame to a host goes.
//!
//! Every host knows the whole overlay, because it computes it from the members. So it finds
//! the shortest way itself, around hosts that are lost. Two hosts may disagree for a moment
//! about who is lost; a frame that circles then is dropped after a bounded number of hops. A host
//! that is not in the overlay yet is answered by the way its own frames came.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

use crate::id::HostId;
use crate::time::Time;

/// The most hosts outside the overlay whose way back is remembered, as many as may join at
/// once; beyond it the oldest is dropped.
const WAYS_BACK_MAX: usize = 1_024;

/// The routes of one host, and the ways by which frames of others came.
#[derive(Clone, Debug, Default)]
pub(super) struct Routes {
    first_hop: BTreeMap<HostId, HostId>,
    /// The version of the overlay and of liveness for which they hold.
    pub(super) of: Option<(u64, u64)>,
    ways_back: BTreeMap<HostId, (Time, HostId)>,
}

impl Routes {
    /// Finds the shortest ways: breadth first, through hosts for which `passes` returns true.
    pub(super) fn find(
        &mut self,
        first: &BTreeSet<HostId>,
        neighbours: impl Fn(HostId) -> BTreeSet<HostId>,
        passes: impl Fn(HostId) -> bool,
    ) {
        self.first_hop = first.iter().map(|host| (*host, *host)).collect();
        let mut next: VecDeque<HostId> = first.iter().copied().collect();
        while let Some(at) = next.pop_front() {
            let Some(by) = self.first_hop.get(&at).copied() else { continue };
            for host in neighbours(at) {
                if let Entry::Vacant(entry) = self.first_hop.entry(host) {
                    entry.insert(by);
                    next.extend(passes(host).then_some(host));
                }
            }
        }
    }

    /// Returns the neighbour by which a frame to the host goes.
    pub(super) fn to(&self, host: HostId) -> Option<HostId> {
        self.first_hop.get(&host).copied().or_else(|| Some(self.ways_back.get(&host)?.1))
    }

    /// Notes the neighbour by which a frame of the host came.
    pub(super) fn note_way_back(&mut self, host: HostId, by: HostId, now: Time) {
        if self.ways_back.len() >= WAYS_BACK_MAX && !self.ways_back.contains_key(&host) {
            let oldest = self.ways_back.iter().min_by_key(|(_, (at, _))| *at).map(|(host, _)| *host);
            oldest.and_then(|oldest| self.ways_back.remove(&oldest));
        }
        self.ways_back.insert(host, (now, by));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host(number: u8) -> HostId {
        HostId::from_public_key([number; 32])
    }

    /// Hosts 0 to 6 in a ring, as host 0 sees it.
    fn ring(at: HostId) -> BTreeSet<HostId> {
        let number = at.public_key()[0];
        BTreeSet::from([host((number + 1) % 7), host((number + 6) % 7)])
    }

    #[test]
    fn a_frame_goes_the_shortest_way_around_hosts_that_are_lost() {
        let mut routes = Routes::default();
        routes.find(&ring(host(0)), ring, |_| true);
        assert_eq!((routes.to(host(1)), routes.to(host(2))), (Some(host(1)), Some(host(1))));
        assert_eq!((routes.to(host(5)), routes.to(host(6))), (Some(host(6)), Some(host(6))));
        routes.find(&ring(host(0)), ring, |it| it != host(5));
        assert_eq!(routes.to(host(4)), Some(host(1)), "host 5 passes nothing on");
        routes.find(&BTreeSet::new(), ring, |_| true);
        assert_eq!(routes.to(host(2)), None);
    }

    #[test]
    fn a_host_outside_the_overlay_is_answered_by_the_way_its_frames_came() {
        let mut routes = Routes::default();
        assert_eq!(routes.to(host(9)), None);
        for number in 0..=u16::try_from(WAYS_BACK_MAX).expect("small") {
            let mut key = [9; 32];
            key[..2].copy_from_slice(&number.to_be_bytes());
            let at = Time::from_micros(u64::from(number) + 1);
            routes.note_way_back(HostId::from_public_key(key), host(1), at);
        }
        assert_eq!(routes.ways_back.len(), WAYS_BACK_MAX, "the oldest was dropped");
        routes.note_way_back(host(9), host(3), Time::from_micros(9_999));
        assert_eq!(routes.to(host(9)), Some(host(3)));
    }
}

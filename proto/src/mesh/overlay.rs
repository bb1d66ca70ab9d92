//! The overlay: which hosts are connected to each other.
//!
//! In the full mesh every host is connected to all others. In an overlay of bounded degree
//! each host has a place in K rings, in another order in each, and is connected to the host
//! before it and the one after it. This is the topology of Rapid (Suresh et al., "Stable and
//! Consistent Membership at Scale with Rapid", ATC '18, section 4.1): the union of random
//! rings is an expander, so it stays connected when many hosts fail. Here the order of a ring
//! is that of the hashes of the hosts' keys, so all hosts compute the same overlay from the
//! same members without talking. It is symmetric, and a host that joins or leaves changes at
//! most three connections for each ring.
//!
//! The simulator alone uses it yet: an agent always uses the full mesh.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound::{Excluded, Unbounded};

use serde::{Deserialize, Serialize};

use crate::id::HostId;

/// The rule by which hosts are connected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum Overlay {
    /// Every host is connected to all others.
    #[default]
    Full,
    /// Every host is connected to at most this many others, and frames to all others are
    /// relayed.
    Bounded {
        /// The most connections of one host. It is even: two for each ring.
        degree: u8,
    },
}

/// The rings of an overlay of bounded degree.
#[derive(Clone, Debug, Default)]
pub(super) struct Rings {
    rings: Vec<BTreeMap<[u8; 32], HostId>>,
}

impl Rings {
    pub(super) fn new(degree: u8) -> Self {
        Rings { rings: vec![BTreeMap::new(); usize::from(degree / 2)] }
    }

    pub(super) fn insert(&mut self, host: HostId) {
        for (number, ring) in self.rings.iter_mut().enumerate() {
            ring.insert(place(number, host), host);
        }
    }

    pub(super) fn remove(&mut self, host: HostId) {
        for (number, ring) in self.rings.iter_mut().enumerate() {
            ring.remove(&place(number, host));
        }
    }

    /// Returns the hosts to which this one is connected, or would be if it were in the rings.
    pub(super) fn neighbours(&self, host: HostId) -> BTreeSet<HostId> {
        let mut neighbours = BTreeSet::new();
        for (number, ring) in self.rings.iter().enumerate() {
            let place = place(number, host);
            let before = ring.range(..place).next_back().or_else(|| ring.last_key_value());
            let after = ring.range((Excluded(place), Unbounded)).next().or_else(|| ring.first_key_value());
            neighbours.extend([before, after].into_iter().flatten().map(|(_, host)| *host));
        }
        neighbours.remove(&host);
        neighbours
    }
}

/// Returns the host's place in a ring.
fn place(ring: usize, host: HostId) -> [u8; 32] {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&(ring as u64).to_be_bytes());
    hasher.update(host.public_key());
    *hasher.finalize().as_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    const DEGREE: u8 = 20;

    fn host(number: u16) -> HostId {
        let mut key = [0; 32];
        key[..2].copy_from_slice(&number.to_be_bytes());
        HostId::from_public_key(key)
    }

    fn rings(hosts: u16) -> Rings {
        let mut rings = Rings::new(DEGREE);
        (0..hosts).for_each(|number| rings.insert(host(number)));
        rings
    }

    fn edges(rings: &Rings, hosts: u16) -> BTreeSet<(HostId, HostId)> {
        let of = |from: HostId| rings.neighbours(from).into_iter().map(move |to| (from, to));
        (0..hosts).map(host).flat_map(of).collect()
    }

    #[test]
    fn neighbours_are_mutual_and_at_most_the_degree() {
        for hosts in [1, 2, 3, 21, 22, 100, 500] {
            let rings = rings(hosts);
            let edges = edges(&rings, hosts);
            assert!(edges.iter().all(|(from, to)| edges.contains(&(*to, *from))), "{hosts} hosts");
            let most = (0..hosts).map(|number| rings.neighbours(host(number)).len()).max();
            assert!(most <= Some(usize::from(DEGREE)), "{hosts} hosts: {most:?}");
        }
    }

    #[test]
    fn half_of_the_hosts_stay_connected_when_the_others_are_down() {
        let (hosts, rings) = (200_u16, rings(200));
        let is_up = |it: &HostId| it.public_key()[1].is_multiple_of(2);
        let mut reached = BTreeSet::from([host(0)]);
        let mut next = vec![host(0)];
        while let Some(at) = next.pop() {
            next.extend(rings.neighbours(at).into_iter().filter(|it| is_up(it) && reached.insert(*it)));
        }
        assert_eq!(reached.len(), usize::from(hosts / 2));
    }

    #[test]
    fn a_host_that_leaves_changes_three_connections_for_each_ring_at_most() {
        let (hosts, mut rings) = (100, rings(100));
        let before = edges(&rings, hosts);
        rings.remove(host(7));
        let after: BTreeSet<_> =
            edges(&rings, hosts).into_iter().filter(|(from, _)| *from != host(7)).collect();
        let changed = before.symmetric_difference(&after).count() / 2;
        assert!(changed <= 3 * usize::from(DEGREE / 2), "{changed} connections changed");
        rings.insert(host(7));
        assert_eq!(edges(&rings, hosts), before, "the order of changes does not matter");
    }
}

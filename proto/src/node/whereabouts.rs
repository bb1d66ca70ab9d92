//! New addresses of hosts that this one does not reach.
//!
//! Addresses are in the ledger. So a host that was away while others moved dials
//! their old addresses, and cannot read the entries with the new ones. If two of
//! three voters move at once, they do not find each other, and without a leader
//! nothing is committed that would help them. Any neighbour may tell the new
//! addresses: they decide nothing, because the host that answers there must prove
//! its key.

use std::collections::BTreeSet;

use rand::RngExt;

use super::Node;
use crate::id::HostId;
use crate::mesh::MeshInput;
use crate::time::Time;
use crate::wire::Message;

/// Hosts in one question: all voters, the outgoing voters, and some other members, of
/// which two can confirm what they both tell.
const HOSTS_MAX: usize = 32;
/// Neighbours that are asked at once: one of them has probably seen the last moves.
const NEIGHBOURS_MAX: usize = 8;
/// Addresses of one host that are taken from a neighbour: half of those that an agent
/// dials, so that it dials those in the ledger too.
const ADDRESSES_MAX: usize = 8;
/// The longest address that is taken: twice the longest DNS name.
const ADDRESS_BYTES_MAX: usize = 512;

impl Node {
    /// Notes whether a leader is known, once with every beacon.
    pub(super) fn note_leader(&mut self, now: Time) {
        let is_known = self.leader().is_some();
        self.mesh.whereabouts.note_leader(is_known, now);
    }

    /// Returns since when this host has known no leader, if that is longer than any
    /// election takes. Voters that halted, or whose disks hang, are still heard, so this
    /// can be so although a majority is in reach.
    pub fn leaderless_since(&self) -> Option<Time> {
        self.mesh.whereabouts.leaderless_since(self.time.handled_at)
    }

    /// Returns true if no voter has helped this host, or nobody has led, for too long.
    fn is_lost(&self, now: Time) -> bool {
        self.is_orphaned(now) || self.mesh.whereabouts.is_leaderless(now)
    }

    /// Asks some neighbours for the addresses of hosts that this one does not reach.
    pub(super) fn ask_where_others_are(&mut self, now: Time) {
        if !self.is_lost(now) || !self.mesh.whereabouts.ask(now) {
            return;
        }
        let heard: Vec<HostId> = self.mesh.all_heard().into_iter().collect();
        let first = self.own.rng.random_range(0..heard.len().max(1));
        let neighbours = heard.len().min(NEIGHBOURS_MAX);
        let asked: BTreeSet<HostId> = heard.iter().cycle().skip(first).take(neighbours).copied().collect();
        let hosts = self.unreached();
        if !hosts.is_empty() {
            self.tell(asked, &Message::WhereAre(hosts));
        }
    }

    /// Hosts without a connection: the voters first, then members from a random one on.
    fn unreached(&mut self) -> Vec<HostId> {
        let voters = self.voters_known();
        let first = self.own.rng.random_range(0..self.mesh.members().len().max(1));
        let members = self.mesh.members().iter().cycle().skip(first).take(self.mesh.members().len());
        let others = members.filter(|host| !voters.contains(*host));
        let all = voters.iter().chain(others).copied();
        all.filter(|host| !self.is_reached(*host)).take(HOSTS_MAX).collect()
    }

    fn is_reached(&self, host: HostId) -> bool {
        host == self.config.host || self.mesh.is_neighbour(host) || self.mesh.hears(host)
    }

    /// Tells a neighbour this host's addresses, if the ledger has others.
    pub(super) fn tell_own_place(&mut self, to: HostId) {
        let (me, addresses) = (self.config.host, &self.config.addresses);
        if self.addresses_of(me).is_some_and(|known| known != addresses.as_slice()) {
            let places = vec![(me, addresses.clone())];
            self.send(to, &Message::Places(places));
        }
    }

    pub(super) fn on_where_are(&mut self, from: HostId, hosts: &[HostId]) {
        let place = |host: &HostId| {
            let told = self.mesh.whereabouts.of(*host);
            Some((*host, told.or_else(|| self.addresses_of(*host))?.to_vec()))
        };
        let places: Vec<(HostId, Vec<String>)> = hosts.iter().take(HOSTS_MAX).filter_map(place).collect();
        if !places.is_empty() {
            self.send(from, &Message::Places(places));
        }
    }

    /// The addresses in the ledger of a member, or of a removed host, which may still
    /// vote.
    fn addresses_of(&self, host: HostId) -> Option<&[String]> {
        match self.state.host(host) {
            Some(member) => Some(&member.record.addresses),
            None => self.state.removed(host).map(|removed| removed.addresses.as_slice()),
        }
    }

    /// Remembers the addresses that a member tells of itself, and dials those of
    /// others as long as this host needs help.
    pub(super) fn on_places(&mut self, from: HostId, places: Vec<(HostId, Vec<String>)>, now: Time) {
        self.mesh.forget_moves_of_strangers();
        let is_lost = self.is_lost(now);
        for (host, told) in places.into_iter().take(HOSTS_MAX) {
            let told = told.into_iter().filter(|address| address.len() <= ADDRESS_BYTES_MAX);
            let told: Vec<String> = told.take(ADDRESSES_MAX).collect();
            if host == from && self.mesh.members().contains(&host) {
                self.mesh.whereabouts.note(host, told);
            } else if is_lost && !self.is_reached(host) {
                self.dial_too(host, told, now);
            }
        }
    }

    /// Dials a known host at these addresses and at those in the ledger: the neighbour
    /// that told them may be wrong.
    fn dial_too(&mut self, host: HostId, mut addresses: Vec<String>, now: Time) {
        if !self.mesh.members().contains(&host) && !self.voters_known().contains(&host) {
            return;
        }
        addresses.extend(self.addresses_of(host).into_iter().flatten().cloned());
        self.tell_mesh(MeshInput::Moved { host, addresses }, now);
    }
}

#[cfg(test)]
mod tests;

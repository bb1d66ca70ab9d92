//! Where other hosts are now: asked by a host that lags and reaches no voter.
//!
//! Addresses stand in the ledger, so a host that was away while others moved looks
//! for them at their old places, and cannot read the entries that name the new ones.
//! Any neighbour may tell it. An address decides nothing: whoever answers there has
//! to prove its key.

use std::collections::BTreeSet;
use std::time::Duration;

use rand::RngExt;

use super::Node;
use crate::id::HostId;
use crate::io::Output;
use crate::time::Time;
use crate::wire::Message;

/// A host that needs help asks so often: dials to the last places take seconds to fail.
const ASK_EVERY: Duration = Duration::from_secs(10);
/// Hosts that are asked for at once: all voters, the old ones that hand over to them,
/// and some members, of which two can vouch for what they tell alike.
const HOSTS_MAX: usize = 32;
/// Neighbours that are asked at once. One of them has probably heard of the last moves.
const NEIGHBOURS_MAX: usize = 8;
/// Addresses of one host that are taken from a neighbour: half of what an agent
/// dials, so that those in the ledger are dialled too.
const ADDRESSES_MAX: usize = 8;
/// The longest address that is taken: twice a DNS name of the greatest length.
const ADDRESS_BYTES_MAX: usize = 512;

impl Node {
    /// Asks the neighbours that are further on, if no voter has helped for too long.
    pub(super) fn ask_where_others_are(&mut self, now: Time) {
        let asked_lately = self.asked_where.is_some_and(|asked| now.since(asked) < ASK_EVERY);
        if asked_lately || !self.is_orphaned(now) {
            return;
        }
        self.asked_where = Some(now);
        let (index, _) = self.ledger.head();
        let is_ahead = |host: &HostId| self.heard.get(host).is_some_and(|heard| heard.index > index);
        let heard = self.liveness.all_heard().into_iter();
        let asked: BTreeSet<HostId> = heard.filter(is_ahead).take(NEIGHBOURS_MAX).collect();
        let hosts = self.unreached();
        if !hosts.is_empty() {
            self.tell(asked, &Message::WhereAre(hosts));
        }
    }

    /// Hosts without a connection: the voters first, then members from a random one on.
    fn unreached(&mut self) -> Vec<HostId> {
        let voters = self.voters_known();
        let first = self.rng.random_range(0..self.members.len().max(1));
        let members = self.members.iter().cycle().skip(first).take(self.members.len());
        let others = members.filter(|host| !voters.contains(*host));
        let all = voters.iter().chain(others).copied();
        all.filter(|host| !self.is_reached(*host)).take(HOSTS_MAX).collect()
    }

    fn is_reached(&self, host: HostId) -> bool {
        host == self.config.host || self.liveness.is_connected(host)
    }

    pub(super) fn on_where_are(&mut self, from: HostId, hosts: &[HostId]) {
        let known = hosts.iter().take(HOSTS_MAX);
        let places: Vec<_> =
            known.filter_map(|host| Some((*host, self.addresses_of(*host)?.to_vec()))).collect();
        if !places.is_empty() {
            self.send(from, &Message::Places(places));
        }
    }

    /// The addresses of a member, or of a host that was taken out and may still vote.
    fn addresses_of(&self, host: HostId) -> Option<&[String]> {
        match self.state.host(host) {
            Some(member) => Some(&member.record.addresses),
            None => self.state.removed(host).map(|removed| removed.addresses.as_slice()),
        }
    }

    /// Looks for hosts at these places too, as long as this host needs help.
    pub(super) fn on_places(&mut self, places: Vec<(HostId, Vec<String>)>, now: Time) {
        if !self.is_orphaned(now) {
            return;
        }
        let voters = self.voters_known();
        for (host, told) in places.into_iter().take(HOSTS_MAX) {
            let is_known = voters.contains(&host) || self.members.contains(&host);
            if !is_known || self.is_reached(host) {
                continue;
            }
            let told = told.into_iter().filter(|address| address.len() <= ADDRESS_BYTES_MAX);
            let mut addresses: Vec<String> = told.take(ADDRESSES_MAX).collect();
            addresses.extend(self.addresses_of(host).into_iter().flatten().cloned());
            if self.addresses.get(&host) != Some(&addresses) {
                self.addresses.insert(host, addresses.clone());
                self.outputs.push_back(Output::Connect { host, addresses });
            }
        }
    }
}

#[cfg(test)]
mod tests;

//! Finds out which hosts are lost: what this host has lost itself, and how many
//! others agree.
//!
//! After Rapid (Suresh et al., ATC '18): a host is suspect when L of its observers
//! have lost it, and Down when H have. So one bad link is never mistaken for a dead
//! host. An observer that is itself suspect counts as having lost every host
//! ("implicit alerts"), because it can no longer say so.
//!
//! A judgement here is telemetry. Only a committed `HostDown` counts a host out.
//!
//! Every host watches all others for now, and notices a closed connection within
//! [`REDIAL_WITHIN`]. L is three tenths of a host's observers, and H seven tenths.
//! Given up: the connections grow with the square of the mesh. Rings will replace
//! this.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::entry::Index;
use crate::id::HostId;
use crate::time::Time;

/// The time from one beacon to the next.
pub(crate) const BEACON_EVERY: Duration = Duration::from_secs(1);
/// The longest silence of a host before its observer has lost it.
pub(crate) const SILENCE_MAX: Duration = Duration::from_secs(3);
/// The most time that a closed connection may take to come back before the host is
/// lost.
pub(crate) const REDIAL_WITHIN: Duration = Duration::from_millis(250);
/// The time that a host waits after its own start for the others to appear.
pub(crate) const GRACE: Duration = Duration::from_secs(4);
/// The most hosts that one beacon may accuse, the first ones by id. A mesh in which
/// every host watches all others cannot have so many.
pub(crate) const LOST_TOLD_MAX: usize = 1_000;

/// The numbers of observers that it takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Watermarks {
    /// L: the observers that make a host suspect.
    pub(crate) suspect: usize,
    /// H: the observers that make a host Down.
    pub(crate) down: usize,
}

impl Watermarks {
    /// Returns the watermarks for a mesh of `hosts` in which every host watches all
    /// others.
    pub(crate) fn of(hosts: usize) -> Self {
        let observers = hosts.saturating_sub(1);
        Watermarks { suspect: (observers * 3).div_ceil(10).max(1), down: (observers * 7).div_ceil(10).max(1) }
    }
}

/// The judgement of the observers together on a host.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Judgement {
    Up,
    Suspect,
    Down,
}

#[derive(Clone, Debug)]
struct Neighbour {
    connected: bool,
    /// The time at which the host counts as lost, if nothing is heard from it until
    /// then.
    lost_at: Time,
    /// The time at which the host was last heard; `None` if it was not since this
    /// host started.
    heard_at: Option<Time>,
}

/// One host's view of which hosts are lost.
#[derive(Clone, Debug, Default)]
pub(crate) struct Liveness {
    neighbours: BTreeMap<HostId, Neighbour>,
    lost: BTreeSet<HostId>,
    /// The losses that other hosts report.
    told: BTreeMap<HostId, BTreeSet<HostId>>,
    /// The entry by which each host last announced itself.
    renewed: BTreeMap<HostId, Index>,
    /// Counts the changes, so that what is derived from them is computed once.
    version: u64,
}

impl Liveness {
    /// Adds another host of the mesh. It gets the same grace as at a start.
    pub(crate) fn add_member(&mut self, host: HostId, now: Time) {
        self.neighbours.entry(host).or_insert_with(|| {
            self.version += 1;
            Neighbour { connected: false, lost_at: now + GRACE, heard_at: None }
        });
    }

    /// Removes a host that is gone from the mesh. As long as it is connected, it is still
    /// heard.
    pub(crate) fn remove_member(&mut self, host: HostId) {
        self.version += 1;
        if !self.is_connected(host) {
            self.neighbours.remove(&host);
        }
        self.lost.remove(&host);
        self.told.remove(&host);
        self.renewed.remove(&host);
    }

    /// Returns the hosts that have reported losses.
    pub(crate) fn reporters(&self) -> impl Iterator<Item = HostId> {
        self.told.keys().copied()
    }

    /// Forgets what the host has reported: nothing is heard from it now.
    pub(crate) fn forget_losses_of(&mut self, observer: HostId) {
        let had = self.told.remove(&observer).is_some_and(|lost| !lost.is_empty());
        self.version += u64::from(had);
    }

    /// Returns true if one of the two hosts reports that it has lost the other.
    pub(crate) fn is_cut(&self, a: HostId, b: HostId) -> bool {
        let has_lost = |observer: HostId, subject: HostId| {
            self.told.get(&observer).is_some_and(|lost| lost.contains(&subject))
        };
        has_lost(a, b) || has_lost(b, a)
    }

    /// Stops observing a host that is still in the mesh.
    pub(crate) fn unobserve(&mut self, host: HostId) {
        self.version += 1;
        if !self.is_connected(host) {
            self.neighbours.remove(&host);
        }
        self.lost.remove(&host);
    }

    /// Returns the members that have lost each member, with this host's own losses.
    pub(crate) fn accusers(
        &self,
        me: HostId,
        members: &BTreeSet<HostId>,
    ) -> BTreeMap<HostId, BTreeSet<HostId>> {
        let others = self.told.iter().filter(|(observer, _)| **observer != me);
        let observers = others.chain([(&me, &self.lost)]).filter(|(observer, _)| members.contains(observer));
        let mut accusers: BTreeMap<HostId, BTreeSet<HostId>> = BTreeMap::new();
        for (observer, lost) in observers {
            for subject in lost.iter().filter(|host| *host != observer && members.contains(host)) {
                accusers.entry(*subject).or_default().insert(*observer);
            }
        }
        accusers
    }

    /// Notes a connection to the host. Returns true if the host was lost until now.
    pub(crate) fn connected(&mut self, host: HostId, now: Time) -> bool {
        let new = Neighbour { connected: true, lost_at: now + SILENCE_MAX, heard_at: None };
        let neighbour = self.neighbours.entry(host).or_insert(new);
        neighbour.connected = true;
        self.version += 1;
        self.heard(host, now)
    }

    /// Notes that the last connection to the host is gone.
    pub(crate) fn disconnected(&mut self, host: HostId, now: Time) {
        if let Some(neighbour) = self.neighbours.get_mut(&host) {
            neighbour.connected = false;
            self.version += 1;
            neighbour.lost_at = neighbour.lost_at.min(now + REDIAL_WITHIN);
        }
    }

    /// Notes that something came from the host. Returns true if the host was lost
    /// until now.
    pub(crate) fn heard(&mut self, host: HostId, now: Time) -> bool {
        let Some(neighbour) = self.neighbours.get_mut(&host) else { return false };
        neighbour.heard_at = Some(now);
        if neighbour.connected {
            neighbour.lost_at = now + SILENCE_MAX;
        }
        let was_lost = neighbour.connected && self.lost.remove(&host);
        self.version += u64::from(was_lost);
        was_lost
    }

    /// Notes that the host has announced itself with this entry. Reports of its
    /// loss are about its previous agent. As after a start, it gets time until all
    /// hosts see it again.
    pub(crate) fn renewed(&mut self, host: HostId, index: Index, now: Time) {
        self.lost.remove(&host);
        for lost in self.told.values_mut() {
            lost.remove(&host);
        }
        if let Some(neighbour) = self.neighbours.get_mut(&host) {
            neighbour.lost_at = neighbour.lost_at.max(now + GRACE);
        }
        self.renewed.insert(host, index);
        self.version += 1;
    }

    /// Notes the losses of another host that has folded the entries up to `index`.
    /// If it has not folded yet that a lost host announced itself anew, it speaks
    /// of that host's previous agent.
    pub(crate) fn told(&mut self, observer: HostId, index: Index, mut lost: BTreeSet<HostId>) {
        lost.retain(|host| self.renewed.get(host).is_none_or(|renewed| *renewed <= index));
        if self.told.get(&observer) != Some(&lost) {
            self.told.insert(observer, lost);
            self.version += 1;
        }
    }

    /// Loses the hosts that have been silent for too long. Returns true if that is
    /// new for any of them.
    pub(crate) fn expire(&mut self, now: Time) -> bool {
        let before = self.lost.len();
        let silent = self.neighbours.iter().filter(|(_, neighbour)| neighbour.lost_at <= now);
        self.lost.extend(silent.map(|(host, _)| *host));
        let fell_silent = self.lost.len() > before;
        self.version += u64::from(fell_silent);
        fell_silent
    }

    /// Returns when the next host would be lost.
    pub(crate) fn next_silence(&self) -> Option<Time> {
        self.neighbours
            .iter()
            .filter(|(host, _)| !self.lost.contains(host))
            .map(|(_, neighbour)| neighbour.lost_at)
            .min()
    }

    /// Returns a number that changes with every change here.
    pub(crate) fn version(&self) -> u64 {
        self.version
    }

    pub(crate) fn lost(&self) -> &BTreeSet<HostId> {
        &self.lost
    }

    pub(crate) fn is_connected(&self, host: HostId) -> bool {
        self.neighbours.get(&host).is_some_and(|neighbour| neighbour.connected)
    }

    /// Returns true if the host is connected, and was not silent for too long.
    pub(crate) fn is_heard(&self, host: HostId) -> bool {
        self.is_connected(host) && !self.lost.contains(&host)
    }

    /// Returns all hosts that are connected and were not silent for too long.
    pub(crate) fn all_heard(&self) -> BTreeSet<HostId> {
        self.connections().into_iter().filter(|host| !self.lost.contains(host)).collect()
    }

    /// Returns when the host was last heard; `None` if it was not since this host
    /// started.
    pub(crate) fn last_heard(&self, host: HostId) -> Option<Time> {
        self.neighbours.get(&host)?.heard_at
    }

    /// Returns the hosts that neither this host hears nor any host that it hears.
    /// No host within reach knows how they are.
    pub(crate) fn unheard(&self, me: HostId) -> BTreeSet<HostId> {
        let is_silent = |(host, neighbour): &(&HostId, &Neighbour)| {
            **host != me && (neighbour.heard_at.is_none() || self.lost.contains(host))
        };
        let silent = self.neighbours.iter().filter(is_silent);
        let mut unheard: BTreeSet<HostId> = silent.map(|(host, _)| *host).collect();
        for (observer, lost) in self.told.iter().filter(|(observer, _)| self.is_heard(**observer)) {
            if unheard.is_empty() {
                break;
            }
            // A host that has lost more than one beacon can hold vouches for no
            // host.
            let is_cut = lost.len() >= LOST_TOLD_MAX;
            unheard.retain(|host| is_cut || host == observer || lost.contains(host));
        }
        unheard
    }

    pub(crate) fn connections(&self) -> BTreeSet<HostId> {
        self.neighbours.iter().filter(|(_, n)| n.connected).map(|(host, _)| *host).collect()
    }

    /// Returns what the observers together say of each host that any of them has
    /// lost.
    ///
    /// It goes through the observers one by one. When a mesh of thousands of hosts
    /// loses its network, every host accuses every other. To look up for each host
    /// who accuses it would cost the square of that.
    pub(crate) fn judge(&self, me: HostId, members: &BTreeSet<HostId>) -> BTreeMap<HostId, Judgement> {
        let marks = Watermarks::of(members.len());
        let explicit = self.accusations(me, members, |_| true);
        // Only hosts that this host itself cannot hear count as silent.
        let is_suspect = |host: &HostId| explicit.get(host).is_some_and(|count| *count >= marks.suspect);
        let silent: BTreeSet<HostId> = self.lost.iter().copied().filter(is_suspect).collect();
        let by_silent = self.accusations(me, members, |observer| silent.contains(&observer));
        let judged = explicit.iter().map(|(host, explicit)| {
            // A silent host says nothing of itself, and its own earlier accusation
            // counts once.
            let said = usize::from(silent.contains(host)) + by_silent.get(host).copied().unwrap_or(0);
            // Implicit alerts strengthen a suspicion, but never begin one.
            let implicit = if *explicit >= marks.suspect { silent.len() - said } else { 0 };
            let judgement = match explicit + implicit {
                count if count >= marks.down => Judgement::Down,
                count if count >= marks.suspect => Judgement::Suspect,
                _ => Judgement::Up,
            };
            (*host, judgement)
        });
        judged.collect()
    }

    /// Counts for each host the members for which `counts` is true and that have
    /// lost it.
    fn accusations(
        &self,
        me: HostId,
        members: &BTreeSet<HostId>,
        counts: impl Fn(HostId) -> bool,
    ) -> BTreeMap<HostId, usize> {
        let others = self.told.iter().filter(|(observer, _)| **observer != me);
        let observers = others.chain([(&me, &self.lost)]);
        let mut accusations = BTreeMap::new();
        for (observer, lost) in observers.filter(|(o, _)| members.contains(o) && counts(**o)) {
            for subject in lost.iter().filter(|host| *host != observer && members.contains(host)) {
                *accusations.entry(*subject).or_default() += 1;
            }
        }
        accusations
    }
}

#[cfg(test)]
mod tests;

//! Who is lost: every host's own losses, and how many agree.
//!
//! After Rapid (Suresh et al., ATC '18): a host is suspect when L of its
//! observers have lost it and Down when H have, so that one bad link is never
//! taken for a dead host. An observer that is itself suspect counts as having
//! lost everybody ("implicit alerts"): it cannot say so any more.
//!
//! A verdict here is telemetry. Only a committed `HostDown` counts a host out.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::entry::Index;
use crate::id::HostId;
use crate::time::Time;

/// A sign of life is sent so often.
pub(crate) const BEACON_EVERY: Duration = Duration::from_secs(1);
/// A host not heard for so long is lost to its observer.
pub(crate) const SILENCE_MAX: Duration = Duration::from_secs(3);
/// A closed connection may be back within this, before the host is lost.
pub(crate) const REDIAL_WITHIN: Duration = Duration::from_millis(250);
/// After its own start a host gives the others so long to appear.
pub(crate) const GRACE: Duration = Duration::from_secs(4);
/// Hosts that one beacon may accuse, the first by id: far more than a mesh in
/// which everybody watches everybody can have.
pub(crate) const LOST_TOLD_MAX: usize = 1_000;

/// How many observers it takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Watermarks {
    /// L.
    pub(crate) suspect: usize,
    /// H.
    pub(crate) down: usize,
}

impl Watermarks {
    /// For a mesh of `hosts` in which everybody watches everybody.
    pub(crate) fn of(hosts: usize) -> Self {
        let observers = hosts.saturating_sub(1);
        Watermarks { suspect: (observers * 3).div_ceil(10).max(1), down: (observers * 7).div_ceil(10).max(1) }
    }
}

/// What the observers together say of a host.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Judgement {
    Up,
    Suspect,
    Down,
}

#[derive(Clone, Debug)]
struct Neighbour {
    connected: bool,
    /// When it counts as lost, if nothing is heard until then.
    lost_at: Time,
    /// When it was last heard. `None` if it was not since this host started.
    heard_at: Option<Time>,
}

/// One host's view of who is lost.
#[derive(Clone, Debug, Default)]
pub(crate) struct Liveness {
    neighbours: BTreeMap<HostId, Neighbour>,
    lost: BTreeSet<HostId>,
    /// What the others say they have lost.
    told: BTreeMap<HostId, BTreeSet<HostId>>,
    /// The entry by which a host last said itself that it is there.
    renewed: BTreeMap<HostId, Index>,
    /// Counts the changes, so that what follows from them is worked out once.
    version: u64,
}

impl Liveness {
    /// The mesh's other hosts are these. New ones get the grace of a start.
    pub(crate) fn set_members(&mut self, members: &BTreeSet<HostId>, now: Time) {
        self.version += 1;
        self.neighbours.retain(|host, neighbour| members.contains(host) || neighbour.connected);
        self.lost.retain(|host| members.contains(host));
        self.told.retain(|host, _| members.contains(host));
        self.renewed.retain(|host, _| members.contains(host));
        for host in members {
            let new = Neighbour { connected: false, lost_at: now + GRACE, heard_at: None };
            self.neighbours.entry(*host).or_insert(new);
        }
    }

    /// Returns whether the host was lost until now.
    pub(crate) fn connected(&mut self, host: HostId, now: Time) -> bool {
        let new = Neighbour { connected: true, lost_at: now + SILENCE_MAX, heard_at: None };
        let neighbour = self.neighbours.entry(host).or_insert(new);
        neighbour.connected = true;
        self.version += 1;
        self.heard(host, now)
    }

    /// The last connection is gone.
    pub(crate) fn disconnected(&mut self, host: HostId, now: Time) {
        if let Some(neighbour) = self.neighbours.get_mut(&host) {
            neighbour.connected = false;
            self.version += 1;
            neighbour.lost_at = neighbour.lost_at.min(now + REDIAL_WITHIN);
        }
    }

    /// Something came from the host. Returns whether it was lost until now.
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

    /// The host has said itself that it is there, by this entry: what was lost is
    /// its agent of before. Like one that has just started it is given time until
    /// all see it again.
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

    /// What another host has lost, which has folded the entries up to `index`. One
    /// that has not heard that a host is there again speaks of the one before.
    pub(crate) fn told(&mut self, observer: HostId, index: Index, mut lost: BTreeSet<HostId>) {
        lost.retain(|host| self.renewed.get(host).is_none_or(|renewed| *renewed <= index));
        if self.told.get(&observer) != Some(&lost) {
            self.told.insert(observer, lost);
            self.version += 1;
        }
    }

    /// Hosts that fall silent now. Returns whether there were any new ones.
    pub(crate) fn expire(&mut self, now: Time) -> bool {
        let before = self.lost.len();
        let silent = self.neighbours.iter().filter(|(_, neighbour)| neighbour.lost_at <= now);
        self.lost.extend(silent.map(|(host, _)| *host));
        let fell_silent = self.lost.len() > before;
        self.version += u64::from(fell_silent);
        fell_silent
    }

    /// When the next host would fall silent.
    pub(crate) fn next_silence(&self) -> Option<Time> {
        self.neighbours
            .iter()
            .filter(|(host, _)| !self.lost.contains(host))
            .map(|(_, neighbour)| neighbour.lost_at)
            .min()
    }

    /// Another number whenever anything here has changed.
    pub(crate) fn version(&self) -> u64 {
        self.version
    }

    pub(crate) fn lost(&self) -> &BTreeSet<HostId> {
        &self.lost
    }

    pub(crate) fn is_connected(&self, host: HostId) -> bool {
        self.neighbours.get(&host).is_some_and(|neighbour| neighbour.connected)
    }

    /// Connected, and not silent for too long.
    pub(crate) fn is_heard(&self, host: HostId) -> bool {
        self.is_connected(host) && !self.lost.contains(&host)
    }

    /// All that are connected and not silent for too long.
    pub(crate) fn all_heard(&self) -> BTreeSet<HostId> {
        self.connections().into_iter().filter(|host| !self.lost.contains(host)).collect()
    }

    /// When the host was last heard. `None` if it was not since this host started.
    pub(crate) fn last_heard(&self, host: HostId) -> Option<Time> {
        self.neighbours.get(&host)?.heard_at
    }

    /// The hosts that neither this host hears nor any host that it hears: nobody
    /// in reach knows how they are.
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
            // Who has lost more than it can tell vouches for nobody.
            let is_cut = lost.len() >= LOST_TOLD_MAX;
            unheard.retain(|host| is_cut || host == observer || lost.contains(host));
        }
        unheard
    }

    pub(crate) fn connections(&self) -> BTreeSet<HostId> {
        self.neighbours.iter().filter(|(_, n)| n.connected).map(|(host, _)| *host).collect()
    }

    /// What the observers together say of each host that any of them has lost.
    ///
    /// Counted observer by observer: in a mesh of thousands that lost its network
    /// everybody accuses everybody, and to ask for each host who accuses it would
    /// cost the square of that.
    pub(crate) fn judge(&self, me: HostId, members: &BTreeSet<HostId>) -> BTreeMap<HostId, Judgement> {
        let marks = Watermarks::of(members.len());
        let explicit = self.accusations(me, members, |_| true);
        // Only hosts that I cannot hear myself lend their silence to others.
        let is_suspect = |host: &HostId| explicit.get(host).is_some_and(|count| *count >= marks.suspect);
        let silent: BTreeSet<HostId> = self.lost.iter().copied().filter(is_suspect).collect();
        let by_silent = self.accusations(me, members, |observer| silent.contains(&observer));
        let judged = explicit.iter().map(|(host, explicit)| {
            // A silent host says nothing of itself, and what it said counts once.
            let said = usize::from(silent.contains(host)) + by_silent.get(host).copied().unwrap_or(0);
            // Implicit alerts strengthen a suspicion; they never begin one.
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

    /// By how many members that `counts` each host is said to be lost.
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

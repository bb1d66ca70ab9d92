//! The judgement of a host's observers.
//!
//! In the full mesh all hosts observe each other. In an overlay of bounded degree a host is
//! observed by its neighbours, as in Rapid. Every host tells the voters which neighbours it has
//! lost, and these judge.

use std::collections::{BTreeMap, BTreeSet};

use super::Mesh;
use super::liveness::{Judgement, Watermarks};
use crate::id::HostId;

impl Mesh {
    /// Returns what the observers together say of each host that any of them has lost.
    pub(super) fn judge(&self) -> BTreeMap<HostId, Judgement> {
        if self.is_bounded() {
            self.judge_by_neighbours()
        } else {
            self.liveness.judge(self.me, &self.members)
        }
    }

    /// Forgets the losses that hosts reported whose beacons stopped coming, as after
    /// they were neighbours or voters: the losses could have ended since. In the full mesh all
    /// beacons come for as long as their hosts are up.
    pub(super) fn forget_old_losses(&mut self) {
        if self.is_bounded() {
            let silent: Vec<HostId> = self.liveness.reporters().filter(|host| !self.hears(*host)).collect();
            silent.into_iter().for_each(|host| self.liveness.forget_losses_of(host));
        }
    }

    /// An observer that is suspect itself does not count: it can no longer say what it has
    /// lost.
    fn judge_by_neighbours(&self) -> BTreeMap<HostId, Judgement> {
        let accused = self.liveness.accusers(self.me, &self.members);
        let observed: BTreeMap<HostId, BTreeSet<HostId>> =
            accused.keys().map(|host| (*host, self.rings.neighbours(*host))).collect();
        let judge = |host: &HostId, counts: &dyn Fn(&HostId) -> bool| {
            let observers: BTreeSet<HostId> =
                observed[host].iter().copied().filter(|it| counts(it)).collect();
            let marks = Watermarks::of(observers.len() + 1);
            match accused[host].intersection(&observers).count() {
                count if count >= marks.down => Judgement::Down,
                count if count >= marks.suspect => Judgement::Suspect,
                _ => Judgement::Up,
            }
        };
        let suspects: BTreeSet<HostId> =
            accused.keys().filter(|host| judge(host, &|_| true) >= Judgement::Suspect).copied().collect();
        accused.keys().map(|host| (*host, judge(host, &|it| !suspects.contains(it)))).collect()
    }
}

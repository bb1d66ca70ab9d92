//! The sums over a rollout's hosts, and the queue of those that come next. Each
//! change keeps them up to date, so finding the next turn needs no look at all
//! hosts.

use std::collections::{BTreeMap, BTreeSet};

use super::{Counts, HostId, Member, Repair, Rollout, Stage, Wave, Zone};

/// Everything that is derived from the members of one rollout.
struct Sums<'a> {
    counts: &'a mut Counts,
    queue: &'a mut BTreeSet<(u32, u8, u32, HostId)>,
    repairs: &'a mut BTreeSet<Repair>,
    waves: &'a mut [Wave],
    zones: &'a mut [Zone],
    unsatisfiable: &'a mut BTreeSet<u32>,
}

impl Sums<'_> {
    fn take_in(&mut self, host: HostId, member: &Member) {
        self.counts.add(member);
        if member.stage == Stage::Pending {
            self.queue.insert((member.wave, member.rank(), member.position, host));
            if member.is_of_no_service() {
                self.repairs.insert((member.down.is_some(), member.zone, member.wave, member.position, host));
            }
        }
        if let Some(wave) = wave_of(self.waves, member) {
            wave.add(member);
        }
        if let Some(zone) = self.zones.get_mut(member.zone as usize) {
            zone.counts.add(member);
            if zone.is_unsatisfiable() {
                self.unsatisfiable.insert(member.zone);
            } else {
                self.unsatisfiable.remove(&member.zone);
            }
        }
    }

    fn take_out(&mut self, host: HostId, member: &Member) {
        self.counts.remove(member);
        if member.stage == Stage::Pending {
            self.queue.remove(&(member.wave, member.rank(), member.position, host));
            if member.is_of_no_service() {
                self.repairs.remove(&(
                    member.down.is_some(),
                    member.zone,
                    member.wave,
                    member.position,
                    host,
                ));
            }
        }
        if let Some(wave) = wave_of(self.waves, member) {
            wave.remove(member);
        }
        if let Some(zone) = self.zones.get_mut(member.zone as usize) {
            zone.counts.remove(member);
        }
    }
}

fn wave_of<'a>(waves: &'a mut [Wave], member: &Member) -> Option<&'a mut Wave> {
    waves.get_mut(member.wave as usize).filter(|_| member.stage != Stage::NotTargeted)
}

impl Rollout {
    /// Changes a member, and adjusts the sums. No other function may change
    /// members.
    pub(super) fn change(&mut self, host: HostId, change: impl FnOnce(&mut Member)) {
        let (members, mut sums) = self.members_and_sums();
        let member = members.get_mut(&host).expect("a member is changed");
        sums.take_out(host, member);
        change(member);
        sums.take_in(host, member);
    }

    /// Adds all members to sums that are empty.
    pub(super) fn count(&mut self) {
        let (members, mut sums) = self.members_and_sums();
        members.iter().for_each(|(host, member)| sums.take_in(*host, member));
    }

    /// Finds the zones whose minimum is lost, after the minimums have changed.
    pub(super) fn judge_zones(&mut self) {
        let is_unsatisfiable = |(_, zone): &(u32, &Zone)| zone.is_unsatisfiable();
        self.unsatisfiable =
            (0..).zip(&self.zones).filter(is_unsatisfiable).map(|(place, _)| place).collect();
    }

    /// Counts all members again from zero.
    fn recount(&mut self) {
        if self.members.is_empty() {
            return;
        }
        self.counts = Counts::default();
        self.waves.list.iter_mut().for_each(Wave::forget_counts);
        self.zones.iter_mut().for_each(|zone| zone.counts = Counts::default());
        (self.queue, self.repairs, self.unsatisfiable) = Default::default();
        self.count();
    }

    /// Returns true if the rollout can be folded further. A snapshot may come from
    /// another host, so it is not trusted.
    pub(crate) fn is_consistent(&self) -> bool {
        let is_empty = self.queue.is_empty() && self.repairs.is_empty() && self.unsatisfiable.is_empty();
        let is_bounded = self.counts.in_flight <= self.bounds.turns_max;
        let is_placed = |member: &Member| {
            member.stage == Stage::NotTargeted || (member.wave as usize) < self.waves.list.len()
        };
        let are_placed = self.members.values().all(is_placed);
        if self.status.is_over() {
            return true;
        }
        if self.members.is_empty() { is_empty } else { is_bounded && are_placed && self.is_counted_right() }
    }

    /// Returns true if the sums match the members.
    pub(crate) fn is_counted_right(&self) -> bool {
        let mut again = self.clone();
        again.recount();
        again == *self
    }

    fn members_and_sums(&mut self) -> (&mut BTreeMap<HostId, Member>, Sums<'_>) {
        let Rollout { members, counts, queue, repairs, waves, zones, unsatisfiable, .. } = self;
        (members, Sums { counts, queue, repairs, waves: &mut waves.list, zones, unsatisfiable })
    }
}

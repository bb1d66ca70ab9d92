//! Leases that are not used yet.
//!
//! A lease takes its host out of service on paper; the host itself goes on
//! serving until its start is committed. So as long as a lease is unused, it can
//! be taken back and nobody has lost anything by it. That is done as soon as it
//! may not be used: another host left service, and the minimum would break. The
//! host did nothing wrong, so no timeout runs down for it; it gets a lease again
//! when there is room.
//!
//! The other reason not to use a lease is known to its holder alone:
//! `state/deferrals.rs`.

use super::{HostId, Member, Rollout, Stage, Zone, turn};

impl Rollout {
    /// Whether the host holds a lease that it has not used yet.
    pub fn may_start(&self, host: HostId) -> bool {
        self.members.get(&host).is_some_and(Member::may_start)
    }

    /// A host is of service again. A lease that it got because it was of none is
    /// not one to take it out of service: it keeps it only if it could get one
    /// now as well.
    pub(super) fn reconsider_lease(&mut self, host: HostId) {
        let lease = self.members.get(&host).filter(|member| member.may_start());
        let Some(lease) = lease.map(|member| member.stage.clone()) else { return };
        self.change(host, |member| member.stage = Stage::Pending);
        if turn::may_go(self, host) {
            self.change(host, |member| member.stage = lease);
        }
    }

    /// Takes back what may not be used now, the last in line first. Returns
    /// whose leases those were. To be called when a host has left service other
    /// than by a turn; rare enough to look through all of them.
    pub(super) fn take_back(&mut self) -> Vec<HostId> {
        let lacks_somewhere = self.lacks(None) || self.zones.iter().any(Zone::lacks);
        if self.verdict.is_some() || !lacks_somewhere {
            return Vec::new();
        }
        let is_unused = |member: &Member| member.may_start() && !member.is_of_no_service();
        let mut unused: Vec<_> = self
            .members
            .iter()
            .filter(|(_, member)| is_unused(member))
            .map(|(host, member)| (member.wave, member.rank(), member.position, *host, member.zone))
            .collect();
        unused.sort_unstable();
        let mut taken = Vec::new();
        for (.., host, zone) in unused.into_iter().rev() {
            if self.lacks(Some(zone)) {
                self.change(host, |member| member.stage = Stage::Pending);
                taken.push(host);
            }
        }
        taken
    }

    /// Whether fewer hosts are in service than must be, in the group or in the
    /// zone.
    fn lacks(&self, zone: Option<u32>) -> bool {
        let zone = zone.and_then(|zone| self.zones.get(zone as usize));
        self.counts.available < self.bounds.minimum || zone.is_some_and(Zone::lacks)
    }

    #[cfg(test)]
    pub(super) fn leases_may_be_used(&self) -> bool {
        let may_be_used = |member: &Member| member.is_of_no_service() || !self.lacks(Some(member.zone));
        let mut unused = self.members.values().filter(|member| member.may_start());
        self.verdict.is_some() || unused.all(may_be_used)
    }
}

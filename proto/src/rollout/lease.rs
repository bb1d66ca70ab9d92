//! Leases that are not used yet.
//!
//! A lease takes its host out of service on paper only: the host continues to serve
//! until its start is committed. So an unused lease can be taken back, and nothing
//! is lost. That happens as soon as the lease may not be used, because another host
//! left service and the minimum would break. The host did nothing wrong, so none of
//! its timeouts runs meanwhile. It gets a lease again when there is room.
//!
//! There is another reason not to use a lease, which only its holder knows: see
//! `state/deferrals.rs`.

use super::{HostId, Member, Rollout, Stage, Zone, turn};

impl Rollout {
    /// Returns true if the host has a lease that it has not used yet.
    pub fn may_start(&self, host: HostId) -> bool {
        self.members.get(&host).is_some_and(Member::may_start)
    }

    /// Reconsiders the lease of a host that is in service again. The host may have
    /// got it because it was out of service, and such a lease must not take it out
    /// of service now. It keeps the lease only if it could also get one now.
    pub(super) fn reconsider_lease(&mut self, host: HostId) {
        let lease = self.members.get(&host).filter(|member| member.may_start());
        let Some(lease) = lease.map(|member| member.stage.clone()) else { return };
        self.change(host, |member| member.stage = Stage::Pending);
        if turn::may_go(self, host) {
            self.change(host, |member| member.stage = lease);
        }
    }

    /// Takes back leases that may not be used now, the last in line first. Returns
    /// the hosts that lost them. Call this when a host has left service other than
    /// by a turn. That is rare, so it may look at all members.
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

    /// Returns true if fewer hosts are in service than must be, in the group or in
    /// the zone.
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

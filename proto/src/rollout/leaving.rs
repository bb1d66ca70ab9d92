//! Hosts that are taken out of the mesh while a rollout runs.
//!
//! Such a host is no longer one of the group's hosts, so the minimum is computed
//! again for the hosts that are left. So if the minimum holds up a rollout because
//! of a dead host, taking that host out lets the rollout continue.
//!
//! A turn that the host had begun has failed before it leaves
//! (`state/hosts.rs`).

use super::{Rollout, Stage};
use crate::id::HostId;
use crate::time::LedgerTime;

impl Rollout {
    /// Folds that a host was taken out of the mesh for good. A turn that has not
    /// started is skipped; the caller must end one that has. Returns the hosts that
    /// got or lost a lease because of it.
    pub fn leave(&mut self, host: HostId, at: LedgerTime) -> Vec<HostId> {
        if self.status.is_over() || self.members.get(&host).is_none_or(|member| member.gone) {
            return Vec::new();
        }
        let zone = self.members[&host].zone;
        self.change(host, |member| {
            member.gone = true;
            if let Stage::Pending | Stage::Leased { .. } = member.stage {
                member.stage = Stage::Skipped;
            }
        });
        if self.verdict.is_some() {
            return self.go_on(at);
        }
        let policy = &self.submission.policy;
        let minimum = policy.bounds(self.present()).minimum;
        self.bounds.minimum = self.bounds.minimum.min(minimum);
        if let (Some(zonal), Some(zone)) = (&policy.zonal, self.zones.get_mut(zone as usize)) {
            zone.total -= 1;
            let bounds = zonal.bounds(zone.total);
            (zone.minimum, zone.turns_max) = (zone.minimum.min(bounds.minimum), bounds.turns_max);
        }
        self.judge_zones();
        self.go_on(at)
    }
}

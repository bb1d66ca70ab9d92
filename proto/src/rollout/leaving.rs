//! Hosts that are taken out of the mesh while a rollout runs.
//!
//! Such a host is none of the group's hosts any longer, so the minimum is worked out
//! anew for those that are left. Taking out a dead host thereby lets a rollout go on
//! that the minimum holds up because of it.

use super::{Rollout, Stage};
use crate::id::HostId;
use crate::time::LedgerTime;

impl Rollout {
    /// Folds that a host was taken out of the mesh for good. Its turn does not come;
    /// one under way is the caller's to end. Returns which hosts got or lost a lease
    /// by it.
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

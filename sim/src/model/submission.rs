//! Folds submissions: whether a deployment is accepted, and what its targets
//! are.

use std::collections::BTreeMap;

use proto::entry::{Creator, Submission};
use proto::id::{DeploymentId, GroupName, HostId};
use proto::policy::{Mode, Policy};
use proto::state::DEPLOYMENTS_KEPT;

use super::{Deployment, GroupState, Model};

impl Model {
    pub(super) fn may_submit(&self, submission: &Submission) -> bool {
        let Some(group) = self.groups.get(&submission.group) else { return false };
        if self.deployments.contains_key(&submission.deployment) {
            return false;
        }
        match submission.creator {
            // Whether a catch-up is the one that is due is checked when it
            // begins.
            Creator::Rollback | Creator::Autoscale => self.is_of_the_mesh(group, submission),
            Creator::User => {
                // A deployment may also wait for a catch-up to end.
                let busy =
                    group.running.is_some() || group.owes_rollback_of.is_some() || group.queued.is_some();
                let is_known = self.hosts.values().all(|host| host.record.wire >= submission.policy.wire());
                // A deployment that waits for the end of a freeze does not
                // block a rollback.
                let passes = group.watches.frozen_until.is_some()
                    && (group.running, group.owes_rollback_of, group.catching_up) == (None, None, None);
                // A rollback leads to a revision that was good.
                let is_back = submission.rollback_of.is_none()
                    || group.good.iter().any(|(good, _)| *good == submission.revision.digest);
                is_known
                    && is_back
                    && !group.is_frozen_for(submission)
                    && !group.is_active_for(submission)
                    && self.can_end_well(submission, group)
                    && (!busy || passes || (submission.queue && group.queued.is_none()))
            }
        }
    }

    /// Returns true if the mesh itself would submit exactly this to the group.
    fn is_of_the_mesh(&self, group: &GroupState, submission: &Submission) -> bool {
        let Some((good, _)) = group.good.last() else { return false };
        let of_group = self.policy_of(&group.group);
        let undone = submission.rollback_of.filter(|_| submission.rollback_of == group.owes_rollback_of);
        let undone = undone.and_then(|undone| self.deployments.get(&undone));
        let policy = match (submission.creator, undone) {
            (Creator::Rollback, Some(undone)) => Policy {
                start_timeout: of_group.start_timeout,
                lost_after: of_group.lost_after,
                turn_timeout: of_group.turn_timeout,
                deployment_timeout: of_group.deployment_timeout,
                ..undone.submission.policy.of_rollback()
            },
            (Creator::Autoscale, None) => of_group.of_catch_up(),
            (Creator::Rollback | Creator::Autoscale | Creator::User, _) => return false,
        };
        submission.policy == policy && submission.revision.digest == *good
    }

    /// Returns true if the policy does not make success impossible for this
    /// group.
    fn can_end_well(&self, submission: &Submission, group: &GroupState) -> bool {
        let policy = &submission.policy;
        let members = self.members(&group.group);
        let total = u32::try_from(members.len()).expect("few hosts");
        if policy.validate().is_err() || policy.minimum.bounds(total).minimum >= total {
            return false;
        }
        let mut bakes = policy.bake.as_millis() + policy.canary.map_or(0, |canary| canary.bake.as_millis());
        if policy.canary.is_some_and(|canary| canary.hosts.of(total) >= total) {
            return false;
        }
        if let Some(zonal) = &policy.zonal {
            let mut zones: BTreeMap<&str, u32> = BTreeMap::new();
            members.iter().for_each(|host| *zones.entry(&host.record.zone).or_default() += 1);
            let is_named = zones.keys().any(|zone| !zone.is_empty());
            let is_ordered = zonal.order.iter().all(|zone| zones.contains_key(zone.as_str()));
            if !is_named || !is_ordered || zones.values().any(|hosts| zonal.minimum.of(*hosts) >= *hosts) {
                return false;
            }
            bakes += (1..zones.len()).map(|nth| zonal.bake_after(nth - 1).as_millis()).sum::<u128>();
        }
        let is_last_good = group.good.last().is_some_and(|(digest, _)| *digest == submission.revision.digest);
        bakes < policy.deployment_timeout.as_millis()
            && (policy.mode == Mode::Standard || is_last_good)
            && members.iter().any(|host| self.is_target(submission, group, host.record.host))
    }

    /// Returns true if the host is a target. The targets of a rollback are the
    /// hosts that the undone deployment touched; those of a restart, the hosts that
    /// have the revision; those of an update, the hosts that do not.
    pub(super) fn is_target(&self, submission: &Submission, group: &GroupState, host: HostId) -> bool {
        if submission.rollback_of.is_some() && submission.creator == Creator::User {
            let digest = submission.revision.digest;
            let known = group.standing.get(&host);
            return known.is_none_or(|standing| !standing.healthy || standing.revision != Some(digest));
        }
        if let Some(undone) = submission.rollback_of {
            let needs_it = |undone: &Deployment| undone.touched().contains(&host) && !group.is_current(host);
            return self.deployments.get(&undone).is_none_or(needs_it);
        }
        let revision = group.standing.get(&host).and_then(|standing| standing.revision);
        let has_it = revision == Some(submission.revision.digest);
        match submission.policy.mode {
            Mode::Restart => has_it,
            Mode::Standard => !submission.policy.outdated_only || !has_it,
        }
    }

    pub(super) fn submit(&mut self, submission: &Submission) {
        if !self.may_submit(submission) {
            return;
        }
        if submission.creator == Creator::Autoscale {
            return self.begin_catch_up(submission);
        }
        let id = submission.deployment;
        let group = self.groups.get_mut(&submission.group).expect("checked above");
        if submission.creator == Creator::Rollback {
            group.owes_rollback_of = None;
        }
        group.deployments.push(id);
        let is_busy = group.running.is_some() || group.owes_rollback_of.is_some();
        let waits_for = group.catching_up.filter(|_| submission.creator == Creator::User);
        self.deployments.insert(id, Deployment::queued(submission.clone()));
        if !is_busy && waits_for.is_none() {
            self.begin(id);
        } else {
            group.queued = Some(id);
            if let Some(catching_up) = waits_for
                && !is_busy
            {
                self.supersede(catching_up);
            }
        }
        self.forget_old(&submission.group);
    }

    /// Forgets old deployments, but none that is not over, and not the last one
    /// that went to the group.
    pub(super) fn forget_old(&mut self, name: &GroupName) {
        let group = self.groups.get_mut(name).expect("its group is there");
        let deployments = &self.deployments;
        let went_to_group = |id: &&DeploymentId| {
            let deployment = &deployments[*id];
            deployment.submission.creator != Creator::Autoscale && !deployment.turns.is_empty()
        };
        let newest = group.deployments.iter().rev().find(went_to_group).copied();
        while group.deployments.len() > DEPLOYMENTS_KEPT {
            let may_go = |id: &DeploymentId| Some(*id) != newest && self.deployments[id].status.is_over();
            let Some(oldest) = group.deployments.iter().position(may_go) else { return };
            self.deployments.remove(&group.deployments.remove(oldest));
        }
    }
}

//! The way back: which revision, for which hosts, under which policy.

use super::{GroupState, State};
use crate::entry::{Creator, Submission};
use crate::id::{DeploymentId, HostId};
use crate::policy::Policy;
use crate::rollout::Rollout;

/// The id of the rollback of a deployment: the same, whoever submits it.
pub(super) fn rollback_id(of: DeploymentId) -> DeploymentId {
    DeploymentId::derive(format!("rollback of {of}").as_bytes())
}

impl State {
    /// The rollback that undoes `failed`: the group's last good revision, for
    /// the hosts that need it.
    pub(super) fn rollback_of(&self, group: &GroupState, failed: DeploymentId) -> Option<Submission> {
        let undone = &self.rollouts.get(&failed)?.submission;
        let good = group.good.last()?;
        // As careful as what it undoes, but what was overridden there was not meant
        // for it: it would time out as that did.
        let of_group = self.policy_of(&group.group).unwrap_or_else(|_| undone.policy.clone());
        let policy = Policy {
            start_timeout: of_group.start_timeout,
            lost_after: of_group.lost_after,
            turn_timeout: of_group.turn_timeout,
            deployment_timeout: of_group.deployment_timeout,
            ..undone.policy.of_rollback()
        };
        Some(Submission {
            deployment: rollback_id(failed),
            group: undone.group.clone(),
            revision: good.revision.clone(),
            policy,
            creator: Creator::Rollback,
            rollback_of: Some(failed),
            description: format!("rollback of {failed}"),
            // Who has it may change until this is folded, and is worked out anew then.
            holders: Vec::new(),
            queue: false,
            by: String::new(),
        })
    }
}

/// The hosts that a deployment touched and that are not back at the last good
/// revision already: it may have been that very revision which failed.
pub(super) fn to_roll_back(group: &GroupState, undone: &Rollout) -> impl Iterator<Item = HostId> {
    undone.touched(&group.roster).into_iter().filter(|host| !group.is_current(*host))
}

#[cfg(test)]
mod tests;

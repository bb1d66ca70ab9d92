//! The way back: which revision, for which hosts, under which policy.

use std::collections::BTreeSet;

use super::{GroupState, State};
use crate::entry::{Creator, Submission};
use crate::id::{DeploymentId, HostId};
use crate::policy::Policy;
use crate::rollout::Rollout;

/// The id of the rollback of a deployment: the same, whoever submits it.
pub(super) fn rollback_id(of: DeploymentId) -> DeploymentId {
    DeploymentId::derive(format!("rollback of {of}").as_bytes())
}

/// A policy for bringing hosts to what is known to be good: what is broken now
/// must not block it.
pub(crate) fn way_back(policy: &Policy) -> Policy {
    let mut policy = policy.clone();
    policy.ignore_application_stop_failures = true;
    policy
}

impl State {
    /// The rollback that undoes `failed`: the group's last good revision, for
    /// the hosts that need it.
    pub(super) fn rollback_of(&self, group: &GroupState, failed: DeploymentId) -> Option<Submission> {
        let undone = &self.rollouts.get(&failed)?.submission;
        let good = group.good.last()?;
        Some(Submission {
            deployment: rollback_id(failed),
            group: undone.group.clone(),
            revision: good.revision.clone(),
            policy: way_back(&undone.policy),
            creator: Creator::Rollback,
            rollback_of: Some(failed),
            description: format!("rollback of {failed}"),
            holders: self.holders(group, good.revision.digest),
            queue: false,
        })
    }

    /// Which hosts a deployment is for; none means all of the group.
    pub(super) fn targets(&self, submission: &Submission) -> Option<BTreeSet<HostId>> {
        let undone = self.rollouts.get(&submission.rollback_of?)?;
        let group = self.groups.get(&submission.group)?;
        Some(to_roll_back(group, undone).collect())
    }
}

/// The hosts that a deployment touched and that are not back at the last good
/// revision already: it may have been that very revision which failed.
pub(super) fn to_roll_back(group: &GroupState, undone: &Rollout) -> impl Iterator<Item = HostId> {
    undone.touched().filter(|host| !group.is_current(*host))
}

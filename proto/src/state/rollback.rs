//! Rollbacks: to which revision, for which hosts, under which policy.
//!
//! A rollback waits where a deployment would fail: it gives no lease to a host that
//! is Down while other hosts remain. If those may not go, it waits until the host
//! returns or is removed, or until its own time is up. Hosts that a failed rollback
//! did not reach fall behind (`Cause::NotRolledBack`), and a catch-up brings them
//! back.

use super::{GroupState, State};
use crate::deployment_kind::DeploymentKind;
use crate::entry::Submission;
use crate::id::DeploymentId;
use crate::policy::Policy;

/// Returns the id of the rollback of a deployment, which is the same whoever
/// submits it.
pub(super) fn rollback_id(of: DeploymentId) -> DeploymentId {
    DeploymentId::derive(format!("rollback of {of}").as_bytes())
}

impl State {
    /// Returns the rollback that undoes `failed`: it brings the hosts that need it
    /// to the group's last good revision.
    pub(super) fn rollback_of(&self, group: &GroupState, failed: DeploymentId) -> Option<Submission> {
        let undone = &self.rollouts.get(failed)?.submission;
        let good = group.good.last()?;
        // The rollback is as careful as the deployment that it undoes, but takes
        // the group's own timeouts. Timeouts that were overridden for the
        // deployment were not meant for the rollback: they could make it time out
        // too.
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
            creator: DeploymentKind::Rollback.traits().creator,
            rollback_of: Some(failed),
            description: format!("rollback of {failed}"),
            // The hosts with the bundle may change until this is folded, and are
            // found again then.
            holders: Vec::new(),
            queue: false,
            by: String::new(),
        })
    }
}

#[cfg(test)]
mod tests;

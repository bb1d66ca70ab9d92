//! Hosts that are behind their group: those that joined, returned, were replaced,
//! were away when their turn came, or were not reached by a rollback.
//!
//! Nothing searches for them. An entry makes a host fall behind, and folding that
//! entry notes the host in [`GroupState::behind`]. Whatever ends it (mostly a turn)
//! removes the host there. So the cost of finding out whether the ledger lacks a
//! catch-up depends on the hosts that are behind, not on the size of the group.
//!
//! A host that a person left where it is, is not behind: its turn in a stopped or
//! failed deployment succeeded, or failed for reasons of its own. A rollback or the
//! next deployment decides what becomes of it.
//!
//! Invariants: a group has at most one catch-up at a time. While a deployment runs,
//! no catch-up has a turn for one of its members. A host gets at most
//! [`super::ATTEMPTS_MAX`] turns at one good revision, unless a person deploys or the host
//! has a new store.
//!
//! # Decisions
//!
//! - The entry of a catch-up names no hosts. The fold finds them when the catch-up
//!   begins, so hosts that join while it waits are included. The entry's bytes stay
//!   the same meanwhile, so fifty new hosts cost one deployment. Its id counts the
//!   group's catch-ups.
//! - A group has one slot for catch-ups beside the slot for deployments. Beside a
//!   deployment, only hosts that are not its members get turns in a catch-up, so
//!   neither breaks the other's minimum. A person's deployment waits until the
//!   catch-up's turns under way are over, because their hosts may be in service. A
//!   rollback does not wait; it leaves out the few hosts that are being caught up.
//! - A host that gets a new store during a deployment does not change the
//!   deployment's counts, just as a host that goes Down changes no verdict. It falls
//!   behind, and is caught up afterwards.

mod place;

use std::collections::BTreeSet;

use super::react::Happened;
use super::{Behind, Cause, Good, GroupState, Host, State};
use crate::deployment_kind::DeploymentKind;
use crate::entry::Submission;
use crate::id::{DeploymentId, HostId};
use crate::rollout::Stage;

pub use place::CatchUp;

impl State {
    /// Returns the catch-up that the ledger lacks. Its bytes do not depend on which
    /// hosts are behind. They are found when it is folded, so that it includes
    /// hosts which join while it is on its way.
    pub(super) fn catch_up_due(&self, group: &GroupState) -> Option<Submission> {
        if group.catching_up.is_some() || group.owes_rollback_of.is_some() {
            return None;
        }
        let good = group.good.last()?;
        if self.to_catch_up(group, good).is_empty() {
            return None;
        }
        let name = &group.group.name;
        let id = format!("catch-up {} of {name} after {}", group.catch_ups, good.deployment);
        let submission = Submission {
            deployment: DeploymentId::derive(id.as_bytes()),
            group: name.clone(),
            revision: good.revision.clone(),
            policy: self.policy_of(&group.group).ok()?.of_catch_up(),
            creator: DeploymentKind::CatchUp.traits().creator,
            rollback_of: None,
            description: "hosts that joined or returned get the last good revision".into(),
            holders: Vec::new(),
            queue: false,
            by: String::new(),
        };
        self.freezes.holding(&submission).is_none().then_some(submission)
    }

    /// Returns the hosts that a catch-up would be for now. Those in service are
    /// left out while the minimum has no room for any of them.
    pub(super) fn to_catch_up(&self, group: &GroupState, good: &Good) -> BTreeSet<HostId> {
        let is_due = |(host, behind): &(&HostId, &Behind)| {
            behind.cause != Cause::Failed
                && behind.used_up(good).is_none()
                && !group.is_current(**host)
                && self.is_up_in(group, **host)
                && group.running.is_none_or(|running| !self.is_member(running, **host))
        };
        let due: BTreeSet<HostId> = group.behind.iter().filter(is_due).map(|(host, _)| *host).collect();
        if group.running.is_some() || due.is_empty() {
            return due;
        }
        let in_service = self.in_service(group);
        let serves = |host: &Host| in_service.condition(host).serves_but_for_turn();
        if !due.iter().filter_map(|host| self.host(*host)).all(serves) {
            return due;
        }
        let room = self.room(group);
        if room.available > room.minimum { due } else { BTreeSet::new() }
    }

    /// Returns true if the host is up and in the group. It may have left the group
    /// before its turn failed.
    fn is_up_in(&self, group: &GroupState, host: HostId) -> bool {
        let known = self.hosts.get(host).filter(|host| host.down.is_none());
        known.is_some_and(|host| group.group.tags.matches(&host.record.tags))
    }

    fn room(&self, group: &GroupState) -> Room {
        let members = self.hosts.of(&group.group);
        let in_service = self.in_service(group);
        let (mut total, mut available) = (0, 0);
        for host in members {
            total += 1;
            available += u32::from(in_service.condition(host).serves_but_for_turn());
        }
        let policy = self.policy_of(&group.group).unwrap_or_else(|_| group.group.policy.clone());
        Room { available, minimum: policy.bounds(total).minimum, total }
    }

    /// Folds `Submitted` of the catch-up that is due.
    pub(super) fn begin_catch_up(&mut self, submission: &Submission) -> Vec<Happened> {
        let Some(targets) = self.targets(submission) else { return Vec::new() };
        let Some(group) = self.groups.get(&submission.group) else { return Vec::new() };
        let beside = group.running.is_some();
        let mut entrants = self.entrants(group, Some(&targets));
        let total = u32::try_from(entrants.len()).unwrap_or(u32::MAX);
        entrants.retain(|entrant| !beside || entrant.target);
        self.groups.begin_catch_up(&submission.group, submission.deployment);
        self.rollouts.begin_catch_up(submission, (&entrants, total), beside, self.clock)
    }

    /// Ends a catch-up early, because something newer goes first.
    pub(super) fn supersede(&mut self, id: DeploymentId) {
        for host in self.rollouts.supersede(id, self.clock) {
            self.clear_timers_if_idle(id, host);
        }
    }

    fn is_member(&self, id: DeploymentId, host: HostId) -> bool {
        self.rollouts.member(id, host).is_some()
    }

    /// Returns true if the host has a turn in the deployment that is not over.
    pub(super) fn has_turn_to_come(&self, id: DeploymentId, host: HostId) -> bool {
        let member = self.rollouts.member(id, host);
        member.is_some_and(|member| member.stage == Stage::Pending || member.is_in_flight())
    }
}

/// A group's hosts in numbers, between deployments.
struct Room {
    available: u32,
    minimum: u32,
    total: u32,
}

#[cfg(test)]
mod tests;

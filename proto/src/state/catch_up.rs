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
//! [`ATTEMPTS_MAX`] turns at one good revision, unless a person deploys or the host
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
use super::{Good, GroupState, Host, State, Timer};
use crate::deployment_kind::DeploymentKind;
use crate::entry::{ErrorCode, Submission};
use crate::group::TagSets;
use crate::id::{DeploymentId, Digest, GroupName, HostId};
use crate::rollout::{Health, Rollout, Stage};
use crate::time::LedgerTime;

pub use place::CatchUp;

/// The most turns at one good revision that a host gets without a person. It gets a
/// second turn only if it was lost in the first: a revision that fails by itself
/// would fail again.
pub const ATTEMPTS_MAX: u8 = 2;

/// A host that may have to be brought to its group's last good revision.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Behind {
    /// The reason why the host fell behind.
    pub cause: Cause,
    /// The time at which it fell behind.
    pub since: LedgerTime,
    /// The failed attempts since a person last deployed.
    pub tried: Option<Tried>,
}

/// The reason why a host fell behind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// The host is new to the group.
    Joined,
    /// The host was Down, and came back with an old or unknown revision.
    Returned,
    /// The host has a new store, so nobody knows what runs there.
    Replaced,
    /// The host was lost when it had its turn, or during it.
    Missed,
    /// Its turn failed for reasons of its own. People must act, or the host must
    /// return from being Down.
    Failed,
    /// A deployment that failed had updated the host, and the rollback failed
    /// before it reached it.
    NotRolledBack,
}

/// Failed attempts to bring a host up to date.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tried {
    /// The revision that was tried.
    pub revision: Digest,
    /// The number of [`ATTEMPTS_MAX`] attempts that are used. A failure that is the
    /// revision's own uses all of them.
    pub attempts: u8,
    /// The deployment of the last attempt.
    pub deployment: DeploymentId,
}

impl GroupState {
    /// Returns true if the host is known to be well at the group's last good
    /// revision.
    pub fn is_current(&self, host: HostId) -> bool {
        self.good.last().is_some_and(|good| self.is_well_at(host, good.revision.digest))
    }

    /// Returns true if the host's last turn succeeded, with this revision.
    pub(super) fn is_well_at(&self, host: HostId, digest: Digest) -> bool {
        self.standing
            .get(&host)
            .is_some_and(|standing| standing.health == Health::Healthy && standing.revision == Some(digest))
    }

    fn is_healthy(&self, host: HostId) -> bool {
        self.standing.get(&host).is_some_and(|standing| standing.health == Health::Healthy)
    }

    /// Returns true if a person left the host at a revision that never became good.
    fn is_elsewhere(&self, host: HostId) -> bool {
        let revision = self.standing.get(&host).and_then(|standing| standing.revision);
        let was_good = |digest| self.good.iter().any(|good| good.revision.digest == digest);
        self.is_healthy(host) && !revision.is_some_and(was_good)
    }

    fn fall_behind(&mut self, host: HostId, cause: Cause, since: LedgerTime) {
        if self.running.is_none() && self.is_current(host) {
            return;
        }
        let behind = self.behind.entry(host).or_insert(Behind { cause, since, tried: None });
        match behind.cause {
            // A host that never had a turn stays new, however often it returns.
            Cause::Joined | Cause::Replaced | Cause::Returned | Cause::NotRolledBack => {}
            Cause::Missed | Cause::Failed => (behind.cause, behind.since) = (cause, since),
        }
    }

    /// Removes hosts that are where they should be, if no deployment runs.
    fn forget_current(&mut self) {
        if self.running.is_none() {
            let mut behind = std::mem::take(&mut self.behind);
            behind.retain(|host, _| !self.is_current(*host));
            self.behind = behind;
        }
    }
}

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
    pub(super) fn begin_catch_up(&mut self, submission: &Submission) {
        let (id, at) = (submission.deployment, self.clock);
        let Some(targets) = self.targets(submission) else { return };
        let Some(group) = self.groups.get(&submission.group) else { return };
        let beside = group.running.is_some();
        let mut entrants = self.entrants(group, Some(&targets));
        let total = u32::try_from(entrants.len()).unwrap_or(u32::MAX);
        entrants.retain(|entrant| !beside || entrant.target);
        let mut rollout = Rollout::queued(submission.clone(), at);
        let granted = rollout.begin_catch_up(&entrants, total, beside, at);
        self.rollouts.insert(id, rollout);
        self.timers.set(Timer::Deployment(id), at + submission.policy.deployment_timeout);
        self.set_timers(id, &granted);
        let group = self.groups.get_mut(&submission.group).expect("looked up above");
        group.catching_up = Some(id);
        group.catch_ups += 1;
        group.deployments.push(id);
        self.react(Happened::DeploymentBegun(id));
        self.forget_old(&submission.group);
    }

    /// Folds `Finished` of a catch-up: the group may go on.
    pub(super) fn end_catch_up(&mut self, name: &GroupName) {
        if let Some(group) = self.groups.get_mut(name) {
            group.catching_up = None;
            group.forget_current();
        }
        self.begin_next(name);
    }

    /// Ends a catch-up early, because something newer goes first.
    pub(super) fn supersede(&mut self, id: DeploymentId) {
        let at = self.clock;
        let Some(rollout) = self.rollouts.get_mut(&id) else { return };
        let in_flight = rollout.in_flight();
        rollout.supersede(at);
        for host in in_flight {
            self.clear_timers_if_idle(id, host);
        }
    }

    /// Folds that a person stopped a catch-up: the mesh does not try its hosts
    /// again.
    pub(super) fn give_up_on(&mut self, id: DeploymentId) {
        let rollout = self.rollouts.get(&id).filter(|rollout| rollout.kind() == DeploymentKind::CatchUp);
        let Some(rollout) = rollout else { return };
        let revision = rollout.submission.revision.digest;
        let Some(group) = self.groups.get_mut(&rollout.submission.group) else { return };
        let tried = Tried { revision, attempts: ATTEMPTS_MAX, deployment: id };
        for (host, member) in rollout.members() {
            if let (Stage::Pending | Stage::Leased { .. }, Some(behind)) =
                (&member.stage, group.behind.get_mut(host))
            {
                behind.tried = Some(tried);
            }
        }
    }

    /// Notes the end of a turn: whether its host is behind now, and which attempts
    /// it has used.
    pub(super) fn note_turn(&mut self, id: DeploymentId, host: HostId, failed: Option<ErrorCode>) {
        let since = self.clock;
        let is_there = self.hosts.contains(host);
        let rollout = self.rollouts.get(&id).filter(|_| is_there);
        let Some(submission) = rollout.map(|rollout| &rollout.submission) else { return };
        let revision = submission.revision.digest;
        let is_catch_up = submission.kind() == DeploymentKind::CatchUp;
        let Some(group) = self.groups.get_mut(&submission.group) else { return };
        let Some(code) = failed else {
            // A host that was caught up beside a running deployment must still
            // follow that one.
            if !is_catch_up || group.running.is_none() && group.is_current(host) {
                group.behind.remove(&host);
            }
            return;
        };
        let cause = if code.was_lost() { Cause::Missed } else { Cause::Failed };
        let behind = group.behind.entry(host).or_insert(Behind { cause, since, tried: None });
        if !is_catch_up {
            (behind.cause, behind.since) = (cause, since);
        }
        let before =
            behind.tried.filter(|tried| tried.revision == revision).map_or(0, |tried| tried.attempts);
        let attempts = if code == ErrorCode::AgentStopped {
            // A person stopped the agent, which says nothing about the host.
            before
        } else if code.was_lost() {
            before.saturating_add(1)
        } else {
            ATTEMPTS_MAX
        };
        behind.tried = Some(Tried { revision, attempts: attempts.min(ATTEMPTS_MAX), deployment: id });
    }

    /// Gives every host all its attempts again, because a person deploys.
    pub(super) fn forget_attempts(&mut self, name: &GroupName) {
        if let Some(group) = self.groups.get_mut(name) {
            group.behind.values_mut().for_each(|behind| behind.tried = None);
        }
    }

    /// Notes the hosts that a failed rollback did not reach. Each is brought back
    /// as soon as the group has room for it.
    pub(super) fn leave_behind(&mut self, name: &GroupName, hosts: &[HostId]) {
        let since = self.clock;
        let known: Vec<HostId> = hosts.iter().filter(|host| self.hosts.contains(**host)).copied().collect();
        if let Some(group) = self.groups.get_mut(name) {
            known.into_iter().for_each(|host| group.fall_behind(host, Cause::NotRolledBack, since));
        }
    }

    /// Updates the hosts that are behind after a deployment of the group has ended.
    pub(super) fn settle_behind(&mut self, name: &GroupName, has_new_good: bool) {
        let Some(group) = self.groups.get_mut(name) else { return };
        group.forget_current();
        // The running catch-up brings a revision that is no longer the one to have.
        if let Some(beside) = group.catching_up.filter(|_| has_new_good) {
            self.supersede(beside);
        }
    }

    /// Notes that a host has joined the mesh, or has other tags than before.
    pub(super) fn note_tags(&mut self, host: HostId, before: Option<&Tags>) {
        let since = self.clock;
        let Some(tags) = self.hosts.get(host).map(|host| &host.record.tags) else { return };
        for group in self.groups.values_mut() {
            let was_in = before.is_some_and(|before| group.group.tags.matches(before));
            match (was_in, group.group.tags.matches(tags)) {
                (false, true) => group.fall_behind(host, Cause::Joined, since),
                (true, false) => {
                    group.behind.remove(&host);
                }
                (true, true) | (false, false) => {}
            }
        }
    }

    /// Notes that a group was defined. `before` are its earlier tags, if it was
    /// known.
    pub(super) fn note_members(&mut self, name: &GroupName, before: Option<&TagSets>) {
        let since = self.clock;
        let Some(group) = self.groups.get_mut(name) else { return };
        for (id, host) in self.hosts.all() {
            let was_in = before.is_some_and(|before| before.matches(&host.record.tags));
            match (was_in, group.group.tags.matches(&host.record.tags)) {
                (false, true) => group.fall_behind(*id, Cause::Joined, since),
                (true, false) => {
                    group.behind.remove(id);
                }
                (true, true) | (false, false) => {}
            }
        }
    }

    /// Notes that a host is up again.
    pub(super) fn note_return(&mut self, host: HostId) {
        let since = self.clock;
        for group in self.groups_of(host) {
            if !group.is_current(host) && !group.is_elsewhere(host) {
                group.fall_behind(host, Cause::Returned, since);
            }
        }
    }

    /// Notes that a host has a new store: nothing is known of its application.
    pub(super) fn note_replaced(&mut self, host: HostId) {
        let since = self.clock;
        for group in self.groups_of(host) {
            group.standing.remove(&host);
            group.behind.insert(host, Behind { cause: Cause::Replaced, since, tried: None });
        }
    }

    fn groups_of(&mut self, host: HostId) -> impl Iterator<Item = &mut GroupState> {
        let tags = self.hosts.get(host).map(|host| &host.record.tags);
        self.groups.values_mut().filter(move |group| tags.is_some_and(|tags| group.group.tags.matches(tags)))
    }

    fn is_member(&self, id: DeploymentId, host: HostId) -> bool {
        self.rollouts.get(&id).is_some_and(|rollout| rollout.members().contains_key(&host))
    }

    /// Returns true if the host has a turn in the deployment that is not over.
    pub(super) fn has_turn_to_come(&self, id: DeploymentId, host: HostId) -> bool {
        let member = self.rollouts.get(&id).and_then(|rollout| rollout.members().get(&host));
        member.is_some_and(|member| member.stage == Stage::Pending || member.is_in_flight())
    }
}

type Tags = BTreeSet<crate::group::Tag>;

/// A group's hosts in numbers, between deployments.
struct Room {
    available: u32,
    minimum: u32,
    total: u32,
}

impl Behind {
    /// Returns the attempts, if the host has used all that it has at this revision.
    fn used_up(&self, good: &Good) -> Option<Tried> {
        self.tried.filter(|tried| tried.revision == good.revision.digest && tried.attempts >= ATTEMPTS_MAX)
    }
}

#[cfg(test)]
mod tests;

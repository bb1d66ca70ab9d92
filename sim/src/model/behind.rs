//! Hosts that are behind their group, as obvious as it can be: one list for
//! each group, searched from end to end for every question.

use proto::entry::{Creator, ErrorCode, Submission};
use proto::group::{Tag, TagSets};
use proto::id::{DeploymentId, Digest, GroupName, HostId};
use proto::rollout::DeploymentStatus;
use proto::service::{Condition, Health};
use proto::state::{ATTEMPTS_MAX, Cause};

use std::collections::BTreeSet;

use super::{Deployment, GroupState, Host, Model, Stage, Standing, Turn};

/// A host that may have to catch up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Behind {
    pub cause: Cause,
    /// The revision at which catch-ups failed for the host, and how many times.
    pub tried: Option<(Digest, u8)>,
}

impl GroupState {
    pub fn is_current(&self, host: HostId) -> bool {
        match (self.standing.get(&host), self.good.last()) {
            (Some(standing), Some((good, _))) => standing.healthy && standing.revision == Some(*good),
            (None, _) | (_, None) => false,
        }
    }

    pub(super) fn fall_behind(&mut self, host: HostId, cause: Cause) {
        if self.is_current(host) && self.running.is_none() {
            return;
        }
        let tried = match self.behind.get(&host) {
            None => None,
            Some(Behind { cause: Cause::Missed | Cause::Failed, tried }) => *tried,
            Some(Behind {
                cause: Cause::Joined | Cause::Returned | Cause::Replaced | Cause::NotRolledBack,
                ..
            }) => return,
        };
        self.behind.insert(host, Behind { cause, tried });
    }

    fn forget_current(&mut self) {
        let current: Vec<HostId> =
            self.behind.keys().copied().filter(|host| self.is_current(*host)).collect();
        if self.running.is_none() {
            current.iter().for_each(|host| {
                self.behind.remove(host);
            });
        }
    }

    /// Returns what decides whether the host is in service.
    pub fn condition(&self, host: &Host, is_in_turn: bool) -> Condition {
        let id = host.record.host;
        let health = |standing: &Standing| match standing.healthy {
            true => Health::Healthy,
            false => Health::Unhealthy,
        };
        Condition {
            last_turn: self.standing.get(&id).map(health),
            fails_check: self.ailing.contains_key(&id),
            is_down: host.down,
            is_in_turn,
        }
    }
}

impl Model {
    /// Returns the id and the hosts of the catch-up that the group needs, if it
    /// needs one.
    pub fn catch_up_due(&self, name: &GroupName) -> Option<(DeploymentId, Vec<HostId>)> {
        let group = &self.groups[name];
        let (good, by) = *group.good.last()?;
        let is_frozen = group.watches.frozen_until.is_some();
        if is_frozen || group.catching_up.is_some() || group.owes_rollback_of.is_some() {
            return None;
        }
        let hosts = self.to_catch_up(group, good);
        let id = format!("catch-up {} of {name} after {by}", group.catch_ups);
        (!hosts.is_empty()).then(|| (DeploymentId::derive(id.as_bytes()), hosts))
    }

    fn to_catch_up(&self, group: &GroupState, good: Digest) -> Vec<HostId> {
        let mut hosts = Vec::new();
        for (host, behind) in &group.behind {
            let is_member = group.running.is_some_and(|id| self.deployments[&id].turn(*host).is_some());
            let is_used_up = behind.tried.is_some_and(|(at, tries)| at == good && tries >= ATTEMPTS_MAX);
            let is_up =
                self.members(&group.group).iter().any(|member| member.record.host == *host && !member.down);
            if behind.cause != Cause::Failed && !group.is_current(*host) && !is_member && !is_used_up && is_up
            {
                hosts.push(*host);
            }
        }
        let all_serve = hosts.iter().all(|host| group.condition(&self.hosts[host], false).serves());
        if group.running.is_none() && all_serve && !self.has_room(group) {
            return Vec::new();
        }
        hosts
    }

    /// Returns true if one more host may leave service between deployments.
    fn has_room(&self, group: &GroupState) -> bool {
        let members = self.members(&group.group);
        let serving = members.iter().filter(|host| group.condition(host, false).serves()).count();
        let total = u32::try_from(members.len()).expect("few hosts");
        serving > self.policy_of(&group.group).bounds(total).minimum as usize
    }

    pub(super) fn begin_catch_up(&mut self, submission: &Submission) {
        let id = submission.deployment;
        let Some((_, hosts)) = self.catch_up_due(&submission.group).filter(|(due, _)| *due == id) else {
            return;
        };
        let group = &self.groups[&submission.group];
        let is_beside = group.running.is_some();
        let members = self.members(&group.group);
        let total = u32::try_from(members.len()).expect("few hosts");
        let turns = members
            .iter()
            .filter(|host| !is_beside || hosts.contains(&host.record.host))
            .map(|host| {
                let id = host.record.host;
                let standing = group.standing.get(&id).copied();
                Turn {
                    ailing: group.ailing.contains_key(&id),
                    ..Turn::new(
                        id,
                        standing,
                        host.down,
                        hosts.contains(&id),
                        submission.revision.digest,
                        &host.record.zone,
                    )
                }
            })
            .collect();
        let mut deployment = Deployment::queued(submission.clone());
        deployment.begin_catch_up(turns, total, is_beside, self.clock);
        self.deployments.insert(id, deployment);
        let group = self.groups.get_mut(&submission.group).expect("looked up above");
        group.catching_up = Some(id);
        group.catch_ups += 1;
        group.deployments.push(id);
        self.forget_old(&submission.group);
    }

    pub(super) fn supersede(&mut self, id: DeploymentId) {
        let clock = self.clock;
        let deployment = self.deployments.get_mut(&id).expect("it runs");
        deployment.conclude(DeploymentStatus::Stopped);
        deployment.advance(clock);
    }

    /// Takes note that a person stopped the catch-up: its waiting hosts are not
    /// tried again.
    pub(super) fn give_up_on(&mut self, id: DeploymentId) {
        let Some(deployment) = self.deployments.get(&id) else { return };
        if deployment.submission.creator != Creator::Autoscale || deployment.status.is_over() {
            return;
        }
        let digest = deployment.submission.revision.digest;
        let Some(group) = self.groups.get_mut(&deployment.submission.group) else { return };
        for turn in &deployment.turns {
            if let Stage::Pending | Stage::Leased { .. } = turn.stage
                && let Some(behind) = group.behind.get_mut(&turn.host)
            {
                behind.tried = Some((digest, ATTEMPTS_MAX));
            }
        }
    }

    pub(super) fn note_turn(&mut self, id: DeploymentId, host: HostId, failed: Option<ErrorCode>) {
        if !self.hosts.contains_key(&host) {
            return;
        }
        let submission = &self.deployments[&id].submission;
        let is_catch_up = submission.creator == Creator::Autoscale;
        let digest = submission.revision.digest;
        let Some(group) = self.groups.get_mut(&submission.group) else { return };
        let Some(code) = failed else {
            if !is_catch_up || (group.running.is_none() && group.is_current(host)) {
                group.behind.remove(&host);
            }
            return;
        };
        let was_lost = [
            ErrorCode::DidNotStart,
            ErrorCode::HostLost,
            ErrorCode::FailedAfterRestart,
            ErrorCode::AgentStopped,
        ]
        .contains(&code);
        let known = group.behind.get(&host).copied();
        let before =
            known.and_then(|behind| behind.tried).filter(|(at, _)| *at == digest).map_or(0, |(_, n)| n);
        let tries = if code == ErrorCode::AgentStopped {
            before
        } else if was_lost {
            (before + 1).min(ATTEMPTS_MAX)
        } else {
            ATTEMPTS_MAX
        };
        let of_this = if was_lost { Cause::Missed } else { Cause::Failed };
        let cause = known.filter(|_| is_catch_up).map_or(of_this, |behind| behind.cause);
        group.behind.insert(host, Behind { cause, tried: Some((digest, tries)) });
    }

    pub(super) fn settle_behind(&mut self, name: &GroupName, has_new_good: bool) {
        let Some(group) = self.groups.get_mut(name) else { return };
        group.forget_current();
        if let Some(id) = group.catching_up
            && has_new_good
        {
            self.supersede(id);
        }
    }

    pub(super) fn end_catch_up(&mut self, name: &GroupName) {
        let group = self.groups.get_mut(name).expect("its group is there");
        group.catching_up = None;
        group.forget_current();
        self.begin_next(name);
    }

    /// Updates the lists after a host's tags changed. `before` is None if the
    /// host is new.
    pub(super) fn note_tags(&mut self, host: HostId, before: Option<&BTreeSet<Tag>>) {
        let now = &self.hosts[&host].record.tags;
        for group in self.groups.values_mut() {
            let was_in = before.is_some_and(|before| group.group.tags.matches(before));
            let is_in = group.group.tags.matches(now);
            if is_in && !was_in {
                group.fall_behind(host, Cause::Joined);
            } else if was_in && !is_in {
                group.behind.remove(&host);
            }
        }
    }

    /// Updates the list after a group's tags changed. `before` is None if the
    /// group is new.
    pub(super) fn note_members(&mut self, name: &GroupName, before: Option<&TagSets>) {
        let group = self.groups.get_mut(name).expect("it was set");
        for (id, host) in &self.hosts {
            let was_in = before.is_some_and(|before| before.matches(&host.record.tags));
            let is_in = group.group.tags.matches(&host.record.tags);
            if is_in && !was_in {
                group.fall_behind(*id, Cause::Joined);
            } else if was_in && !is_in {
                group.behind.remove(id);
            }
        }
    }

    pub(super) fn note_return(&mut self, host: HostId) {
        let Some(tags) = self.hosts.get(&host).map(|host| host.record.tags.clone()) else { return };
        for group in self.groups.values_mut().filter(|group| group.group.tags.matches(&tags)) {
            let standing = group.standing.get(&host).copied();
            let good: Vec<Digest> = group.good.iter().map(|(digest, _)| *digest).collect();
            let is_old_or_unknown = match standing {
                None => true,
                Some(standing) if !standing.healthy => true,
                Some(standing) => standing.revision.is_some_and(|revision| good.contains(&revision)),
            };
            if is_old_or_unknown && !group.is_current(host) {
                group.fall_behind(host, Cause::Returned);
            }
        }
    }

    pub(super) fn note_replaced(&mut self, host: HostId) {
        let tags = self.hosts[&host].record.tags.clone();
        for group in self.groups.values_mut().filter(|group| group.group.tags.matches(&tags)) {
            group.standing.remove(&host);
            group.behind.insert(host, Behind { cause: Cause::Replaced, tried: None });
        }
    }

    pub(super) fn forget_attempts(&mut self, name: &GroupName) {
        if let Some(group) = self.groups.get_mut(name) {
            group.behind.values_mut().for_each(|behind| behind.tried = None);
        }
    }

    /// Returns true if the deployment has a turn for the host that is not over.
    pub(super) fn has_turn_to_come(&self, id: DeploymentId, host: HostId) -> bool {
        let turn = self.deployments.get(&id).and_then(|deployment| deployment.turn(host));
        turn.is_some_and(|turn| turn.stage == Stage::Pending || turn.is_in_flight())
    }
}

//! What a deployment needs to know of all parts of the state: when it begins, and for which
//! hosts.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::react::Happened;
use super::{GroupState, Host, State};
use crate::alarm::Alarm;
use crate::deployment_kind::{Slot, Targets};
use crate::entry::Submission;
use crate::id::{DeploymentId, Digest, GroupName, HostId};
use crate::rollout::forecast::Forecast;
use crate::rollout::{Entrant, Member, Part, Reason, Rollout, Verdict};

impl State {
    /// Folds the submission of a deployment.
    pub(super) fn submit(&mut self, submission: &Submission) -> Vec<Happened> {
        let (id, group, slot) = (submission.deployment, &submission.group, submission.kind().traits().slot);
        if self.rollouts.contains(id) {
            return Vec::new();
        }
        let mut happened = match slot {
            Slot::Beside => self.begin_catch_up(submission),
            Slot::Reserved | Slot::InLine => {
                self.rollouts.submit(submission, self.clock);
                self.groups.submit(group, id, slot)
            }
        };
        happened.push(Happened::DeploymentAdded(group.clone()));
        happened
    }

    /// Begins a deployment, now that the group is free.
    pub(super) fn begin(&mut self, id: DeploymentId) {
        let Some(rollout) = self.rollouts.get(id) else { return };
        let submission = &rollout.submission;
        let name = submission.group.clone();
        let Some(group) = self.groups.get(&name) else { return };
        let targets = self.targets(submission);
        // One host never has turns in two deployments at once.
        let is_taken = |host| group.catching_up.is_some_and(|id| self.has_turn_to_come(id, host));
        let mut entrants = self.entrants(group, targets.as_ref());
        entrants.retain(|entrant| !is_taken(entrant.host));
        let gate = self.alarms.gate(&group.group, submission);
        self.groups.begin(&name, id);
        let happened = self.rollouts.begin(id, &entrants, gate, self.clock);
        self.react_to(happened);
        self.heed_alarms(&name);
    }

    /// Begins the queued deployment, if nothing is in its way any longer. A
    /// catch-up gives way to it, and ends as soon as no host is in a turn.
    pub(super) fn begin_next(&mut self, name: &GroupName) {
        let Some(group) = self.groups.get(name) else { return };
        let Some(next) = group.queued.and_then(|queued| self.rollouts.get(queued)) else { return };
        let is_frozen = self.freezes.holding(&next.submission).is_some();
        if group.running.is_some() || group.owes_rollback_of.is_some() || is_frozen {
            return;
        }
        let next = next.submission.deployment;
        match group.catching_up {
            Some(catching_up) => self.supersede(catching_up),
            None => self.begin(next),
        }
    }

    /// Returns the hosts of a group as entrants of a deployment, in the order of
    /// their names. The deployment is for `targets`, or for all hosts if that is
    /// `None`.
    pub(super) fn entrants(&self, group: &GroupState, targets: Option<&BTreeSet<HostId>>) -> Vec<Entrant> {
        let checks = self.checks.of(&group.group.name);
        let entrant = |host: &Host| Entrant {
            host: host.record.host,
            standing: group.standing.get(&host.record.host).copied(),
            down: host.down,
            ailing: checks.ailing(host.record.host).map(|ailing| ailing.since),
            target: targets.is_none_or(|targets| targets.contains(&host.record.host)),
            zone: host.record.zone.clone(),
        };
        self.members_of(&group.group).into_iter().map(entrant).collect()
    }

    /// Returns a forecast of the deployment, as if its group were free, with turns
    /// of this length; `None` if there is no such group.
    pub fn forecast(&self, submission: Submission, turn: Duration) -> Option<Forecast> {
        let group = self.groups.get(&submission.group)?;
        let targets = self.targets(&submission);
        let entrants = self.entrants(group, targets.as_ref());
        Some(Forecast::new(submission, entrants, turn))
    }

    /// Returns why a deployment would be over before any host had its turn; `None` if
    /// it would not, or begins only in a group that may have changed by then.
    pub(crate) fn stillborn(&self, submission: &Submission) -> Option<Reason> {
        let group = self.groups.get(&submission.group)?;
        // A rollback by hand is let through: it is an emergency, and tells more when it fails.
        if submission.queue || submission.kind().traits().goes_back || group.catching_up.is_some() {
            return None;
        }
        // The length of a turn does not matter before the first.
        match self.forecast(submission.clone(), Duration::from_secs(1))?.stillborn()? {
            Verdict::Failed(reason) => Some(reason),
            Verdict::Succeeded | Verdict::Stopped(_) => None,
        }
    }

    /// Returns the hosts that a deployment is for; `None` means all hosts of the
    /// group.
    pub fn targets(&self, submission: &Submission) -> Option<BTreeSet<HostId>> {
        let group = self.groups.get(&submission.group)?;
        let digest = submission.revision.digest;
        let has_it = |host: HostId| {
            group.standing.get(&host).is_some_and(|standing| standing.revision == Some(digest))
        };
        let members = || self.members_of(&group.group).into_iter().map(|host| host.record.host);
        match submission.kind().traits().targets {
            Targets::All if !submission.policy.outdated_only => None,
            Targets::All => Some(members().filter(|host| !has_it(*host)).collect()),
            Targets::HaveIt => Some(members().filter(|host| has_it(*host)).collect()),
            Targets::NotWell => Some(members().filter(|host| !group.is_well_at(*host, digest)).collect()),
            Targets::Touched => {
                let undone = submission.rollback_of.and_then(|undone| self.rollouts.get(undone))?;
                Some(group.to_roll_back(&self.rollouts.touched(undone)).collect())
            }
            Targets::Behind => group.good.last().map(|good| self.to_catch_up(group, good)),
        }
    }

    /// Returns the part of every host in a deployment that is kept, under way or
    /// over.
    pub fn parts(&self, deployment: DeploymentId) -> BTreeMap<HostId, Part<'_>> {
        self.rollouts.parts(deployment)
    }

    /// Returns the part of one host in a deployment that is kept; `None` if it had
    /// none.
    pub fn part(&self, deployment: DeploymentId, host: HostId) -> Option<Part<'_>> {
        self.rollouts.part(deployment, host)
    }

    /// Returns hosts that should still have the bundle, at most eight.
    pub fn holders(&self, group: &GroupState, digest: Digest) -> Vec<HostId> {
        const HOLDERS_MAX: usize = 8;
        group
            .standing
            .iter()
            .filter(|(_, standing)| standing.revision == Some(digest))
            .map(|(host, _)| *host)
            .take(HOLDERS_MAX)
            .collect()
    }

    /// Returns the deployments in which the host has a lease or is in its turn.
    pub fn turns_of(&self, host: HostId) -> Vec<DeploymentId> {
        let has_turn = |rollout: &&Rollout| rollout.members().get(&host).is_some_and(Member::is_in_flight);
        self.running().filter(has_turn).map(|rollout| rollout.submission.deployment).collect()
    }

    /// Returns the newest deployment that went to the group. Catch-ups and
    /// deployments that never began do not count, because they say nothing about
    /// where the group is.
    pub(crate) fn newest_of(&self, group: &GroupState) -> Option<&Rollout> {
        let newest_first = group.deployments.iter().rev().filter_map(|id| self.rollouts.get(*id));
        newest_first.into_iter().find(|rollout| rollout.traits().counts_as_newest && rollout.total() > 0)
    }

    /// Returns the alarms to read now, each with its group and the deployment for
    /// which it is read.
    pub(crate) fn alarms_to_read(&self) -> Vec<(&GroupState, &Rollout, &Alarm)> {
        let mut to_read = Vec::new();
        for group in self.groups.values() {
            let rollout = group.running.and_then(|running| self.rollouts.get(running));
            let heeding =
                rollout.filter(|rollout| rollout.verdict.is_none() && rollout.submission.heeds_alarms());
            if let Some(rollout) = heeding {
                let read = group.group.alarms.iter().filter(|alarm| alarm.is_read());
                to_read.extend(read.map(|alarm| (group, rollout, alarm)));
            }
        }
        to_read
    }

    /// Forgets the oldest deployments of a group, if it has too many. The newest stays,
    /// although many catch-ups may come after it, or run beside one that is long.
    pub(super) fn forget_old(&mut self, name: &GroupName) {
        let Some(group) = self.groups.get(name) else { return };
        let newest = self.newest_of(group).map(|rollout| rollout.submission.deployment);
        let rollouts = &self.rollouts;
        let may_go = |id: &DeploymentId| {
            Some(*id) != newest && rollouts.get(*id).is_none_or(|rollout| rollout.status().is_over())
        };
        let old = self.groups.forget_oldest(name, may_go);
        if let Some(group) = self.groups.get(name) {
            self.rollouts.forget(name, &old, &group.deployments);
        }
    }
}

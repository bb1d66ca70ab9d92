//! Folds deployments: their submission, their turns, their end and their rollback.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::react::Happened;
use super::rollback::to_roll_back;
use super::{DEPLOYMENTS_KEPT, GOOD_KEPT, Good, GroupState, Host, State, Timer};
use crate::alarm::Alarm;
use crate::deployment_kind::{DeploymentKind, Slot, Targets};
use crate::entry::{ErrorCode, Failure, Submission, TurnOutcome};
use crate::id::{DeploymentId, Digest, GroupName, HostId};
use crate::io::Refusal;
use crate::rollout::forecast::Forecast;
use crate::rollout::{
    DeploymentStatus, Entrant, Health, Member, Part, Reason, Rollout, Stage, Standing, Verdict,
};

impl State {
    pub(super) fn check_stop(&self, deployment: DeploymentId) -> Result<(), Refusal> {
        let rollout = self.rollouts.get(&deployment).ok_or(Refusal::UnknownDeployment(deployment))?;
        if rollout.status().is_over() {
            return Err(Refusal::AlreadyOver(deployment, rollout.status().name()));
        }
        Ok(())
    }

    pub(super) fn submit(&mut self, submission: &Submission) {
        let id = submission.deployment;
        if self.rollouts.contains_key(&id) {
            return;
        }
        let group = self.groups.get_mut(&submission.group).expect("the submission was checked");
        let catching_up = match submission.kind().traits().slot {
            Slot::Beside => return self.begin_catch_up(submission),
            Slot::Reserved => {
                group.owes_rollback_of = None;
                None
            }
            Slot::InLine => group.catching_up,
        };
        group.deployments.push(id);
        let is_busy = group.running.is_some() || group.owes_rollback_of.is_some();
        let must_wait = is_busy || catching_up.is_some();
        if must_wait {
            group.queued = Some(id);
        }
        if let Some(undone) = submission.rollback_of.and_then(|undone| self.rollouts.get_mut(&undone)) {
            undone.rolled_back_by = Some(id);
        }
        self.rollouts.insert(id, Rollout::queued(submission.clone(), self.clock));
        if !must_wait {
            self.begin(id);
        } else if let Some(catching_up) = catching_up.filter(|_| !is_busy) {
            self.supersede(catching_up);
        }
        self.forget_old(&submission.group);
    }

    /// Begins a deployment, now that the group is free.
    fn begin(&mut self, id: DeploymentId) {
        let at = self.clock;
        let rollout = &self.rollouts[&id];
        let name = rollout.submission.group.clone();
        let renews_attempts = rollout.traits().renews_attempts;
        let timeout = rollout.submission.policy.deployment_timeout;
        let targets = self.targets(&rollout.submission);
        let group = &self.groups[&name];
        // One host never has turns in two deployments at once.
        let is_taken = |host| group.catching_up.is_some_and(|id| self.has_turn_to_come(id, host));
        let mut entrants = self.entrants(group, targets.as_ref());
        entrants.retain(|entrant| !is_taken(entrant.host));
        let group = self.groups.get_mut(&name).expect("a deployment's group is there while it waits or runs");
        group.running = Some(id);
        group.queued = group.queued.filter(|queued| *queued != id);
        self.close_alarm_gate(id);
        let rollout = self.rollouts.get_mut(&id).expect("looked up above");
        let granted = rollout.begin(&entrants, at);
        self.timers.set(Timer::Deployment(id), at + timeout);
        self.set_timers(id, &granted);
        if renews_attempts {
            self.forget_attempts(&name);
        }
        self.react(Happened::DeploymentBegun(id));
        self.heed_alarms(&name);
    }

    /// Sets the alarm gate before a deployment begins, so that it does not find the
    /// gate open.
    fn close_alarm_gate(&mut self, deployment: DeploymentId) {
        let Some(rollout) = self.rollouts.get_mut(&deployment) else { return };
        if let Some(group) = self.groups.get(&rollout.submission.group) {
            rollout.alarms = self.alarms.gate(&group.group, &rollout.submission);
        }
    }

    /// Begins the queued deployment, if nothing is in its way any longer. A
    /// catch-up gives way to it, and ends as soon as no host is in a turn.
    pub(super) fn begin_next(&mut self, name: &GroupName) {
        let Some(group) = self.groups.get(name) else { return };
        let Some(next) = group.queued.and_then(|queued| self.rollouts.get(&queued)) else { return };
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
        if submission.queue || submission.rollback_of.is_some() || group.catching_up.is_some() {
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
                let undone = submission.rollback_of.and_then(|undone| self.rollouts.get(&undone))?;
                Some(to_roll_back(group, undone).collect())
            }
            Targets::Behind => group.good.last().map(|good| self.to_catch_up(group, good)),
        }
    }

    pub(super) fn start_turn(&mut self, deployment: DeploymentId, host: HostId) {
        let at = self.clock;
        let Some(rollout) = self.rollouts.get_mut(&deployment) else { return };
        if rollout.start_turn(host, at) {
            let timeout = rollout.submission.policy.turn_timeout;
            self.timers.clear(Timer::Start(deployment, host));
            self.timers.set(Timer::Turn(deployment, host), at + timeout);
            self.react(Happened::TurnStarted { deployment, host });
        }
    }

    pub(super) fn end_turn(&mut self, deployment: DeploymentId, host: HostId, outcome: TurnOutcome) {
        let at = self.clock;
        let Some(rollout) = self.rollouts.get_mut(&deployment) else { return };
        let started = matches!(rollout.members().get(&host).map(|m| &m.stage), Some(Stage::Started { .. }));
        let failed = match &outcome {
            TurnOutcome::Succeeded => None,
            TurnOutcome::Failed(failure) => Some(failure.code),
        };
        let Some(granted) = rollout.end_turn(host, outcome, at) else { return };
        self.react(Happened::TurnEnded { deployment, host, started, failed });
        self.clear_timers(deployment, host);
        // The host told how its turn ended although it counts as Down. During a
        // bake that matters.
        self.set_lost_timer(deployment, host);
        self.set_timers(deployment, &granted);
    }

    /// Records what the group knows of the host after its turn. A turn that never began
    /// says nothing about its host; in the deployment itself, such a turn counts as failed.
    pub(super) fn note_standing(&mut self, deployment: DeploymentId, host: HostId, succeeded: bool) {
        // A host that was taken out meanwhile is no longer a host of the group.
        if !self.hosts.contains(host) {
            return;
        }
        let submission = &self.rollouts[&deployment].submission;
        let Some(group) = self.groups.get_mut(&submission.group) else { return };
        let health = if succeeded { Health::Healthy } else { Health::Unhealthy };
        let revision = succeeded.then_some(submission.revision.digest);
        group.standing.insert(host, Standing { health, revision });
    }

    pub(super) fn fail_turn(
        &mut self,
        deployment: DeploymentId,
        host: HostId,
        code: ErrorCode,
        message: String,
    ) {
        self.end_turn(deployment, host, TurnOutcome::Failed(Failure::new(None, code, message)));
    }

    pub(super) fn stop(&mut self, deployment: DeploymentId, rollback: bool, now: bool, by: &str) {
        let at = self.clock;
        let Some(rollout) = self.rollouts.get_mut(&deployment) else { return };
        let was_queued = rollout.status() == DeploymentStatus::Queued;
        let unused = rollout.in_flight();
        self.give_up_on(deployment);
        let Some(rollout) = self.rollouts.get_mut(&deployment) else { return };
        rollout.stop(rollback, now, at);
        rollout.note_stop_by(by);
        self.clear_start_timers(deployment, &unused);
        self.set_timers(deployment, &[]);
        if was_queued {
            // The deployment never ran, so there is no turn to wait for: it is over
            // now.
            let rollout = self.rollouts.get_mut(&deployment).expect("looked up above");
            rollout.finish(at);
            let name = rollout.submission.group.clone();
            if let Some(group) = self.groups.get_mut(&name) {
                group.queued = None;
            }
            self.react(Happened::DeploymentEnded(deployment));
        }
    }

    pub(super) fn finish(&mut self, deployment: DeploymentId) {
        let at = self.clock;
        let Some(rollout) = self.rollouts.get_mut(&deployment) else { return };
        if !rollout.finish(at) {
            return;
        }
        let succeeded = rollout.status() == DeploymentStatus::Succeeded;
        let traits = rollout.traits();
        let rolls_back = rollout.wants_rollback() && traits.undone_by == Some(DeploymentKind::Rollback);
        let name = rollout.submission.group.clone();
        let good = Good { revision: rollout.submission.revision.clone(), deployment, at };
        self.timers.clear(Timer::Deployment(deployment));
        self.react(Happened::DeploymentEnded(deployment));
        self.timers.clear(Timer::Bake(deployment));
        let not_reached = self.not_reached(deployment);
        self.shorten(deployment);
        match traits.slot {
            Slot::Beside => return self.end_catch_up(&name),
            Slot::InLine | Slot::Reserved => {}
        }
        let rollout = &self.rollouts[&deployment];
        let Some(group) = self.groups.get_mut(&name) else { return };
        group.running = None;
        let needs_it = to_roll_back(group, rollout).next().is_some();
        if succeeded {
            if traits.makes_good {
                note_good(group, good);
            }
        } else if rolls_back && needs_it && !group.good.is_empty() {
            group.owes_rollback_of = Some(deployment);
        }
        self.leave_behind(&name, &not_reached);
        self.settle_behind(&name, succeeded);
        self.begin_next(&name);
    }

    /// Returns the hosts that a failed deployment did not reach and that fall behind
    /// by that.
    fn not_reached(&self, deployment: DeploymentId) -> Vec<HostId> {
        let leaves_some = |rollout: &&Rollout| {
            rollout.traits().leaves_behind && rollout.status() == DeploymentStatus::Failed
        };
        let rollout = self.rollouts.get(&deployment).filter(leaves_some);
        let members = rollout.into_iter().flat_map(Rollout::members);
        members.filter(|(_, member)| member.stage == Stage::Skipped).map(|(host, _)| *host).collect()
    }

    /// Shortens the record of a deployment that is over.
    fn shorten(&mut self, deployment: DeploymentId) {
        let Some(rollout) = self.rollouts.get_mut(&deployment) else { return };
        if let Some(group) = self.groups.get_mut(&rollout.submission.group) {
            rollout.shorten(&mut group.roster);
        }
    }

    /// Returns the part of every host in a deployment that is kept, under way or
    /// over.
    pub fn parts(&self, deployment: DeploymentId) -> BTreeMap<HostId, Part<'_>> {
        let found = self.rollouts.get(&deployment);
        let group = found.and_then(|rollout| self.groups.get(&rollout.submission.group));
        found.zip(group).map(|(rollout, group)| rollout.parts(&group.roster)).unwrap_or_default()
    }

    /// Returns the part of one host in a deployment that is kept; `None` if it had
    /// none.
    pub fn part(&self, deployment: DeploymentId, host: HostId) -> Option<Part<'_>> {
        let rollout = self.rollouts.get(&deployment)?;
        rollout.part(host, &self.groups.get(&rollout.submission.group)?.roster)
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
        let newest_first = group.deployments.iter().rev().filter_map(|id| self.rollouts.get(id));
        newest_first.into_iter().find(|rollout| rollout.traits().counts_as_newest && rollout.total() > 0)
    }

    /// Returns the alarms to read now, each with its group and the deployment for
    /// which it is read.
    pub(crate) fn alarms_to_read(&self) -> Vec<(&GroupState, &Rollout, &Alarm)> {
        let mut to_read = Vec::new();
        for group in self.groups.values() {
            let rollout = group.running.and_then(|running| self.rollouts.get(&running));
            let heeding =
                rollout.filter(|rollout| rollout.verdict.is_none() && rollout.submission.heeds_alarms());
            if let Some(rollout) = heeding {
                let read = group.group.alarms.iter().filter(|alarm| alarm.is_read());
                to_read.extend(read.map(|alarm| (group, rollout, alarm)));
            }
        }
        to_read
    }

    pub(super) fn forget_old(&mut self, name: &GroupName) {
        let Some(group) = self.groups.get(name) else { return };
        // Many catch-ups may come after the newest deployment, or run beside one
        // that is long.
        let newest = self.newest_of(group).map(|rollout| rollout.submission.deployment);
        let Some(group) = self.groups.get_mut(name) else { return };
        while group.deployments.len() > DEPLOYMENTS_KEPT {
            let may_go = |id: &DeploymentId| {
                Some(*id) != newest && self.rollouts.get(id).is_none_or(|rollout| rollout.status().is_over())
            };
            let Some(oldest) = group.deployments.iter().position(may_go) else { return };
            self.rollouts.remove(&group.deployments.remove(oldest));
            group.roster.keep(group.deployments.iter().filter_map(|id| self.rollouts.get(id)));
        }
    }
}

fn note_good(group: &mut GroupState, good: Good) {
    group.good.retain(|known| known.revision.digest != good.revision.digest);
    group.good.push(good);
    while group.good.len() > GOOD_KEPT {
        group.good.remove(0);
    }
}

//! What the parts of the state do because something happened in another one.
//!
//! A part folds what concerns it, and returns what happened. It knows no other part.
//! Everything that follows elsewhere is listed here, and happens at once and in this
//! order, before the next entry: what follows may happen in turn.

use std::collections::BTreeSet;

use super::groups::{Outcome, Tried};
use super::{State, Timer};
use crate::deployment_kind::Slot;
use crate::entry::{ErrorCode, TurnOutcome};
use crate::group::{Group, Tag};
use crate::id::{DeploymentId, GroupName, HostId};
use crate::rollout::{DeploymentStatus, Health, Stage, Standing};
use crate::time::LedgerTime;
use crate::trigger::{Happening, TriggerEvent};

/// Something that happened in one part of the state.
#[derive(Clone, Debug)]
pub(super) enum Happened {
    /// A group was defined for the first time, or anew. `before` is its earlier
    /// definition.
    GroupDefined { group: GroupName, before: Option<Box<Group>> },
    /// A group was deleted, with its deployments.
    GroupDeleted { group: GroupName, deployments: Vec<DeploymentId> },
    /// The earliest end of a freeze may be another one.
    FreezesChanged,
    /// A group is no longer frozen.
    FreezeEnded(GroupName),
    /// An alarm was read or set.
    AlarmChanged(GroupName),
    /// A host became unwell by its group's check, or is no longer so.
    HealthChanged { group: GroupName, host: HostId, ailing: Option<LedgerTime> },
    /// A deployment began.
    DeploymentBegun(DeploymentId),
    /// A deployment was submitted.
    DeploymentAdded(GroupName),
    /// A deployment may begin, because its group is free.
    MayBegin(DeploymentId),
    /// A catch-up ends early, because a newer deployment waits for it.
    CatchUpOutrun(DeploymentId),
    /// A person stopped a catch-up whose turns had not begun on these hosts.
    CatchUpStopped { group: GroupName, hosts: Vec<HostId>, tried: Tried },
    /// A deployment was stopped. These hosts had a lease or were in their turn.
    DeploymentStopped { deployment: DeploymentId, in_flight: Vec<HostId> },
    /// A deployment in line was stopped, and so is over.
    QueueLeft { group: GroupName, deployment: DeploymentId },
    /// A deployment is over.
    DeploymentFinished(Box<Outcome>),
    /// These hosts got a lease or lost it, or a bake has begun or ended.
    LeasesChanged { deployment: DeploymentId, hosts: Vec<HostId> },
    /// A host with a lease waits with its start.
    StartDeferred { deployment: DeploymentId, host: HostId },
    /// A host began its turn.
    TurnStarted { deployment: DeploymentId, host: HostId },
    /// A turn is over. `started` is false if it never began.
    TurnEnded { deployment: DeploymentId, host: HostId, started: bool, failed: Option<ErrorCode> },
    /// A host went Down in a bake and did not come back.
    HostLostInBake { deployment: DeploymentId, host: HostId },
    /// A turn that had succeeded counts as failed.
    TurnFailedLater { deployment: DeploymentId, host: HostId },
    /// A host joined the mesh for the first time.
    HostJoined(HostId),
    /// A known host announced itself. It may have other tags than before.
    HostRejoined { host: HostId, tags_before: BTreeSet<Tag> },
    /// A host has a new store: nothing is known of its application.
    StoreReplaced(HostId),
    /// A host is Down.
    HostDown(HostId),
    /// A host is up, for all that the mesh knows now.
    HostUp(HostId),
    /// A host was taken out of the mesh.
    HostLeft { host: HostId, was_up: bool },
}

impl State {
    pub(super) fn react_to(&mut self, happened: Vec<Happened>) {
        happened.into_iter().for_each(|happened| self.react(happened));
    }

    pub(super) fn react(&mut self, happened: Happened) {
        match happened {
            Happened::GroupDefined { group, before } => self.group_defined(&group, before.as_deref()),
            Happened::GroupDeleted { group, deployments } => self.group_deleted(&group, &deployments),
            Happened::FreezesChanged => self.set_thaw_timer(),
            Happened::FreezeEnded(group) => self.begin_next(&group),
            Happened::AlarmChanged(group) => self.heed_alarms(&group),
            Happened::HealthChanged { group, host, ailing } => self.health_changed(&group, host, ailing),
            Happened::DeploymentBegun(deployment) => self.deployment_begun(deployment),
            Happened::DeploymentAdded(group) => self.forget_old(&group),
            Happened::MayBegin(deployment) => self.begin(deployment),
            Happened::CatchUpOutrun(deployment) => self.supersede(deployment),
            Happened::CatchUpStopped { group, hosts, tried } => {
                self.groups.give_up_on(&group, &hosts, tried);
            }
            Happened::DeploymentStopped { deployment, in_flight } => {
                self.clear_start_timers(deployment, &in_flight);
                self.set_timers(deployment, &[]);
            }
            Happened::QueueLeft { group, deployment } => {
                self.groups.empty_queue(&group);
                self.announce_end(deployment);
            }
            Happened::DeploymentFinished(outcome) => self.deployment_finished(&outcome),
            Happened::LeasesChanged { deployment, hosts } => self.set_timers(deployment, &hosts),
            Happened::StartDeferred { deployment, host } => self.start_deferred(deployment, host),
            Happened::TurnStarted { deployment, host } => self.turn_started(deployment, host),
            Happened::TurnEnded { deployment, host, started, failed } => {
                self.turn_ended(deployment, host, started, failed);
            }
            Happened::HostLostInBake { deployment, host } => self.host_lost_in_bake(deployment, host),
            Happened::TurnFailedLater { deployment, host } => self.announce_turn(deployment, host),
            Happened::HostJoined(host) => self.host_joined(host),
            Happened::HostRejoined { host, tags_before } => {
                self.note_tags(host, Some(&tags_before));
                self.set_forget_timer(host);
            }
            Happened::StoreReplaced(host) => {
                if let Some(known) = self.hosts.get(host) {
                    self.groups.note_replaced(&known.record, self.clock);
                }
            }
            Happened::HostDown(host) => {
                self.set_forget_timer(host);
                self.set_down(host, Some(self.clock));
            }
            Happened::HostUp(host) => self.host_up(host),
            Happened::HostLeft { host, was_up } => self.host_left(host, was_up),
        }
    }

    fn group_defined(&mut self, name: &GroupName, before: Option<&Group>) {
        let Some(known) = self.groups.get(name) else { return };
        self.alarms.define_group(before, &known.group);
        self.notifications.define_group(&known.group);
        let happened = self.checks.define_group(name, known.group.health.is_some());
        self.react_to(happened);
        self.rollouts.define_group(name);
        let records = self.hosts.all().values().map(|host| &host.record);
        self.groups.note_members(name, before.map(|before| &before.tags), records, self.clock);
        self.set_forget_timers();
        self.heed_alarms(name);
    }

    fn group_deleted(&mut self, name: &GroupName, deployments: &[DeploymentId]) {
        self.rollouts.forget_group(name, deployments);
        self.alarms.forget_group(name);
        self.notifications.forget_group(name);
        self.checks.forget_group(name);
        let happened = self.freezes.forget_group(name);
        self.react_to(happened);
        self.set_forget_timers();
    }

    /// Sets the one timer for all groups to the earliest end of a freeze.
    fn set_thaw_timer(&mut self) {
        self.timers.clear(Timer::Thaw);
        if let Some(first) = self.freezes.first_end() {
            self.timers.set(Timer::Thaw, first);
        }
    }

    /// Stops the running deployment if an alarm says so, or lets it begin if all
    /// alarms were read.
    pub(super) fn heed_alarms(&mut self, name: &GroupName) {
        let Some(group) = self.groups.get(name) else { return };
        let Some(running) = group.running else { return };
        let Some(rollout) = self.rollouts.get(running) else { return };
        let gate = self.alarms.gate(&group.group, &rollout.submission);
        let stopped_by = gate.is_active.then(|| self.alarms.stopping(&group.group, running)).flatten();
        let happened = self.rollouts.heed_alarms(running, gate, stopped_by, self.clock);
        self.react_to(happened);
    }

    fn health_changed(&mut self, name: &GroupName, host: HostId, ailing: Option<LedgerTime>) {
        let Some(group) = self.groups.get(name) else { return };
        let grace = group.group.health.as_ref().map(|check| check.grace);
        for deployment in group.under_way() {
            self.set_ailing(deployment, host, ailing);
            let has_relapsed =
                self.rollouts.get(deployment).is_some_and(|rollout| rollout.has_relapsed(host));
            if let Some((since, grace)) = ailing.zip(grace).filter(|_| has_relapsed) {
                self.timers.set(Timer::Relapsed(deployment, host), since + grace);
            }
        }
    }

    fn set_ailing(&mut self, deployment: DeploymentId, host: HostId, ailing: Option<LedgerTime>) {
        let changed = self.rollouts.set_ailing(deployment, host, ailing, self.clock);
        let Some(changed) = changed else { return };
        self.timers.clear(Timer::Relapsed(deployment, host));
        self.clear_timers_if_idle(deployment, host);
        self.set_timers(deployment, &changed);
    }

    fn note_tags(&mut self, host: HostId, before: Option<&BTreeSet<Tag>>) {
        if let Some(known) = self.hosts.get(host) {
            self.groups.note_tags(&known.record, before, self.clock);
        }
    }

    fn host_joined(&mut self, host: HostId) {
        self.note_tags(host, None);
        // The host may have been taken out in the middle of a deployment, which has
        // counted it Down since.
        self.host_up(host);
        let happened = self.replace_by(host);
        self.react_to(happened);
    }

    fn host_up(&mut self, host: HostId) {
        self.set_forget_timer(host);
        if let Some(known) = self.hosts.get(host) {
            self.groups.note_return(&known.record, self.clock);
        }
        self.set_down(host, None);
    }

    fn host_left(&mut self, host: HostId, was_up: bool) {
        self.leave_rollouts(host);
        // A host that is Down already gets no more time to come back by being taken
        // out.
        if was_up {
            self.set_down(host, Some(self.clock));
        }
        let happened = self.checks.forget_host(host);
        self.react_to(happened);
        self.set_forget_timer(host);
        self.groups.forget_host(host);
    }

    /// Tells the running deployments that a host is Down since then, or that it is up.
    fn set_down(&mut self, host: HostId, since: Option<LedgerTime>) {
        for deployment in self.ids_running() {
            let changed = self.rollouts.set_down(deployment, host, since, self.clock);
            let Some(changed) = changed else { continue };
            self.clear_timers_if_idle(deployment, host);
            self.set_lost_timer(deployment, host);
            self.set_timers(deployment, &changed);
        }
    }

    /// Takes the host out of the running rollouts. A turn under way fails, and
    /// counts as any other failure. Apart from that the rollouts go on as if the
    /// group had never had the host.
    fn leave_rollouts(&mut self, host: HostId) {
        let at = self.clock;
        for deployment in self.ids_running() {
            let stage = self.rollouts.member(deployment, host).map(|member| &member.stage);
            if matches!(stage, Some(Stage::Started { .. })) {
                let message = "the host was taken out of the mesh".to_string();
                let happened = self.rollouts.fail_turn(deployment, host, ErrorCode::HostLost, message, at);
                self.react_to(happened);
            }
            let Some(changed) = self.rollouts.leave(deployment, host, at) else { continue };
            self.clear_timers_if_idle(deployment, host);
            self.set_timers(deployment, &changed);
        }
    }

    fn ids_running(&self) -> Vec<DeploymentId> {
        self.running().map(|rollout| rollout.submission.deployment).collect()
    }

    fn deployment_begun(&mut self, deployment: DeploymentId) {
        let Some(rollout) = self.rollouts.get(deployment) else { return };
        let traits = rollout.traits();
        let timeout = rollout.submission.policy.deployment_timeout;
        self.timers.set(Timer::Deployment(deployment), self.clock + timeout);
        if traits.renews_attempts {
            self.groups.forget_attempts(&rollout.submission.group);
        }
        if let Some(event) = traits.announces {
            self.announce(event, deployment, None);
        }
        self.announce(TriggerEvent::DeploymentStart, deployment, None);
    }

    fn deployment_finished(&mut self, outcome: &Outcome) {
        let (deployment, name) = (outcome.deployment, &outcome.group);
        self.timers.clear(Timer::Deployment(deployment));
        self.timers.clear(Timer::Bake(deployment));
        self.announce_end(deployment);
        match outcome.slot {
            Slot::Beside => self.groups.end_catch_up(name),
            Slot::InLine | Slot::Reserved => self.group_freed(outcome),
        }
        self.begin_next(name);
    }

    fn group_freed(&mut self, outcome: &Outcome) {
        let name = &outcome.group;
        self.groups.end(outcome);
        let hosts = &self.hosts;
        let not_reached = outcome.not_reached.iter().copied().filter(|host| hosts.contains(*host));
        self.groups.leave_behind(name, not_reached, self.clock);
        self.groups.forget_current(name);
        // The running catch-up brings a revision that is no longer the one to have.
        let catching_up = self.groups.get(name).and_then(|group| group.catching_up);
        if let Some(beside) = catching_up.filter(|_| outcome.succeeded) {
            self.supersede(beside);
        }
    }

    fn announce_end(&mut self, deployment: DeploymentId) {
        let event = match self.rollouts.get(deployment).map(|rollout| rollout.status()) {
            Some(DeploymentStatus::Succeeded) => TriggerEvent::DeploymentSuccess,
            Some(DeploymentStatus::Failed) => TriggerEvent::DeploymentFailure,
            Some(DeploymentStatus::Stopped) => TriggerEvent::DeploymentStop,
            Some(
                DeploymentStatus::Created
                | DeploymentStatus::Queued
                | DeploymentStatus::InProgress
                | DeploymentStatus::Baking,
            )
            | None => return,
        };
        self.announce(event, deployment, None);
    }

    fn turn_started(&mut self, deployment: DeploymentId, host: HostId) {
        let Some(rollout) = self.rollouts.get(deployment) else { return };
        let timeout = rollout.submission.policy.turn_timeout;
        self.timers.clear(Timer::Start(deployment, host));
        self.timers.set(Timer::Turn(deployment, host), self.clock + timeout);
        self.note_checked_turn(deployment, host, false);
        self.announce(TriggerEvent::InstanceStart, deployment, Some(host));
    }

    /// A deferral extends the time that a host has to start.
    fn start_deferred(&mut self, deployment: DeploymentId, host: HostId) {
        if let Some(rollout) = self.rollouts.get(deployment) {
            let due = self.clock + rollout.submission.policy.start_timeout;
            self.timers.set(Timer::Start(deployment, host), due);
        }
    }

    fn turn_ended(
        &mut self,
        deployment: DeploymentId,
        host: HostId,
        started: bool,
        failed: Option<ErrorCode>,
    ) {
        let succeeded = failed.is_none();
        // A host that was taken out meanwhile is no longer a host of the group.
        let rollout = self.rollouts.get(deployment).filter(|_| self.hosts.contains(host));
        if let Some(submission) = rollout.map(|rollout| &rollout.submission) {
            // A turn that never began says nothing about its host, which keeps its revision
            // and health. In the deployment itself, such a turn counts as failed.
            if started {
                let health = if succeeded { Health::Healthy } else { Health::Unhealthy };
                let revision = succeeded.then_some(submission.revision.digest);
                self.groups.set_standing(&submission.group, host, Standing { health, revision });
            }
            self.groups.note_turn(submission, host, failed, self.clock);
        }
        if started {
            self.note_checked_turn(deployment, host, succeeded);
        }
        self.announce_turn(deployment, host);
        self.clear_timers(deployment, host);
        // The host told how its turn ended although it counts as Down. During a
        // bake that matters.
        self.set_lost_timer(deployment, host);
    }

    /// The group counts the host as unhealthy from now on.
    fn host_lost_in_bake(&mut self, deployment: DeploymentId, host: HostId) {
        if let Some(rollout) = self.rollouts.get(deployment) {
            self.groups.mark_unhealthy(&rollout.submission.group, host);
        }
        self.announce_turn(deployment, host);
    }

    /// Tells the health check that a turn has begun or ended.
    fn note_checked_turn(&mut self, deployment: DeploymentId, host: HostId, succeeded: bool) {
        let (now, rollout) = (self.now(), self.rollouts.get(deployment));
        let group = rollout.and_then(|rollout| self.groups.get(&rollout.submission.group));
        if let Some(group) = group.filter(|group| group.group.health.is_some()) {
            self.checks.note_turn(now, &group.group.name, host, succeeded);
        }
    }

    /// Notes the outcome of a turn for the triggers.
    fn announce_turn(&mut self, deployment: DeploymentId, host: HostId) {
        let member = self.rollouts.member(deployment, host);
        let event = match member.map(|member| &member.stage) {
            Some(Stage::Ended { outcome: TurnOutcome::Succeeded, .. }) => TriggerEvent::InstanceSuccess,
            Some(Stage::Ended { outcome: TurnOutcome::Failed(_), .. }) => TriggerEvent::InstanceFailure,
            Some(_) | None => return,
        };
        self.announce(event, deployment, Some(host));
    }

    /// Notes an event for the triggers.
    fn announce(&mut self, event: TriggerEvent, deployment: DeploymentId, host: Option<HostId>) {
        let Some(rollout) = self.rollouts.get(deployment) else { return };
        if let Some(group) = self.groups.get(&rollout.submission.group) {
            let (index, at) = (self.index, self.clock);
            self.notifications
                .note(&group.group, Happening { number: 0, index, at, event, deployment, host });
        }
    }
}

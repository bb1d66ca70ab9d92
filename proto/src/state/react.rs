//! What the parts of the state do because something happened in another one.
//!
//! A part folds what concerns it, and returns what happened. It knows no other part.
//! Everything that follows elsewhere is listed here, and happens at once and in this
//! order, before the next entry: what follows may happen in turn.

use std::collections::BTreeSet;

use super::{State, Timer};
use crate::entry::{ErrorCode, TurnOutcome};
use crate::group::{Group, Tag};
use crate::id::{DeploymentId, GroupName, HostId};
use crate::rollout::{DeploymentStatus, Stage};
use crate::time::LedgerTime;
use crate::trigger::{Happening, TriggerEvent};

/// Something that happened in one part of the state.
#[derive(Clone, Debug)]
pub(super) enum Happened {
    /// A group was defined for the first time, or anew. `before` is its earlier
    /// definition.
    GroupDefined { group: GroupName, before: Option<Box<Group>> },
    /// A group was deleted.
    GroupDeleted(GroupName),
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
    /// A deployment is over.
    DeploymentEnded(DeploymentId),
    /// A host began its turn.
    TurnStarted { deployment: DeploymentId, host: HostId },
    /// A turn is over. `started` is false if it never began.
    TurnEnded { deployment: DeploymentId, host: HostId, started: bool, failed: Option<ErrorCode> },
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
            Happened::GroupDeleted(group) => self.group_deleted(&group),
            Happened::FreezesChanged => self.set_thaw_timer(),
            Happened::FreezeEnded(group) => self.begin_next(&group),
            Happened::AlarmChanged(group) => self.heed_alarms(&group),
            Happened::HealthChanged { group, host, ailing } => self.health_changed(&group, host, ailing),
            Happened::DeploymentBegun(deployment) => self.deployment_begun(deployment),
            Happened::DeploymentEnded(deployment) => self.deployment_ended(deployment),
            Happened::TurnStarted { deployment, host } => self.turn_started(deployment, host),
            Happened::TurnEnded { deployment, host, started, failed } => {
                self.turn_ended(deployment, host, started, failed);
            }
            Happened::TurnFailedLater { deployment, host } => self.announce_turn(deployment, host),
            Happened::HostJoined(host) => self.host_joined(host),
            Happened::HostRejoined { host, tags_before } => {
                self.note_tags(host, Some(&tags_before));
                self.set_forget_timer(host);
            }
            Happened::StoreReplaced(host) => self.note_replaced(host),
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
        self.note_members(name, before.map(|before| &before.tags));
        self.set_forget_timers();
        self.heed_alarms(name);
    }

    fn group_deleted(&mut self, name: &GroupName) {
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
        let at = self.clock;
        let Some(group) = self.groups.get(name) else { return };
        let Some(running) = group.running else { return };
        let Some(rollout) = self.rollouts.get_mut(&running) else { return };
        let gate = self.alarms.gate(&group.group, &rollout.submission);
        if !gate.is_active {
            let granted = rollout.set_alarm_gate(gate, at);
            self.set_timers(running, &granted);
            return;
        }
        if let Some(stopped_by) = self.alarms.stopping(&group.group, running) {
            let unused = rollout.in_flight();
            rollout.alarms = gate;
            rollout.stop_on_alarm(stopped_by);
            self.clear_start_timers(running, &unused);
            self.set_timers(running, &[]);
        }
    }

    fn health_changed(&mut self, name: &GroupName, host: HostId, ailing: Option<LedgerTime>) {
        let Some(group) = self.groups.get(name) else { return };
        let grace = group.group.health.as_ref().map(|check| check.grace);
        for deployment in group.under_way() {
            self.set_ailing(deployment, host, ailing);
            let has_relapsed =
                self.rollouts.get(&deployment).is_some_and(|rollout| rollout.has_relapsed(host));
            if let Some((since, grace)) = ailing.zip(grace).filter(|_| has_relapsed) {
                self.timers.set(Timer::Relapsed(deployment, host), since + grace);
            }
        }
    }

    fn host_joined(&mut self, host: HostId) {
        self.note_tags(host, None);
        // The host may have been taken out in the middle of a deployment, which has
        // counted it Down since.
        self.host_up(host);
        self.replace_by(host);
    }

    fn host_up(&mut self, host: HostId) {
        self.set_forget_timer(host);
        self.note_return(host);
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
        for group in self.groups.values_mut() {
            group.standing.remove(&host);
            group.behind.remove(&host);
        }
    }

    /// Tells the running deployments that a host is Down since then, or that it is up.
    fn set_down(&mut self, host: HostId, since: Option<LedgerTime>) {
        let at = self.clock;
        for deployment in self.ids_running() {
            let Some(rollout) = self.rollouts.get_mut(&deployment) else { continue };
            let changed = rollout.set_down(host, since, at);
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
            let member = self.rollouts.get(&deployment).and_then(|rollout| rollout.members().get(&host));
            if matches!(member.map(|member| &member.stage), Some(Stage::Started { .. })) {
                let message = "the host was taken out of the mesh".to_string();
                self.fail_turn(deployment, host, ErrorCode::HostLost, message);
            }
            let Some(rollout) = self.rollouts.get_mut(&deployment) else { continue };
            let changed = rollout.leave(host, at);
            self.clear_timers_if_idle(deployment, host);
            self.set_timers(deployment, &changed);
        }
    }

    fn ids_running(&self) -> Vec<DeploymentId> {
        self.running().map(|rollout| rollout.submission.deployment).collect()
    }

    fn deployment_begun(&mut self, deployment: DeploymentId) {
        if let Some(event) = self.rollouts.get(&deployment).and_then(|rollout| rollout.traits().announces) {
            self.announce(event, deployment, None);
        }
        self.announce(TriggerEvent::DeploymentStart, deployment, None);
    }

    fn deployment_ended(&mut self, deployment: DeploymentId) {
        let event = match self.rollouts.get(&deployment).map(|rollout| rollout.status()) {
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
        self.note_checked_turn(deployment, host, false);
        self.announce(TriggerEvent::InstanceStart, deployment, Some(host));
    }

    fn turn_ended(
        &mut self,
        deployment: DeploymentId,
        host: HostId,
        started: bool,
        failed: Option<ErrorCode>,
    ) {
        // A turn that never began says nothing about its host, which keeps its revision
        // and health.
        if started {
            self.note_standing(deployment, host, failed.is_none());
        }
        self.note_turn(deployment, host, failed);
        if started {
            self.note_checked_turn(deployment, host, failed.is_none());
        }
        self.announce_turn(deployment, host);
    }

    /// Tells the health check that a turn has begun or ended.
    fn note_checked_turn(&mut self, deployment: DeploymentId, host: HostId, succeeded: bool) {
        let (now, rollout) = (self.now(), self.rollouts.get(&deployment));
        let group = rollout.and_then(|rollout| self.groups.get(&rollout.submission.group));
        if let Some(group) = group.filter(|group| group.group.health.is_some()) {
            self.checks.note_turn(now, &group.group.name, host, succeeded);
        }
    }

    /// Notes the outcome of a turn for the triggers.
    fn announce_turn(&mut self, deployment: DeploymentId, host: HostId) {
        let member = self.rollouts.get(&deployment).and_then(|rollout| rollout.members().get(&host));
        let event = match member.map(|member| &member.stage) {
            Some(Stage::Ended { outcome: TurnOutcome::Succeeded, .. }) => TriggerEvent::InstanceSuccess,
            Some(Stage::Ended { outcome: TurnOutcome::Failed(_), .. }) => TriggerEvent::InstanceFailure,
            Some(_) | None => return,
        };
        self.announce(event, deployment, Some(host));
    }

    /// Notes an event for the triggers.
    fn announce(&mut self, event: TriggerEvent, deployment: DeploymentId, host: Option<HostId>) {
        let Some(rollout) = self.rollouts.get(&deployment) else { return };
        if let Some(group) = self.groups.get(&rollout.submission.group) {
            let (index, at) = (self.index, self.clock);
            self.notifications
                .note(&group.group, Happening { number: 0, index, at, event, deployment, host });
        }
    }
}

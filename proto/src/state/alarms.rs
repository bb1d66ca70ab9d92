//! Folds alarms, which hold back or stop the running deployment.

use super::State;
use crate::alarm::{Alarm, AlarmStanding, AlarmState, DETAIL_MAX, OnUnreadable, StoppedBy};
use crate::entry::Submission;
use crate::group::Group;
use crate::id::{DeploymentId, GroupName};
use crate::io::Refusal;
use crate::rollout::{AlarmGate, Rollout};
use crate::state::GroupState;
use crate::statement::one_line;

impl GroupState {
    /// Returns what the ledger says of an alarm, as far as it counts for the
    /// deployment; `None` if the alarm was not read in it yet.
    pub fn alarm_in(&self, deployment: DeploymentId, alarm: &Alarm) -> Option<&AlarmStanding> {
        let standing = self.alarms.get(&alarm.name)?;
        (!alarm.is_read() || standing.read_in == Some(deployment)).then_some(standing)
    }

    /// Returns the alarm that stops the deployment; if there are several, the first
    /// by name.
    fn stopping(&self, deployment: DeploymentId) -> Option<StoppedBy> {
        let stops = |alarm: &&Alarm| match self.alarm_in(deployment, alarm).map(|standing| standing.state) {
            Some(AlarmState::Active) => true,
            Some(AlarmState::Unreadable) => alarm.unreadable == OnUnreadable::Stop,
            Some(AlarmState::Ok) | None => false,
        };
        let alarm = self.group.alarms.iter().filter(stops).min_by_key(|alarm| &alarm.name)?;
        let AlarmStanding { state, since, detail, .. } = self.alarm_in(deployment, alarm)?.clone();
        Some(StoppedBy { alarm: alarm.name.clone(), state, since, detail })
    }

    /// Returns how many of the deployment's alarms were read, and whether one is
    /// active.
    fn gate(&self, submission: &Submission) -> AlarmGate {
        if !submission.heeds_alarms() {
            return AlarmGate::default();
        }
        let read = self.group.alarms.iter().filter(|alarm| alarm.is_read());
        let is_unread = |alarm: &&Alarm| self.alarm_in(submission.deployment, alarm).is_none();
        let count = |alarms: usize| u32::try_from(alarms).unwrap_or(u32::MAX);
        AlarmGate {
            unread: count(read.clone().filter(is_unread).count()),
            total: count(read.count()),
            is_active: self.stopping(submission.deployment).is_some(),
        }
    }

    /// Forgets the alarms whose source has changed since they were read or set.
    pub(super) fn forget_changed_alarms(&mut self, new: &Group) {
        let old = &self.group.alarms;
        self.alarms.retain(|name, _| {
            let source = |alarms: &[Alarm]| {
                alarms.iter().find(|alarm| alarm.name == *name).map(|alarm| alarm.source.clone())
            };
            source(&new.alarms).is_some() && source(&new.alarms) == source(old)
        });
    }
}

impl State {
    pub(super) fn check_alarm_set(&self, name: &GroupName, alarm: &str) -> Result<(), Refusal> {
        let group = self.groups.get(name).ok_or_else(|| Refusal::UnknownGroup(name.clone()))?;
        let by_hand: Vec<&str> = group
            .group
            .alarms
            .iter()
            .filter(|alarm| !alarm.is_read())
            .map(|alarm| alarm.name.as_str())
            .collect();
        if by_hand.contains(&alarm) {
            return Ok(());
        }
        let known = match by_hand.is_empty() {
            true => "it has none: define one with a [[alarm]] that has a name and nothing to read".into(),
            false => format!("it has {}", by_hand.join(", ")),
        };
        Err(Refusal::UnknownAlarm { group: name.clone(), alarm: alarm.into(), known })
    }

    /// Refuses a deployment that a known active alarm would stop as soon as it is
    /// submitted.
    pub(super) fn check_alarms_of(&self, submission: &Submission) -> Result<(), Refusal> {
        let Some(group) = self.groups.get(&submission.group).filter(|_| submission.heeds_alarms()) else {
            return Ok(());
        };
        match group.stopping(submission.deployment) {
            None => Ok(()),
            Some(StoppedBy { alarm, since, detail, .. }) => {
                Err(Refusal::AlarmActive { group: submission.group.clone(), alarm, since, detail })
            }
        }
    }

    pub(super) fn alarm_read(
        &mut self,
        name: &GroupName,
        deployment: DeploymentId,
        alarm: &str,
        state: AlarmState,
        detail: &str,
    ) {
        let at = self.clock;
        let Some(group) = self.groups.get_mut(name) else { return };
        // A late reading belongs to a deployment that is over.
        let known = group.group.alarms.iter().find(|known| known.name == alarm && known.is_read());
        let Some(known) = known.filter(|_| group.running == Some(deployment)) else { return };
        if group.alarm_in(deployment, known).is_some_and(|standing| standing.state == state) {
            return;
        }
        let standing = AlarmStanding {
            state,
            since: at,
            detail: one_line(detail, DETAIL_MAX),
            read_in: Some(deployment),
        };
        group.alarms.insert(alarm.into(), standing);
        self.heed_alarms(name);
    }

    pub(super) fn alarm_set(&mut self, name: &GroupName, alarm: &str, active: bool, reason: &str) {
        let at = self.clock;
        let Some(group) = self.groups.get_mut(name) else { return };
        let was_active = group.alarms.get(alarm).is_some_and(|known| known.state == AlarmState::Active);
        if was_active == active {
            return;
        }
        let state = if active { AlarmState::Active } else { AlarmState::Ok };
        let standing = AlarmStanding { state, since: at, detail: reason.into(), read_in: None };
        group.alarms.insert(alarm.into(), standing);
        self.heed_alarms(name);
    }

    /// Sets the alarm gate before a deployment begins, so that it does not find the
    /// gate open.
    pub(super) fn close_alarm_gate(&mut self, deployment: DeploymentId) {
        let Some(rollout) = self.rollouts.get_mut(&deployment) else { return };
        if let Some(group) = self.groups.get(&rollout.submission.group) {
            rollout.alarms = group.gate(&rollout.submission);
        }
    }

    /// Stops the running deployment if an alarm says so, or lets it begin if all
    /// alarms were read.
    pub(super) fn heed_alarms(&mut self, name: &GroupName) {
        let at = self.clock;
        let Some(group) = self.groups.get(name) else { return };
        let Some(running) = group.running else { return };
        let Some(rollout) = self.rollouts.get_mut(&running) else { return };
        let gate = group.gate(&rollout.submission);
        if !gate.is_active {
            let granted = rollout.set_alarm_gate(gate, at);
            self.set_timers(running, &granted);
            return;
        }
        if let Some(stopped_by) = group.stopping(running) {
            let unused = rollout.in_flight();
            rollout.alarms = gate;
            rollout.stop_on_alarm(stopped_by);
            self.clear_start_timers(running, &unused);
            self.set_timers(running, &[]);
        }
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

    pub(super) fn is_alarm_settled(
        &self,
        name: &GroupName,
        deployment: DeploymentId,
        alarm: &str,
        state: AlarmState,
    ) -> bool {
        let Some(group) = self.groups.get(name).filter(|group| group.running == Some(deployment)) else {
            return true;
        };
        let known = group.group.alarms.iter().find(|known| known.name == alarm);
        let said = known.and_then(|known| group.alarm_in(deployment, known));
        known.is_none() || said.is_some_and(|said| said.state == state)
    }
}

#[cfg(test)]
mod tests;

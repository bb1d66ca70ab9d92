//! What the ledger knows of each group's alarms, which hold back or stop its running
//! deployment.

use std::collections::BTreeMap;

use super::Moment;
use super::react::Happened;
use crate::alarm::{Alarm, AlarmStanding, AlarmState, DETAIL_MAX, OnUnreadable, StoppedBy};
use crate::entry::Submission;
use crate::group::Group;
use crate::id::{DeploymentId, GroupName};
use crate::io::Refusal;
use crate::rollout::AlarmGate;
use crate::statement::one_line;

/// The alarms of all groups, as far as they were read or set.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Alarms {
    by_group: BTreeMap<GroupName, BTreeMap<String, AlarmStanding>>,
}

impl Alarms {
    /// Puts back what a snapshot holds of a group.
    pub(super) fn restore(&mut self, group: &GroupName, standings: BTreeMap<String, AlarmStanding>) {
        self.by_group.insert(group.clone(), standings);
    }

    pub(super) fn all_of(&self, group: &GroupName) -> Option<&BTreeMap<String, AlarmStanding>> {
        self.by_group.get(group)
    }

    /// Returns the group's alarms that were read or set, by name.
    pub fn of(&self, group: &GroupName) -> impl Iterator<Item = (&str, &AlarmStanding)> {
        let standings = self.by_group.get(group).into_iter().flatten();
        standings.map(|(name, standing)| (name.as_str(), standing))
    }

    /// Returns what the ledger says of an alarm; `None` if it was never read or set.
    pub fn standing(&self, group: &GroupName, alarm: &str) -> Option<&AlarmStanding> {
        self.by_group.get(group)?.get(alarm)
    }

    /// Returns what the ledger says of an alarm, as far as it counts for the
    /// deployment; `None` if the alarm was not read in it yet.
    pub fn standing_in(
        &self,
        group: &GroupName,
        deployment: DeploymentId,
        alarm: &Alarm,
    ) -> Option<&AlarmStanding> {
        let standing = self.standing(group, &alarm.name)?;
        (!alarm.is_read() || standing.read_in == Some(deployment)).then_some(standing)
    }

    /// Returns the alarm that stops the deployment; if there are several, the first
    /// by name.
    pub(super) fn stopping(&self, group: &Group, deployment: DeploymentId) -> Option<StoppedBy> {
        let known = |alarm: &Alarm| self.standing_in(&group.name, deployment, alarm);
        let stops = |alarm: &&Alarm| match known(alarm).map(|standing| standing.state) {
            Some(AlarmState::Active) => true,
            Some(AlarmState::Unreadable) => alarm.unreadable == OnUnreadable::Stop,
            Some(AlarmState::Ok) | None => false,
        };
        let alarm = group.alarms.iter().filter(stops).min_by_key(|alarm| &alarm.name)?;
        let AlarmStanding { state, since, detail, .. } = known(alarm)?.clone();
        Some(StoppedBy { alarm: alarm.name.clone(), state, since, detail })
    }

    /// Returns how many of the deployment's alarms were read, and whether one is
    /// active.
    pub(super) fn gate(&self, group: &Group, submission: &Submission) -> AlarmGate {
        if !submission.heeds_alarms() {
            return AlarmGate::default();
        }
        let read = group.alarms.iter().filter(|alarm| alarm.is_read());
        let is_unread =
            |alarm: &&Alarm| self.standing_in(&group.name, submission.deployment, alarm).is_none();
        let count = |alarms: usize| u32::try_from(alarms).unwrap_or(u32::MAX);
        AlarmGate {
            unread: count(read.clone().filter(is_unread).count()),
            total: count(read.count()),
            is_active: self.stopping(group, submission.deployment).is_some(),
        }
    }

    /// Checks whether an operator may set the alarm of a group.
    pub(super) fn check_set(group: &Group, alarm: &str) -> Result<(), Refusal> {
        let by_hand = group.alarms.iter().filter(|alarm| !alarm.is_read());
        let by_hand: Vec<&str> = by_hand.map(|alarm| alarm.name.as_str()).collect();
        if by_hand.contains(&alarm) {
            return Ok(());
        }
        let known = match by_hand.is_empty() {
            true => "it has none: define one with a [[alarm]] that has a name and nothing to read".into(),
            false => format!("it has {}", by_hand.join(", ")),
        };
        Err(Refusal::UnknownAlarm { group: group.name.clone(), alarm: alarm.into(), known })
    }

    /// Refuses a deployment that a known active alarm would stop as soon as it is
    /// submitted.
    pub(super) fn check_submission(&self, group: &Group, submission: &Submission) -> Result<(), Refusal> {
        let stopping =
            submission.heeds_alarms().then(|| self.stopping(group, submission.deployment)).flatten();
        match stopping {
            None => Ok(()),
            Some(StoppedBy { alarm, since, detail, .. }) => {
                Err(Refusal::AlarmActive { group: group.name.clone(), alarm, since, detail })
            }
        }
    }

    /// Takes a reading. A late one belongs to a deployment that is over: `running` is
    /// the one that runs.
    pub(super) fn read(
        &mut self,
        now: Moment,
        (group, running): (&Group, Option<DeploymentId>),
        (deployment, alarm): (DeploymentId, &str),
        (state, detail): (AlarmState, &str),
    ) -> Vec<Happened> {
        let known = group.alarms.iter().find(|known| known.name == alarm && known.is_read());
        let Some(known) = known.filter(|_| running == Some(deployment)) else { return Vec::new() };
        let said = self.standing_in(&group.name, deployment, known);
        if said.is_some_and(|standing| standing.state == state) {
            return Vec::new();
        }
        let detail = one_line(detail, DETAIL_MAX);
        self.change(
            &group.name,
            alarm,
            AlarmStanding { state, since: now.clock, detail, read_in: Some(deployment) },
        )
    }

    /// Sets an alarm by an operator's word.
    pub(super) fn set(
        &mut self,
        now: Moment,
        group: &GroupName,
        alarm: &str,
        active: bool,
        reason: &str,
    ) -> Vec<Happened> {
        let known = self.standing(group, alarm);
        if known.is_some_and(|known| known.state == AlarmState::Active) == active {
            return Vec::new();
        }
        let state = if active { AlarmState::Active } else { AlarmState::Ok };
        self.change(
            group,
            alarm,
            AlarmStanding { state, since: now.clock, detail: reason.into(), read_in: None },
        )
    }

    fn change(&mut self, group: &GroupName, alarm: &str, standing: AlarmStanding) -> Vec<Happened> {
        let Some(standings) = self.by_group.get_mut(group) else { return Vec::new() };
        standings.insert(alarm.into(), standing);
        vec![Happened::AlarmChanged(group.clone())]
    }

    /// Returns true if a reading would change nothing.
    pub(super) fn is_settled(
        &self,
        (group, running): (&Group, Option<DeploymentId>),
        (deployment, alarm): (DeploymentId, &str),
        state: AlarmState,
    ) -> bool {
        if running != Some(deployment) {
            return true;
        }
        let known = group.alarms.iter().find(|known| known.name == alarm);
        let said = known.and_then(|known| self.standing_in(&group.name, deployment, known));
        known.is_none() || said.is_some_and(|said| said.state == state)
    }

    /// Follows a new definition of a group: forgets the alarms whose source has changed
    /// since they were read or set.
    pub(super) fn define_group(&mut self, before: Option<&Group>, group: &Group) {
        let standings = self.by_group.entry(group.name.clone()).or_default();
        let source = |group: &Group, name: &str| {
            group.alarms.iter().find(|alarm| alarm.name == name).map(|alarm| alarm.source.clone())
        };
        standings.retain(|name, _| {
            let now = source(group, name);
            now.is_some() && now == before.and_then(|before| source(before, name))
        });
    }

    /// Forgets a group that was deleted.
    pub(super) fn forget_group(&mut self, group: &GroupName) {
        self.by_group.remove(group);
    }
}

#[cfg(test)]
mod tests;

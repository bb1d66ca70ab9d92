//! Alarms, freezes and the happenings that triggers must tell, naively: looked
//! up again for every entry.

use std::collections::{BTreeMap, BTreeSet};

use proto::alarm::{Alarm, AlarmState, OnUnreadable};
use proto::entry::{Creator, Submission};
use proto::group::Group;
use proto::id::{DeploymentId, GroupName, HostId};
use proto::rollout::DeploymentStatus;
use proto::trigger::{GivenUp, TriggerEvent};

use super::{GroupState, Millis, Model, Stage};

/// An event of which a receiver must be told.
pub type Happening = (TriggerEvent, DeploymentId, Option<HostId>);

/// The alarms that a group watches, and the happenings that it tells.
#[derive(Clone, Debug, Default)]
pub struct Watches {
    /// The last reading of each alarm, and the deployment in which it was read.
    pub alarms: BTreeMap<String, (AlarmState, Option<DeploymentId>)>,
    pub frozen_until: Option<Millis>,
    /// The happenings that wait, by trigger.
    pub to_tell: BTreeMap<String, BTreeSet<Happening>>,
    /// The happenings that were given up, by trigger.
    pub given_up: BTreeSet<(String, TriggerEvent, DeploymentId)>,
    /// The time at which the group was last set.
    pub set_at: Millis,
}

/// The status of each deployment before an entry, with the stages of its turns.
pub(super) type Before = BTreeMap<DeploymentId, (DeploymentStatus, Vec<Stage>)>;

pub(super) fn heeds_alarms(submission: &Submission) -> bool {
    submission.creator == Creator::User && !submission.policy.ignore_alarms
}

fn heeds_freeze(submission: &Submission) -> bool {
    match submission.creator {
        Creator::Rollback => false,
        Creator::Autoscale => true,
        // Only a rollback by hand may pass it.
        Creator::User => !submission.policy.ignore_freeze || submission.rollback_of.is_none(),
    }
}

impl GroupState {
    pub(super) fn is_frozen_for(&self, submission: &Submission) -> bool {
        self.watches.frozen_until.is_some() && heeds_freeze(submission)
    }

    fn known(&self, alarm: &Alarm, deployment: DeploymentId) -> Option<AlarmState> {
        let (state, read_in) = self.watches.alarms.get(&alarm.name)?;
        (read_in.is_none() || *read_in == Some(deployment)).then_some(*state)
    }

    pub(super) fn is_active_for(&self, submission: &Submission) -> bool {
        heeds_alarms(submission)
            && self.group.alarms.iter().any(|alarm| match self.known(alarm, submission.deployment) {
                Some(AlarmState::Active) => true,
                Some(AlarmState::Unreadable) => alarm.unreadable == OnUnreadable::Stop,
                Some(AlarmState::Ok) | None => false,
            })
    }

    fn is_held(&self, submission: &Submission) -> bool {
        let is_unread = |alarm: &Alarm| alarm.is_read() && self.known(alarm, submission.deployment).is_none();
        let is_any_unread = heeds_alarms(submission) && self.group.alarms.iter().any(is_unread);
        is_any_unread || self.is_active_for(submission)
    }

    /// Updates the alarms after the group was set again.
    pub(super) fn watch_as(&mut self, new: &Group, at: Millis) {
        let old = self.group.alarms.clone();
        let source = |alarms: &[Alarm], name: &str| {
            alarms.iter().find(|alarm| alarm.name == name).map(|alarm| alarm.source.clone())
        };
        let watches = &mut self.watches;
        watches.set_at = at;
        watches.alarms.retain(|name, _| {
            let now = source(&new.alarms, name);
            now.is_some() && now == source(&old, name)
        });
        watches.to_tell.retain(|name, _| new.triggers.iter().any(|trigger| trigger.name == *name));
        for trigger in &new.triggers {
            let to_tell = watches.to_tell.entry(trigger.name.clone()).or_default();
            to_tell.retain(|(event, _, _)| trigger.on.contains(event));
        }
    }
}

impl Model {
    /// Notes whether alarms hold the deployment. Called before it begins.
    pub(super) fn hold(&mut self, id: DeploymentId) {
        let submission = &self.deployments[&id].submission;
        let is_held = self.groups[&submission.group].is_held(submission);
        self.deployments.get_mut(&id).expect("looked up above").is_held = is_held;
    }

    pub(super) fn heed_alarms(&mut self, name: &GroupName) {
        let clock = self.clock;
        let Some(group) = self.groups.get(name) else { return };
        let Some(deployment) = group.running.and_then(|id| self.deployments.get_mut(&id)) else { return };
        deployment.is_held = group.is_held(&deployment.submission);
        if group.is_active_for(&deployment.submission) && deployment.ends_as.is_none() {
            deployment.stopped_by_alarm = true;
            deployment.conclude(DeploymentStatus::Stopped);
        }
        deployment.advance(clock);
    }

    pub(super) fn alarm_read(&mut self, name: &GroupName, id: DeploymentId, alarm: &str, state: AlarmState) {
        let Some(group) = self.groups.get_mut(name).filter(|group| group.running == Some(id)) else { return };
        if group.group.alarms.iter().any(|known| known.name == alarm && known.is_read()) {
            group.watches.alarms.insert(alarm.into(), (state, Some(id)));
            self.heed_alarms(name);
        }
    }

    pub(super) fn alarm_set(&mut self, name: &GroupName, alarm: &str, active: bool) {
        let Some(group) = self.groups.get_mut(name) else { return };
        let is_known = group.group.alarms.iter().any(|known| known.name == alarm && !known.is_read());
        let was_active = group.watches.alarms.get(alarm).is_some_and(|known| known.0 == AlarmState::Active);
        if is_known && was_active != active {
            let state = if active { AlarmState::Active } else { AlarmState::Ok };
            group.watches.alarms.insert(alarm.into(), (state, None));
            self.heed_alarms(name);
        }
    }

    pub(super) fn freeze(&mut self, name: &GroupName, until: Millis) {
        let clock = self.clock;
        let longest = u64::try_from(proto::state::FREEZE_MAX.as_millis()).expect("some days");
        if let Some(group) = self.groups.get_mut(name)
            && until > clock
            && until <= clock + longest
        {
            group.watches.frozen_until = Some(until);
        }
    }

    pub(super) fn thaw(&mut self, name: &GroupName) {
        if let Some(group) = self.groups.get_mut(name)
            && group.watches.frozen_until.take().is_some()
        {
            self.begin_next(name);
        }
    }

    /// Ends every freeze whose time is over.
    pub(super) fn thaw_all(&mut self) {
        let is_over =
            |group: &GroupState| group.watches.frozen_until.is_some_and(|until| until <= self.clock);
        let over: Vec<GroupName> =
            self.groups.iter().filter(|(_, group)| is_over(group)).map(|(name, _)| name.clone()).collect();
        over.iter().for_each(|name| self.thaw(name));
    }

    pub(super) fn told(&mut self, name: &GroupName, trigger: &str, given_up: &[GivenUp]) {
        if let Some(group) = self.groups.get_mut(name) {
            let given_up = given_up.iter().map(|it| (trigger.to_string(), it.event, it.deployment));
            group.watches.given_up.extend(given_up);
        }
    }

    pub(super) fn before(&self) -> Before {
        let unfinished = self.deployments.iter().filter(|(_, deployment)| !deployment.status.is_over());
        let stages = unfinished.map(|(id, deployment)| {
            let turns = deployment.turns.iter().map(|turn| turn.stage).collect();
            (*id, (deployment.status, turns))
        });
        stages.collect()
    }

    /// Notes as happenings what changed since `before`.
    pub(super) fn note_happenings(&mut self, before: &Before) {
        let mut happened: Vec<(GroupName, Happening)> = Vec::new();
        for (id, deployment) in &self.deployments {
            let known = before.get(id);
            if known.is_none() && deployment.status.is_over() {
                continue;
            }
            let was = known.map_or(DeploymentStatus::Created, |(status, _)| *status);
            let group = &deployment.submission.group;
            let mut note = |event, host| happened.push((group.clone(), (event, *id, host)));
            let had_begun = matches!(was, DeploymentStatus::InProgress | DeploymentStatus::Baking);
            if was != deployment.status {
                match deployment.status {
                    DeploymentStatus::Created | DeploymentStatus::Queued => {}
                    DeploymentStatus::InProgress | DeploymentStatus::Baking if had_begun => {}
                    DeploymentStatus::InProgress | DeploymentStatus::Baking => {
                        if deployment.submission.creator == Creator::Rollback {
                            note(TriggerEvent::DeploymentRollback, None);
                        }
                        note(TriggerEvent::DeploymentStart, None);
                    }
                    DeploymentStatus::Succeeded => note(TriggerEvent::DeploymentSuccess, None),
                    DeploymentStatus::Failed => note(TriggerEvent::DeploymentFailure, None),
                    DeploymentStatus::Stopped => note(TriggerEvent::DeploymentStop, None),
                }
            }
            let turns = known.map(|(_, turns)| turns.as_slice()).unwrap_or_default();
            for (turn, was) in deployment.turns.iter().zip(turns) {
                match turn.stage {
                    now if now == *was => {}
                    Stage::Started { .. } => note(TriggerEvent::InstanceStart, Some(turn.host)),
                    Stage::Succeeded => note(TriggerEvent::InstanceSuccess, Some(turn.host)),
                    Stage::Failed => note(TriggerEvent::InstanceFailure, Some(turn.host)),
                    Stage::NotTargeted | Stage::Pending | Stage::Leased { .. } | Stage::Skipped => {}
                }
            }
        }
        for (name, happening) in happened {
            let Some(group) = self.groups.get_mut(&name) else { continue };
            for trigger in group.group.triggers.iter().filter(|trigger| trigger.on.contains(&happening.0)) {
                group.watches.to_tell.entry(trigger.name.clone()).or_default().insert(happening);
            }
        }
    }

    /// Returns the time since which the group has had a running deployment that its
    /// alarms should stop.
    pub fn heeding_since(&self, group: &GroupState) -> Option<Millis> {
        let deployment = group.running.and_then(|id| self.deployments.get(&id))?;
        let is_watched = group.group.alarms.iter().any(Alarm::is_read);
        let heeds = is_watched && heeds_alarms(&deployment.submission) && deployment.ends_as.is_none();
        heeds.then_some(deployment.began_at.max(group.watches.set_at))
    }
}

//! Folds what happened into the list that triggers tell. The list, and how far each
//! trigger has come, are the same on every host.

use super::State;
use crate::alarm::{DETAIL_MAX, NAME_MAX};
use crate::entry::TurnOutcome;
use crate::group::Group;
use crate::id::{DeploymentId, GroupName, HostId};
use crate::rollout::{DeploymentStatus, Stage};
use crate::state::GroupState;
use crate::statement::one_line;
use crate::trigger::{
    Cursor, GIVEN_UP_KEPT, GivenUp, HAPPENINGS_MAX, Happening, Told, ToldHost, Trigger, TriggerEvent,
};

impl GroupState {
    /// Returns what the trigger has still to tell, the oldest first.
    pub(crate) fn to_tell<'a>(&'a self, trigger: &'a Trigger) -> impl Iterator<Item = &'a Happening> {
        let up_to = self.cursors.get(&trigger.name).map_or(u64::MAX, |cursor| cursor.up_to);
        let first = self.happenings.partition_point(|happening| happening.number <= up_to);
        self.happenings.range(first..).filter(|happening| trigger.on.contains(&happening.event))
    }

    /// Returns how many happenings the trigger has still to tell.
    pub fn waiting_for(&self, trigger: &Trigger) -> usize {
        self.to_tell(trigger).count()
    }

    fn note(&mut self, mut happening: Happening) {
        if !self.group.triggers.iter().any(|trigger| trigger.on.contains(&happening.event)) {
            return;
        }
        self.last_happening += 1;
        happening.number = self.last_happening;
        self.happenings.push_back(happening);
        if self.happenings.len() > HAPPENINGS_MAX
            && let Some(dropped) = self.happenings.pop_front()
        {
            for trigger in self.group.triggers.iter().filter(|trigger| trigger.on.contains(&dropped.event)) {
                if let Some(cursor) = self.cursors.get_mut(&trigger.name)
                    && cursor.up_to < dropped.number
                {
                    cursor.dropped += 1;
                }
            }
        }
    }

    /// Keeps only the happenings that some trigger has still to tell.
    fn forget_told(&mut self) {
        let (triggers, cursors) = (&self.group.triggers, &self.cursors);
        let is_waited_for = |happening: &Happening| {
            triggers.iter().any(|trigger| {
                let up_to = cursors.get(&trigger.name).map_or(u64::MAX, |cursor| cursor.up_to);
                up_to < happening.number && trigger.on.contains(&happening.event)
            })
        };
        self.happenings.retain(is_waited_for);
    }

    /// Updates the cursors for a new definition of the group. A new trigger tells
    /// what happens from now on.
    pub(super) fn keep_cursors(&mut self, new: &Group) {
        let names = |trigger: &Trigger| trigger.name.clone();
        self.cursors.retain(|name, _| new.triggers.iter().any(|trigger| trigger.name == *name));
        for name in new.triggers.iter().map(names) {
            let up_to = self.last_happening;
            self.cursors.entry(name).or_insert(Cursor { up_to, ..Cursor::default() });
        }
    }
}

impl State {
    /// Notes a happening that triggers may tell.
    pub(super) fn happened(&mut self, event: TriggerEvent, deployment: DeploymentId, host: Option<HostId>) {
        let (index, at) = (self.index, self.clock);
        let Some(rollout) = self.rollouts.get(&deployment) else { return };
        if let Some(group) = self.groups.get_mut(&rollout.submission.group) {
            group.note(Happening { number: 0, index, at, event, deployment, host });
        }
    }

    /// Notes the end of a turn.
    pub(super) fn turn_happened(&mut self, deployment: DeploymentId, host: HostId) {
        let member = self.rollouts.get(&deployment).and_then(|rollout| rollout.members().get(&host));
        let event = match member.map(|member| &member.stage) {
            Some(Stage::Ended { outcome: TurnOutcome::Succeeded, .. }) => TriggerEvent::InstanceSuccess,
            Some(Stage::Ended { outcome: TurnOutcome::Failed(_), .. }) => TriggerEvent::InstanceFailure,
            Some(_) | None => return,
        };
        self.happened(event, deployment, Some(host));
    }

    /// Notes the start of a deployment.
    pub(super) fn begin_happened(&mut self, deployment: DeploymentId) {
        if let Some(event) = self.rollouts.get(&deployment).and_then(|rollout| rollout.traits().announces) {
            self.happened(event, deployment, None);
        }
        self.happened(TriggerEvent::DeploymentStart, deployment, None);
    }

    /// Notes the end of a deployment.
    pub(super) fn end_happened(&mut self, deployment: DeploymentId) {
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
        self.happened(event, deployment, None);
    }

    pub(super) fn triggers_delivered(
        &mut self,
        name: &GroupName,
        trigger: &str,
        up_to: u64,
        given_up: &[GivenUp],
    ) {
        let Some(group) = self.groups.get_mut(name) else { return };
        let newest = group.last_happening;
        let Some(cursor) = group.cursors.get_mut(trigger).filter(|cursor| cursor.up_to < up_to) else {
            return;
        };
        for given_up in given_up.iter().filter(|given_up| given_up.number > cursor.up_to) {
            cursor.given_up += 1;
            let why = one_line(&given_up.why, DETAIL_MAX);
            let id = one_line(&given_up.id, NAME_MAX);
            cursor.last_given_up.push(GivenUp { why, id, ..given_up.clone() });
        }
        let too_many = cursor.last_given_up.len().saturating_sub(GIVEN_UP_KEPT);
        cursor.last_given_up.drain(..too_many);
        cursor.up_to = up_to.min(newest);
        group.forget_told();
    }

    pub(super) fn is_delivery_settled(&self, name: &GroupName, trigger: &str, up_to: u64) -> bool {
        let cursor = self.groups.get(name).and_then(|group| group.cursors.get(trigger));
        cursor.is_none_or(|cursor| cursor.up_to >= up_to)
    }

    /// Returns the message for a receiver; `None` if the deployment is forgotten.
    pub(crate) fn told(&self, happening: &Happening) -> Option<Told> {
        let rollout = self.rollouts.get(&happening.deployment)?;
        let submission = &rollout.submission;
        // The message may be sent long after the happening, when everything is
        // over.
        let is_end = status_at(happening.event).is_over();
        let reason = rollout.reason_told().filter(|_| is_end);
        Some(Told {
            id: happening.id(),
            at: happening.at,
            event: happening.event,
            group: submission.group.clone(),
            deployment: happening.deployment,
            creator: submission.creator.name(),
            status: status_at(happening.event).name(),
            revision: (submission.revision.digest.to_string(), submission.revision.origin.clone()),
            rollback_of: submission.rollback_of,
            reason: reason.map(|(reason, sentence)| (reason.clone(), sentence)),
            host: happening.host.map(|host| self.told_host(happening, host)),
        })
    }

    /// Returns the host's part in a happening. Only a failure says why: a turn that
    /// had succeeded may have failed by the time of telling, because the host
    /// relapsed, or was lost while it was watched.
    fn told_host(&self, happening: &Happening, host: HostId) -> ToldHost {
        let part = self.part(happening.deployment, host);
        let part = part.filter(|_| happening.event == TriggerEvent::InstanceFailure);
        let failure = match part.as_ref().map(|part| &*part.stage) {
            Some(Stage::Ended { outcome: TurnOutcome::Failed(failure), .. }) => {
                let event = failure.event.map(|event| event.name());
                Some((failure.code.name(), event, failure.message.clone()))
            }
            Some(_) | None => None,
        };
        let name = self.hosts.get(&host).map(|host| host.record.name.clone()).unwrap_or_default();
        ToldHost { host, name, failure }
    }
}

/// Returns the status of the deployment when the event happened.
fn status_at(event: TriggerEvent) -> DeploymentStatus {
    match event {
        TriggerEvent::DeploymentSuccess => DeploymentStatus::Succeeded,
        TriggerEvent::DeploymentFailure => DeploymentStatus::Failed,
        TriggerEvent::DeploymentStop => DeploymentStatus::Stopped,
        TriggerEvent::DeploymentStart
        | TriggerEvent::DeploymentRollback
        | TriggerEvent::DeploymentReady
        | TriggerEvent::InstanceStart
        | TriggerEvent::InstanceSuccess
        | TriggerEvent::InstanceFailure
        | TriggerEvent::InstanceReady => DeploymentStatus::InProgress,
    }
}

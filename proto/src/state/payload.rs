//! The message that a trigger delivers about an event.

use super::State;
use crate::entry::TurnOutcome;
use crate::id::HostId;
use crate::rollout::{DeploymentStatus, Stage};
use crate::trigger::{Happening, Told, ToldHost, TriggerEvent};

impl State {
    /// Returns the message for a receiver; `None` if the deployment is forgotten.
    pub(crate) fn told(&self, happening: &Happening) -> Option<Told> {
        let rollout = self.rollouts.get(happening.deployment)?;
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
        let name = self.hosts.get(host).map(|host| host.record.name.clone()).unwrap_or_default();
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

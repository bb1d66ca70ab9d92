//! The events that turns under way are in. They are shown to people, and no
//! decision depends on them.

use std::time::Duration;

use super::{Node, Why};
use crate::entry::TurnOutcome;
use crate::id::{DeploymentId, HostId};
use crate::io::{Notice, Output, Progress};
use crate::lifecycle::LifecycleEvent;
use crate::rollout::{FAILURES_TOLD, Stage};
use crate::state::State;
use crate::statement::{Finding, Report, Statement};
use crate::time::Time;
use crate::wire::{self, Gossip, Message};

/// The shortest time between two messages about progress. In between only the
/// newest event counts.
const PROGRESS_EVERY: Duration = Duration::from_millis(500);
/// The most hosts of a mesh in which a host tells its progress to each of them
/// directly.
const TOLD_DIRECTLY_MAX: usize = 21;

impl Node {
    /// Takes progress from the host that it is about.
    pub(super) fn on_told_progress(&mut self, from: HostId, progress: Progress) {
        if progress.host == from {
            self.on_progress(progress);
        }
    }

    /// Takes a published frame that came by way of a neighbour. It can only hold
    /// progress. Nothing proves which host published it, so it is only shown.
    pub(super) fn on_gossip(&mut self, by: HostId, frame: &[u8]) {
        match wire::ungossip(self.config.mesh, frame, self.config.reads()) {
            Ok((history, Gossip::Progress(heard))) if history == self.history() => {
                self.on_progress(heard.into())
            }
            Ok(_) => tracing::debug!(%by, "what is published in another history is ignored"),
            Err(error) => tracing::debug!(%by, %error, "published frame refused"),
        }
    }

    fn on_progress(&mut self, progress: Progress) {
        let rollout = self.state.rollout(progress.deployment);
        let member = rollout.and_then(|rollout| rollout.members().get(&progress.host));
        let is_expected = member.is_some_and(|member| !matches!(member.stage, Stage::Ended { .. }));
        let is_own = progress.host == self.config.host;
        let Progress { deployment, host, event } = progress;
        if is_expected && !is_own && self.mesh.progress.note(deployment, host, event) {
            self.outputs.push_back(Output::Notify(Notice::Progress(progress)));
        }
    }

    /// Forgets the progress of a turn that its host has ended. If a timer ended the
    /// turn, nothing else tells where it was. So some of that stays for as long as
    /// the deployment does.
    pub(super) fn forget_progress(&mut self, statement: &Statement) {
        if let Statement::Report(Report::TurnEnded { deployment, host, .. }) = statement
            && !is_worth_remembering(&self.state, *deployment, *host)
        {
            self.mesh.progress.forget(*deployment, *host);
        }
        if let Statement::Finding(Finding::Finished { deployment }) = statement {
            let mut left = 0;
            self.mesh.progress.retain(|of, _| {
                left += u32::from(of == *deployment);
                (of != *deployment || left <= FAILURES_TOLD) && self.state.rollout(of).is_some()
            });
        }
    }

    /// Does the same after a snapshot, which does not tell of the ends of turns.
    pub(super) fn forget_progress_of_the_past(&mut self) {
        self.mesh.progress.retain(|of, host| is_worth_remembering(&self.state, of, host));
    }

    /// Tells all hosts, but not too often, that this host's own turn is in another
    /// event.
    pub(super) fn tell_progress(&mut self, deployment: DeploymentId, event: LifecycleEvent, now: Time) {
        let host = self.config.host;
        self.mesh.progress.note_own(deployment, host, event);
        self.outputs.push_back(Output::Notify(Notice::Progress(Progress { deployment, host, event })));
        self.time.deadlines.set_if_none(Why::Progress, now + PROGRESS_EVERY);
    }

    /// Tells the neighbours directly, or publishes the progress if the mesh is too
    /// large for that. Gossip costs every host a millisecond for each message,
    /// mostly for copies that it already has.
    pub(super) fn publish_progress(&mut self) {
        let Some((deployment, event)) = self.mesh.progress.take_unsent() else { return };
        let heard = wire::ProgressEvent { deployment, host: self.config.host, event };
        if self.mesh.members().len() > TOLD_DIRECTLY_MAX || self.mesh.is_bounded() {
            let frame = wire::gossip(self.config.mesh, self.told_history(), &Gossip::Progress(heard));
            self.outputs.push_back(Output::Publish { frame });
        } else {
            self.tell(self.mesh.neighbours(), &Message::Progress(heard));
        }
    }
}

/// Returns true if nothing else tells in which event the turn is, or was when it
/// ended. What is left of a deployment that is over was checked before.
fn is_worth_remembering(state: &State, deployment: DeploymentId, host: HostId) -> bool {
    let Some(rollout) = state.rollout(deployment) else { return false };
    rollout.members().get(&host).is_none_or(|member| match &member.stage {
        Stage::Ended { outcome: TurnOutcome::Failed(failure), .. } => failure.code.is_of_a_timer(),
        Stage::Ended { outcome: TurnOutcome::Succeeded, .. } => false,
        Stage::NotTargeted
        | Stage::Pending
        | Stage::Leased { .. }
        | Stage::Started { .. }
        | Stage::Skipped => true,
    })
}

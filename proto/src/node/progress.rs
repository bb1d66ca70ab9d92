//! In which event the turns under way are: told for people to see, believed by
//! nothing that decides.

use std::time::Duration;

use super::{Node, Why};
use crate::entry::{Body, TurnOutcome};
use crate::id::{DeploymentId, HostId};
use crate::io::{Notice, Output, Progress};
use crate::lifecycle::LifecycleEvent;
use crate::rollout::{FAILURES_TOLD, Stage};
use crate::state::State;
use crate::time::Time;
use crate::wire::{self, Gossip, Message};

/// Progress is told at most so often: beyond it only the newest counts.
const PROGRESS_EVERY: Duration = Duration::from_millis(500);
/// Hosts of a mesh in which everybody is a neighbour and is told directly.
const TOLD_DIRECTLY_MAX: usize = 21;
/// Turns of which progress is remembered.
const PROGRESS_KEPT: usize = 50_000;

impl Node {
    /// Progress that its host tells itself.
    pub(super) fn on_told_progress(&mut self, from: HostId, progress: Progress) {
        if progress.host == from {
            self.on_progress(progress);
        }
    }

    /// A published frame, by way of a neighbour. It holds progress and nothing else:
    /// who said it first is not proven, so it is only shown.
    pub(super) fn on_gossip(&mut self, by: HostId, frame: &[u8]) {
        match wire::ungossip(self.config.mesh, frame) {
            Ok(Gossip::Progress(heard)) => self.on_progress(heard.into()),
            Err(error) => tracing::debug!(%by, %error, "published frame refused"),
        }
    }

    fn on_progress(&mut self, progress: Progress) {
        let rollout = self.state.rollout(progress.deployment);
        let member = rollout.and_then(|rollout| rollout.members().get(&progress.host));
        let is_expected = member.is_some_and(|member| !matches!(member.stage, Stage::Ended { .. }));
        let is_own = progress.host == self.config.host;
        if is_expected && !is_own && self.progress.len() < PROGRESS_KEPT {
            self.progress.insert((progress.deployment, progress.host), progress.event);
            self.outputs.push_back(Output::Notify(Notice::Progress(progress)));
        }
    }

    /// Of a turn that its host has ended nothing needs to be remembered. Where
    /// those were that a timer ended is all that anybody knows of them, so some
    /// of it stays, for as long as their deployment does.
    pub(super) fn forget_progress(&mut self, body: &Body) {
        if let Body::TurnEnded { deployment, host, .. } = body
            && !is_worth_remembering(&self.state, *deployment, *host)
        {
            self.progress.remove(&(*deployment, *host));
        }
        if let Body::Finished { deployment } = body {
            let mut left = 0;
            self.progress.retain(|(of, _), _| {
                left += u32::from(of == deployment);
                (of != deployment || left <= FAILURES_TOLD) && self.state.rollout(*of).is_some()
            });
        }
    }

    /// The same after a snapshot, which tells of no turn's end.
    pub(super) fn forget_progress_of_the_past(&mut self) {
        self.progress.retain(|(of, host), _| is_worth_remembering(&self.state, *of, *host));
    }

    /// This host's own turn is in another event: told to all, not too often.
    pub(super) fn tell_progress(&mut self, deployment: DeploymentId, event: LifecycleEvent, now: Time) {
        let host = self.config.host;
        self.progress.insert((deployment, host), event);
        self.outputs.push_back(Output::Notify(Notice::Progress(Progress { deployment, host, event })));
        self.unsent_progress = Some((deployment, event));
        self.deadlines.set_if_none(Why::Progress, now + PROGRESS_EVERY);
    }

    /// Tells the neighbours, or all if the mesh is too large to tell each: then
    /// neighbours pass it on. Gossip costs every host a millisecond a message,
    /// most of it for copies that it has already.
    pub(super) fn publish_progress(&mut self) {
        let Some((deployment, event)) = self.unsent_progress.take() else { return };
        let heard = wire::Heard { deployment, host: self.config.host, event };
        if self.members.len() > TOLD_DIRECTLY_MAX {
            let frame = wire::gossip(self.config.mesh, &Gossip::Progress(heard));
            self.outputs.push_back(Output::Publish { frame });
        } else {
            self.tell(self.liveness.connections(), &Message::Progress(heard));
        }
    }
}

/// Whether nobody else knows in which event the turn is, or was when it ended. Of a
/// deployment that is over what is left was looked at before.
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

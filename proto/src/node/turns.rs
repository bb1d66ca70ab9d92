//! Carries out what this host's own turns ask for, and fetches the bundles that
//! they need.

use super::store_owner::journal_change;
use super::tasks::Purpose;
use super::{Act, Node};
use crate::id::{DeploymentId, HostId};
use crate::lifecycle::LifecycleEvent;
use crate::rollout::{Rollout, Stage};
use crate::run::Current;
use crate::task::{Run, Task};
use crate::time::Time;

/// The most hosts that an event names as sources of the bundle.
const SOURCES_MAX: usize = 8;

impl Node {
    pub(super) fn act(&mut self, acts: Vec<Act>, now: Time) {
        for act in acts {
            match act {
                Act::Write(record) => {
                    let change = journal_change(record.deployment, Some(&record));
                    self.writes.add_record(record.deployment, change);
                }
                Act::Forget(deployment) => self.writes.add(journal_change(deployment, None)),
                Act::Run { deployment, event } => {
                    if let Some(run) = self.run_of(deployment, event) {
                        self.start_task(Purpose::Turn(deployment), Task::RunEvent(Box::new(run)));
                        self.tell_progress(deployment, event, now);
                    }
                }
                Act::Cancel(deployment) => self.cancel_task(&Purpose::Turn(deployment)),
            }
        }
    }

    pub(super) fn on_recorded(&mut self, deployments: Vec<DeploymentId>, now: Time) {
        for deployment in deployments {
            let me = self.config.host;
            let current = Current::of(&self.state, deployment, me);
            if let Some(act) = self.turns.written(deployment, current) {
                self.act(vec![act], now);
            }
        }
    }

    fn run_of(&self, deployment: DeploymentId, event: LifecycleEvent) -> Option<Run> {
        let rollout = self.state.rollout(deployment)?;
        let submission = &rollout.submission;
        let traits = rollout.traits();
        let is_first = traits.course.after(None) == Some(event);
        let member = rollout.members().get(&self.config.host).filter(|_| is_first);
        Some(Run {
            deployment,
            group: submission.group.clone(),
            revision: submission.revision.clone(),
            kind: traits.kind,
            event,
            file_exists: submission.policy.file_exists,
            sources: self.sources(rollout),
            script_timeout_max: traits.stop_timeout_max.filter(|_| event.step().may_be_ignored),
            anew: member.and_then(|member| member.interrupted),
        })
    }

    /// Fetches the bundle ahead of this host's turn, if it will have one. Gives up
    /// such fetches for deployments that are over.
    pub(super) fn prefetch(&mut self, deployment: DeploymentId) {
        self.give_up_tasks(|node, purpose| match purpose {
            Purpose::Fetch(deployment) => {
                node.state.rollout(*deployment).is_none_or(|rollout| rollout.status().is_over())
            }
            Purpose::Turn(_)
            | Purpose::Alarm(_)
            | Purpose::Notification(_)
            | Purpose::Check(_)
            | Purpose::Observation { .. } => false,
        });
        let is_to_come = |rollout: &&Rollout| !rollout.status().is_over() && rollout.kind().installs();
        let Some(rollout) = self.state.rollout(deployment).filter(is_to_come) else { return };
        let group = self.state.group(&rollout.submission.group);
        let has_tags = || group.is_some_and(|group| group.group.tags.matches(&self.config.tags));
        let is_for_me = match rollout.members().get(&self.config.host) {
            Some(member) => member.stage != Stage::NotTargeted,
            // The deployment waits, so its members are not known yet.
            None => rollout.started_at.is_none() && has_tags(),
        };
        let purpose = Purpose::Fetch(deployment);
        if is_for_me && !self.has_task(&purpose) {
            let (revision, sources) = (rollout.submission.revision.clone(), self.sources(rollout));
            self.start_task(purpose, Task::FetchBundle { revision, sources });
        }
    }

    /// Returns connected hosts that should have the bundle. Each host asks them in
    /// another order, so that they do not all ask the same one.
    fn sources(&self, rollout: &Rollout) -> Vec<HostId> {
        let digest = rollout.submission.revision.digest;
        let group = self.state.group(&rollout.submission.group);
        let mut sources = rollout.submission.holders.clone();
        sources.extend(group.iter().flat_map(|group| self.state.holders(group, digest)));
        sources
            .retain(|host| self.mesh.is_neighbour(*host) || (self.mesh.is_bounded() && self.is_alive(*host)));
        sources.sort_by_key(|host| {
            let pair = [self.config.host.public_key().as_slice(), host.public_key()].concat();
            *blake3::hash(&pair).as_bytes()
        });
        sources.dedup();
        sources.truncate(SOURCES_MAX);
        sources
    }
}

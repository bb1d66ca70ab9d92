//! The tasks that the shell carries out for this node, in one table that says which
//! part of the node each belongs to. Only this table knows ids: the parts name their
//! tasks by what these are for.
//!
//! Invariants: each purpose has at most one task at a time. A task ends at most once,
//! because its end removes it: the end of an id that is not in the table is ignored.
//! A task that never ends holds its place in the table until its purpose is gone or
//! has another task, so the table is no larger than the node's turns, alarms,
//! notifications, checks and fetches together.

use std::collections::BTreeMap;

use super::Node;
use crate::alarm::watch::Watched;
use crate::alarm::{AlarmState, Reading};
use crate::entry::{ErrorCode, Failure};
use crate::id::{DeploymentId, GroupName, HostId};
use crate::io::Output;
use crate::run::Current;
use crate::task::{Task, TaskId, TaskResult};
use crate::time::Time;
use crate::trigger::delivery::Subscription;

/// The error of a task whose result is of another kind of task.
const WRONG_KIND: &str = "internal error: the task ended with a result of another kind";

/// The purpose of a task.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Purpose {
    /// The current event of this host's own turn.
    Turn(DeploymentId),
    /// A bundle ahead of this host's turn.
    Fetch(DeploymentId),
    Alarm(Watched),
    Notification(Subscription),
    /// A probe of this host's own application.
    Check(GroupName),
    /// A probe of another host's application, which asked for it.
    Observation {
        subject: HostId,
        group: GroupName,
    },
}

#[derive(Clone, Debug, Default)]
pub(super) struct Tasks {
    purposes: BTreeMap<TaskId, Purpose>,
    running: BTreeMap<Purpose, TaskId>,
    next: u64,
}

impl Tasks {
    /// Adds a task, whose purpose has no other task now.
    fn begin(&mut self, purpose: Purpose) -> TaskId {
        let id = TaskId(self.next);
        self.next += 1;
        self.running.insert(purpose.clone(), id);
        self.purposes.insert(id, purpose);
        id
    }

    /// Removes a task that has ended, and returns its purpose; `None` if the task has
    /// ended before or was given up.
    fn end(&mut self, id: TaskId) -> Option<Purpose> {
        let purpose = self.purposes.remove(&id)?;
        self.running.remove(&purpose);
        Some(purpose)
    }

    fn of(&self, purpose: &Purpose) -> Option<TaskId> {
        self.running.get(purpose).copied()
    }

    /// Returns the number of tasks that have not ended.
    pub(super) fn len(&self) -> usize {
        self.purposes.len()
    }
}

impl Node {
    /// Starts a task. If its purpose still has one, gives that up.
    pub(super) fn start_task(&mut self, purpose: Purpose, task: Task) {
        self.give_up_task(&purpose);
        let id = self.tasks.begin(purpose);
        self.outputs.push_back(Output::Start { id, task });
    }

    /// Tells a task to end soon. Its result still counts.
    pub(super) fn cancel_task(&mut self, purpose: &Purpose) {
        let id = self.tasks.of(purpose);
        self.outputs.extend(id.map(|id| Output::Cancel { id }));
    }

    /// Tells a task to end soon. Its result will be ignored.
    pub(super) fn give_up_task(&mut self, purpose: &Purpose) {
        self.cancel_task(purpose);
        self.tasks.of(purpose).and_then(|id| self.tasks.end(id));
    }

    /// Gives up all tasks with such a purpose.
    pub(super) fn give_up_tasks(&mut self, is_over: impl Fn(&Node, &Purpose) -> bool) {
        let over: Vec<Purpose> =
            self.tasks.running.keys().filter(|purpose| is_over(self, purpose)).cloned().collect();
        over.iter().for_each(|purpose| self.give_up_task(purpose));
    }

    pub(super) fn has_task(&self, purpose: &Purpose) -> bool {
        self.tasks.of(purpose).is_some()
    }

    /// Takes the end of a task. A result of the wrong kind counts as a failure.
    pub(super) fn on_ended(&mut self, id: TaskId, result: TaskResult, now: Time) {
        let Some(purpose) = self.tasks.end(id) else { return };
        match purpose {
            Purpose::Turn(deployment) => {
                let (me, state) = (self.config.host, &self.state);
                let current = |deployment| Current::of(state, deployment, me);
                let acts = self.turns.done(deployment, result.into_event(), current);
                self.act(acts, now);
            }
            // The turn fetches what is missing, and reports the error if that fails.
            Purpose::Fetch(_) => {}
            Purpose::Alarm(watched) => self.alarms.done(&watched, result.into_reading(), now),
            Purpose::Notification(subscription) => {
                self.deliveries.done(&subscription, result.into_notified(), now);
            }
            Purpose::Check(group) => self.on_check_probed(&group, result.into_probed(), now),
            Purpose::Observation { subject, group } => {
                self.on_observed(subject, &group, result.into_probed())
            }
        }
    }
}

impl TaskResult {
    fn into_event(self) -> Result<(), Failure> {
        match self {
            TaskResult::Event(result) => result,
            TaskResult::Fetched(_)
            | TaskResult::Alarm(_)
            | TaskResult::Notified(_)
            | TaskResult::Probed(_) => {
                Err(Failure::new(None, ErrorCode::UnknownError, WRONG_KIND.to_string()))
            }
        }
    }

    fn into_reading(self) -> Reading {
        match self {
            TaskResult::Alarm(reading) => reading,
            TaskResult::Event(_)
            | TaskResult::Fetched(_)
            | TaskResult::Notified(_)
            | TaskResult::Probed(_) => Reading::new(AlarmState::Unreadable, WRONG_KIND),
        }
    }

    fn into_notified(self) -> Result<(), String> {
        match self {
            TaskResult::Notified(result) => result,
            TaskResult::Event(_) | TaskResult::Fetched(_) | TaskResult::Alarm(_) | TaskResult::Probed(_) => {
                Err(WRONG_KIND.to_string())
            }
        }
    }

    fn into_probed(self) -> Result<(), String> {
        match self {
            TaskResult::Probed(result) => result,
            TaskResult::Event(_)
            | TaskResult::Fetched(_)
            | TaskResult::Alarm(_)
            | TaskResult::Notified(_) => Err(WRONG_KIND.to_string()),
        }
    }
}

//! Alarms, triggers and freezes of a group, as users see them.

use proto::alarm::{Alarm, AlarmSource, StoppedBy};
use proto::id::GroupName;
use proto::node::Node;
use proto::state::{Freeze, GroupState, State};
use proto::trigger::{Failing, GivenUp};
use serde::{Deserialize, Serialize};

use super::{GroupView, written};

/// An alarm of a group and its state, as JSON.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct AlarmView {
    pub(crate) name: String,
    /// `manual`, `exec` or `prometheus`.
    pub(crate) source: String,
    /// OK, ALARM or UNREADABLE; UNREAD if no host has read it yet.
    pub(crate) state: String,
    pub(crate) since: Option<String>,
    pub(crate) detail: String,
    /// The deployment in which it was read; in others the reading does not count.
    pub(crate) deployment: Option<String>,
}

/// The alarm that stopped a deployment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct StoppedByView {
    pub(crate) name: String,
    pub(crate) state: String,
    pub(crate) since: String,
    pub(crate) detail: String,
}

/// A trigger and its deliveries.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct TriggerView {
    pub(crate) name: String,
    pub(crate) on: Vec<String>,
    /// The number of events still to be delivered to its receiver.
    pub(crate) waiting: usize,
    /// The total number of events that were given up after failed deliveries.
    pub(crate) given_up: u64,
    /// The total number of events that were dropped because too many waited.
    pub(crate) dropped: u64,
    /// The last events that were given up, the newest last.
    pub(crate) last_given_up: Vec<GivenUpView>,
    /// Set if deliveries fail now. Only the host that makes them knows.
    #[serde(default)]
    pub(crate) failing: Option<FailingView>,
}

/// A series of failed deliveries to a receiver.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct FailingView {
    /// The number of tries in a row.
    pub(crate) tries: u32,
    pub(crate) since: String,
    pub(crate) last: String,
    /// The reason why the last try failed.
    pub(crate) why: String,
}

/// An event that was given up.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct GivenUpView {
    pub(crate) id: String,
    pub(crate) event: String,
    pub(crate) deployment: String,
    pub(crate) why: String,
}

/// A freeze: nothing new begins in the group.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct FreezeView {
    pub(crate) until: String,
    pub(crate) since: String,
    pub(crate) by: String,
    pub(crate) reason: String,
}

/// Returns the alarms of a group, in the order of its file.
pub(crate) fn alarms(state: &State, known: &GroupState) -> Vec<AlarmView> {
    known.group.alarms.iter().map(|alarm| of_alarm(state, known, alarm)).collect()
}

fn of_alarm(state: &State, known: &GroupState, alarm: &Alarm) -> AlarmView {
    let source = match &alarm.source {
        AlarmSource::Manual => "manual",
        AlarmSource::Exec { .. } => "exec",
        AlarmSource::Prometheus { .. } => "prometheus",
    };
    let standing = state.alarms().standing(&known.group.name, &alarm.name);
    let unsaid = if alarm.is_read() { "UNREAD" } else { "OK" };
    AlarmView {
        name: alarm.name.clone(),
        source: source.into(),
        state: standing.map_or(unsaid, |standing| standing.state.name()).into(),
        since: standing.map(|standing| written(standing.since)),
        detail: standing.map(|standing| standing.detail.clone()).unwrap_or_default(),
        deployment: standing.and_then(|standing| standing.read_in).map(|id| id.to_string()),
    }
}

pub(super) fn triggers(state: &State, known: &GroupState) -> Vec<TriggerView> {
    let (name, notifications) = (&known.group.name, state.notifications());
    let view = |trigger: &proto::trigger::Trigger| {
        let cursor = notifications.cursor(name, &trigger.name).cloned().unwrap_or_default();
        TriggerView {
            name: trigger.name.clone(),
            on: trigger.on.iter().map(|event| event.name().into()).collect(),
            waiting: notifications.waiting_for(name, trigger),
            given_up: cursor.given_up,
            dropped: cursor.dropped,
            last_given_up: cursor.last_given_up.iter().map(GivenUpView::of).collect(),
            failing: None,
        }
    };
    known.group.triggers.iter().map(view).collect()
}

impl GroupView {
    /// Adds what only this host knows: failures of the triggers that it delivers.
    #[must_use]
    pub(crate) fn seen_by(mut self, node: &Node) -> Self {
        let Ok(name) = GroupName::new(&self.application, &self.name) else { return self };
        for trigger in &mut self.triggers {
            trigger.failing = node.failing_trigger(&name, &trigger.name).map(FailingView::of);
        }
        self
    }
}

impl FailingView {
    fn of(failing: &Failing) -> Self {
        FailingView {
            tries: failing.tries,
            since: written(failing.since.to_ledger()),
            last: written(failing.last.to_ledger()),
            why: failing.why.clone(),
        }
    }
}

impl GivenUpView {
    fn of(given_up: &GivenUp) -> Self {
        GivenUpView {
            id: given_up.id.clone(),
            event: given_up.event.name().into(),
            deployment: given_up.deployment.to_string(),
            why: given_up.why.clone(),
        }
    }
}

impl StoppedByView {
    pub(super) fn of(by: &StoppedBy) -> Self {
        StoppedByView {
            name: by.alarm.clone(),
            state: by.state.name().into(),
            since: written(by.since),
            detail: by.detail.clone(),
        }
    }
}

impl FreezeView {
    pub(super) fn of(freeze: &Freeze) -> Self {
        FreezeView {
            until: written(freeze.until),
            since: written(freeze.since),
            by: freeze.by.clone(),
            reason: freeze.reason.clone(),
        }
    }
}

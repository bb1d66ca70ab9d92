//! Tasks: the work outside the node that takes time and has a result.
//!
//! The node starts a task under an id, may cancel it, and hears of its end once. The
//! shell has one function that carries out any task. So a new kind of work is a
//! variant here, and needs no way of its own through the node or the shell.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::alarm::{Alarm, Reading};
use crate::deployment_kind::DeploymentKind;
use crate::entry::Failure;
use crate::health::Probe;
use crate::id::{DeploymentId, GroupName, HostId};
use crate::lifecycle::LifecycleEvent;
use crate::policy::FileExists;
use crate::revision::Revision;
use crate::trigger::{Target, Told};

/// The number of a task. It is never used again by the same start of a host.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct TaskId(pub u64);

/// Work for the shell. Each task ends with the [`TaskResult`] of its own kind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Task {
    /// Run one lifecycle event on this host.
    RunEvent(Box<Run>),
    /// Fetch a bundle into this host's cache ahead of its turn. DownloadBundle
    /// fetches whatever is still missing.
    FetchBundle {
        /// The revision whose bundle to fetch.
        revision: Revision,
        /// Hosts that should have the bundle, best first.
        sources: Vec<HostId>,
    },
    /// Read an alarm from this host.
    ReadAlarm {
        /// The group that has the alarm.
        group: GroupName,
        /// The running deployment for which the alarm is read.
        deployment: DeploymentId,
        /// The alarm: what to read, and how long that may take.
        alarm: Box<Alarm>,
    },
    /// Deliver a notification to a receiver.
    Notify {
        /// The receiver.
        target: Target,
        /// The name of the trigger.
        trigger: String,
        /// The message for the receiver.
        told: Box<Told>,
    },
    /// Probe an application.
    Probe(Box<ProbeTask>),
}

/// The result of a task.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum TaskResult {
    /// The end of a lifecycle event.
    Event(Result<(), Failure>),
    /// The end of a fetch; `Err` says why the bundle is not here.
    Fetched(Result<(), String>),
    /// The reading of an alarm.
    Alarm(Reading),
    /// The end of an attempt to notify a receiver; `Err` says why it failed.
    Notified(Result<(), String>),
    /// The end of a probe; `Err` holds one line that says why it failed.
    Probed(Result<(), String>),
}

/// One lifecycle event to run, with everything that its scripts may ask for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Run {
    /// The deployment that the event belongs to.
    pub deployment: DeploymentId,
    /// The group that the deployment is for.
    pub group: GroupName,
    /// The revision to install.
    pub revision: Revision,
    /// The kind of the deployment.
    pub kind: DeploymentKind,
    /// The event to run.
    pub event: LifecycleEvent,
    /// The action of Install for files that are in the way.
    pub file_exists: FileExists,
    /// Hosts that should have the bundle, best first.
    pub sources: Vec<HostId>,
    /// The most time that one script may take, whatever its AppSpec file says;
    /// `None` for no such limit.
    pub script_timeout_max: Option<Duration>,
    /// For the first event of a turn that begins anew: the event that was
    /// interrupted.
    pub anew: Option<LifecycleEvent>,
}

/// One probe of an application.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProbeTask {
    /// The group whose application is probed.
    pub group: GroupName,
    /// The host that is probed: this one, or one that asked for a probe from afar.
    pub subject: HostId,
    /// The probe to make.
    pub probe: Probe,
    /// The most time that the answer may take.
    pub timeout: Duration,
}

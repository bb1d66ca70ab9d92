//! Everything that the code knows about lifecycle events, in one table with one row
//! for each event.
//!
//! A row says to which kinds of deployment the event belongs, whose scripts run,
//! and whether they may fail. The rows stand in the order in which events run. To
//! add an event, add a variant and a row.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::id::NotAName;

/// A lifecycle event, with exactly CodeDeploy's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the names are CodeDeploy's; the table below says what each is")]
pub enum LifecycleEvent {
    BeforeBlockTraffic,
    BlockTraffic,
    AfterBlockTraffic,
    ApplicationStop,
    DownloadBundle,
    BeforeInstall,
    Install,
    AfterInstall,
    ApplicationStart,
    ValidateService,
    BeforeAllowTraffic,
    AllowTraffic,
    AfterAllowTraffic,
}

/// The sequence of events that a host goes through. Each is a filter over the
/// table, never a list of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Course {
    /// In place and without a load balancer: what `skein deploy` does.
    InPlace,
    /// In place, with traffic taken away before and given back after.
    InPlaceWithTraffic,
    /// The sequence of `skein local` unless it is told otherwise, as in
    /// `codedeploy-local`.
    Local,
    /// Stops and starts the installed revision, without a download. Nothing is
    /// installed, so the hooks around Install do not run either: many of them
    /// remove files, and no new files would replace them.
    Restart,
    /// The sequence of `skein local` for a blue/green deployment that is rolled back:
    /// traffic returns to the hosts that it was taken from.
    LocalRollback,
}

/// The bundle whose scripts an event runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scripts {
    /// No bundle: the event is built in. Scripts that an AppSpec file hooks to it
    /// are ignored with a warning.
    BuiltIn,
    /// The bundle of the revision that was installed before. Users do not expect
    /// that, so it is a column and not an `if`.
    LastInstalled,
    /// The bundle that was downloaded last, whether it was installed or not.
    MostRecent,
    /// The bundle of the revision that is being deployed.
    New,
}

/// One row of the table.
#[derive(Clone, Copy, Debug)]
pub struct Step {
    /// The event.
    pub event: LifecycleEvent,
    /// The event's name in the AppSpec file and in `LIFECYCLE_EVENT`.
    pub name: &'static str,
    /// The bundle whose scripts run.
    pub scripts: Scripts,
    /// The bundle whose scripts run when a blue/green deployment is rolled back.
    pub rollback_scripts: Scripts,
    /// True if `ignore_application_stop_failures` lets the event fail.
    pub may_be_ignored: bool,
    in_place: bool,
    traffic: bool,
    local: bool,
    restart: bool,
}

/// The most time that one script may take if its AppSpec file does not say, and
/// that all scripts of one event may take together (CodeDeploy: 3,600 s for both).
pub const EVENT_TIMEOUT_MAX: Duration = Duration::from_secs(3_600);

const fn step(
    event: LifecycleEvent,
    name: &'static str,
    [scripts, rollback_scripts]: [Scripts; 2],
    may_be_ignored: bool,
    [in_place, traffic, local, restart]: [bool; 4],
) -> Step {
    Step { event, name, scripts, rollback_scripts, may_be_ignored, in_place, traffic, local, restart }
}

use LifecycleEvent as E;
use Scripts::{BuiltIn, LastInstalled, MostRecent, New};
const Y: bool = true;
const N: bool = false;

/// The table. The columns are: the event; its name; the bundle with its scripts
/// [forward, in a blue/green rollback]; whether its failure may be ignored; whether
/// it is part of [in place, in place with traffic, local, restart]. `LastInstalled`
/// and `MostRecent` apply only as long as the deployment has no bundle of its own
/// on the host.
#[rustfmt::skip]
pub const LIFECYCLE: [Step; 13] = [
    step(E::BeforeBlockTraffic, "BeforeBlockTraffic", [LastInstalled, MostRecent],   Y, [N, Y, Y, N]),
    step(E::BlockTraffic,       "BlockTraffic",       [BuiltIn, BuiltIn],            N, [N, Y, N, N]),
    step(E::AfterBlockTraffic,  "AfterBlockTraffic",  [LastInstalled, MostRecent],   Y, [N, Y, Y, N]),
    step(E::ApplicationStop,    "ApplicationStop",    [LastInstalled, LastInstalled], Y, [Y, Y, Y, Y]),
    step(E::DownloadBundle,     "DownloadBundle",     [BuiltIn, BuiltIn],            N, [Y, Y, Y, N]),
    step(E::BeforeInstall,      "BeforeInstall",      [New, New],                    N, [Y, Y, Y, N]),
    step(E::Install,            "Install",            [BuiltIn, BuiltIn],            N, [Y, Y, Y, N]),
    step(E::AfterInstall,       "AfterInstall",       [New, New],                    N, [Y, Y, Y, N]),
    step(E::ApplicationStart,   "ApplicationStart",   [New, New],                    N, [Y, Y, Y, Y]),
    step(E::ValidateService,    "ValidateService",    [New, New],                    N, [Y, Y, Y, Y]),
    step(E::BeforeAllowTraffic, "BeforeAllowTraffic", [New, LastInstalled],          N, [N, Y, Y, N]),
    step(E::AllowTraffic,       "AllowTraffic",       [BuiltIn, BuiltIn],            N, [N, Y, N, N]),
    step(E::AfterAllowTraffic,  "AfterAllowTraffic",  [New, LastInstalled],          N, [N, Y, Y, N]),
];

// The enum indexes the table, so a row in the wrong place would run the wrong hook.
const _: () = {
    let mut row = 0;
    while row < LIFECYCLE.len() {
        assert!(LIFECYCLE[row].event as usize == row);
        row += 1;
    }
};

impl LifecycleEvent {
    /// Returns the event's row in the table.
    pub const fn step(self) -> &'static Step {
        &LIFECYCLE[self as usize]
    }

    /// Returns the name that users write.
    pub const fn name(self) -> &'static str {
        self.step().name
    }
}

impl Course {
    /// Returns the events of this course, in order.
    pub fn events(self) -> impl Iterator<Item = LifecycleEvent> {
        LIFECYCLE.iter().filter(move |step| self.has(step)).map(|step| step.event)
    }

    /// Returns the event after `event`, or the first event if that is `None`.
    pub fn after(self, event: Option<LifecycleEvent>) -> Option<LifecycleEvent> {
        self.events().find(|next| event.is_none_or(|event| *next > event))
    }

    /// Returns the bundle whose scripts the event runs.
    pub const fn scripts(self, event: LifecycleEvent) -> Scripts {
        match self {
            Course::InPlace | Course::InPlaceWithTraffic | Course::Local => event.step().scripts,
            Course::LocalRollback => event.step().rollback_scripts,
            Course::Restart => Scripts::LastInstalled,
        }
    }

    /// Returns true if a revision is installed in this course, so that its bundle is
    /// needed.
    pub const fn installs(self) -> bool {
        self.has(LifecycleEvent::Install.step())
    }

    const fn has(self, step: &Step) -> bool {
        match self {
            Course::InPlace => step.in_place,
            Course::InPlaceWithTraffic => step.traffic,
            Course::Local | Course::LocalRollback => step.local,
            Course::Restart => step.restart,
        }
    }
}

impl fmt::Display for LifecycleEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for LifecycleEvent {
    type Err = NotAName;
    fn from_str(text: &str) -> Result<Self, NotAName> {
        LIFECYCLE.iter().find(|step| step.name == text).map(|step| step.event).ok_or_else(|| NotAName {
            text: text.chars().take(100).collect(),
            expected: "a lifecycle event (their names are case-sensitive)",
        })
    }
}

#[cfg(test)]
mod tests;

//! All that the code knows of each lifecycle event: one table, one row each.
//!
//! Order per kind of deployment, whose scripts run, whether they may fail, how
//! long the event may take. To add an event, add a variant and a row.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::id::NotAName;

/// A lifecycle event, named letter for letter as CodeDeploy's.
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

/// What the host is told to go through. The order of one kind is a filter over
/// the table, never a list of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Course {
    /// In place, no load balancer: what `skein deploy` does.
    InPlace,
    /// In place, with traffic taken away before and given back after.
    InPlaceWithTraffic,
    /// What `skein local` does unless told otherwise, as `codedeploy-local`.
    Local,
    /// The installed revision, stopped and started again, without a download.
    /// Nothing is installed, so the hooks around Install do not run either:
    /// many of them clear the way for files that would not come.
    Restart,
}

/// Whose bundle holds the scripts of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scripts {
    /// Nobody's: the event is built in, and scripts that an AppSpec hooks to it
    /// are passed over with a warning.
    BuiltIn,
    /// Those of the revision that was installed before. They surprise
    /// everybody, so this is a column and not an `if`.
    LastInstalled,
    /// Those of the revision whose bundle came last, installed or not.
    MostRecent,
    /// Those of the revision that is being deployed.
    New,
}

/// One row.
#[derive(Clone, Copy, Debug)]
pub struct Step {
    /// Which event.
    pub event: LifecycleEvent,
    /// Its name in the AppSpec file and in `LIFECYCLE_EVENT`.
    pub name: &'static str,
    /// Whose scripts run.
    pub scripts: Scripts,
    /// Whose scripts run when a blue/green deployment is rolled back.
    pub rollback_scripts: Scripts,
    /// Whether `ignore_application_stop_failures` lets it fail.
    pub may_be_ignored: bool,
    in_place: bool,
    traffic: bool,
    local: bool,
    restart: bool,
}

/// How long one script may take if its AppSpec does not say, and how long all
/// scripts of one event may take together (CodeDeploy: 3,600 s both).
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

/// The table. Columns: event, name, whose scripts [forward, in a blue/green
/// rollback], may its failure be ignored, part of [in place, in place with
/// traffic, local, restart]. `LastInstalled` and `MostRecent` hold as long as the
/// deployment has no bundle of its own on the host.
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

// The table is indexed by the enum: a row out of order would run the wrong hook.
const _: () = {
    let mut row = 0;
    while row < LIFECYCLE.len() {
        assert!(LIFECYCLE[row].event as usize == row);
        row += 1;
    }
};

impl LifecycleEvent {
    /// The event's row.
    pub const fn step(self) -> &'static Step {
        &LIFECYCLE[self as usize]
    }

    /// The name as users write it.
    pub const fn name(self) -> &'static str {
        self.step().name
    }
}

impl Course {
    /// The events of this course, in order.
    pub fn events(self) -> impl Iterator<Item = LifecycleEvent> {
        LIFECYCLE.iter().filter(move |step| self.has(step)).map(|step| step.event)
    }

    /// The event after `event`; the first one after none.
    pub fn after(self, event: Option<LifecycleEvent>) -> Option<LifecycleEvent> {
        self.events().find(|next| event.is_none_or(|event| *next > event))
    }

    const fn has(self, step: &Step) -> bool {
        match self {
            Course::InPlace => step.in_place,
            Course::InPlaceWithTraffic => step.traffic,
            Course::Local => step.local,
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

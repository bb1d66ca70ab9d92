//! Scenarios: what happens to a mesh, told line by line, and what must come of
//! it.
//!
//! A scenario is a text that reads as a story (`sim/scenarios/README.md` says
//! how to write one). Its lines are carried out one after the other: each waits
//! for its time or its occasion, then acts. What the mesh does meanwhile is the
//! run; what it comes to is compared with the lines that begin with `expect`.
//! The whole is printed, with the same words that `skein explain` would use, so
//! that it can lie beside the scenario and be read.

mod clauses;
mod expect;
mod parse;
mod perform;
mod report;
mod says;
mod stage;
mod words;

use std::collections::BTreeSet;
use std::fmt;
use std::time::Duration;

use proto::group::Group;
use proto::id::GroupName;
use proto::lifecycle::LifecycleEvent;
use proto::policy::{DeploymentConfig, Policy};
use proto::rollout::DeploymentStatus;

use crate::hooks::Bundle;
use crate::host::{HostNo, Profile};
use crate::watches;
use crate::world::Fault;

pub use perform::{Performance, perform};

/// Hosts of one scenario: nobody reads a story of more.
pub const HOSTS_MAX: u32 = 200;
/// Lines of one scenario.
pub const LINES_MAX: usize = 500;
/// Bytes of one scenario's text.
pub const BYTES_MAX: usize = 64 * 1024;

/// What a text says.
#[derive(Clone, Debug)]
pub struct Scenario {
    /// Its file, for messages.
    pub file: String,
    /// The comment at its top: what it shows, and which rule that is.
    pub title: Vec<String>,
    hosts: Vec<Performer>,
    bundles: Vec<Bundle>,
    groups: Vec<Group>,
    running: Vec<Running>,
    lines: Vec<Line>,
}

#[derive(Clone, Debug)]
struct Performer {
    profile: Profile,
    /// Not there from the start: a line starts it.
    is_later: bool,
}

/// What was deployed before the story begins.
#[derive(Clone, Debug)]
struct Running {
    bundle: String,
    group: GroupName,
    /// Where that failed.
    not_on: BTreeSet<HostNo>,
}

/// One line of the story.
#[derive(Clone, Debug)]
struct Line {
    number: usize,
    text: String,
    waits: Wait,
    does: Step,
}

/// Until when a line waits.
#[derive(Clone, Debug)]
enum Wait {
    No,
    /// So long after the story began.
    At(Duration),
    /// So long after the line before it.
    After(Duration),
    Until(Occasion),
}

/// Something that comes true in the run.
#[derive(Clone, Debug)]
enum Occasion {
    Begins { host: HostNo, event: LifecycleEvent, of: Option<String> },
    BeginsTurn { host: HostNo, of: Option<String> },
    EndsTurn { host: HostNo, of: Option<String> },
    Down(HostNo),
    Up(HostNo),
    Starts(String),
    Over(String),
}

#[derive(Clone, Debug)]
#[expect(clippy::large_enum_variant, reason = "a scenario has a few dozen of them")]
enum Step {
    Ask {
        at: Option<HostNo>,
        wish: Wanted,
    },
    Break(Fault),
    /// Something outside of all hosts is otherwise from now on; well again
    /// without a `how`.
    Outside {
        group: GroupName,
        of: String,
        how: Option<watches::How>,
        lasts: Option<Duration>,
    },
    /// Adds to the run nothing but its text: where a deployment stands now.
    Show(String),
    Expect(Expectation),
    /// Only to wait.
    Nothing,
}

/// What is asked of the mesh, with names in place of digests.
#[derive(Clone, Debug)]
enum Wanted {
    Deploy { bundle: String, group: GroupName, policy: Option<Policy>, queue: bool },
    Stop { group: GroupName, rollback: bool, now: bool },
    Restart { group: GroupName },
    SetConfig(DeploymentConfig),
    Rollback { group: GroupName, to: Option<String> },
    SetGroup(Group),
    DeleteGroup(GroupName),
    RemoveHost(HostNo),
    SetAlarm { group: GroupName, alarm: String, active: bool },
    Freeze { group: GroupName, lasts: Duration },
    Unfreeze(GroupName),
}

#[derive(Clone, Debug)]
enum Expectation {
    /// A deployment's status, and its reason's code. Waits if the status is
    /// one in which a deployment ends.
    Status {
        deployment: String,
        status: DeploymentStatus,
        reason: Option<String>,
    },
    /// The order in which hosts began their turns.
    Order {
        deployment: String,
        hosts: Vec<HostNo>,
    },
    /// How many hosts began a turn.
    Turns {
        deployment: String,
        turns: u32,
    },
    /// The most turns that were under way together.
    AtATime {
        deployment: String,
        turns: u32,
    },
    /// The fewest hosts that were in service.
    Lowest {
        deployment: String,
        hosts: u32,
    },
    /// What keeps it, in the words that `explain` prints.
    WaitsFor {
        deployment: String,
        words: String,
    },
    RollsBack {
        deployment: String,
        undone: String,
    },
    NoRollback {
        deployment: String,
    },
    /// How the host's turn ended: a part of the words of the table.
    Turn {
        deployment: String,
        host: HostNo,
        words: String,
    },
    Runs {
        host: HostNo,
        group: GroupName,
        bundle: Option<String>,
    },
    Healthy {
        group: GroupName,
        hosts: u32,
    },
    /// The revision that the group was brought to last.
    Target {
        group: GroupName,
        bundle: String,
    },
    Refused {
        words: String,
    },
    /// What a receiver has heard of the story, in the order in which it heard it
    /// first: these words and no others.
    Heard {
        group: GroupName,
        trigger: String,
        words: Vec<String>,
    },
    /// What it never heard, because it was given up.
    Missed {
        group: GroupName,
        trigger: String,
        words: String,
    },
}

/// A line that says nothing that is understood.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mistake {
    pub file: String,
    pub line: usize,
    pub what: String,
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.file, self.line, self.what)
    }
}

impl Scenario {
    /// Reads a scenario.
    /// # Errors
    /// All lines that are wrong, in their order.
    pub fn parse(file: &str, text: &str) -> Result<Scenario, Vec<Mistake>> {
        parse::parse(file, text)
    }
}

#[cfg(test)]
mod tests;

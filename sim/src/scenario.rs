//! Scenarios: what happens to a mesh, told line by line, and what the result
//! must be.
//!
//! A scenario is a text that reads as a story (`sim/scenarios/README.md` says
//! how to write one). Its lines are carried out in order: each waits for a time
//! or an occasion, then acts. The lines that begin with `expect` are compared
//! with what the mesh did. The output uses the same words as `skein explain`,
//! and is kept beside the scenario as a golden file.

mod clauses;
mod expect;
mod parse;
mod perform;
mod performance_text;
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

/// The most hosts of one scenario. A story of more is not readable.
pub const HOSTS_MAX: u32 = 200;
/// The most lines of one scenario.
pub const LINES_MAX: usize = 500;
/// The most bytes of one scenario's text.
pub const BYTES_MAX: usize = 64 * 1024;

/// A parsed scenario.
#[derive(Clone, Debug)]
pub struct Scenario {
    /// The name of its file, for error messages.
    pub file: String,
    /// The comment at the top of the file: what the scenario shows, and which
    /// rule that is.
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
    /// True if the host does not start with the story; a line starts it.
    is_later: bool,
}

/// A bundle that is deployed before the story begins.
#[derive(Clone, Debug)]
struct Running {
    bundle: String,
    group: GroupName,
    /// The hosts on which that deployment failed.
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

/// The condition that a line waits for before it acts.
#[derive(Clone, Debug)]
enum Wait {
    No,
    /// A time since the story began.
    At(Duration),
    /// A time since the line before this one.
    After(Duration),
    Until(Occasion),
}

/// An event in the run that a line waits for.
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
    /// Changes an alarm or a receiver outside of all hosts from now on. Without
    /// `how`, all is well with it again.
    Outside {
        group: GroupName,
        of: String,
        how: Option<watches::How>,
        lasts: Option<Duration>,
    },
    /// Prints where a deployment stands now. It changes nothing else in the
    /// run.
    Show(String),
    Expect(Expectation),
    /// Does nothing after the wait.
    Nothing,
}

/// A request to the mesh, with the scenario's names in place of digests.
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
    Recover,
    SetAlarm { group: GroupName, alarm: String, active: bool },
    Freeze { group: GroupName, lasts: Duration },
    Unfreeze(GroupName),
}

#[derive(Clone, Debug)]
enum Expectation {
    /// A deployment's status, and the code of its reason. If the status is a
    /// final one, the line waits for it.
    Status {
        deployment: String,
        status: DeploymentStatus,
        reason: Option<String>,
    },
    /// The order in which the hosts began their turns.
    Order {
        deployment: String,
        hosts: Vec<HostNo>,
    },
    /// The number of hosts that began a turn.
    Turns {
        deployment: String,
        turns: u32,
    },
    /// The largest number of turns that were under way at once.
    AtATime {
        deployment: String,
        turns: u32,
    },
    /// The smallest number of hosts that were in service.
    Lowest {
        deployment: String,
        hosts: u32,
    },
    /// The blocker of the deployment, in the words that `explain` prints.
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
    /// The end of the host's turn: a part of the text in the table.
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
    /// The reason why the host takes no part: a part of the text.
    Says {
        host: HostNo,
        words: String,
    },
    Healthy {
        group: GroupName,
        hosts: u32,
    },
    /// The last good revision of the group.
    Target {
        group: GroupName,
        bundle: String,
    },
    Refused {
        words: String,
    },
    /// Exactly the happenings of which a receiver has heard in the story, in
    /// the order in which it first heard each.
    Heard {
        group: GroupName,
        trigger: String,
        words: Vec<String>,
    },
    /// A happening of which the receiver never heard, because the mesh gave it
    /// up.
    Missed {
        group: GroupName,
        trigger: String,
        words: String,
    },
}

/// An error in one line of a scenario.
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
    /// Parses a scenario.
    /// # Errors
    /// Every line that cannot be parsed, in order.
    pub fn parse(file: &str, text: &str) -> Result<Scenario, Vec<Mistake>> {
        parse::parse(file, text)
    }
}

#[cfg(test)]
mod tests;

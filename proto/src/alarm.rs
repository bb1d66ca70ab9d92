//! The alarms of a group, which stop its deployments even while everybody is
//! asleep.
//!
//! One host of the group reads an alarm while a deployment runs, or a person sets
//! it by hand. Only changes enter the ledger. `state/alarms.rs` folds them.
//!
//! We made two decisions where CodeDeploy's documentation says nothing:
//!
//! - A reading belongs to the deployment in which it was made. A reading of an
//!   earlier deployment says nothing about this one, so no turn starts before each
//!   alarm has been read once. Given up: some tenths of a second at the start.
//! - An alarm that was set by hand stays set until it is cleared by hand.

pub(crate) mod watch;

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::entry::keep_start;
use crate::id::DeploymentId;
use crate::time::LedgerTime;

/// The most alarms that a group may have (CodeDeploy's quota).
pub const ALARMS_MAX: usize = 10;
/// The longest name of an alarm or a trigger, in characters (CodeDeploy's limit on
/// names).
pub const NAME_MAX: usize = 100;
/// The longest command, address or query, in bytes.
pub const SOURCE_MAX: usize = 2_048;
/// The longest [`Reading::detail`] and the longest reason given by hand, in bytes.
pub const DETAIL_MAX: usize = 512;
/// The time from one reading to the next, unless the group gives one.
pub const EVERY: Duration = Duration::from_secs(10);
/// The shortest time from one reading to the next: each reading is a process or a
/// request.
pub const EVERY_MIN: Duration = Duration::from_secs(1);
/// And at least: less often, and a deployment would be over before it is read again.
pub const EVERY_MAX: Duration = Duration::from_secs(3_600);
/// The most time that a reading may take, unless the group gives another.
pub const TIMEOUT: Duration = Duration::from_secs(5);
/// The longest such timeout that a group may give.
pub const TIMEOUT_MAX: Duration = Duration::from_secs(60);

/// A condition that is watched while a deployment of the group runs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Alarm {
    /// The name of the alarm, unique in its group.
    pub name: String,
    /// The source of its state.
    pub source: AlarmSource,
    /// The time from the start of one reading to the start of the next.
    pub every: Duration,
    /// The most time that one reading may take.
    pub timeout: Duration,
    /// The meaning of a reading that fails.
    pub unreadable: OnUnreadable,
}

/// The source of an alarm's state.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum AlarmSource {
    /// A person, who uses `skein alarm set` and `skein alarm clear`.
    Manual,
    /// A command on the host that reads the alarm. Exit code 0 means well, and 1
    /// means that the alarm is active. With any other the alarm counts as
    /// unreadable.
    Exec {
        /// The command: an absolute path, or a name that the agent finds on its
        /// `PATH`.
        command: String,
    },
    /// A query to a Prometheus server. The alarm is active if the answer has any
    /// element, as in Prometheus's own alerting rules.
    Prometheus {
        /// The server's address, without `/api/v1/query`.
        url: String,
        /// The query in PromQL, including its threshold.
        query: String,
    },
}

/// The meaning of a reading that fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum OnUnreadable {
    /// Treat it as an active alarm: CodeDeploy's default.
    #[default]
    Stop,
    /// Do nothing: CodeDeploy's `ignorePollAlarmFailure`.
    Ignore,
}

/// The state of an alarm.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum AlarmState {
    /// The alarm was read, and is not active.
    Ok,
    /// The alarm is active.
    Active,
    /// The alarm could not be read.
    Unreadable,
}

/// The result of reading an alarm once.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reading {
    /// The state that was read.
    pub state: AlarmState,
    /// One line for people: what the command wrote, what the query returned, or why
    /// the alarm could not be read.
    pub detail: String,
}

/// The state of one alarm, as the ledger knows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AlarmStanding {
    /// The last known state.
    pub state: AlarmState,
    /// The time at which the alarm came into this state, by the ledger's clock.
    pub since: LedgerTime,
    /// One line for people. For an alarm that was set by hand, the reason and who
    /// gave it.
    pub detail: String,
    /// The deployment in which it was read; `None` if it was set by hand.
    pub read_in: Option<DeploymentId>,
}

/// The alarm that stopped a deployment, as it was at that time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoppedBy {
    /// The name of the alarm.
    pub alarm: String,
    /// The state: `Active` or `Unreadable`.
    pub state: AlarmState,
    /// The time at which the alarm came into this state.
    pub since: LedgerTime,
    /// One line for people.
    pub detail: String,
}

/// The reason why an alarm or a trigger is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidWatch {
    /// A text that is not a valid name: see [`NAME_MAX`].
    #[error("invalid name of {1} `{0}`: use 1 to {NAME_MAX} letters, digits or any of . _ -")]
    Name(String, &'static str),
    /// Two alarms, or two triggers, with the same name.
    #[error("two {1}s are called `{0}`: each needs a name of its own")]
    Twice(String, &'static str),
    /// More alarms than [`ALARMS_MAX`], or as many triggers.
    #[error("{0} {1}s: a group may have {ALARMS_MAX}")]
    TooMany(usize, &'static str),
    /// A command, address, query or file name that is empty, or longer than
    /// [`SOURCE_MAX`].
    #[error(
        "{1} `{0}` says nothing, or more than {SOURCE_MAX} bytes, of {2}, or has control characters there"
    )]
    Source(String, &'static str, &'static str),
    /// See [`EVERY_MIN`] and [`EVERY_MAX`].
    #[error("alarm `{0}`: every is at least 1 s and at most 1 h")]
    Every(String),
    /// A timeout of zero, or above [`TIMEOUT_MAX`].
    #[error("alarm `{0}`: timeout is more than nothing and at most 60 s")]
    Timeout(String),
    /// A trigger without any event to tell.
    #[error("trigger `{0}` names no event: on = [\"DeploymentFailure\"], for example")]
    NoEvent(String),
}

impl Alarm {
    /// Returns true if a host reads the alarm, rather than a person setting it.
    pub fn is_read(&self) -> bool {
        match self.source {
            AlarmSource::Manual => false,
            AlarmSource::Exec { .. } | AlarmSource::Prometheus { .. } => true,
        }
    }

    fn check(&self) -> Result<(), InvalidWatch> {
        check_name(&self.name, "an alarm")?;
        let said: &[(&'static str, &str)] = match &self.source {
            AlarmSource::Manual => &[],
            AlarmSource::Exec { command } => &[("exec", command)],
            AlarmSource::Prometheus { url, query } => &[("url", url), ("query", query)],
        };
        check_said(&self.name, "alarm", said)?;
        if self.every < EVERY_MIN || self.every > EVERY_MAX {
            return Err(InvalidWatch::Every(self.name.clone()));
        }
        if self.timeout.is_zero() || self.timeout > TIMEOUT_MAX {
            return Err(InvalidWatch::Timeout(self.name.clone()));
        }
        Ok(())
    }
}

/// Checks the limits on a group's alarms.
/// # Errors
/// The first limit that is exceeded.
pub fn check_alarms(alarms: &[Alarm]) -> Result<(), InvalidWatch> {
    if alarms.len() > ALARMS_MAX {
        return Err(InvalidWatch::TooMany(alarms.len(), "alarm"));
    }
    alarms.iter().try_for_each(Alarm::check)?;
    check_unique(alarms.iter().map(|alarm| alarm.name.as_str()), "alarm")
}

pub(crate) fn check_name(name: &str, of: &'static str) -> Result<(), InvalidWatch> {
    let is_fit = |letter: char| letter.is_ascii_alphanumeric() || "._-".contains(letter);
    match (1..=NAME_MAX).contains(&name.len()) && name.chars().all(is_fit) {
        true => Ok(()),
        false => Err(InvalidWatch::Name(keep_start(name, NAME_MAX).to_string(), of)),
    }
}

pub(crate) fn check_unique<'a>(
    names: impl Iterator<Item = &'a str>,
    what: &'static str,
) -> Result<(), InvalidWatch> {
    let mut seen = std::collections::BTreeSet::new();
    for name in names {
        if !seen.insert(name) {
            return Err(InvalidWatch::Twice(name.to_string(), what));
        }
    }
    Ok(())
}

pub(crate) fn check_said(
    name: &str,
    what: &'static str,
    said: &[(&'static str, &str)],
) -> Result<(), InvalidWatch> {
    let is_wrong = |text: &str| {
        // A query may have several lines.
        let is_control = |letter: char| letter.is_control() && !"\n\r\t".contains(letter);
        text.trim().is_empty() || text.len() > SOURCE_MAX || text.chars().any(is_control)
    };
    let wrong = said.iter().find(|(_, text)| is_wrong(text));
    match wrong {
        Some((key, _)) => Err(InvalidWatch::Source(name.to_string(), what, key)),
        None => Ok(()),
    }
}

impl AlarmState {
    /// Returns the name used in JSON.
    pub const fn name(self) -> &'static str {
        match self {
            AlarmState::Ok => "OK",
            AlarmState::Active => "ALARM",
            AlarmState::Unreadable => "UNREADABLE",
        }
    }
}

impl Reading {
    /// Makes a reading, and cuts its detail to size.
    pub fn new(state: AlarmState, detail: &str) -> Self {
        Reading { state, detail: keep_start(detail.trim(), DETAIL_MAX).to_string() }
    }
}

impl StoppedBy {
    /// Returns a sentence for people, without the detail.
    pub fn sentence(&self) -> String {
        let StoppedBy { alarm, since, .. } = self;
        match self.state {
            AlarmState::Ok | AlarmState::Active => format!("alarm `{alarm}` is active since {since}"),
            AlarmState::Unreadable => {
                format!("alarm `{alarm}` cannot be read since {since}, which counts as active")
            }
        }
    }
}

#[cfg(test)]
mod tests;

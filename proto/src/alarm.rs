//! Alarms of a group: what stops its deployments, whoever is on call asleep.
//!
//! An alarm is read by one host of the group while a deployment runs, or is
//! set by hand. Only changes enter the ledger; what the fold makes of them is
//! in `state/alarms.rs`.
//!
//! Two decisions where CodeDeploy's documents are silent:
//!
//! - a reading belongs to the deployment in which it was made: what was read
//!   in an earlier one says nothing about this one, so no turn starts before
//!   each alarm was read once;
//! - an alarm that was set by hand stays set until it is cleared by hand.

pub(crate) mod watch;

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::entry::keep_start;
use crate::id::DeploymentId;
use crate::time::LedgerTime;

/// Alarms that a group may have (CodeDeploy's quota).
pub const ALARMS_MAX: usize = 10;
/// Longest name of an alarm or a trigger, in characters (CodeDeploy's limit on names).
pub const NAME_MAX: usize = 100;
/// Longest command, address or query, in bytes.
pub const SOURCE_MAX: usize = 2_048;
/// Longest [`Reading::detail`] and reason given by hand, in bytes.
pub const DETAIL_MAX: usize = 512;
/// How often an alarm is read, unless the group says otherwise.
pub const EVERY: Duration = Duration::from_secs(10);
/// And at most: the reading is a process or a request each time.
pub const EVERY_MIN: Duration = Duration::from_secs(1);
/// How long a reading may take, unless the group says otherwise.
pub const TIMEOUT: Duration = Duration::from_secs(5);
/// And at most.
pub const TIMEOUT_MAX: Duration = Duration::from_secs(60);

/// What is watched while a deployment of the group runs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Alarm {
    /// Unique in its group.
    pub name: String,
    /// Where its state comes from.
    pub source: AlarmSource,
    /// From the start of one reading to the start of the next.
    pub every: Duration,
    /// How long one reading may take.
    pub timeout: Duration,
    /// What it means that it cannot be read.
    pub unreadable: OnUnreadable,
}

/// Where an alarm's state comes from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum AlarmSource {
    /// `skein alarm set` and `clear`.
    Manual,
    /// A command on the host that reads: exit code 0 is well, 1 is the alarm,
    /// anything else cannot be read.
    Exec {
        /// An absolute path, or a name that the agent finds on its `PATH`.
        command: String,
    },
    /// A query to a Prometheus server: the alarm is active if its answer has
    /// any element, as with Prometheus's own alerting rules.
    Prometheus {
        /// The server's address, without `/api/v1/query`.
        url: String,
        /// In PromQL, with its threshold in it.
        query: String,
    },
}

/// What it means that an alarm cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum OnUnreadable {
    /// As bad as the alarm: CodeDeploy's default.
    #[default]
    Stop,
    /// Nothing: CodeDeploy's `ignorePollAlarmFailure`.
    Ignore,
}

/// How an alarm is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum AlarmState {
    /// Nothing is wrong.
    Ok,
    /// It fires.
    Active,
    /// Nobody can tell.
    Unreadable,
}

/// What one reading of an alarm gave.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reading {
    /// How it is.
    pub state: AlarmState,
    /// One line for people: what the command wrote, what the query gave, why
    /// it could not be read.
    pub detail: String,
}

/// What the ledger knows of one alarm.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AlarmStanding {
    /// How it is.
    pub state: AlarmState,
    /// Since when, by the ledger.
    pub since: LedgerTime,
    /// In words; for one that was set by hand, the reason and by whom.
    pub detail: String,
    /// In which deployment it was read; none if it was set by hand.
    pub read_in: Option<DeploymentId>,
}

/// The alarm that stopped a deployment, as it was then.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoppedBy {
    /// Its name.
    pub alarm: String,
    /// Active or Unreadable.
    pub state: AlarmState,
    /// Since when.
    pub since: LedgerTime,
    /// In words.
    pub detail: String,
}

/// Why something is no alarm, or no trigger.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidWatch {
    /// See [`NAME_MAX`].
    #[error("`{0}` is no name of {1}: 1 to {NAME_MAX} letters, digits or any of . _ -")]
    Name(String, &'static str),
    /// Two with one name.
    #[error("two {1}s are called `{0}`: each needs a name of its own")]
    Twice(String, &'static str),
    /// See [`ALARMS_MAX`].
    #[error("{0} {1}s: a group may have {ALARMS_MAX}")]
    TooMany(usize, &'static str),
    /// See [`SOURCE_MAX`].
    #[error("{1} `{0}` says nothing, or more than {SOURCE_MAX} bytes, of {2}")]
    Source(String, &'static str, &'static str),
    /// See [`EVERY_MIN`].
    #[error("alarm `{0}`: every is at least 1 s")]
    Every(String),
    /// See [`TIMEOUT_MAX`].
    #[error("alarm `{0}`: timeout is more than nothing and at most 60 s")]
    Timeout(String),
    /// A trigger that nothing pulls.
    #[error("trigger `{0}` names no event: on = [\"DeploymentFailure\"], for example")]
    NoEvent(String),
}

impl Alarm {
    /// Whether it is read, rather than set by hand.
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
        if self.every < EVERY_MIN {
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
/// The first that is broken.
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
    let wrong = said.iter().find(|(_, text)| text.trim().is_empty() || text.len() > SOURCE_MAX);
    match wrong {
        Some((key, _)) => Err(InvalidWatch::Source(name.to_string(), what, key)),
        None => Ok(()),
    }
}

impl AlarmState {
    /// The word that JSON carries.
    pub const fn name(self) -> &'static str {
        match self {
            AlarmState::Ok => "OK",
            AlarmState::Active => "ALARM",
            AlarmState::Unreadable => "UNREADABLE",
        }
    }
}

impl Reading {
    /// A reading with its detail cut to size.
    pub fn new(state: AlarmState, detail: &str) -> Self {
        Reading { state, detail: keep_start(detail.trim(), DETAIL_MAX).to_string() }
    }
}

impl StoppedBy {
    /// What it says to people, without the detail.
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

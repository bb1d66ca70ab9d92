//! The group file: a group as people write it, in TOML, and as the API carries
//! it, in JSON. Both are the same structure.

mod health;

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use proto::group::{Group, InvalidGroup, TagFilter, TagSets};
use proto::id::{GroupName, NotAName};
use proto::policy::{FileExists, Minimum, Policy, RollbackOn};
use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize};

use health::{HealthSection, HealthSectionError};

use crate::toml_file::{self, TomlError};

/// A group as typed.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct GroupFile {
    application: String,
    name: String,
    tags: Vec<Vec<String>>,
    #[serde(default)]
    deployment: DeploymentSection,
    #[serde(default)]
    rollback: RollbackSection,
    #[serde(default, skip_serializing)]
    zones: Option<IgnoredAny>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    health: Option<HealthSection>,
    #[serde(default, skip_serializing)]
    alarm: Option<IgnoredAny>,
    #[serde(default, skip_serializing)]
    approvals: Option<ApprovalsSection>,
}

/// How deployments go. Every key may also be given to one deployment alone, as
/// `--override key=value`.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct DeploymentSection {
    #[serde(skip_serializing_if = "Option::is_none")]
    config: Option<ConfigName>,
    #[serde(skip_serializing_if = "Option::is_none")]
    minimum_healthy: Option<MinimumHealthy>,
    #[serde(skip_serializing_if = "Option::is_none")]
    file_exists: Option<FileExistsWord>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ignore_application_stop_failures: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    start_timeout: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    lost_after: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    turn_timeout: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    timeout: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
enum ConfigName {
    #[serde(alias = "CodeDeployDefault.OneAtATime")]
    OneAtATime,
    #[serde(alias = "CodeDeployDefault.HalfAtATime")]
    HalfAtATime,
    #[serde(alias = "CodeDeployDefault.AllAtOnce")]
    AllAtOnce,
}

#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(untagged, expecting = "minimum_healthy is a number of hosts (6) or a share of them (\"75%\")")]
enum MinimumHealthy {
    Hosts(u32),
    Share(String),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "UPPERCASE")]
enum FileExistsWord {
    Disallow,
    Overwrite,
    Retain,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct RollbackSection {
    #[serde(skip_serializing_if = "Option::is_none")]
    enabled: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    on: Option<Vec<RollbackCause>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
enum RollbackCause {
    Failure,
    Alarm,
    Stop,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct ApprovalsSection {
    #[serde(default)]
    needed: u32,
}

/// Why a group file describes no group.
#[derive(Debug, thiserror::Error)]
pub(crate) enum GroupFileError {
    #[error(transparent)]
    Toml(#[from] TomlError),
    #[error(transparent)]
    Name(#[from] NotAName),
    #[error(transparent)]
    Tags(#[from] InvalidGroup),
    #[error(transparent)]
    Health(#[from] HealthSectionError),
    #[error("[{section}] is not supported yet by this version: remove it, or use a newer skein")]
    NotYet { section: &'static str },
    #[error("config and minimum_healthy both say how many hosts must stay healthy: keep one")]
    TwoMinimums,
    #[error("`{0}` is no minimum: write a number of hosts (6) or a share of them, 0% to 99% (\"75%\")")]
    Minimum(String),
    #[error("{key} = `{value}` is no duration: write 30s, 5m or 1h30m, more than nothing and up to 30d")]
    Duration { key: &'static str, value: String },
    #[error("[rollback] enabled = false and `on` say different things: keep one")]
    RollbackBoth,
    #[error("override `{key}`: {problem}")]
    Override { key: String, problem: String },
}

impl GroupFile {
    /// Reads a group file.
    pub(crate) fn read(path: &Path) -> Result<Self, GroupFileError> {
        Ok(toml_file::read(path)?)
    }

    /// The group that the file describes.
    pub(crate) fn group(&self) -> Result<Group, GroupFileError> {
        self.refuse_later_sections()?;
        let parse_set = |set: &Vec<String>| set.iter().map(|text| TagFilter::parse(text)).collect();
        let tags = TagSets(self.tags.iter().map(parse_set).collect::<Result<_, _>>()?);
        tags.validate()?;
        let mut policy = Policy::default();
        self.deployment.put_on(&mut policy)?;
        self.rollback.put_on(&mut policy)?;
        let health = self.health.as_ref().map(HealthSection::check).transpose()?;
        let name = GroupName::new(&self.application, &self.name)?;
        Ok(Group { name, tags, policy, health, config: None })
    }

    /// A safety that is asked for and silently not given would be worse than
    /// none.
    fn refuse_later_sections(&self) -> Result<(), GroupFileError> {
        let approvals = self.approvals.as_ref().is_some_and(|approvals| approvals.needed > 0);
        let sections =
            [("zones", self.zones.is_some()), ("alarm", self.alarm.is_some()), ("approvals", approvals)];
        match sections.into_iter().find(|(_, is_there)| *is_there) {
            Some((section, _)) => Err(GroupFileError::NotYet { section }),
            None => Ok(()),
        }
    }

    /// The file that describes the group, every setting written out.
    pub(crate) fn of(group: &Group) -> Self {
        let policy = &group.policy;
        GroupFile {
            application: group.name.application().into(),
            name: group.name.group().into(),
            tags: group.tags.0.iter().map(|set| set.iter().map(ToString::to_string).collect()).collect(),
            deployment: DeploymentSection::of(policy),
            rollback: RollbackSection::of(policy.rollback),
            zones: None,
            health: group.health.as_ref().map(HealthSection::of),
            alarm: None,
            approvals: None,
        }
    }

    /// As TOML.
    pub(crate) fn to_toml(&self) -> Result<String, toml::ser::Error> {
        toml::to_string(self)
    }
}

impl DeploymentSection {
    fn put_on(&self, policy: &mut Policy) -> Result<(), GroupFileError> {
        match (self.config, &self.minimum_healthy) {
            (Some(_), Some(_)) => return Err(GroupFileError::TwoMinimums),
            (Some(config), None) => policy.minimum = config.minimum(),
            (None, Some(healthy)) => policy.minimum = healthy.minimum()?,
            (None, None) => {}
        }
        if let Some(word) = self.file_exists {
            policy.file_exists = word.meaning();
        }
        if let Some(ignore) = self.ignore_application_stop_failures {
            policy.ignore_application_stop_failures = ignore;
        }
        put_duration("start_timeout", self.start_timeout.as_deref(), &mut policy.start_timeout)?;
        put_duration("lost_after", self.lost_after.as_deref(), &mut policy.lost_after)?;
        put_duration("turn_timeout", self.turn_timeout.as_deref(), &mut policy.turn_timeout)?;
        put_duration("timeout", self.timeout.as_deref(), &mut policy.deployment_timeout)
    }

    fn of(policy: &Policy) -> Self {
        let (config, minimum_healthy) = match policy.minimum {
            Minimum::OneAtATime => (Some(ConfigName::OneAtATime), None),
            Minimum::HalfAtATime => (Some(ConfigName::HalfAtATime), None),
            Minimum::AllAtOnce => (Some(ConfigName::AllAtOnce), None),
            Minimum::HostCount(hosts) => (None, Some(MinimumHealthy::Hosts(hosts))),
            Minimum::FleetPercent(percent) => (None, Some(MinimumHealthy::Share(format!("{percent}%")))),
        };
        let written = |duration| Some(humantime::format_duration(duration).to_string());
        DeploymentSection {
            config,
            minimum_healthy,
            file_exists: Some(FileExistsWord::of(policy.file_exists)),
            ignore_application_stop_failures: Some(policy.ignore_application_stop_failures),
            start_timeout: written(policy.start_timeout),
            lost_after: written(policy.lost_after),
            turn_timeout: written(policy.turn_timeout),
            timeout: written(policy.deployment_timeout),
        }
    }
}

impl ConfigName {
    fn minimum(self) -> Minimum {
        match self {
            ConfigName::OneAtATime => Minimum::OneAtATime,
            ConfigName::HalfAtATime => Minimum::HalfAtATime,
            ConfigName::AllAtOnce => Minimum::AllAtOnce,
        }
    }
}

impl MinimumHealthy {
    fn minimum(&self) -> Result<Minimum, GroupFileError> {
        match self {
            MinimumHealthy::Hosts(hosts) => Ok(Minimum::HostCount(*hosts)),
            MinimumHealthy::Share(text) => {
                let refused = || GroupFileError::Minimum(text.clone());
                match text.strip_suffix('%') {
                    // 100 % could never let a host be taken out of service.
                    Some(percent) => match percent.trim().parse::<u8>() {
                        Ok(percent) if percent <= 99 => Ok(Minimum::FleetPercent(percent)),
                        Ok(_) | Err(_) => Err(refused()),
                    },
                    None => text.trim().parse().map(Minimum::HostCount).map_err(|_| refused()),
                }
            }
        }
    }
}

impl FileExistsWord {
    fn meaning(self) -> FileExists {
        match self {
            FileExistsWord::Disallow => FileExists::Disallow,
            FileExistsWord::Overwrite => FileExists::Overwrite,
            FileExistsWord::Retain => FileExists::Retain,
        }
    }

    fn of(meaning: FileExists) -> Self {
        match meaning {
            FileExists::Disallow => FileExistsWord::Disallow,
            FileExists::Overwrite => FileExistsWord::Overwrite,
            FileExists::Retain => FileExistsWord::Retain,
        }
    }
}

impl RollbackSection {
    fn put_on(&self, policy: &mut Policy) -> Result<(), GroupFileError> {
        let none = RollbackOn { failure: false, alarm: false, stop: false };
        match (self.enabled, &self.on) {
            (Some(false), Some(on)) if !on.is_empty() => return Err(GroupFileError::RollbackBoth),
            (Some(false), _) => policy.rollback = none,
            (_, Some(on)) => {
                policy.rollback = RollbackOn {
                    failure: on.contains(&RollbackCause::Failure),
                    alarm: on.contains(&RollbackCause::Alarm),
                    stop: on.contains(&RollbackCause::Stop),
                };
            }
            (Some(true) | None, None) => {}
        }
        Ok(())
    }

    fn of(on: RollbackOn) -> Self {
        let causes = [
            (RollbackCause::Failure, on.failure),
            (RollbackCause::Alarm, on.alarm),
            (RollbackCause::Stop, on.stop),
        ];
        let on = causes.into_iter().filter(|(_, is_on)| *is_on).map(|(cause, _)| cause).collect();
        RollbackSection { enabled: None, on: Some(on) }
    }
}

/// Beyond it a deployment is not waited for but forgotten.
const DURATION_MAX: Duration = Duration::from_secs(30 * 24 * 3_600);

fn put_duration(key: &'static str, text: Option<&str>, place: &mut Duration) -> Result<(), GroupFileError> {
    let Some(text) = text else { return Ok(()) };
    *place = humantime::parse_duration(text)
        .ok()
        .filter(|duration| !duration.is_zero() && *duration <= DURATION_MAX)
        .ok_or_else(|| GroupFileError::Duration { key, value: text.chars().take(100).collect() })?;
    Ok(())
}

/// The policy of one deployment: the group's, with the overrides put on top.
/// Keys are those of the group file's `[deployment]`, and `rollback.…`.
pub(crate) fn with_overrides(
    policy: &Policy,
    overrides: &BTreeMap<String, String>,
) -> Result<Policy, GroupFileError> {
    let mut policy = policy.clone();
    let mut deployment = String::new();
    let mut rollback = String::new();
    for (key, value) in overrides {
        match key.strip_prefix("rollback.") {
            Some(key) => rollback.push_str(&format!("{key} = {}\n", as_toml(key, value))),
            None => deployment.push_str(&format!("{key} = {}\n", as_toml(key, value))),
        }
    }
    parse_override::<DeploymentSection>(&deployment, overrides)?.put_on(&mut policy)?;
    parse_override::<RollbackSection>(&rollback, overrides)?.put_on(&mut policy)?;
    Ok(policy)
}

fn parse_override<T: serde::de::DeserializeOwned>(
    text: &str,
    overrides: &BTreeMap<String, String>,
) -> Result<T, GroupFileError> {
    toml::from_str(text).map_err(|error| GroupFileError::Override {
        key: overrides.keys().cloned().collect::<Vec<_>>().join("`, `"),
        problem: toml_file::with_suggestion(error.message()),
    })
}

/// On a command line nobody wants to quote: a word becomes a string, and
/// `rollback.on` a list.
fn as_toml(key: &str, value: &str) -> String {
    let quoted = |text: &str| toml::Value::String(text.trim().to_string()).to_string();
    if key == "on" {
        let words: Vec<String> =
            value.split(',').filter(|word| !word.trim().is_empty()).map(quoted).collect();
        return format!("[{}]", words.join(", "));
    }
    if value == "true" || value == "false" || value.parse::<u32>().is_ok() {
        return value.to_string();
    }
    quoted(value)
}

#[cfg(test)]
mod tests;

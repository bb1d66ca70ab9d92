//! The group file: a group as people write it in TOML, and as the API transfers
//! it in JSON. Both have the same structure.

mod alarm_tables;
mod config_file;
mod health_table;
mod overrides;
mod sections;

use std::path::Path;

use proto::group::{Group, InvalidGroup, TagFilter, TagSets};
use proto::id::{ConfigName, GroupName, NotAName};
use proto::policy::{DeploymentConfig, InvalidPolicy, Minimum, PERCENT_MAX, Policy};
use serde::{Deserialize, Serialize};

use health_table::{HealthSection, HealthSectionError};

use crate::toml_file::{self, TomlError};
use alarm_tables::{AlarmSection, TriggerSection};

pub(crate) use config_file::ConfigFile;
pub(crate) use overrides::with_overrides;
use sections::{CanarySection, DeploymentSection, ModeWord, RollbackSection, Sections, ZonesSection};

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
    #[serde(default, skip_serializing_if = "Option::is_none")]
    canary: Option<CanarySection>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    zones: Option<ZonesSection>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    health: Option<HealthSection>,
    #[serde(default, skip_serializing)]
    approvals: Option<ApprovalsSection>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    alarm: Vec<AlarmSection>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    trigger: Vec<TriggerSection>,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct ApprovalsSection {
    #[serde(default)]
    needed: u32,
}

/// The reason why a group file does not describe a group.
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
    #[error(
        "{key} = `{value}`: write a number of hosts (6) or a share of them, 0% to {PERCENT_MAX}% (\"75%\"); {}",
        why_not_all(key)
    )]
    Amount { key: &'static str, value: String },
    #[error("{key} = \"{value}\" could be hosts or a share of them: write \"{value}%\" or {value}")]
    HostsOrShare { key: &'static str, value: String },
    #[error("{key} = `{value}`: invalid duration (examples: 30s, 5m, 1h30m)")]
    Duration { key: &'static str, value: String },
    #[error(transparent)]
    Policy(#[from] InvalidPolicy),
    #[error("{}", crate::refusal_advice::in_full(.0))]
    Refused(#[from] proto::io::Refusal),
    #[error("configuration `{config}` says {key} already: keep one of the two")]
    ConfigSaysIt { config: ConfigName, key: &'static str },
    #[error("{section}.enabled = false, and further keys of {section} that say how: keep one of the two")]
    Disabled { section: &'static str },
    #[error("a canary needs a size: canary.hosts = 1, or a share of the group (\"10%\")")]
    CanaryOfNobody,
    #[error(
        "mode = RESTART is for one deployment, not for a group, whose deployments would never bring a bundle: \
         `skein deploy GROUP --restart`"
    )]
    ModeOfGroup,
    #[error(
        "say how many hosts must stay healthy: minimum_healthy = \"75%\" or 6, or config = \"HalfAtATime\""
    )]
    NoMinimum,
    #[error(
        "`{0}` is not a predefined configuration, and one configuration cannot be made of another: config is \
         OneAtATime, HalfAtATime or AllAtOnce here"
    )]
    ConfigOfConfig(ConfigName),
    #[error("[rollback] enabled = false and `on` say different things: keep one")]
    RollbackBoth,
    #[error("alarm `{name}`: {problem}")]
    Alarm { name: String, problem: String },
    #[error("trigger `{name}`: {problem}")]
    Trigger { name: String, problem: String },
    #[error("override `{key}`: {problem}")]
    Override { key: String, problem: String },
}

/// Explains why a share of all hosts is not allowed.
fn why_not_all(key: &str) -> &'static str {
    match key {
        "canary.hosts" => "a canary of 100% would leave nobody to go after it",
        _ => "with 100% kept healthy, none could ever be taken out of service",
    }
}

impl GroupFileError {
    /// Returns true if the file asks for what no policy allows, or for two things
    /// that contradict each other, rather than being mistyped.
    pub(crate) fn is_of_policy(&self) -> bool {
        match self {
            GroupFileError::TwoMinimums
            | GroupFileError::Amount { .. }
            | GroupFileError::Policy(_)
            | GroupFileError::ConfigSaysIt { .. }
            | GroupFileError::Disabled { .. }
            | GroupFileError::CanaryOfNobody
            | GroupFileError::RollbackBoth => true,
            GroupFileError::Toml(_)
            | GroupFileError::Name(_)
            | GroupFileError::Tags(_)
            | GroupFileError::Health(_)
            | GroupFileError::NotYet { .. }
            | GroupFileError::HostsOrShare { .. }
            | GroupFileError::Duration { .. }
            | GroupFileError::Refused(_)
            | GroupFileError::ModeOfGroup
            | GroupFileError::NoMinimum
            | GroupFileError::ConfigOfConfig(_)
            | GroupFileError::Alarm { .. }
            | GroupFileError::Trigger { .. }
            | GroupFileError::Override { .. } => false,
        }
    }
}

impl GroupFile {
    /// Reads a group file.
    pub(crate) fn read(path: &Path) -> Result<Self, GroupFileError> {
        Ok(toml_file::read(path)?)
    }

    /// Returns the group that the file describes.
    pub(crate) fn group(&self) -> Result<Group, GroupFileError> {
        self.refuse_later_sections()?;
        let parse_set = |set: &Vec<String>| set.iter().map(|text| TagFilter::parse(text)).collect();
        let tags = TagSets(self.tags.iter().map(parse_set).collect::<Result<_, _>>()?);
        tags.validate()?;
        if self.deployment.mode == Some(ModeWord::Restart) {
            return Err(GroupFileError::ModeOfGroup);
        }
        let sections = Sections {
            deployment: self.deployment.clone(),
            canary: self.canary.clone(),
            zones: self.zones.clone(),
            rollback: self.rollback.clone(),
        };
        let config = sections.own_config()?;
        let mut policy = Policy::default();
        sections.put_on(&mut policy, &|name| Ok(to_be_looked_up(name)))?;
        let health = self.health.as_ref().map(HealthSection::check).transpose()?;
        let name = GroupName::new(&self.application, &self.name)?;
        let alarms = self.alarm.iter().map(AlarmSection::alarm).collect::<Result<_, _>>()?;
        let triggers = self.trigger.iter().map(TriggerSection::trigger).collect::<Result<_, _>>()?;
        let group = Group { name, tags, policy, health, config, alarms, triggers };
        group.validate()?;
        Ok(group)
    }

    /// Refuses sections that are not implemented: a safeguard that is requested
    /// but silently missing would be worse than none.
    fn refuse_later_sections(&self) -> Result<(), GroupFileError> {
        let approvals = self.approvals.as_ref().is_some_and(|approvals| approvals.needed > 0);
        let sections = [("approvals", approvals)];
        match sections.into_iter().find(|(_, is_there)| *is_there) {
            Some((section, _)) => Err(GroupFileError::NotYet { section }),
            None => Ok(()),
        }
    }

    /// Returns the file that describes the group, with every setting written out.
    pub(crate) fn of(group: &Group) -> Self {
        let sections = Sections::of(&group.policy, group.config.as_ref());
        GroupFile {
            application: group.name.application().into(),
            name: group.name.group().into(),
            tags: group.tags.0.iter().map(|set| set.iter().map(ToString::to_string).collect()).collect(),
            deployment: sections.deployment,
            rollback: sections.rollback,
            canary: sections.canary,
            zones: sections.zones,
            health: group.health.as_ref().map(HealthSection::of),
            approvals: None,
            alarm: group.alarms.iter().map(AlarmSection::of).collect(),
            trigger: group.triggers.iter().map(TriggerSection::of).collect(),
        }
    }

    /// Formats the file as TOML.
    pub(crate) fn to_toml(&self) -> Result<String, toml::ser::Error> {
        toml::to_string(self)
    }
}

/// Returns a placeholder: a group stores only the name of its configuration,
/// which is looked up when a deployment is submitted.
fn to_be_looked_up(name: &ConfigName) -> DeploymentConfig {
    let minimum = Minimum::OneAtATime;
    DeploymentConfig { name: name.clone(), minimum, turns_max: None, canary: None, zonal: None }
}

#[cfg(test)]
mod tests;

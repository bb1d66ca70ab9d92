//! The sections of a group file that make a policy: how many at a time, in which order,
//! how long. A named configuration and the overrides of one deployment use the same keys.

use std::time::Duration;

use proto::id::ConfigName;
use proto::policy::{
    Canary, DeploymentConfig, FileExists, Minimum, Mode, PERCENT_MAX, PREDEFINED, Policy, RollbackOn, Share,
    Zonal,
};
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};

use super::GroupFileError;

/// Looks up a named configuration.
pub(crate) type LookUp<'a> = &'a dyn Fn(&ConfigName) -> Result<DeploymentConfig, GroupFileError>;

/// All sections that make a policy.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Sections {
    #[serde(default)]
    pub(crate) deployment: DeploymentSection,
    #[serde(default)]
    pub(crate) canary: Option<CanarySection>,
    #[serde(default)]
    pub(crate) zones: Option<ZonesSection>,
    #[serde(default)]
    pub(crate) rollback: RollbackSection,
}

/// The settings of deployments. Every key can also be set for one deployment
/// alone, as `--override key=value`.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct DeploymentSection {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) config: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) minimum_healthy: Option<Amount>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) turns_max: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) file_exists: Option<FileExistsWord>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) ignore_application_stop_failures: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) outdated_only: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) mode: Option<ModeWord>,
    #[serde(default, deserialize_with = "with_unit", skip_serializing_if = "Option::is_none")]
    pub(crate) start_timeout: Option<String>,
    #[serde(default, deserialize_with = "with_unit", skip_serializing_if = "Option::is_none")]
    pub(crate) lost_after: Option<String>,
    #[serde(default, deserialize_with = "with_unit", skip_serializing_if = "Option::is_none")]
    pub(crate) turn_timeout: Option<String>,
    #[serde(default, deserialize_with = "with_unit", skip_serializing_if = "Option::is_none")]
    pub(crate) timeout: Option<String>,
    /// The bake time of the last wave.
    #[serde(default, deserialize_with = "with_unit", skip_serializing_if = "Option::is_none")]
    pub(crate) bake: Option<String>,
    /// The time after which a host that stays Down is removed from the mesh.
    #[serde(default, deserialize_with = "with_unit", skip_serializing_if = "Option::is_none")]
    pub(crate) forget_down_after: Option<String>,
    /// The number of times that a turn may begin, if its agent is killed during it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) attempts: Option<u8>,
    /// Says if the group's alarms stop it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) alarms: Option<AlarmsWord>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum AlarmsWord {
    Stop,
    Ignore,
}

/// Deploys to some hosts first.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct CanarySection {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) enabled: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) hosts: Option<Amount>,
    #[serde(default, deserialize_with = "with_unit", skip_serializing_if = "Option::is_none")]
    pub(crate) bake: Option<String>,
}

/// Deploys to one zone at a time.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ZonesSection {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) enabled: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) minimum_healthy: Option<Amount>,
    #[serde(default, deserialize_with = "with_unit", skip_serializing_if = "Option::is_none")]
    pub(crate) bake: Option<String>,
    #[serde(default, deserialize_with = "with_unit", skip_serializing_if = "Option::is_none")]
    pub(crate) first_bake: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) order: Option<Vec<String>>,
}

/// A number of hosts, or a share of them.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(untagged, expecting = "write a number of hosts (6) or a share of them (\"75%\")")]
pub(crate) enum Amount {
    Hosts(u32),
    Share(String),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "UPPERCASE")]
pub(crate) enum FileExistsWord {
    Disallow,
    Overwrite,
    Retain,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "UPPERCASE")]
pub(crate) enum ModeWord {
    Standard,
    Restart,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RollbackSection {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) enabled: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) on: Option<Vec<RollbackCause>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum RollbackCause {
    Failure,
    Alarm,
    Stop,
}

/// The configuration that `config = "…"` names.
pub(crate) enum Named {
    Predefined(Minimum),
    Own(ConfigName),
}

/// The prefix of CodeDeploy's predefined names.
const CODEDEPLOY: &str = "CodeDeployDefault.";

pub(crate) fn named(text: &str) -> Result<Named, GroupFileError> {
    let short = text.strip_prefix(CODEDEPLOY).unwrap_or(text);
    match PREDEFINED.iter().find(|(name, _)| *name == short) {
        Some((_, minimum)) => Ok(Named::Predefined(*minimum)),
        None => Ok(Named::Own(text.parse()?)),
    }
}

impl Sections {
    /// Applies all settings to a policy. A named configuration is looked up; its
    /// settings must not be repeated beside it.
    pub(crate) fn put_on(&self, policy: &mut Policy, look_up: LookUp<'_>) -> Result<(), GroupFileError> {
        if let Some(name) = self.own_config()? {
            look_up(&name)?.put_on(policy);
        }
        self.deployment.put_on(policy)?;
        if let Some(canary) = &self.canary {
            canary.put_on(policy)?;
        }
        if let Some(zones) = &self.zones {
            zones.put_on(policy)?;
        }
        self.rollback.put_on(policy)?;
        policy.validate()?;
        Ok(())
    }

    /// Returns the named configuration of the mesh that these sections use.
    pub(crate) fn own_config(&self) -> Result<Option<ConfigName>, GroupFileError> {
        let Some(text) = &self.deployment.config else { return Ok(None) };
        let Named::Own(name) = named(text)? else { return Ok(None) };
        let said_twice = [
            ("minimum_healthy", self.deployment.minimum_healthy.is_some()),
            ("turns_max", self.deployment.turns_max.is_some()),
            ("canary", self.canary.is_some()),
            ("zones", self.zones.is_some()),
        ];
        match said_twice.into_iter().find(|(_, is_said)| *is_said) {
            Some((key, _)) => Err(GroupFileError::ConfigSaysIt { config: name, key }),
            None => Ok(Some(name)),
        }
    }

    /// Returns the sections that make this policy, without the settings of its named configuration.
    pub(crate) fn of(policy: &Policy, config: Option<&ConfigName>) -> Self {
        let mut sections = Sections {
            deployment: DeploymentSection::of(policy),
            canary: policy.canary.as_ref().map(CanarySection::of),
            zones: policy.zonal.as_ref().map(ZonesSection::of),
            rollback: RollbackSection::of(policy.rollback),
        };
        if let Some(name) = config {
            (sections.canary, sections.zones) = (None, None);
            let deployment = &mut sections.deployment;
            deployment.config = Some(name.to_string());
            (deployment.minimum_healthy, deployment.turns_max) = (None, None);
        }
        sections
    }
}

impl DeploymentSection {
    fn put_on(&self, policy: &mut Policy) -> Result<(), GroupFileError> {
        let predefined = match self.config.as_deref().map(named).transpose()? {
            Some(Named::Predefined(minimum)) => Some(minimum),
            Some(Named::Own(_)) | None => None,
        };
        match (predefined, &self.minimum_healthy) {
            (Some(_), Some(_)) => return Err(GroupFileError::TwoMinimums),
            (Some(minimum), None) => policy.minimum = minimum,
            (None, Some(amount)) => policy.minimum = amount.minimum()?,
            (None, None) => {}
        }
        policy.turns_max = self.turns_max.or(policy.turns_max);
        if let Some(word) = self.file_exists {
            policy.file_exists = word.meaning();
        }
        if let Some(ignore) = self.ignore_application_stop_failures {
            policy.ignore_application_stop_failures = ignore;
        }
        if let Some(word) = self.alarms {
            policy.ignore_alarms = word == AlarmsWord::Ignore;
        }
        // A restart of one deployment does not follow the group's default.
        let habit = policy.outdated_only && self.mode != Some(ModeWord::Restart);
        policy.outdated_only = self.outdated_only.unwrap_or(habit);
        policy.mode = match self.mode {
            Some(ModeWord::Standard) => Mode::Standard,
            Some(ModeWord::Restart) => Mode::Restart,
            None => policy.mode,
        };
        put_duration("start_timeout", self.start_timeout.as_deref(), &mut policy.start_timeout)?;
        put_duration("lost_after", self.lost_after.as_deref(), &mut policy.lost_after)?;
        put_duration("turn_timeout", self.turn_timeout.as_deref(), &mut policy.turn_timeout)?;
        put_duration("timeout", self.timeout.as_deref(), &mut policy.deployment_timeout)?;
        policy.attempts = self.attempts.unwrap_or(policy.attempts);
        if self.forget_down_after.is_some() {
            let mut after = Duration::ZERO;
            put_duration("forget_down_after", self.forget_down_after.as_deref(), &mut after)?;
            policy.forget_down_after = Some(after);
        }
        put_duration("bake", self.bake.as_deref(), &mut policy.bake)
    }

    fn of(policy: &Policy) -> Self {
        let predefined = PREDEFINED.iter().find(|(_, minimum)| *minimum == policy.minimum);
        let config = predefined.map(|(name, _)| (*name).to_string());
        let minimum_healthy = match policy.minimum {
            Minimum::OneAtATime | Minimum::HalfAtATime | Minimum::AllAtOnce => None,
            Minimum::HostCount(hosts) => Some(Amount::Hosts(hosts)),
            Minimum::FleetPercent(percent) => Some(Amount::Share(format!("{percent}%"))),
        };
        DeploymentSection {
            config,
            minimum_healthy,
            turns_max: policy.turns_max,
            file_exists: Some(FileExistsWord::of(policy.file_exists)),
            ignore_application_stop_failures: Some(policy.ignore_application_stop_failures),
            outdated_only: Some(policy.outdated_only),
            mode: None,
            start_timeout: Some(written(policy.start_timeout)),
            lost_after: Some(written(policy.lost_after)),
            turn_timeout: Some(written(policy.turn_timeout)),
            timeout: Some(written(policy.deployment_timeout)),
            bake: Some(written(policy.bake)),
            forget_down_after: policy.forget_down_after.map(written),
            attempts: Some(policy.attempts),
            alarms: Some(if policy.ignore_alarms { AlarmsWord::Ignore } else { AlarmsWord::Stop }),
        }
    }
}

impl CanarySection {
    pub(crate) fn put_on(&self, policy: &mut Policy) -> Result<(), GroupFileError> {
        if self.enabled == Some(false) {
            if self.hosts.is_some() || self.bake.is_some() {
                return Err(GroupFileError::Disabled { section: "canary" });
            }
            policy.canary = None;
            return Ok(());
        }
        let hosts = match (&self.hosts, policy.canary) {
            (Some(amount), _) => amount.share("canary.hosts")?,
            (None, Some(canary)) => canary.hosts,
            (None, None) => return Err(GroupFileError::CanaryOfNobody),
        };
        let mut bake = policy.canary.map_or(Duration::ZERO, |canary| canary.bake);
        put_duration("canary.bake", self.bake.as_deref(), &mut bake)?;
        policy.canary = Some(Canary { hosts, bake });
        Ok(())
    }

    pub(crate) fn of(canary: &Canary) -> Self {
        let (hosts, bake) = (Some(Amount::of(canary.hosts)), Some(written(canary.bake)));
        CanarySection { enabled: None, hosts, bake }
    }
}

impl ZonesSection {
    pub(crate) fn put_on(&self, policy: &mut Policy) -> Result<(), GroupFileError> {
        if self.enabled == Some(false) {
            let alone = ZonesSection { enabled: self.enabled, ..ZonesSection::default() };
            if *self != alone {
                return Err(GroupFileError::Disabled { section: "zones" });
            }
            policy.zonal = None;
            return Ok(());
        }
        let mut zonal = policy.zonal.clone().unwrap_or_default();
        if let Some(amount) = &self.minimum_healthy {
            zonal.minimum = amount.share("zones.minimum_healthy")?;
        }
        put_duration("zones.bake", self.bake.as_deref(), &mut zonal.bake)?;
        if let Some(text) = &self.first_bake {
            let mut first = Duration::ZERO;
            put_duration("zones.first_bake", Some(text), &mut first)?;
            zonal.first_bake = Some(first);
        }
        if let Some(order) = &self.order {
            zonal.order.clone_from(order);
        }
        policy.zonal = Some(zonal);
        Ok(())
    }

    pub(crate) fn of(zonal: &Zonal) -> Self {
        ZonesSection {
            enabled: None,
            minimum_healthy: Some(Amount::of(zonal.minimum)),
            bake: Some(written(zonal.bake)),
            first_bake: zonal.first_bake.map(written),
            order: (!zonal.order.is_empty()).then(|| zonal.order.clone()),
        }
    }
}

impl Amount {
    pub(crate) fn minimum(&self) -> Result<Minimum, GroupFileError> {
        Ok(match self.share("minimum_healthy")? {
            Share::Hosts(hosts) => Minimum::HostCount(hosts),
            Share::Percent(percent) => Minimum::FleetPercent(percent),
        })
    }

    fn share(&self, key: &'static str) -> Result<Share, GroupFileError> {
        let text = match self {
            Amount::Hosts(hosts) => return Ok(Share::Hosts(*hosts)),
            Amount::Share(text) => text,
        };
        let refused = || GroupFileError::Amount { key, value: text.chars().take(100).collect() };
        match text.strip_suffix('%') {
            Some(percent) => match percent.trim().parse::<u8>() {
                Ok(percent) if percent <= PERCENT_MAX => Ok(Share::Percent(percent)),
                Ok(_) | Err(_) => Err(refused()),
            },
            None if text.trim().parse::<u8>().is_ok_and(|number| number <= PERCENT_MAX) => {
                Err(GroupFileError::HostsOrShare { key, value: text.trim().into() })
            }
            None => Err(refused()),
        }
    }

    fn of(share: Share) -> Self {
        match share {
            Share::Hosts(hosts) => Amount::Hosts(hosts),
            Share::Percent(percent) => Amount::Share(format!("{percent}%")),
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

fn written(duration: Duration) -> String {
    humantime::format_duration(duration).to_string()
}

pub(super) fn put_duration(
    key: &'static str,
    text: Option<&str>,
    place: &mut Duration,
) -> Result<(), GroupFileError> {
    let Some(text) = text else { return Ok(()) };
    *place = humantime::parse_duration(text)
        .map_err(|_| GroupFileError::Duration { key, value: text.chars().take(100).collect() })?;
    Ok(())
}

/// Reads a duration as text. A bare number is a common mistake, and its unit would be unknown.
pub(super) fn with_unit<'de, D: Deserializer<'de>>(from: D) -> Result<Option<String>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged, expecting = "write a duration with its unit: \"30s\", \"1h\"")]
    enum Typed {
        Text(String),
        Number(u64),
    }
    match Option::<Typed>::deserialize(from)? {
        Some(Typed::Text(text)) => Ok(Some(text)),
        Some(Typed::Number(number)) => Err(D::Error::custom(format!(
            "{number} of what? Write a duration with its unit: \"{number}s\", \"1h\""
        ))),
        None => Ok(None),
    }
}

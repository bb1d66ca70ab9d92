//! The file of a named deployment configuration: the part of a group file that
//! several groups can share.

use std::path::Path;

use proto::id::ConfigName;
use proto::policy::{DeploymentConfig, Policy};
use serde::{Deserialize, Serialize};

use super::GroupFileError;
use super::sections::{Amount, CanarySection, DeploymentSection, Named, Sections, ZonesSection, named};
use crate::toml_file;

/// A configuration as typed.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ConfigFile {
    name: String,
    /// The predefined configuration to start from.
    #[serde(skip_serializing_if = "Option::is_none")]
    config: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    minimum_healthy: Option<Amount>,
    #[serde(skip_serializing_if = "Option::is_none")]
    turns_max: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    canary: Option<CanarySection>,
    #[serde(skip_serializing_if = "Option::is_none")]
    zones: Option<ZonesSection>,
}

impl ConfigFile {
    /// Reads a configuration's file.
    pub(crate) fn read(path: &Path) -> Result<Self, GroupFileError> {
        Ok(toml_file::read(path)?)
    }

    /// Returns the configuration that the file describes.
    pub(crate) fn config(&self) -> Result<DeploymentConfig, GroupFileError> {
        let name: ConfigName = self.name.parse()?;
        if self.config.is_none() && self.minimum_healthy.is_none() {
            return Err(GroupFileError::NoMinimum);
        }
        if let Some(Named::Own(other)) = self.config.as_deref().map(named).transpose()? {
            return Err(GroupFileError::ConfigOfConfig(other));
        }
        let sections = Sections {
            deployment: DeploymentSection {
                config: self.config.clone(),
                minimum_healthy: self.minimum_healthy.clone(),
                turns_max: self.turns_max,
                ..DeploymentSection::default()
            },
            canary: self.canary.clone(),
            zones: self.zones.clone(),
            ..Sections::default()
        };
        let mut policy = Policy::default();
        sections.put_on(&mut policy, &|name| Err(GroupFileError::ConfigOfConfig(name.clone())))?;
        let Policy { minimum, turns_max, canary, zonal, .. } = policy;
        Ok(DeploymentConfig { name, minimum, turns_max, canary, zonal })
    }

    /// Returns the file that describes the configuration.
    pub(crate) fn of(config: &DeploymentConfig) -> Self {
        let mut policy = Policy::default();
        config.put_on(&mut policy);
        let sections = Sections::of(&policy, None);
        ConfigFile {
            name: config.name.to_string(),
            config: sections.deployment.config,
            minimum_healthy: sections.deployment.minimum_healthy,
            turns_max: sections.deployment.turns_max,
            canary: sections.canary,
            zones: sections.zones,
        }
    }

    /// Formats the file as TOML.
    pub(crate) fn to_toml(&self) -> Result<String, toml::ser::Error> {
        toml::to_string(self)
    }
}

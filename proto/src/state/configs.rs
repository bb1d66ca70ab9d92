//! The mesh's named deployment configurations.

use std::collections::BTreeMap;

use crate::group::Group;
use crate::id::ConfigName;
use crate::io::Refusal;
use crate::policy::{DeploymentConfig, PREDEFINED, Policy};

/// The most named configurations that a mesh may have (CodeDeploy's quota).
pub(super) const CONFIGS_MAX: usize = 200;

/// The named configurations. No other part of the state follows them: a deployment takes
/// its policy when it is submitted.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Configs {
    by_name: BTreeMap<ConfigName, DeploymentConfig>,
}

fn is_predefined(name: &ConfigName) -> bool {
    PREDEFINED.iter().any(|(predefined, _)| name.as_str().eq_ignore_ascii_case(predefined))
        || name.as_str().starts_with("CodeDeployDefault.")
}

impl Configs {
    /// Makes the configurations that a snapshot holds.
    pub(super) fn restore(by_name: BTreeMap<ConfigName, DeploymentConfig>) -> Self {
        Configs { by_name }
    }

    pub(super) fn all(&self) -> &BTreeMap<ConfigName, DeploymentConfig> {
        &self.by_name
    }

    /// Returns the configuration with this name.
    /// # Errors
    /// [`Refusal::UnknownConfig`] with the names that exist.
    pub(super) fn get(&self, name: &ConfigName) -> Result<&DeploymentConfig, Refusal> {
        self.by_name.get(name).ok_or_else(|| Refusal::UnknownConfig {
            name: name.clone(),
            known: self.by_name.keys().cloned().collect(),
        })
    }

    /// Returns the group's own policy, changed by its named configuration.
    /// # Errors
    /// [`Refusal::UnknownConfig`] if the configuration does not exist.
    pub(super) fn policy_of(&self, group: &Group) -> Result<Policy, Refusal> {
        let mut policy = group.policy.clone();
        if let Some(name) = &group.config {
            self.get(name)?.put_on(&mut policy);
        }
        Ok(policy)
    }

    pub(super) fn check_set(&self, config: &DeploymentConfig) -> Result<(), Refusal> {
        if is_predefined(&config.name) {
            return Err(Refusal::PredefinedConfig(config.name.clone()));
        }
        if self.by_name.len() >= CONFIGS_MAX && !self.by_name.contains_key(&config.name) {
            let what = "named configurations in one mesh".into();
            return Err(Refusal::Limit { what, limit: CONFIGS_MAX as u64 });
        }
        config.validate().map_err(Refusal::InvalidPolicy)
    }

    /// Checks whether a configuration may be deleted, which a group may still use.
    pub(super) fn check_delete<'a>(
        &self,
        name: &ConfigName,
        groups: impl Iterator<Item = &'a Group>,
    ) -> Result<(), Refusal> {
        if is_predefined(name) {
            return Err(Refusal::PredefinedConfig(name.clone()));
        }
        self.get(name)?;
        let users = groups.filter(|group| group.config.as_ref() == Some(name));
        let groups: Vec<String> = users.map(|group| group.name.to_string()).collect();
        if groups.is_empty() { Ok(()) } else { Err(Refusal::ConfigInUse { name: name.clone(), groups }) }
    }

    pub(super) fn set(&mut self, config: &DeploymentConfig) {
        self.by_name.insert(config.name.clone(), config.clone());
    }

    pub(super) fn delete(&mut self, name: &ConfigName) {
        self.by_name.remove(name);
    }
}

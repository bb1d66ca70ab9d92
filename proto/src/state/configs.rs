//! Folds named deployment configurations.

use super::State;
use crate::group::Group;
use crate::id::ConfigName;
use crate::io::Refusal;
use crate::policy::{DeploymentConfig, PREDEFINED, Policy};

/// The most named configurations that a mesh may have (CodeDeploy's quota).
pub(super) const CONFIGS_MAX: usize = 200;

fn is_predefined(name: &ConfigName) -> bool {
    PREDEFINED.iter().any(|(predefined, _)| name.as_str().eq_ignore_ascii_case(predefined))
        || name.as_str().starts_with("CodeDeployDefault.")
}

impl State {
    /// Returns the mesh's own configuration with this name.
    /// # Errors
    /// [`Refusal::UnknownConfig`] with the names that exist.
    pub fn config(&self, name: &ConfigName) -> Result<&DeploymentConfig, Refusal> {
        self.configs.get(name).ok_or_else(|| Refusal::UnknownConfig {
            name: name.clone(),
            known: self.configs.keys().cloned().collect(),
        })
    }

    /// Returns the policy of a deployment to the group if it is submitted now: the
    /// group's own policy, changed by its named configuration.
    /// # Errors
    /// [`Refusal::UnknownConfig`] if the configuration does not exist.
    pub fn policy_of(&self, group: &Group) -> Result<Policy, Refusal> {
        let mut policy = group.policy.clone();
        if let Some(name) = &group.config {
            self.config(name)?.put_on(&mut policy);
        }
        Ok(policy)
    }

    pub(super) fn check_config(&self, config: &DeploymentConfig) -> Result<(), Refusal> {
        if is_predefined(&config.name) {
            return Err(Refusal::PredefinedConfig(config.name.clone()));
        }
        if self.configs.len() >= CONFIGS_MAX && !self.configs.contains_key(&config.name) {
            let what = "named configurations in one mesh".into();
            return Err(Refusal::Limit { what, limit: CONFIGS_MAX as u64 });
        }
        config.validate().map_err(Refusal::InvalidPolicy)
    }

    pub(super) fn check_delete_config(&self, name: &ConfigName) -> Result<(), Refusal> {
        if is_predefined(name) {
            return Err(Refusal::PredefinedConfig(name.clone()));
        }
        self.config(name)?;
        let users = self.groups.values().filter(|group| group.group.config.as_ref() == Some(name));
        let groups: Vec<String> = users.map(|group| group.group.name.to_string()).collect();
        if groups.is_empty() { Ok(()) } else { Err(Refusal::ConfigInUse { name: name.clone(), groups }) }
    }

    pub(super) fn set_config(&mut self, config: &DeploymentConfig) {
        self.configs.insert(config.name.clone(), config.clone());
    }

    pub(super) fn delete_config(&mut self, name: &ConfigName) {
        self.configs.remove(name);
    }
}

//! Named deployment configurations as users see them.

use proto::id::ConfigName;
use proto::policy::{DeploymentConfig, PREDEFINED, Policy};
use proto::state::State;
use serde::{Deserialize, Serialize};

use crate::group_file::ConfigFile;

/// One configuration.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct ConfigView {
    pub(crate) name: String,
    /// Whether it means the same in every mesh, for ever.
    pub(crate) predefined: bool,
    /// What it says, in one line.
    pub(crate) says: String,
    /// The groups that follow it.
    pub(crate) groups: Vec<String>,
    /// As a file has it; none if it is predefined.
    pub(crate) definition: Option<ConfigFile>,
}

// The definition holds nothing that is not equal to itself.
impl Eq for ConfigView {}

/// All of them, the predefined first.
pub(crate) fn configs(state: &State) -> Vec<ConfigView> {
    let predefined = PREDEFINED.iter().map(|(name, minimum)| {
        let policy = Policy { minimum: *minimum, ..Policy::default() };
        let of_it = |group: &&proto::state::GroupState| {
            group.group.config.is_none() && group.group.policy.minimum == *minimum
        };
        let groups = state.groups().values().filter(of_it).map(|group| group.group.name.to_string());
        ConfigView {
            name: (*name).into(),
            predefined: true,
            says: policy.to_string(),
            groups: groups.collect(),
            definition: None,
        }
    });
    predefined.chain(state.configs().values().map(|config| own(state, config))).collect()
}

/// One of them.
pub(crate) fn config(state: &State, name: &ConfigName) -> Option<ConfigView> {
    configs(state).into_iter().find(|config| config.name == name.as_str())
}

fn own(state: &State, config: &DeploymentConfig) -> ConfigView {
    let mut policy = Policy::default();
    config.put_on(&mut policy);
    let users = state.groups().values().filter(|group| group.group.config.as_ref() == Some(&config.name));
    ConfigView {
        name: config.name.to_string(),
        predefined: false,
        says: policy.to_string(),
        groups: users.map(|group| group.group.name.to_string()).collect(),
        definition: Some(ConfigFile::of(config)),
    }
}

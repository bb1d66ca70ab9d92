//! Named deployment configurations, as users see them.

use std::collections::BTreeMap;

use proto::id::ConfigName;
use proto::policy::{DeploymentConfig, PREDEFINED, Policy};
use proto::state::{GroupState, State};
use serde::{Deserialize, Serialize};

use super::Why;
use super::mesh_view::impossible;
use crate::group_file::ConfigFile;

/// A named deployment configuration, as JSON.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct ConfigView {
    pub(crate) name: String,
    /// True for a predefined configuration, which has the same meaning in every mesh.
    pub(crate) predefined: bool,
    /// The settings, in one line.
    pub(crate) says: String,
    /// The groups that use it.
    pub(crate) groups: Vec<String>,
    /// The groups in which no deployment could run at present, and
    /// why. A group without hosts is not listed: it is only empty.
    #[serde(default)]
    pub(crate) impossible: BTreeMap<String, Why>,
    /// The content of its file; `None` if it is predefined.
    pub(crate) definition: Option<ConfigFile>,
}

// The definition contains no value that differs from itself, such as NaN.
impl Eq for ConfigView {}

/// Returns all configurations, the predefined first.
pub(crate) fn configs(state: &State) -> Vec<ConfigView> {
    let predefined = PREDEFINED.iter().map(|(name, minimum)| {
        let policy = Policy { minimum: *minimum, ..Policy::default() };
        let of_it =
            |group: &&GroupState| group.group.config.is_none() && group.group.policy.minimum == *minimum;
        let groups = state.groups().values().filter(of_it).map(|group| group.group.name.to_string());
        ConfigView {
            name: (*name).into(),
            predefined: true,
            says: policy.to_string(),
            groups: groups.collect(),
            impossible: BTreeMap::new(),
            definition: None,
        }
    });
    predefined.chain(state.configs().values().map(|config| own(state, config))).collect()
}

/// Returns the configuration with the given name.
pub(crate) fn config(state: &State, name: &ConfigName) -> Option<ConfigView> {
    configs(state).into_iter().find(|config| config.name == name.as_str())
}

fn own(state: &State, config: &DeploymentConfig) -> ConfigView {
    let mut policy = Policy::default();
    config.put_on(&mut policy);
    let follows = |known: &&GroupState| known.group.config.as_ref() == Some(&config.name);
    let users: Vec<&GroupState> = state.groups().values().filter(follows).collect();
    ConfigView {
        name: config.name.to_string(),
        predefined: false,
        says: policy.to_string(),
        groups: users.iter().map(|known| known.group.name.to_string()).collect(),
        impossible: users.iter().filter_map(|known| impossible_in(state, known)).collect(),
        definition: Some(ConfigFile::of(config)),
    }
}

fn impossible_in(state: &State, known: &GroupState) -> Option<(String, Why)> {
    let why = impossible(state, known)?;
    (!state.members_of(&known.group).is_empty()).then(|| (known.group.name.to_string(), why))
}

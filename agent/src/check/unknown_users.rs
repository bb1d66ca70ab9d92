//! Users and groups that an AppSpec file names but this host lacks.

use std::collections::BTreeMap;
use std::path::Path;

use nix::unistd::{Group, User};
use proto::appspec::{AppSpec, Mistake};

use crate::host_side::deployment::Event;
use crate::host_side::missing_users;

/// The place of a name: its line and key.
type Place = (usize, String);

/// Describes each owner and group that this host lacks, at its first mention.
pub(super) fn missing(appspec: &AppSpec) -> Vec<(Place, String)> {
    let (mut users, mut groups) = (BTreeMap::<&str, Place>::new(), BTreeMap::<&str, Place>::new());
    for (at, permission) in appspec.permissions.iter().enumerate() {
        let place = |what: &str| (permission.line, format!("permissions[{at}].{what}"));
        if let Some(owner) = &permission.owner {
            users.entry(owner).or_insert_with(|| place("owner"));
        }
        if let Some(group) = &permission.group {
            groups.entry(group).or_insert_with(|| place("group"));
        }
    }
    let users = users.into_iter().filter(|(name, _)| matches!(User::from_name(name), Ok(None)));
    let groups = groups.into_iter().filter(|(name, _)| matches!(Group::from_name(name), Ok(None)));
    let users = users.map(|(name, place)| (place, format!("there is no user `{name}` on this host")));
    let groups = groups.map(|(name, place)| (place, format!("there is no group `{name}` on this host")));
    users.chain(groups).collect()
}

/// Returns the scripts that cannot run here as the user that they name.
pub(super) fn cannot_run(file: &str, appspec: &AppSpec, top: &Path) -> Vec<Mistake> {
    let known = appspec.hooks.keys().map(|event| Event::Known(*event));
    let custom = appspec.custom_hooks.keys().map(|event| Event::Custom(event.clone()));
    missing_users(file, appspec, top, &known.chain(custom).collect::<Vec<Event>>())
}

//! Users and groups that an AppSpec file names and this host lacks.

use std::collections::BTreeMap;

use nix::unistd::{Group, User};
use proto::appspec::AppSpec;

/// Where a name stands: its line and key.
type Place = (usize, String);

/// Each name that this host lacks, where it stands first, in words.
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
    let known = appspec.hooks.iter().map(|(event, scripts)| (event.name(), scripts));
    let custom = appspec.custom_hooks.iter().map(|(event, scripts)| (event.as_str(), scripts));
    for (event, scripts) in known.chain(custom) {
        for (at, script) in scripts.iter().enumerate() {
            if let Some(user) = &script.runas {
                users.entry(user).or_insert_with(|| (script.line, format!("hooks.{event}[{at}].runas")));
            }
        }
    }
    let users = users.into_iter().filter(|(name, _)| matches!(User::from_name(name), Ok(None)));
    let groups = groups.into_iter().filter(|(name, _)| matches!(Group::from_name(name), Ok(None)));
    let users = users.map(|(name, place)| (place, format!("there is no user `{name}` on this host")));
    let groups = groups.map(|(name, place)| (place, format!("there is no group `{name}` on this host")));
    users.chain(groups).collect()
}

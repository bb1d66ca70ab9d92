//! `--override key=value`: settings of the group file for a single deployment.

use std::collections::BTreeMap;

use proto::policy::Policy;
use proto::suggest::nearest;

use super::GroupFileError;
use super::sections::{LookUp, Sections};
use crate::toml_file;

/// All keys, as `--override` takes them. Those of `[deployment]` have no section prefix.
const KEYS: [&str; 24] = [
    "config",
    "minimum_healthy",
    "turns_max",
    "file_exists",
    "ignore_application_stop_failures",
    "outdated_only",
    "mode",
    "start_timeout",
    "lost_after",
    "turn_timeout",
    "timeout",
    "bake",
    "attempts",
    "alarms",
    "canary.enabled",
    "canary.hosts",
    "canary.bake",
    "zones.enabled",
    "zones.minimum_healthy",
    "zones.bake",
    "zones.first_bake",
    "zones.order",
    "rollback.enabled",
    "rollback.on",
];

/// The keys whose value is a list.
const LISTS: [&str; 2] = ["zones.order", "rollback.on"];

/// Returns the policy of one deployment: the group's, with the overrides applied.
/// # Errors
/// Names the key that is unknown or has an invalid value, or the two that contradict each other.
pub(crate) fn with_overrides(
    policy: &Policy,
    overrides: &BTreeMap<String, String>,
    look_up: LookUp<'_>,
) -> Result<Policy, GroupFileError> {
    let mut lines: BTreeMap<&str, String> = BTreeMap::new();
    for (key, value) in overrides {
        let line = line_of(key, value)?;
        // Parse it alone first, so that an error names its key.
        parse(&document(&BTreeMap::from([(section_of(key), line.clone())])), key)?;
        lines.entry(section_of(key)).or_default().push_str(&line);
    }
    let all = overrides.keys().cloned().collect::<Vec<_>>().join("`, `");
    let mut policy = policy.clone();
    parse(&document(&lines), &all)?.put_on(&mut policy, look_up).map_err(as_typed)?;
    Ok(policy)
}

fn section_of(key: &str) -> &str {
    key.split_once('.').map_or("deployment", |(section, _)| section)
}

fn line_of(key: &str, value: &str) -> Result<String, GroupFileError> {
    if !KEYS.contains(&key) {
        let problem = match nearest(key, KEYS) {
            Some(meant) => format!("unknown key; did you mean `{meant}`?"),
            None => format!("unknown key; there are {}", KEYS.join(", ")),
        };
        return Err(GroupFileError::Override { key: key.chars().take(100).collect(), problem });
    }
    let name = key.split_once('.').map_or(key, |(_, name)| name);
    Ok(format!("{name} = {}\n", as_toml(key, value)))
}

fn document(lines: &BTreeMap<&str, String>) -> String {
    lines.iter().map(|(section, lines)| format!("[{section}]\n{lines}")).collect()
}

fn parse(text: &str, key: &str) -> Result<Sections, GroupFileError> {
    toml::from_str(text).map_err(|error| GroupFileError::Override {
        key: key.to_string(),
        problem: toml_file::with_suggestion(error.message()),
    })
}

/// Converts a value from the command line, where people do not quote, to TOML: a word becomes a
/// string, and comma-separated words become a list where one is expected.
fn as_toml(key: &str, value: &str) -> String {
    let quoted = |text: &str| toml::Value::String(text.trim().to_string()).to_string();
    if LISTS.contains(&key) {
        let words: Vec<String> =
            value.split(',').filter(|word| !word.trim().is_empty()).map(quoted).collect();
        return format!("[{}]", words.join(", "));
    }
    if value == "true" || value == "false" || value.parse::<u32>().is_ok() {
        return value.to_string();
    }
    quoted(value)
}

/// Replaces an error about TOML quotes with one that fits the command line. A
/// share that can be read is left to the policy's own error.
fn as_typed(error: GroupFileError) -> GroupFileError {
    if let GroupFileError::Amount { key, value } = &error
        && value.strip_suffix('%').is_none_or(|share| share.trim().parse::<u32>().is_err())
    {
        let problem = format!("invalid minimum `{value}`: write 75% or 6");
        return GroupFileError::Override { key: (*key).into(), problem };
    }
    error
}

//! The difference that setting a group again would make: changed settings, and
//! safeguards that would be gone.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;
use serde_json::Value;

use crate::group_file::GroupFile;

/// A setting before and after.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(super) struct Change {
    pub(super) key: String,
    /// `None` if it is new.
    pub(super) from: Option<Value>,
    /// `None` if it is removed.
    pub(super) to: Option<Value>,
}

/// All differences between two definitions of a group.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub(super) struct Difference {
    pub(super) changes: Vec<Change>,
    /// The safeguards that would be gone: a health check, an alarm, a trigger, a
    /// canary, zones, a reason to roll back.
    pub(super) drops: Vec<String>,
}

/// The sections that are safeguards.
const WATCHFUL: [&str; 5] = ["health", "canary", "zones", "alarm", "trigger"];
/// The key of the reasons to roll back.
const ROLLBACK_ON: &str = "rollback.on";

impl Difference {
    /// Compares two group files in which every setting is written out.
    pub(super) fn between(before: &GroupFile, after: &GroupFile) -> Result<Self, serde_json::Error> {
        let (before, after) = (settings(before)?, settings(after)?);
        let keys: BTreeSet<&String> = before.keys().chain(after.keys()).collect();
        let change = |key: &&String| Change {
            key: (*key).clone(),
            from: before.get(*key).cloned(),
            to: after.get(*key).cloned(),
        };
        let changes = keys.iter().map(change).filter(|change| change.from != change.to).collect();
        Ok(Difference { changes, drops: drops(&before, &after) })
    }

    /// Formats one line per change.
    pub(super) fn words(&self) -> String {
        let line = |change: &Change| match (&change.from, &change.to) {
            (Some(from), Some(to)) => format!("  ~ {} = {from} -> {to}\n", change.key),
            (None, Some(to)) => format!("  + {} = {to}\n", change.key),
            (Some(from), None) => format!("  - {} = {from}\n", change.key),
            (None, None) => String::new(),
        };
        self.changes.iter().map(line).collect()
    }
}

fn drops(before: &BTreeMap<String, Value>, after: &BTreeMap<String, Value>) -> Vec<String> {
    let parts = |settings: &BTreeMap<String, Value>| -> BTreeSet<String> {
        settings.keys().filter_map(|key| part(key)).collect()
    };
    let mut drops: Vec<String> = parts(before).difference(&parts(after)).cloned().collect();
    let reasons = |settings: &BTreeMap<String, Value>| -> BTreeSet<String> {
        let on = settings.get(ROLLBACK_ON).and_then(Value::as_array);
        on.into_iter().flatten().map(Value::to_string).collect()
    };
    drops.extend(reasons(before).difference(&reasons(after)).map(|reason| format!("rollback on {reason}")));
    drops
}

/// Returns the safeguard that a setting belongs to, such as `health` or `alarm.error-rate`.
fn part(key: &str) -> Option<String> {
    let mut words = key.split('.');
    let section = words.next().filter(|section| WATCHFUL.contains(section))?;
    match section {
        "alarm" | "trigger" => Some(format!("{section}.{}", words.next()?)),
        _ => Some(section.to_owned()),
    }
}

/// Returns each setting by its dotted key; alarms and triggers by their names.
fn settings(file: &GroupFile) -> Result<BTreeMap<String, Value>, serde_json::Error> {
    let mut found = BTreeMap::new();
    collect("", serde_json::to_value(file)?, &mut found);
    Ok(found)
}

fn collect(key: &str, value: Value, found: &mut BTreeMap<String, Value>) {
    let below = |name: &str| if key.is_empty() { name.to_owned() } else { format!("{key}.{name}") };
    match value {
        Value::Object(fields) => {
            fields.into_iter().for_each(|(name, value)| collect(&below(&name), value, found));
        }
        Value::Array(all) if all.iter().any(|one| one["name"].is_string()) => {
            for one in all {
                let name = one["name"].as_str().unwrap_or_default().to_owned();
                collect(&below(&name), one, found);
            }
        }
        value @ (Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_)) => {
            found.insert(key.to_owned(), value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: &str = "application = \"hello\"\nname = \"prod\"\ntags = [[\"role=web\"]]\n";

    fn file(more: &str) -> GroupFile {
        let typed: GroupFile = toml::from_str(&format!("{HEAD}{more}")).expect("a group file");
        GroupFile::of(&typed.group().expect("a group"))
    }

    fn check(before: &str, after: &str, lines: &[&str], drops: &[&str]) {
        let found = Difference::between(&file(before), &file(after)).expect("JSON");
        assert_eq!(found.words().lines().map(str::trim).collect::<Vec<_>>(), lines, "{before} to {after}");
        assert_eq!(found.drops, drops, "{before} to {after}");
    }

    #[test]
    fn each_setting_that_differs_is_told_and_what_would_watch_no_longer() {
        check("", "", &[], &[]);
        check(
            "[deployment]\nconfig = \"OneAtATime\"",
            "[deployment]\nconfig = \"AllAtOnce\"",
            &["~ deployment.config = \"OneAtATime\" -> \"AllAtOnce\""],
            &[],
        );
        let pager = "[[alarm]]\nname = \"pager\"\n";
        check("", pager, &["+ alarm.pager.name = \"pager\""], &[]);
        check(pager, "", &["- alarm.pager.name = \"pager\""], &["alarm.pager"]);
        let on = "[rollback]\non = [\"failure\", \"alarm\"]";
        let less = "[rollback]\non = [\"failure\"]";
        let line = "~ rollback.on = [\"failure\",\"alarm\"] -> [\"failure\"]";
        check(on, less, &[line], &["rollback on \"alarm\""]);
    }

    #[test]
    fn a_health_check_that_the_new_file_lacks_is_a_drop() {
        let checked = file("[health]\ntcp = \"127.0.0.1:80\"");
        let found = Difference::between(&checked, &file("")).expect("JSON");
        assert_eq!(found.drops, ["health"]);
        assert!(found.words().contains("- health.tcp = \"127.0.0.1:80\""), "{}", found.words());
        let other = file("[health]\ntcp = \"127.0.0.1:81\"");
        assert!(Difference::between(&checked, &other).expect("JSON").drops.is_empty());
    }
}

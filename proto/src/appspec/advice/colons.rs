//! Finds colons that are missing, are not followed by a blank, or are part of a
//! value.

use super::said;
use crate::lifecycle::LifecycleEvent;

/// All keys of an AppSpec file except the events.
const KEYS: [&str; 21] = [
    "version",
    "os",
    "files",
    "file_exists_behavior",
    "permissions",
    "hooks",
    "source",
    "destination",
    "location",
    "timeout",
    "runas",
    "sudo",
    "object",
    "pattern",
    "except",
    "type",
    "mode",
    "owner",
    "group",
    "acls",
    "context",
];

/// Looks at the line, and at the one above: the parser may notice a mistake only
/// one line later.
pub(super) fn on_syntax(text: &str, line: usize) -> Option<String> {
    let near = || said(text).filter(|said| said.number <= line && said.number + 2 > line);
    near()
        .find_map(|said| without_blank(said.text))
        .or_else(|| near().find_map(|said| without_colon(said.text)))
        .or_else(|| near().rev().find_map(|said| colon_in_value(said.text)))
}

/// Finds a key whose colon is not followed by a blank: YAML reads both as one word.
pub(crate) fn without_blank(line: &str) -> Option<String> {
    let line = line.trim_start_matches('-').trim();
    let (key, value) = line.split_once(':')?;
    let is_one_word = !value.is_empty() && !value.starts_with(char::is_whitespace);
    (is_key(key) && is_one_word)
        .then(|| format!("`{line}` lacks a blank after the colon: write `{key}: {value}`"))
}

fn without_colon(line: &str) -> Option<String> {
    let key = line.trim_start_matches('-').trim();
    is_key(key).then(|| format!("`{key}` lacks a colon: write `{key}:`"))
}

fn colon_in_value(line: &str) -> Option<String> {
    let line = line.trim_start_matches('-').trim();
    let (key, value) = line.split_once(": ")?;
    let value = value.trim();
    let is_quoted = value.starts_with(['"', '\'', '[', '{']);
    let has_colon = value.contains(": ") || value.ends_with(':');
    (is_key(key) && !is_quoted && has_colon).then(|| {
        format!("the value of `{key}` has a colon in it, so it needs quotes: write `{key}: \"{value}\"`")
    })
}

fn is_key(text: &str) -> bool {
    KEYS.contains(&text) || text.parse::<LifecycleEvent>().is_ok()
}

//! Reads `files`: what to copy where.

use super::FileMapping;
use super::reader::{Cursor, Map, Reader};

const KEYS: [&str; 2] = ["source", "destination"];
const EXAMPLE: &str = "- source: /app";

pub(super) fn read(reader: &mut Reader, top: &Map<'_>) -> Vec<FileMapping> {
    let Some(files) = top.given("files") else { return Vec::new() };
    let items = files.list(reader, EXAMPLE);
    items.iter().filter_map(|item| mapping(reader, item)).collect()
}

fn mapping(reader: &mut Reader, item: &Cursor<'_>) -> Option<FileMapping> {
    let map = item.map(reader, "`source` and `destination`")?;
    map.warn_unknown(reader, &KEYS, |key| Some(misplaced(key)?.to_owned()));
    let source = map.require(reader, "source", &KEYS, "a path in the bundle, `/` for all of it");
    let source = source.and_then(|source| inside_bundle(reader, source));
    let destination = map.require(reader, "destination", &KEYS, "the directory on the host to copy into");
    let destination = destination.and_then(|destination| {
        let text = destination.strict_text(reader)?;
        let text = destination.path_text(reader, text)?;
        odd_path(reader, destination, text);
        Some(text.to_owned())
    });
    Some(FileMapping { source: source?, destination: destination?, line: item.line() })
}

/// Warns of a path on the host that depends on the agent's user, or on where the
/// agent was started.
pub(super) fn odd_path(reader: &mut Reader, path: &Cursor<'_>, text: &str) {
    let problem = if text == "~" || text.starts_with("~/") {
        let home = "the home directory of the user that the agent runs as, which is root's as a rule";
        format!("`~` is {home}: write a full path, or `~NAME/…` for another user's")
    } else if !text.starts_with('/') && !text.starts_with('~') {
        format!(
            "`{text}` is relative to wherever the agent was started: write a full path, such as `/srv/app`"
        )
    } else {
        return;
    };
    path.warning(reader, problem);
}

/// Explains keys that people write here, but that belong elsewhere.
fn misplaced(key: &str) -> Option<&'static str> {
    match key {
        "overwrite" => {
            Some("ignored here: write `file_exists_behavior: OVERWRITE` at the top level of the file")
        }
        "mode" | "owner" | "group" | "permissions" | "acls" => Some(
            "ignored here: write an entry of `permissions`, at the top level of the file, whose `object` is \
             the destination",
        ),
        _ => None,
    }
}

/// Returns a path below the bundle's top, without redundant slashes and dots.
pub(super) fn inside_bundle(reader: &mut Reader, path: &Cursor<'_>) -> Option<String> {
    let text = path.strict_text(reader)?;
    let text = path.path_text(reader, text)?;
    let parts = relative(text);
    if parts.is_none() {
        path.mistake(
            reader,
            format!("`{text}` leaves the bundle: a path may not go above its top with `..`"),
        );
    }
    parts
}

/// Normalises a relative path. Returns `None` if it leaves its start, even if it
/// comes back.
pub(super) fn relative(path: &str) -> Option<String> {
    let mut parts = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop()?;
            }
            part => parts.push(part),
        }
    }
    Some(parts.join("/"))
}

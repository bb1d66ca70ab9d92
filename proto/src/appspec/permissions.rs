//! Reads `permissions`: modes, owners and so on of copied files.

use super::access;
use super::reader::{Cursor, Map, Reader};
use super::{FileMapping, Permission, files};

const KEYS: [&str; 9] = ["object", "pattern", "except", "type", "mode", "owner", "group", "acls", "context"];
const EXAMPLE: &str = "- object: /srv/app";

pub(super) fn read(reader: &mut Reader, top: &Map<'_>, files: &[FileMapping]) -> Vec<Permission> {
    let Some(permissions) = top.given("permissions") else { return Vec::new() };
    let items = permissions.list(reader, EXAMPLE);
    let permissions = items.iter().filter_map(|item| {
        let permission = permission(reader, item)?;
        useless(reader, item, &permission, files);
        Some(permission)
    });
    permissions.collect()
}

/// Warns of an entry that changes nothing, which is not written on purpose.
fn useless(reader: &mut Reader, item: &Cursor<'_>, permission: &Permission, files: &[FileMapping]) {
    let Permission { object, pattern, except, mode, owner, group, acls, context, .. } = permission;
    if mode.is_none() && owner.is_none() && group.is_none() && acls.is_empty() && context.is_none() {
        let problem = "changes nothing: it has none of `mode`, `owner`, `group`, `acls` and `context`";
        item.warning(reader, problem.to_owned());
    }
    if !files.iter().any(|mapping| may_meet(object, &mapping.destination)) {
        let problem = format!(
            "changes nothing: `{object}` is neither above nor below a destination of `files`, and only what is \
             installed gets permissions"
        );
        item.warning(reader, problem);
    }
    let is_stars = pattern.len() > 2 && pattern.bytes().all(|byte| byte == b'*');
    if is_stars || pattern.contains('/') || except.iter().any(|except| except.contains('/')) {
        let problem = "`pattern` and `except` are held against the names directly inside `object`, which have no \
                       slash; everything below it, at any depth, is `pattern: \"**\"`";
        item.warning(reader, problem.to_owned());
    }
}

/// Returns true if the paths may be the same, or one may be above the other. For
/// relative paths this is not known, so they may.
fn may_meet(object: &str, destination: &str) -> bool {
    let parts = |path: &str| -> Option<Vec<String>> {
        let is_known = path.starts_with('/') && !path.split('/').any(|part| part == "..");
        let parts = path.split('/').filter(|part| !part.is_empty() && *part != ".");
        is_known.then(|| parts.map(str::to_owned).collect())
    };
    match (parts(object), parts(destination)) {
        (Some(object), Some(destination)) => object.iter().zip(&destination).all(|(one, other)| one == other),
        (None, _) | (_, None) => true,
    }
}

fn permission(reader: &mut Reader, item: &Cursor<'_>) -> Option<Permission> {
    let map = item.map(reader, "`object` and what it is to have, such as `mode`")?;
    map.warn_unknown(reader, &KEYS, |_| None);
    let object = map.require(reader, "object", &KEYS, "the file or directory on the host");
    let object = object.and_then(|object| {
        let text = object.text(reader)?.trim();
        let text = object.path_text(reader, text)?;
        if text.is_empty() {
            object.mistake(reader, "blank: name the file or directory on the host".to_owned());
        } else {
            files::odd_path(reader, object, text);
        }
        Some(text.to_owned())
    });
    let pattern = match map.given("pattern") {
        Some(pattern) => pattern.text(reader).map(str::to_owned),
        None => Some("**".to_owned()),
    };
    let (files, directories) = types(reader, &map);
    let acls = texts(reader, &map, "acls", "acls: [\"u:deploy:rw\"]");
    let permission = Permission {
        object: object?,
        pattern: pattern?,
        except: texts(reader, &map, "except", "except: [\"secret.key\"]")
            .into_iter()
            .map(|(text, _)| text.to_owned())
            .collect(),
        files,
        directories,
        mode: map.given("mode").and_then(|mode| self::mode(reader, mode)),
        owner: map.given("owner").and_then(|owner| name(reader, owner)),
        group: map.given("group").and_then(|group| name(reader, group)),
        acls: acls.into_iter().filter_map(|(text, item)| access::ace(reader, &item, text)).collect(),
        context: map.given("context").and_then(|context| access::context(reader, context)),
        line: item.line(),
    };
    base_entries(reader, &map, &permission);
    Some(permission)
}

/// Refuses entries that set the object's own mode, as the official agent does:
/// `mode` is the way to say that.
fn base_entries(reader: &mut Reader, map: &Map<'_>, permission: &Permission) {
    if let Some(acls) = map.given("acls")
        && permission.acls.iter().any(|ace| !ace.default && ace.is_base())
    {
        let problem = "the owner's, the owning group's and the others' own entries are set by `mode`: \
                       name a user or group, or write `mode`";
        acls.mistake(reader, problem.to_owned());
    }
}

/// Reads octal digits, as in `chmod`. A YAML reader would turn 0644 into the number
/// 420, and the official agent then sets 0420. So we read the text as written.
fn mode(reader: &mut Reader, mode: &Cursor<'_>) -> Option<u32> {
    let text = mode.text(reader)?;
    if (1..=4).contains(&text.len())
        && let Ok(bits) = u32::from_str_radix(text, 8)
        && text.bytes().all(|digit| digit.is_ascii_digit())
    {
        return Some(bits);
    }
    mode.mistake(reader, format!("invalid mode `{text}`: write up to four digits 0-7, for example 0644"));
    None
}

fn name(reader: &mut Reader, name: &Cursor<'_>) -> Option<String> {
    let text = name.text(reader)?;
    if name.number().is_some() {
        name.mistake(reader, format!("{text} is a number: owners and groups are given by name"));
        return None;
    }
    Some(text.to_owned())
}

fn types(reader: &mut Reader, map: &Map<'_>) -> (bool, bool) {
    let given = texts(reader, map, "type", "type: [file]");
    if map.given("type").is_none() {
        return (true, true);
    }
    for (text, item) in &given {
        if !["file", "directory"].contains(text) {
            item.mistake(reader, format!("`{text}` is neither file nor directory"));
        }
    }
    let has = |wanted| given.iter().any(|(text, _)| *text == wanted);
    (has("file"), has("directory"))
}

fn texts<'t>(reader: &mut Reader, map: &Map<'t>, key: &str, example: &str) -> Vec<(&'t str, Cursor<'t>)> {
    let Some(list) = map.given(key) else { return Vec::new() };
    let items = list.list(reader, example);
    items.into_iter().filter_map(|item| Some((item.text(reader)?, item))).collect()
}

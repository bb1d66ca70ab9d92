//! Finds the installed objects that each entry of `permissions` selects.
//!
//! A link is followed only to something that the same installation created. The official agent
//! follows any link.

use std::collections::HashMap;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use proto::appspec::{Permission, SeContext};
use serde_json::{Value, json};

use super::access_list::{self, Entry};
use super::expand::{absolute, normal};
use super::file_plan::{Step, text};
use super::problem::Problem;
use super::selinux;

/// The changes of one entry to one file, directory or link.
#[derive(Clone, Debug)]
pub(super) struct Change {
    /// The path, as `permissions` selects it.
    pub(super) path: PathBuf,
    /// The path to change: the target if `path` is a link to something that this
    /// installation creates, and `path` itself otherwise.
    pub(super) at: PathBuf,
    pub(super) is_directory: bool,
    pub(super) mode: Option<u32>,
    /// The owner's name and id.
    pub(super) owner: Option<(String, u32)>,
    pub(super) group: Option<(String, u32)>,
    /// The complete access control list; empty if it is not to have one.
    pub(super) acl: Vec<Entry>,
    pub(super) context: Option<SeContext>,
}

impl Change {
    /// Formats the changes in the official agent's form, in the order in which they are made.
    pub(super) fn to_json(&self) -> Vec<Value> {
        let file = text(&self.path);
        let mode = self.mode.map(|mode| json!({"type": "chmod", "mode": format!("{mode:o}"), "file": file}));
        let acl = self.acl.iter().map(Entry::text).collect::<Vec<_>>();
        let acl = (!acl.is_empty()).then(|| json!({"type": "setfacl", "acl": acl, "file": file}));
        let context = self.context.as_ref().map(|SeContext { name, type_, range }| {
            let context = json!({"user": name, "role": null, "type": type_, "range": range});
            json!({"type": "semanage", "context": context, "file": file})
        });
        let name = |id: &Option<(String, u32)>| id.as_ref().map(|(name, _)| name.clone());
        let owned = self.owner.is_some() || self.group.is_some();
        let (owner, group) = (name(&self.owner), name(&self.group));
        let owner = owned.then(|| json!({"type": "chown", "owner": owner, "group": group, "file": file}));
        mode.into_iter().chain(acl).chain(context).chain(owner).collect()
    }
}

/// Applies `permissions` to the objects that `steps` create, and to nothing else:
/// what existed before is not ours to change.
pub(super) fn select(permissions: &[Permission], steps: &[Step], problems: &mut Vec<Problem>) -> Vec<Change> {
    let mut changes = Vec::new();
    let mut lines: HashMap<PathBuf, usize> = HashMap::new();
    let made: HashMap<&PathBuf, &Step> =
        steps.iter().filter_map(|step| Some((step.file().or(step.directory())?, step))).collect();
    for permission in permissions {
        let ids = (user(permission, problems), group(permission, problems));
        let acl = access_list::entries(permission, problems);
        if permission.context.is_some() && !selinux::is_there() {
            problems.push(Problem::NoSeLinux { line: permission.line });
        }
        for path in matching(permission, steps, problems) {
            if let Some(first) = lines.insert(path.clone(), permission.line) {
                let second = permission.line;
                problems.push(Problem::PermissionTwice { path: path.clone(), first, second });
            }
            let at = match target(&path, &made) {
                Target::Laid(at) => at,
                Target::Elsewhere(target) if is_named(permission, &path) => {
                    let (path, target, line) = (path.clone(), text(&target), permission.line);
                    problems.push(Problem::LinkLeads { path, target, line });
                    continue;
                }
                // For a pattern that selects a link which leads out, change the link itself.
                Target::Elsewhere(_) => path.clone(),
            };
            let is_directory = made.get(&at).is_some_and(|step| step.directory().is_some());
            if acl.iter().any(Entry::is_default) && !is_directory {
                problems.push(Problem::DefaultOnFile { path: path.clone(), line: permission.line });
            }
            let ((owner, group), acl, context) = (ids.clone(), acl.clone(), permission.context.clone());
            changes.push(Change {
                path,
                at,
                is_directory,
                mode: permission.mode,
                owner,
                group,
                acl,
                context,
            });
        }
    }
    changes
}

/// Returns true if the entry names this path, and not only a directory above it.
fn is_named(permission: &Permission, path: &Path) -> bool {
    absolute(&permission.object).is_some_and(|object| object == path)
}

/// The target of a path in this installation.
enum Target {
    /// An object that this installation creates and that is not a link.
    Laid(PathBuf),
    /// Anything else on the host, or nothing. This installation must not change it.
    Elsewhere(PathBuf),
}

/// Follows a link through the objects that the steps create.
fn target(path: &Path, made: &HashMap<&PathBuf, &Step>) -> Target {
    /// The number of links in a row that Linux follows.
    const LINKS_MAX: usize = 40;
    let mut at = path.to_owned();
    for _ in 0..LINKS_MAX {
        let link = match made.get(&at) {
            None => break,
            Some(Step::Copy(copy)) if copy.is_link => copy,
            Some(Step::Mkdir { .. } | Step::Copy(_)) => return Target::Laid(at),
        };
        let Ok(target) = std::fs::read_link(&link.source) else { break };
        at = normal(&at.with_file_name("").join(target));
    }
    Target::Elsewhere(at)
}

/// Returns the selected files, then the directories, each in the order of the steps.
fn matching(permission: &Permission, steps: &[Step], problems: &mut Vec<Problem>) -> Vec<PathBuf> {
    let Some(object) = absolute(&permission.object) else { return Vec::new() };
    let files = || steps.iter().filter_map(Step::file);
    let directories = || steps.iter().filter_map(Step::directory);
    if files().any(|file| *file == object) {
        if !permission.files {
            return Vec::new();
        }
        if permission.pattern != "**" || !permission.except.is_empty() {
            let object = permission.object.clone();
            problems.push(Problem::PatternOnFile { object, line: permission.line });
        }
        return vec![object];
    }
    let mut found = Vec::new();
    if permission.files {
        let files = files().filter(|file| is_below(&object, file, permission));
        found.extend(files.cloned());
    }
    if permission.directories {
        let directories = directories().filter(|directory| is_below(&object, directory, permission));
        found.extend(directories.cloned());
    }
    found
}

/// Returns true if the entry selects the path. Patterns and exceptions apply to
/// names directly inside the object; only `**` goes deeper, and exceptions do not
/// apply there. The object itself is never selected.
fn is_below(object: &Path, path: &Path, permission: &Permission) -> bool {
    let Ok(below) = path.strip_prefix(object) else { return false };
    let mut names = below.iter();
    let Some(name) = names.next() else { return false };
    let is_direct = names.next().is_none();
    let everything = permission.pattern == "**";
    if !is_direct {
        return everything;
    }
    let name = name.as_bytes();
    let excepted = permission.except.iter().any(|except| matches(except.as_bytes(), name));
    !excepted && (everything || matches(permission.pattern.as_bytes(), name))
}

/// Matches a name against a pattern in which `*` stands for any run of bytes.
fn matches(pattern: &[u8], name: &[u8]) -> bool {
    let (mut at, mut in_name) = (0, 0);
    let mut last_star = None;
    while in_name < name.len() {
        if pattern.get(at) == Some(&b'*') {
            last_star = Some((at, in_name));
            at += 1;
        } else if pattern.get(at) == Some(&name[in_name]) {
            (at, in_name) = (at + 1, in_name + 1);
        } else if let Some((star, from)) = last_star {
            // Let the last star match one byte more; earlier stars need not change.
            (at, in_name) = (star + 1, from + 1);
            last_star = Some((star, from + 1));
        } else {
            return false;
        }
    }
    pattern[at..].iter().all(|byte| *byte == b'*')
}

fn user(permission: &Permission, problems: &mut Vec<Problem>) -> Option<(String, u32)> {
    let name = permission.owner.clone()?;
    match nix::unistd::User::from_name(&name) {
        Ok(Some(user)) => Some((name, user.uid.as_raw())),
        Ok(None) | Err(_) => {
            problems.push(Problem::NoUser { name, line: permission.line });
            None
        }
    }
}

fn group(permission: &Permission, problems: &mut Vec<Problem>) -> Option<(String, u32)> {
    let name = permission.group.clone()?;
    match nix::unistd::Group::from_name(&name) {
        Ok(Some(group)) => Some((name, group.gid.as_raw())),
        Ok(None) | Err(_) => {
            problems.push(Problem::NoGroup { name, line: permission.line });
            None
        }
    }
}

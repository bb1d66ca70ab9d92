//! The access control lists that an AppSpec file sets on files and directories.

use std::fs::File;
use std::io;
use std::os::unix::fs::MetadataExt;

use nix::errno::Errno;
use proto::appspec::{Ace, AceKind, Permission};
use rustix::fs::XattrFlags;

use super::problem::Problem;
use crate::posix_acl::{ACCESS, Row, Tag, encode};

/// One entry, with its name resolved to an id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    is_default: bool,
    tag: Tag,
    /// The id of a named user or group; `None` for other entries.
    id: Option<u32>,
    bits: u8,
    name: String,
}

/// Resolves the names in the entries of one permission.
pub(super) fn entries(permission: &Permission, problems: &mut Vec<Problem>) -> Vec<Entry> {
    let entry = |ace: &Ace| match look_up(ace, permission.line) {
        Ok((tag, id, name)) => {
            Some(Entry { is_default: ace.default, tag, id, bits: ace.bits, name: name.to_owned() })
        }
        Err(problem) => {
            problems.push(problem);
            None
        }
    };
    permission.acls.iter().filter_map(entry).collect()
}

/// Resolves a name; a number is accepted too, as by `setfacl`.
fn look_up(ace: &Ace, line: usize) -> Result<(Tag, Option<u32>, &str), Problem> {
    match &ace.kind {
        AceKind::User(name) if name.is_empty() => Ok((Tag::Owner, None, "")),
        AceKind::Group(name) if name.is_empty() => Ok((Tag::OwningGroup, None, "")),
        AceKind::Mask => Ok((Tag::Mask, None, "")),
        AceKind::Other => Ok((Tag::Other, None, "")),
        AceKind::User(name) => {
            let user = nix::unistd::User::from_name(name).ok().flatten().map(|user| user.uid.as_raw());
            let user = user.or_else(|| name.parse().ok());
            Ok((Tag::User, Some(user.ok_or_else(|| Problem::NoUser { name: name.clone(), line })?), name))
        }
        AceKind::Group(name) => {
            let group = nix::unistd::Group::from_name(name).ok().flatten().map(|group| group.gid.as_raw());
            let group = group.or_else(|| name.parse().ok());
            Ok((Tag::Group, Some(group.ok_or_else(|| Problem::NoGroup { name: name.clone(), line })?), name))
        }
    }
}

impl Entry {
    /// Returns true if the entry is a default for new files below a directory.
    pub(super) fn is_default(&self) -> bool {
        self.is_default
    }

    /// Formats the entry in the official agent's form.
    pub(super) fn text(&self) -> String {
        let default = if self.is_default { "default:" } else { "" };
        let kind = match self.tag {
            Tag::Owner | Tag::User => "user",
            Tag::OwningGroup | Tag::Group => "group",
            Tag::Mask => "mask",
            Tag::Other => "other",
        };
        let bit = |bit, letter| if self.bits & bit != 0 { letter } else { '-' };
        format!("{default}{kind}:{}:{}{}{}", self.name, bit(4, 'r'), bit(2, 'w'), bit(1, 'x'))
    }
}

/// Sets exactly these entries on an open file or directory. Required entries that
/// are missing come from its mode.
pub(super) fn set(object: &File, entries: &[Entry]) -> io::Result<()> {
    let mode = object.metadata()?.mode();
    let of = |is_default| entries.iter().filter(move |entry| entry.is_default == is_default);
    write(object, ACCESS, &encode(&complete(of(false), mode)))?;
    if of(true).next().is_some() {
        return write(object, c"system.posix_acl_default", &encode(&complete(of(true), mode)));
    }
    // Remove an inherited default list, which would continue below the directory.
    match rustix::fs::fremovexattr(object, c"system.posix_acl_default") {
        Ok(()) | Err(rustix::io::Errno::NODATA | rustix::io::Errno::OPNOTSUPP) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

fn write(object: &File, name: &std::ffi::CStr, value: &[u8]) -> io::Result<()> {
    let written = rustix::fs::fsetxattr(object, name, value, XattrFlags::empty());
    written.map_err(|error| match error {
        rustix::io::Errno::OPNOTSUPP => {
            io::Error::new(io::ErrorKind::Unsupported, "this file system has no access control lists")
        }
        error => Errno::from_raw(error.raw_os_error()).into(),
    })
}

/// Adds the three entries that every list has, and the mask that a list with names has.
fn complete<'e>(given: impl Iterator<Item = &'e Entry>, mode: u32) -> Vec<Row> {
    let bits = |shift: u32| u8::try_from(mode >> shift & 7).unwrap_or(7);
    let mut rows: Vec<Row> = Vec::new();
    for entry in given {
        // Of two entries for the same subject the later counts, as with `setfacl`.
        rows.retain(|(tag, id, _)| (*tag, *id) != (entry.tag, entry.id));
        rows.push((entry.tag, entry.id, entry.bits));
    }
    let has_names = rows.iter().any(|(_, id, _)| id.is_some());
    let mut base = vec![(Tag::Owner, bits(6)), (Tag::OwningGroup, bits(3)), (Tag::Other, bits(0))];
    if has_names {
        base.push((Tag::Mask, bits(3)));
    }
    for (tag, bits) in base {
        if !rows.iter().any(|(given, _, _)| *given == tag) {
            rows.push((tag, None, bits));
        }
    }
    rows.sort();
    rows
}

#[cfg(test)]
mod tests;

//! Lists the files on the disk, one per line, in the form of the recordings.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use serde_json::json;

pub(crate) fn entry_line(path: &Path, below: &Path, wants_acl: bool) -> String {
    let metadata = path.symlink_metadata().expect("there");
    let kind = match metadata.file_type() {
        kind if kind.is_dir() => "dir",
        kind if kind.is_symlink() => "symlink",
        _ => "file",
    };
    let user = nix::unistd::User::from_uid(metadata.uid().into()).ok().flatten();
    let group = nix::unistd::Group::from_gid(metadata.gid().into()).ok().flatten();
    let user = user.map_or_else(|| metadata.uid().to_string(), |user| user.name);
    let group = group.map_or_else(|| metadata.gid().to_string(), |group| group.name);
    let mode = metadata.mode() & 0o7777;
    let mut line = format!("{kind} {mode:04o} {user}:{group} {}", below.display());
    if kind == "symlink" {
        line += &format!(" -> {}", fs::read_link(path).expect("a link").display());
    }
    if kind == "file" {
        if metadata.nlink() > 1 {
            line += &format!(" ({} links)", metadata.nlink());
        }
        let text = fs::read(path).expect("readable");
        line += &format!(" = {}", json!(String::from_utf8_lossy(&text)));
    }
    if wants_acl {
        line += &format!(" acl {}", access_list(path, metadata.mode()));
    }
    line
}

/// Returns the output of `getfacl`, which not every machine has.
fn access_list(path: &Path, mode: u32) -> String {
    let read = |name: &str| {
        let mut value = [0; 1024];
        let length = rustix::fs::getxattr(path, name, &mut value[..]).ok()?;
        Some(value[4..length].chunks(8).map(ace).collect::<Vec<_>>())
    };
    let letters = |bits: u32| {
        let bit = |bit, letter| if bits & bit != 0 { letter } else { '-' };
        format!("{}{}{}", bit(4, 'r'), bit(2, 'w'), bit(1, 'x'))
    };
    let base = || {
        let bits = |shift: u32| letters(mode >> shift & 7);
        vec![format!("user::{}", bits(6)), format!("group::{}", bits(3)), format!("other::{}", bits(0))]
    };
    let mut entries = read("system.posix_acl_access").unwrap_or_else(base);
    let default = read("system.posix_acl_default").unwrap_or_default();
    entries.extend(default.iter().map(|entry| format!("default:{entry}")));
    entries.join(",")
}

fn ace(bytes: &[u8]) -> String {
    let number = |at: usize| u32::from(bytes[at]) | u32::from(bytes[at + 1]) << 8;
    let id = number(4) | number(6) << 16;
    let user = || nix::unistd::User::from_uid(id.into()).ok().flatten().map(|user| user.name);
    let group = || nix::unistd::Group::from_gid(id.into()).ok().flatten().map(|group| group.name);
    let who = match number(0) {
        1 => "user:".to_owned(),
        2 => format!("user:{}", user().unwrap_or_else(|| id.to_string())),
        4 => "group:".to_owned(),
        8 => format!("group:{}", group().unwrap_or_else(|| id.to_string())),
        16 => "mask:".to_owned(),
        _ => "other:".to_owned(),
    };
    let bit = |bit, letter| if number(2) & bit != 0 { letter } else { '-' };
    format!("{who}:{}{}{}", bit(4, 'r'), bit(2, 'w'), bit(1, 'x'))
}

//! Determines the owners of tar entries: by name if this host knows the name, and
//! otherwise by number, as root's tar does. The number is one of the host that packed.

use std::collections::HashMap;
use std::io::{self, Read};

use nix::unistd::{Group, User};

pub(super) struct Owners {
    /// True if the agent is root: only root can give files away.
    gives_away: bool,
    users: HashMap<Vec<u8>, Option<u32>>,
    groups: HashMap<Vec<u8>, Option<u32>>,
}

impl Owners {
    pub(super) fn new() -> Owners {
        let gives_away = nix::unistd::geteuid().is_root();
        Owners { gives_away, users: HashMap::new(), groups: HashMap::new() }
    }

    /// Returns the user and group of an entry; `None` if the agent will own it.
    pub(super) fn of(&mut self, entry: &mut tar::Entry<'_, impl Read>) -> io::Result<Option<(u32, u32)>> {
        if !self.gives_away {
            return Ok(None);
        }
        let header = entry.header();
        let (uid, gid) = (header.uid()?, header.gid()?);
        let mut user = header.username_bytes().unwrap_or_default().to_vec();
        let mut group = header.groupname_bytes().unwrap_or_default().to_vec();
        // Long or foreign names are in these instead.
        for extension in entry.pax_extensions()?.into_iter().flatten() {
            let extension = extension?;
            match extension.key_bytes() {
                b"uname" => user = extension.value_bytes().to_vec(),
                b"gname" => group = extension.value_bytes().to_vec(),
                _ => {}
            }
        }
        let user = known(&mut self.users, user, |name| Some(User::from_name(name).ok()??.uid.as_raw()));
        let group = known(&mut self.groups, group, |name| Some(Group::from_name(name).ok()??.gid.as_raw()));
        Ok(Some((user.map_or_else(|| number(uid), Ok)?, group.map_or_else(|| number(gid), Ok)?)))
    }
}

/// Looks a name up, each only once: an archive has many entries, and the answer
/// may come over the network.
fn known(
    names: &mut HashMap<Vec<u8>, Option<u32>>,
    name: Vec<u8>,
    look_up: impl Fn(&str) -> Option<u32>,
) -> Option<u32> {
    if name.is_empty() {
        return None;
    }
    if let Some(found) = names.get(&name) {
        return *found;
    }
    let found = std::str::from_utf8(&name).ok().and_then(look_up);
    if names.len() < NAMES_MAX {
        names.insert(name, found);
    }
    found
}

/// The number of names to keep. A bundle has one or two; beyond this number, names are looked up again.
const NAMES_MAX: usize = 1_000;

fn number(id: u64) -> io::Result<u32> {
    u32::try_from(id).map_err(|_| io::Error::other(format!("invalid owner's number {id}")))
}

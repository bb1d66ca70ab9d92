//! Looking at another host's application, because it asked.
//!
//! The host that is looked at asks and keeps count; an observer remembers
//! nothing but what it looks at right now. So nobody has to take over from an
//! observer that goes Down: the next probe asks another. What is looked at is
//! the group's probe as the ledger has it, at the asker's own address: nobody
//! can make a host look anywhere else.

use std::collections::BTreeMap;

use super::OBSERVERS;
use crate::id::{GroupName, HostId};
use crate::io::ProbeId;
use crate::time::Time;

/// Looks under way at a time; beyond it a host does not answer, and the asker
/// counts one observer less.
const LOOKS_MAX: usize = 256;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Look {
    pub(crate) subject: HostId,
    pub(crate) group: GroupName,
    /// What the asker calls it.
    pub(crate) number: ProbeId,
    due: Time,
}

/// What this host looks at now.
#[derive(Clone, Debug, Default)]
pub(crate) struct Observing {
    looks: BTreeMap<ProbeId, Look>,
}

impl Observing {
    /// Begins a look, unless there are too many, or one at the same place.
    pub(crate) fn begin(
        &mut self,
        id: ProbeId,
        subject: HostId,
        group: &GroupName,
        number: ProbeId,
        due: Time,
        now: Time,
    ) -> bool {
        self.looks.retain(|_, look| look.due > now);
        let is_there = |look: &Look| look.subject == subject && look.group == *group;
        if self.looks.len() >= LOOKS_MAX || self.looks.values().any(is_there) {
            return false;
        }
        self.looks.insert(id, Look { subject, group: group.clone(), number, due });
        true
    }

    /// A look has ended.
    pub(crate) fn end(&mut self, id: ProbeId) -> Option<Look> {
        self.looks.remove(&id)
    }
}

/// Who looks at a host's application: the first of those that are up, in an
/// order that is another one for each host and group.
pub(crate) fn observers(subject: HostId, group: &GroupName, up: impl Iterator<Item = HostId>) -> Vec<HostId> {
    let place = |host: &HostId| {
        let mut hasher = blake3::Hasher::new();
        hasher.update(group.to_string().as_bytes());
        hasher.update(subject.public_key());
        hasher.update(host.public_key());
        *hasher.finalize().as_bytes()
    };
    let mut up: Vec<([u8; 32], HostId)> =
        up.filter(|host| *host != subject).map(|host| (place(&host), host)).collect();
    up.sort_unstable();
    up.into_iter().take(OBSERVERS).map(|(_, host)| host).collect()
}

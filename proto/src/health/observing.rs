//! Probes another host's application, because that host asked for it.
//!
//! The host that asks keeps count. An observer remembers only the probes that it is
//! making right now. So no host has to take over from an observer that goes Down:
//! the next probe asks another one. An observer only uses the group's probe as the
//! ledger has it, at the address of the host that asks. So no host can make it
//! probe anything else.
//!
//! With each probe, the subject asks the first [`OBSERVERS`] hosts that are up, in an
//! order by hash, and counts what most of them saw. That costs six small frames per
//! probe and no entry.

use std::collections::BTreeMap;

use super::OBSERVERS;
use crate::id::{GroupName, HostId};
use crate::io::ProbeId;
use crate::time::Time;

/// The most looks under way at a time. Beyond that a host does not answer, and for
/// the host that asks an observer is missing.
const LOOKS_MAX: usize = 256;

#[derive(Clone, Debug, PartialEq, Eq)]
struct Look {
    /// The number that the asking host gave the probe.
    number: ProbeId,
    due: Time,
}

/// The looks that are under way on this host.
#[derive(Clone, Debug, Default)]
pub(crate) struct Observing {
    looks: BTreeMap<(HostId, GroupName), Look>,
}

impl Observing {
    /// Begins a look; returns false if there are too many, or one at the same host
    /// and group.
    pub(crate) fn begin(
        &mut self,
        subject: HostId,
        group: &GroupName,
        number: ProbeId,
        due: Time,
        now: Time,
    ) -> bool {
        self.looks.retain(|_, look| look.due > now);
        let key = (subject, group.clone());
        if self.looks.len() >= LOOKS_MAX || self.looks.contains_key(&key) {
            return false;
        }
        self.looks.insert(key, Look { number, due });
        true
    }

    /// Ends a probe for another host, and returns its number.
    pub(crate) fn end(&mut self, subject: HostId, group: &GroupName) -> Option<ProbeId> {
        self.looks.remove(&(subject, group.clone())).map(|look| look.number)
    }

    /// Returns true if the probe is under way.
    pub(crate) fn has(&self, subject: HostId, group: &GroupName) -> bool {
        self.looks.contains_key(&(subject, group.clone()))
    }
}

/// Returns the observers of a host's application: the first of the hosts that are
/// up, in an order that differs for each host and group.
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

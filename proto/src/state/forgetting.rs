//! Hosts that are Down for so long that their groups give them up.
//!
//! A machine that was replaced leaves a host behind that never comes back, and that
//! counts in every deployment of its groups. Somebody has to take it out of the mesh:
//! a person, or all of its groups by their setting.

use std::time::Duration;

use super::{HostId, State, Timer};
use crate::entry::HostRecord;
use crate::group::Group;

impl State {
    /// How long the host may be Down; none if it is in no group, or some group of it
    /// leaves that to people.
    fn forget_after(&self, record: &HostRecord) -> Option<Duration> {
        let groups = self.groups.values().map(|known| &known.group);
        let mut of_host = groups.filter(|group: &&Group| group.tags.matches(&record.tags)).peekable();
        of_host.peek()?;
        of_host.try_fold(Duration::ZERO, |longest, group| {
            group.policy.forget_down_after.map(|after| longest.max(after))
        })
    }

    /// To be called when the host goes Down or comes back, or its groups change.
    pub(super) fn set_forget_timer(&mut self, host: HostId) {
        let timer = Timer::Forget(host);
        self.timers.clear(timer);
        let Some(known) = self.hosts.get(&host) else { return };
        if let (Some(since), Some(after)) = (known.down, self.forget_after(&known.record)) {
            self.timers.set(timer, since + after);
        }
    }

    /// The groups have changed.
    pub(super) fn set_forget_timers(&mut self) {
        let down = self.hosts.iter().filter(|(_, known)| known.down.is_some());
        let down: Vec<HostId> = down.map(|(host, _)| *host).collect();
        down.into_iter().for_each(|host| self.set_forget_timer(host));
    }

    /// The host was Down for too long.
    pub(super) fn forget_host(&mut self, host: HostId) {
        let is_down = self.hosts.get(&host).is_some_and(|known| known.down.is_some());
        if is_down && self.check_leave(host).is_ok() {
            self.leave(host);
        }
    }

    /// A new host has joined: it takes the place of one that is Down and had the same
    /// name and address, if the groups of that one give hosts up.
    pub(super) fn replace_by(&mut self, newcomer: HostId) {
        let Some(record) = self.hosts.get(&newcomer).map(|known| &known.record) else { return };
        if record.name.is_empty() {
            return;
        }
        let is_replaced = |other: &HostRecord| {
            other.host != newcomer
                && other.name == record.name
                && other.addresses.iter().any(|address| record.addresses.contains(address))
                && self.forget_after(other).is_some()
        };
        let mut gone = self.hosts.values().filter(|known| known.down.is_some() && is_replaced(&known.record));
        if let Some(gone) = gone.next().map(|known| known.record.host) {
            self.forget_host(gone);
        }
    }
}

#[cfg(test)]
mod tests;

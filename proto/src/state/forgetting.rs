//! Takes out hosts that are Down for so long that their groups give them up.
//!
//! When a machine is replaced, its old host never comes back, but still counts in
//! every deployment of its groups. It must be taken out of the mesh: by a person, or
//! by the settings of all its groups (`forget_down_after`). It is never taken out
//! just because it is Down, because a removed key never comes back.
//!
//! A new host may name the host that it replaces. That takes effect once, when the
//! new host joins. A host that is up is not replaced: until it is Down, the newcomer
//! is refused, says so, and asks again by itself.

use std::time::Duration;

use super::react::Happened;
use super::{HostId, State, Timer};
use crate::entry::HostRecord;
use crate::group::Group;

impl State {
    /// Returns how long the host may be Down; `None` if it is in no group, or if
    /// one of its groups leaves that to people.
    fn forget_after(&self, record: &HostRecord) -> Option<Duration> {
        let groups = self.groups.values().map(|known| &known.group);
        let mut of_host = groups.filter(|group: &&Group| group.tags.matches(&record.tags)).peekable();
        of_host.peek()?;
        of_host.try_fold(Duration::ZERO, |longest, group| {
            group.policy.forget_down_after.map(|after| longest.max(after))
        })
    }

    /// Sets the timer after the host went Down or came back, or its groups changed.
    pub(super) fn set_forget_timer(&mut self, host: HostId) {
        let timer = Timer::Forget(host);
        self.timers.clear(timer);
        let Some(known) = self.hosts.get(host) else { return };
        if let (Some(since), Some(after)) = (known.down, self.forget_after(&known.record)) {
            self.timers.set(timer, since + after);
        }
    }

    /// Sets the timers of all Down hosts after groups have changed.
    pub(super) fn set_forget_timers(&mut self) {
        let down = self.hosts.all().iter().filter(|(_, known)| known.down.is_some());
        let down: Vec<HostId> = down.map(|(host, _)| *host).collect();
        down.into_iter().for_each(|host| self.set_forget_timer(host));
    }

    /// Takes out a host that was Down for too long.
    pub(super) fn forget_host(&mut self, host: HostId) -> Vec<Happened> {
        let is_down = self.hosts.get(host).is_some_and(|known| known.down.is_some());
        let may_go = is_down && self.hosts.check_leave(host).is_ok();
        if may_go { self.hosts.leave(self.now(), host) } else { Vec::new() }
    }

    /// Takes out the host that a new one replaces: a host that is Down and that the new one
    /// names, or that had the same name and an address in common and is in groups that all
    /// give hosts up.
    pub(super) fn replace_by(&mut self, newcomer: HostId) -> Vec<Happened> {
        let Some(record) = self.hosts.get(newcomer).map(|known| &known.record) else {
            return Vec::new();
        };
        let named = self.hosts.replaced_by(record).filter(|known| known.down.is_some());
        if let Some(gone) = named.min_by_key(|known| known.down).map(|known| known.record.host) {
            return self.forget_host(gone);
        }
        if record.name.is_empty() {
            return Vec::new();
        }
        let is_replaced = |other: &HostRecord| {
            other.host != newcomer
                && other.name == record.name
                && other.addresses.iter().any(|address| record.addresses.contains(address))
                && self.forget_after(other).is_some()
        };
        let mut gone =
            self.hosts.all().values().filter(|known| known.down.is_some() && is_replaced(&known.record));
        let gone = gone.next().map(|known| known.record.host);
        gone.map(|gone| self.forget_host(gone)).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests;

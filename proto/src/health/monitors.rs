//! All monitors of this host, and what they want the ledger to know.
//!
//! A monitor proposes an entry only when the ledger says something else. So a host
//! that restarts does not repeat itself: what the ledger says holds until fresh
//! evidence contradicts it. Without its agent, a host is Down anyway. Given up: a
//! group that gets a check counts as healthy until `fall` probes have failed. Bad
//! news is proposed at once. Good news after bad news waits, and the longer the more
//! often the host has been unwell recently. So a host that flaps stays out of service
//! until it is steady, and costs the ledger a bounded number of entries (see
//! [`HOLD_OFF_MAX`]).
//!
//! How often a host has flapped is read from the ledger, so a restart forgets
//! nothing.

use std::collections::BTreeMap;
use std::time::Duration;

use super::monitor::{Aim, Monitor, Wait};
use super::{HealthCheck, Probe};
use crate::entry::Index;
use crate::id::{DeploymentId, GroupName, HostId};
use crate::io::ProbeId;
use crate::statement::{Report, Statement};
use crate::time::Time;

/// The time that a host must have been well before it is reported well, after it
/// was unwell for the second time within [`FLAP_WINDOW`]. It doubles with each
/// further time.
pub const HOLD_OFF_FIRST: Duration = Duration::from_secs(30);
/// The longest hold-off. With it a host is reported unwell at most nine times in an
/// hour, and well again as often.
pub const HOLD_OFF_MAX: Duration = Duration::from_secs(15 * 60);
/// The time for which it counts that a host was unwell.
pub const FLAP_WINDOW: Duration = Duration::from_secs(3_600);
/// The most entries about one host and group in an hour, besides those about its
/// turns. It follows from the numbers above.
pub const WORDS_PER_HOUR_MAX: usize = 20;

/// Returns how long a host must have been well, if it was unwell this often
/// recently.
pub fn hold_off(unwell_of_late: u32) -> Duration {
    match unwell_of_late {
        0 | 1 => Duration::ZERO,
        times => HOLD_OFF_FIRST.saturating_mul(1 << (times - 2).min(16)).min(HOLD_OFF_MAX),
    }
}

/// The health of this host in a group, by the ledger.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Known {
    /// True if the host is unwell.
    pub(crate) is_ailing: bool,
    /// The number of times that it was found unwell within [`FLAP_WINDOW`].
    pub(crate) unwell_of_late: u32,
    /// Entries that are based on an older index than this are ignored.
    pub(crate) since: Index,
}

/// A probe that a monitor asks the node to make.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Ask {
    pub(crate) id: ProbeId,
    pub(crate) group: GroupName,
    pub(crate) probe: Probe,
    pub(crate) timeout: Duration,
    /// The observers that are to probe too.
    pub(crate) observers: Vec<HostId>,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Monitors {
    monitors: BTreeMap<GroupName, Monitor>,
    /// The statements to propose, unchanged until the ledger has them.
    words: BTreeMap<GroupName, Statement>,
    next_probe: u64,
}

impl Monitors {
    /// Sets the checks of this host, each with its aim. A monitor that is new or
    /// changed starts afresh, and one that is no longer wanted ends.
    pub(crate) fn set(&mut self, wanted: &BTreeMap<GroupName, (HealthCheck, Aim)>, now: Time) {
        self.monitors.retain(|group, monitor| {
            wanted.get(group).is_some_and(|(check, aim)| monitor.check == *check && monitor.aim == *aim)
        });
        self.words.retain(|group, _| self.monitors.contains_key(group));
        for (group, (check, aim)) in wanted {
            let fresh = || Monitor::new(check.clone(), *aim, now);
            self.monitors.entry(group.clone()).or_insert_with(fresh);
        }
    }

    /// Begins the probes that are due. `observers` returns the observers for a
    /// group.
    pub(crate) fn begin(&mut self, now: Time, observers: impl Fn(&GroupName) -> Vec<HostId>) -> Vec<Ask> {
        let mut asks = Vec::new();
        for (group, monitor) in &mut self.monitors {
            if !monitor.is_due(now) {
                continue;
            }
            self.next_probe += 1;
            let id = ProbeId(self.next_probe);
            let observers = if monitor.asks_observers() { observers(group) } else { Vec::new() };
            monitor.begin(id, &observers, now);
            let (probe, timeout) = (monitor.check.probe.clone(), monitor.check.timeout);
            asks.push(Ask { id, group: group.clone(), probe, timeout, observers });
        }
        asks
    }

    /// Takes the result of the host's own probe for a group. It is ignored if no
    /// monitor waits for it now.
    pub(crate) fn answered(&mut self, group: &GroupName, result: Result<(), String>, now: Time) {
        if let Some(monitor) = self.monitors.get_mut(group) {
            monitor.answered(result, now);
        }
    }

    /// Returns true if the group's application is monitored.
    pub(crate) fn has(&self, group: &GroupName) -> bool {
        self.monitors.contains_key(group)
    }

    /// Takes the result of an observer.
    pub(crate) fn observed(
        &mut self,
        group: &GroupName,
        id: ProbeId,
        by: HostId,
        result: Result<(), String>,
        now: Time,
    ) {
        if let Some(monitor) = self.monitors.get_mut(group) {
            monitor.observed(id, by, result, now);
        }
    }

    /// Returns how the turns that wait for their check are doing.
    pub(crate) fn waits(&self, now: Time) -> Vec<(DeploymentId, Wait)> {
        let waits = self.monitors.values().filter_map(|monitor| match monitor.aim {
            Aim::Turn(deployment) => Some((deployment, monitor.wait(now))),
            Aim::Watch => None,
        });
        waits.collect()
    }

    /// Says in numbers what a turn has seen of its check so far.
    pub(crate) fn so_far(&self, deployment: DeploymentId) -> Option<String> {
        let monitor = self.monitors.values().find(|monitor| monitor.aim == Aim::Turn(deployment))?;
        Some(monitor.so_far())
    }

    /// Returns the statements that the ledger lacks, as of an index. They stay the same
    /// until the ledger has them, or until they are no longer true.
    pub(crate) fn words(
        &mut self,
        me: HostId,
        index: Index,
        known: impl Fn(&GroupName) -> Option<Known>,
    ) -> Vec<Statement> {
        let mut words = BTreeMap::new();
        for (group, monitor) in &self.monitors {
            if monitor.aim != Aim::Watch {
                continue;
            }
            let Some(known) = known(group) else { continue };
            let error = match (known.is_ailing, monitor.is_unwell()) {
                (false, Some(error)) => error,
                (true, None) if monitor.is_well(hold_off(known.unwell_of_late)) => "",
                (false, None) | (true, _) => continue,
            };
            let (healthy, error) = (known.is_ailing, error.to_owned());
            let new = || {
                Report::HealthChanged { group: group.clone(), host: me, healthy, error, as_of: index }.into()
            };
            let is_still_it = |said: &&Statement| {
                matches!(said, Statement::Report(Report::HealthChanged { healthy: said, as_of, .. })
                    if *said == healthy && *as_of >= known.since)
            };
            let said = self.words.get(group).filter(is_still_it);
            words.insert(group.clone(), said.cloned().unwrap_or_else(new));
        }
        self.words = words;
        self.words.values().cloned().collect()
    }

    /// Returns when there is something to do.
    pub(crate) fn next(&self) -> Option<Time> {
        self.monitors.values().map(Monitor::next).min()
    }
}

#[cfg(test)]
mod tests;

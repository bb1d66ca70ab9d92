//! What hosts say about the health of their applications.
//!
//! Two things must both be good: the outcome of the host's last turn, and what its
//! check has said since then. The check has a mark of its own ([`Ailing`]), so that
//! good news from it only takes back its own bad news.
//!
//! A report carries the index at which it was made. One from before the host's last
//! turn or last report changes nothing.

use std::collections::BTreeMap;
use std::time::Duration;

use super::Moment;
use super::react::Happened;
use crate::entry::Index;
use crate::health::ERROR_BYTES_MAX;
use crate::health::monitors::{FLAP_WINDOW, Known, hold_off};
use crate::id::{GroupName, HostId};
use crate::statement::one_line;
use crate::time::LedgerTime;

/// The number of times that a host was found unwell which are kept. With this many
/// in the window, the hold-off has long reached its maximum.
const UNWELL_KEPT: usize = 10;

/// A host that its group's check has found unwell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ailing {
    /// The time at which the ledger learned of it.
    pub since: LedgerTime,
    /// The reason why the probe failed.
    pub error: String,
}

/// The health of one host by its group's check, as the ledger knows it.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Checked {
    /// `None` if the last word was good, or if there was none since the host's
    /// turn.
    pub ailing: Option<Ailing>,
    /// The time at which it became well again; `None` if it was never found unwell
    /// since its turn.
    pub well_since: Option<LedgerTime>,
    /// The last entry that changed any of this.
    pub(super) changed_at: Index,
    /// The recent times at which it was found unwell, the newest last.
    pub(super) unwell_at: Vec<LedgerTime>,
}

/// The results of the health checks of all groups.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Checks {
    by_group: BTreeMap<GroupName, BTreeMap<HostId, Checked>>,
}

/// The results of one group's health check. It knows only hosts on which the check has
/// said something, or whose turn it has seen.
#[derive(Clone, Copy, Debug)]
pub struct ChecksOf<'a>(Option<&'a BTreeMap<HostId, Checked>>);

impl<'a> ChecksOf<'a> {
    /// Returns what the check knows of the host.
    pub fn get(self, host: HostId) -> Option<&'a Checked> {
        self.0?.get(&host)
    }

    /// Returns what is wrong with the host; `None` if nothing is.
    pub fn ailing(self, host: HostId) -> Option<&'a Ailing> {
        self.get(host)?.ailing.as_ref()
    }

    /// Returns the hosts that it knows.
    pub fn iter(self) -> impl Iterator<Item = (HostId, &'a Checked)> {
        self.0.into_iter().flatten().map(|(host, checked)| (*host, checked))
    }

    pub(super) fn all(self) -> Option<&'a BTreeMap<HostId, Checked>> {
        self.0
    }
}

impl Checks {
    /// Puts back what a snapshot holds of a group.
    pub(super) fn restore(&mut self, group: &GroupName, checks: BTreeMap<HostId, Checked>) {
        self.by_group.insert(group.clone(), checks);
    }

    /// Returns the results of the group's check.
    pub fn of(&self, group: &GroupName) -> ChecksOf<'_> {
        ChecksOf(self.by_group.get(group))
    }

    /// Returns what is wrong with the host by the group's check; `None` if nothing is.
    pub fn ailing(&self, group: &GroupName, host: HostId) -> Option<&Ailing> {
        self.of(group).ailing(host)
    }

    /// Returns what a host's monitor needs to know of the host at this time.
    pub(crate) fn known(&self, group: &GroupName, host: HostId, now: LedgerTime) -> Known {
        let Some(checked) = self.of(group).get(host) else {
            return Known { is_ailing: false, unwell_of_late: 0, since: 0 };
        };
        let of_late = checked.unwell_at.iter().filter(|at| now.since(**at) < FLAP_WINDOW).count();
        Known {
            is_ailing: checked.ailing.is_some(),
            unwell_of_late: u32::try_from(of_late).unwrap_or(u32::MAX),
            since: checked.changed_at,
        }
    }

    /// Returns how often an unhealthy host was found so within [`FLAP_WINDOW`], and
    /// how long its check must pass without interruption before the host counts as
    /// well; `None` if it does so at once. Only the host itself knows since when
    /// its check passes.
    pub fn held_back(&self, group: &GroupName, host: HostId, now: LedgerTime) -> Option<(u32, Duration)> {
        let known = self.known(group, host, now);
        let held = hold_off(known.unwell_of_late);
        (known.is_ailing && !held.is_zero()).then_some((known.unwell_of_late, held))
    }

    /// Returns true if the host's word would change anything.
    pub(super) fn is_news(&self, group: &GroupName, host: HostId, healthy: bool, as_of: Index) -> bool {
        let checked = self.of(group).get(host);
        let is_ailing = checked.is_some_and(|checked| checked.ailing.is_some());
        is_ailing == healthy && checked.is_none_or(|checked| as_of >= checked.changed_at)
    }

    /// Takes a host's word, which is news.
    pub(super) fn change(
        &mut self,
        now: Moment,
        group: &GroupName,
        host: HostId,
        healthy: bool,
        error: &str,
    ) -> Vec<Happened> {
        let Some(checked) = self.entry(group, host) else { return Vec::new() };
        checked.changed_at = now.index;
        if healthy {
            checked.ailing = None;
            checked.well_since = Some(now.clock);
        } else {
            let error = one_line(error, ERROR_BYTES_MAX);
            checked.ailing = Some(Ailing { since: now.clock, error });
            checked.unwell_at.push(now.clock);
            let extra = checked.unwell_at.len().saturating_sub(UNWELL_KEPT);
            checked.unwell_at.drain(..extra);
        }
        let ailing = (!healthy).then_some(now.clock);
        vec![Happened::HealthChanged { group: group.clone(), host, ailing }]
    }

    /// Follows a turn that has begun or ended. What the check said before was about
    /// another revision. Words about that revision come too late from now on.
    pub(super) fn note_turn(&mut self, now: Moment, group: &GroupName, host: HostId, succeeded: bool) {
        let Some(checked) = self.entry(group, host) else { return };
        checked.changed_at = now.index;
        checked.well_since = None;
        if succeeded {
            checked.unwell_at.clear();
        }
        checked.ailing = None;
    }

    fn entry(&mut self, group: &GroupName, host: HostId) -> Option<&mut Checked> {
        self.by_group.get_mut(group).map(|checks| checks.entry(host).or_default())
    }

    /// Follows a new definition of a group. Without a check, nothing could ever say that
    /// its hosts are well again.
    pub(super) fn define_group(&mut self, group: &GroupName, has_check: bool) -> Vec<Happened> {
        let checks = self.by_group.entry(group.clone()).or_default();
        let gone = if has_check { BTreeMap::new() } else { std::mem::take(checks) };
        gone.into_iter().filter_map(|(host, checked)| taken_back(group, host, &checked)).collect()
    }

    /// Forgets a host that was taken out of the mesh.
    pub(super) fn forget_host(&mut self, host: HostId) -> Vec<Happened> {
        let forget = |(group, checks): (&GroupName, &mut BTreeMap<HostId, Checked>)| {
            taken_back(group, host, &checks.remove(&host)?)
        };
        self.by_group.iter_mut().filter_map(forget).collect()
    }

    /// Forgets a group that was deleted.
    pub(super) fn forget_group(&mut self, group: &GroupName) {
        self.by_group.remove(group);
    }
}

/// Says that a host which is no longer checked no longer counts as unwell.
fn taken_back(group: &GroupName, host: HostId, checked: &Checked) -> Option<Happened> {
    let was_ailing = checked.ailing.is_some();
    was_ailing.then(|| Happened::HealthChanged { group: group.clone(), host, ailing: None })
}

#[cfg(test)]
mod tests;

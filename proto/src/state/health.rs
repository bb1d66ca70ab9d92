//! Folds what hosts say about the health of their applications.
//!
//! Two things must both be good: the outcome of the host's last turn, and what its
//! check has said since then. The check has a mark of its own ([`Ailing`]), so that
//! good news from it only takes back its own bad news.
//!
//! A report carries the index at which it was made. One from before the host's last
//! turn or last report changes nothing.

use std::time::Duration;

use super::{GroupState, State, Timer};
use crate::entry::{ErrorCode, FAILURE_MESSAGE_MAX, Failure, Index};
use crate::health::ERROR_BYTES_MAX;
use crate::health::monitors::{FLAP_WINDOW, Known, hold_off};
use crate::id::{DeploymentId, GroupName, HostId};
use crate::rollout::Stage;
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

impl GroupState {
    /// Returns what is wrong with the host by the group's check; `None` if nothing
    /// is.
    pub fn ailing(&self, host: HostId) -> Option<&Ailing> {
        self.checks.get(&host)?.ailing.as_ref()
    }

    /// Returns what a host's monitor needs to know of the host at this time.
    pub(crate) fn known(&self, host: HostId, now: LedgerTime) -> Known {
        let Some(checked) = self.checks.get(&host) else {
            return Known { is_ailing: false, unwell_of_late: 0, since: 0 };
        };
        let of_late = checked.unwell_at.iter().filter(|at| now.since(**at) < FLAP_WINDOW).count();
        Known {
            is_ailing: checked.ailing.is_some(),
            unwell_of_late: u32::try_from(of_late).unwrap_or(u32::MAX),
            since: checked.changed_at,
        }
    }
}

impl State {
    /// Returns how often an unhealthy host was found so within [`FLAP_WINDOW`], and
    /// how long its check must pass without interruption before the host counts as
    /// well; `None` if it does so at once. Only the host itself knows since when
    /// its check passes.
    pub fn held_back(&self, group: &GroupState, host: HostId) -> Option<(u32, Duration)> {
        let known = group.known(host, self.clock);
        let held = hold_off(known.unwell_of_late);
        (known.is_ailing && !held.is_zero()).then_some((known.unwell_of_late, held))
    }

    /// Returns true if the host's word would change anything.
    pub(super) fn is_news(&self, name: &GroupName, host: HostId, healthy: bool, as_of: Index) -> bool {
        let Some(group) = self.groups.get(name).filter(|group| group.group.health.is_some()) else {
            return false;
        };
        let is_in_turn = group.under_way().into_iter().any(|deployment| {
            let member = self.rollouts.get(&deployment).and_then(|rollout| rollout.members().get(&host));
            member.is_some_and(|member| matches!(member.stage, Stage::Started { .. }))
        });
        let checked = group.checks.get(&host);
        let is_ailing = checked.is_some_and(|checked| checked.ailing.is_some());
        self.hosts.contains_key(&host)
            && !is_in_turn
            && is_ailing == healthy
            && checked.is_none_or(|checked| as_of >= checked.changed_at)
    }

    pub(super) fn change_health(
        &mut self,
        name: &GroupName,
        host: HostId,
        healthy: bool,
        error: &str,
        as_of: Index,
    ) {
        if !self.is_news(name, host, healthy, as_of) {
            return;
        }
        let (index, clock) = (self.index, self.clock);
        let Some(group) = self.groups.get_mut(name) else { return };
        let grace = group.group.health.as_ref().map(|check| check.grace);
        let under_way = group.under_way();
        let checked = group.checks.entry(host).or_default();
        checked.changed_at = index;
        if healthy {
            checked.ailing = None;
            checked.well_since = Some(clock);
        } else {
            let error = one_line(error, ERROR_BYTES_MAX);
            checked.ailing = Some(Ailing { since: clock, error });
            checked.unwell_at.push(clock);
            let extra = checked.unwell_at.len().saturating_sub(UNWELL_KEPT);
            checked.unwell_at.drain(..extra);
        }
        for deployment in under_way {
            self.set_ailing(deployment, host, (!healthy).then_some(clock));
            let has_relapsed =
                self.rollouts.get(&deployment).is_some_and(|rollout| rollout.has_relapsed(host));
            if let Some(grace) = grace.filter(|_| has_relapsed) {
                self.timers.set(Timer::Relapsed(deployment, host), clock + grace);
            }
        }
    }

    fn set_ailing(&mut self, deployment: DeploymentId, host: HostId, ailing: Option<LedgerTime>) {
        let at = self.clock;
        let Some(rollout) = self.rollouts.get_mut(&deployment) else { return };
        let changed = rollout.set_ailing(host, ailing, at);
        self.timers.clear(Timer::Relapsed(deployment, host));
        self.clear_timers_if_idle(deployment, host);
        self.set_timers(deployment, &changed);
    }

    /// Notes that the host's turn has begun or ended. What its check said before
    /// was about another revision. Words about that revision come too late from now
    /// on.
    pub(super) fn note_checked_turn(&mut self, deployment: DeploymentId, host: HostId, succeeded: bool) {
        let Some(name) = self.rollouts.get(&deployment).map(|rollout| rollout.submission.group.clone())
        else {
            return;
        };
        let index = self.index;
        let Some(group) = self.groups.get_mut(&name).filter(|group| group.group.health.is_some()) else {
            return;
        };
        let checked = group.checks.entry(host).or_default();
        checked.changed_at = index;
        checked.well_since = None;
        if succeeded {
            checked.unwell_at.clear();
        }
        checked.ailing = None;
    }

    /// Fails the turn of an updated host that has been unwell for too long.
    pub(super) fn fail_relapsed(&mut self, deployment: DeploymentId, host: HostId) {
        let at = self.clock;
        let Some(rollout) = self.rollouts.get_mut(&deployment) else { return };
        let name = &rollout.submission.group;
        let Some(ailing) = self.groups.get(name).and_then(|group| group.ailing(host)) else { return };
        let message = format!(
            "its health check had passed, but has failed for {} s while the deployment went on: {}",
            at.since(ailing.since).as_secs(),
            ailing.error
        );
        let message = one_line(&message, FAILURE_MESSAGE_MAX);
        let failure = Failure::new(None, ErrorCode::HealthCheckFailed, message);
        let has_relapsed = rollout.verdict.is_none() && rollout.has_relapsed(host);
        let granted = rollout.fail_relapsed(host, failure, at);
        self.set_timers(deployment, &granted);
        if has_relapsed {
            self.turn_happened(deployment, host);
        }
    }

    /// Forgets the checks of these hosts. They are no longer checked, so nothing
    /// could ever say that they are well again.
    pub(super) fn forget_checks(&mut self, name: &GroupName, of: impl Fn(HostId) -> bool) {
        let Some(group) = self.groups.get_mut(name) else { return };
        let under_way = group.under_way();
        let gone: Vec<HostId> = group.checks.keys().copied().filter(|host| of(*host)).collect();
        for host in gone {
            let was = self.groups.get_mut(name).and_then(|group| group.checks.remove(&host));
            if was.is_some_and(|checked| checked.ailing.is_some()) {
                under_way.iter().for_each(|deployment| self.set_ailing(*deployment, host, None));
            }
        }
    }
}

#[cfg(test)]
mod tests;

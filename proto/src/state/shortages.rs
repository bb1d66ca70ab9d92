//! Hosts whose disk lacks room for their turn to come.
//!
//! A disk that turns out to be full in the middle of a turn fails that turn, and under
//! OneAtATime the whole release. So a host looks for room before its turn, and says in
//! the ledger if it lacks some. It does not begin its turn then. It gives up its lease,
//! and the others of its wave go first, as they go before a host that is Down. When its
//! turn comes again, it keeps its lease: it starts as soon as there is room, or fails
//! after the policy's `start_timeout` with the numbers that it gave. A shorter wait
//! would fail a release that one deleted file can save. A longer one would hide the
//! full disk behind a release that does not end.
//!
//! Deferrals (`deferrals.rs`) are similar, but they extend the start timeout: a host
//! whose neighbours are suspect cannot help itself, and suspicion is soon over.

use super::{DeploymentId, HostId, LedgerTime, State};
use crate::entry::Shortage;
use crate::rollout::{Rollout, Stage};

/// A host that lacks disk space for a deployment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Short {
    /// The time at which the host first said so.
    pub since: LedgerTime,
    /// The time at which it gave these numbers.
    pub at: LedgerTime,
    /// The numbers.
    pub shortage: Shortage,
}

impl State {
    /// Returns true if any host lacks disk space for its turn to come.
    pub(crate) fn has_shortages(&self) -> bool {
        !self.shortages.is_empty()
    }

    /// Returns the host's shortage, if it lacks disk space for its turn to come in
    /// this deployment.
    pub fn shortage(&self, deployment: DeploymentId, host: HostId) -> Option<&Short> {
        self.shortages.get(&(deployment, host))
    }

    /// Returns the hosts that lack disk space for this deployment.
    pub fn shortages(&self, deployment: DeploymentId) -> impl Iterator<Item = (HostId, &Short)> {
        let of_it = self.shortages.iter().filter(move |((of, _), _)| *of == deployment);
        of_it.map(|((_, host), short)| (*host, short))
    }

    pub(super) fn report_room(&mut self, deployment: DeploymentId, host: HostId, shortage: Option<Shortage>) {
        let (at, of) = (self.clock, (deployment, host));
        let others: Vec<HostId> = self.shortages(deployment).map(|(other, _)| other).collect();
        let Some(rollout) = self.rollouts.get_mut(&deployment) else { return };
        if !is_to_begin(rollout, host) {
            return;
        }
        let changed = match (shortage, self.shortages.get(&of).copied()) {
            (Some(shortage), Some(before)) => {
                self.shortages.insert(of, Short { at, shortage, ..before });
                return;
            }
            (Some(shortage), None) => {
                self.shortages.insert(of, Short { since: at, at, shortage });
                rollout.lack_room(host, at)
            }
            (None, Some(_)) => {
                self.shortages.remove(&of);
                rollout.have_room(host, &others, at)
            }
            (None, None) => return,
        };
        self.set_timers(deployment, &changed);
    }

    /// Returns true if this report would change nothing.
    pub(super) fn is_room_settled(
        &self,
        deployment: DeploymentId,
        host: HostId,
        shortage: Option<Shortage>,
    ) -> bool {
        let is_to_come = self.rollouts.get(&deployment).is_some_and(|rollout| is_to_begin(rollout, host));
        !is_to_come || self.shortage(deployment, host).map(|short| short.shortage) == shortage
    }

    /// Forgets shortages of hosts whose turn has begun or will not come. This runs
    /// after every entry, because a turn can end in many ways and shortages are
    /// rare.
    pub(super) fn forget_shortages(&mut self) {
        let rollouts = &self.rollouts;
        self.shortages.retain(|(deployment, host), _| {
            rollouts.get(deployment).is_some_and(|rollout| is_to_begin(rollout, *host))
        });
    }
}

/// Returns true if the host's turn is still to begin.
fn is_to_begin(rollout: &Rollout, host: HostId) -> bool {
    match rollout.members().get(&host).map(|member| &member.stage) {
        Some(Stage::Pending | Stage::Leased { .. }) => !rollout.status().is_over(),
        Some(Stage::NotTargeted | Stage::Started { .. } | Stage::Ended { .. } | Stage::Skipped) | None => {
            false
        }
    }
}

#[cfg(test)]
mod tests;

//! Hosts that defer the start of their turn.
//!
//! A host may suspect hosts that the ledger counts as in service. Then it does not
//! trust the count, and does not use its lease. No other host can know that, so it
//! says so in the ledger, and its start timeout begins anew. Suspicion only pauses;
//! it never fails a host. Otherwise two hosts of three with a broken link between
//! them would fail every release. `run/start.rs` decides when a deferral is due.

use std::collections::BTreeMap;

use super::{DeploymentId, HostId, LedgerTime, State, Timer};
use crate::rollout::{Rollout, Stage};
use crate::statement::SUSPECTS_NAMED_MAX;

/// A deferral: what a host said that waits with its start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Deferral {
    /// The time at which the host got its lease.
    pub leased: LedgerTime,
    /// The time at which the host first said that it waits.
    pub since: LedgerTime,
    /// The time at which the host last said so. Its start timeout counts from here.
    pub at: LedgerTime,
    /// The hosts that were suspect, at most [`SUSPECTS_NAMED_MAX`] of them.
    pub suspects: Vec<HostId>,
}

impl State {
    /// Returns the host's deferral in this deployment, if it waits with its start.
    pub fn deferral(&self, deployment: DeploymentId, host: HostId) -> Option<&Deferral> {
        self.deferrals.get(&(deployment, host))
    }

    /// Returns the hosts that wait with their start in this deployment.
    pub fn deferrals(&self, deployment: DeploymentId) -> impl Iterator<Item = (HostId, &Deferral)> {
        let of_it = self.deferrals.iter().filter(move |((of, _), _)| *of == deployment);
        of_it.map(|((_, host), deferral)| (*host, deferral))
    }

    pub(super) fn defer_turn(&mut self, deployment: DeploymentId, host: HostId, suspects: &[HostId]) {
        let at = self.clock;
        let Some(leased) = leased_at(&self.rollouts, deployment, host) else { return };
        let due = at + self.rollouts[&deployment].submission.policy.start_timeout;
        let since = self.deferral(deployment, host).map_or(at, |before| before.since);
        let suspects = suspects.iter().take(SUSPECTS_NAMED_MAX).copied().collect();
        self.deferrals.insert((deployment, host), Deferral { leased, since, at, suspects });
        self.timers.set(Timer::Start(deployment, host), due);
    }

    /// Forgets deferrals of leases that are used or gone. This runs after every
    /// entry, because a lease can end in many ways and deferrals are rare.
    pub(super) fn forget_deferrals(&mut self) {
        let rollouts = &self.rollouts;
        self.deferrals.retain(|(deployment, host), deferral| {
            leased_at(rollouts, *deployment, *host) == Some(deferral.leased)
        });
    }
}

/// Returns when the host got the lease that it has not used.
fn leased_at(
    rollouts: &BTreeMap<DeploymentId, Rollout>,
    deployment: DeploymentId,
    host: HostId,
) -> Option<LedgerTime> {
    match rollouts.get(&deployment)?.members().get(&host)?.stage {
        Stage::Leased { at } => Some(at),
        Stage::NotTargeted
        | Stage::Pending
        | Stage::Started { .. }
        | Stage::Ended { .. }
        | Stage::Skipped => None,
    }
}

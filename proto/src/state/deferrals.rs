//! Hosts that wait with the start of their turn.
//!
//! Whoever finds hosts suspect that the ledger counts in service does not trust
//! the count, and does not use its lease. Nobody else can know that: it says so,
//! and its time to start in runs anew. Suspicion pauses; it never fails anybody.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{DeploymentId, HostId, LedgerTime, State, Timer};
use crate::entry::SUSPECTS_NAMED_MAX;
use crate::rollout::{Rollout, Stage};

/// What a host said that waits with its start.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Deferral {
    /// When it got its lease.
    pub leased: LedgerTime,
    /// Since when it says so.
    pub since: LedgerTime,
    /// When it last said so: its time to start in runs from there.
    pub at: LedgerTime,
    /// Who was suspect, at most [`SUSPECTS_NAMED_MAX`] of them.
    pub suspects: Vec<HostId>,
}

impl State {
    /// What the host said, if it waits with its start in this deployment.
    pub fn deferral(&self, deployment: DeploymentId, host: HostId) -> Option<&Deferral> {
        self.deferrals.get(&(deployment, host))
    }

    /// The hosts that wait with their start in this deployment.
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

    /// Forgets what was said of leases that are used or gone by now. After every
    /// entry: a lease ends in many ways, and hardly anybody ever waits.
    pub(super) fn forget_deferrals(&mut self) {
        let rollouts = &self.rollouts;
        self.deferrals.retain(|(deployment, host), deferral| {
            leased_at(rollouts, *deployment, *host) == Some(deferral.leased)
        });
    }
}

/// Since when the host has a lease that it has not used.
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

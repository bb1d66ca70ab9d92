//! Hosts that defer the start of their turn.
//!
//! A host may suspect hosts that the ledger counts as in service. Then it does not
//! trust the count, and does not use its lease. No other host can know that, so it
//! says so in the ledger, and its start timeout begins anew. Suspicion only pauses;
//! it never fails a host. Otherwise two hosts of three with a broken link between
//! them would fail every release. `run/start.rs` decides when a deferral is due.

use std::collections::BTreeMap;

use super::react::Happened;
use super::rollouts::Rollouts;
use super::{DeploymentId, HostId, LedgerTime, State};
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

/// The deferrals of leases that are not used yet.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub(super) struct Deferrals {
    by_turn: BTreeMap<(DeploymentId, HostId), Deferral>,
}

impl Deferrals {
    /// Puts back what a snapshot holds.
    pub(super) fn restore(by_turn: BTreeMap<(DeploymentId, HostId), Deferral>) -> Self {
        Deferrals { by_turn }
    }

    pub(super) fn all(&self) -> &BTreeMap<(DeploymentId, HostId), Deferral> {
        &self.by_turn
    }

    /// Notes that a host with a lease since `leased` waits with its start.
    pub(super) fn defer(
        &mut self,
        at: LedgerTime,
        (deployment, host): (DeploymentId, HostId),
        leased: LedgerTime,
        suspects: &[HostId],
    ) -> Vec<Happened> {
        let since = self.by_turn.get(&(deployment, host)).map_or(at, |before| before.since);
        let suspects = suspects.iter().take(SUSPECTS_NAMED_MAX).copied().collect();
        self.by_turn.insert((deployment, host), Deferral { leased, since, at, suspects });
        vec![Happened::StartDeferred { deployment, host }]
    }

    /// Forgets deferrals of leases that are used or gone. This runs after every
    /// entry, because a lease can end in many ways and deferrals are rare.
    pub(super) fn forget(&mut self, rollouts: &Rollouts) {
        self.by_turn.retain(|(deployment, host), deferral| {
            rollouts.leased_at(*deployment, *host) == Some(deferral.leased)
        });
    }
}

impl State {
    /// Returns the host's deferral in this deployment, if it waits with its start.
    pub fn deferral(&self, deployment: DeploymentId, host: HostId) -> Option<&Deferral> {
        self.deferrals.all().get(&(deployment, host))
    }

    /// Returns the hosts that wait with their start in this deployment.
    pub fn deferrals(&self, deployment: DeploymentId) -> impl Iterator<Item = (HostId, &Deferral)> {
        let of_it = self.deferrals.all().iter().filter(move |((of, _), _)| *of == deployment);
        of_it.map(|((_, host), deferral)| (*host, deferral))
    }
}

//! Decides whether a host that has a lease begins its turn now.
//!
//! The fold says whose turn it is, but the host itself may know better. It may
//! count as Down although it is up, or it may suspect other hosts and so distrust
//! the count of those in service.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::id::HostId;
use crate::rollout::{Blocker, Health, Rollout, Stage};
use crate::state::State;
use crate::statement::{Report, SUSPECTS_NAMED_MAX, Statement};
use crate::time::LedgerTime;
use crate::wire::DEFERRAL_SINCE;

/// The time that a host waits because of suspects before it says so in the ledger.
pub(super) const DEFERRED_AFTER: Duration = Duration::from_secs(10);

/// Returns the start of this host's turn, or its deferral, if it is time to propose
/// either.
pub(super) fn owed(
    rollout: &Rollout,
    me: HostId,
    state: &State,
    suspects: &BTreeSet<HostId>,
    clock: LedgerTime,
) -> Option<Statement> {
    if !rollout.may_start(me) || is_to_be_back_first(rollout, me) {
        return None;
    }
    match start_blocker(rollout, me, suspects) {
        None => Some(Report::TurnStarted { deployment: rollout.submission.deployment, host: me }.into()),
        Some(_) => deferral(rollout, me, state, suspects, clock),
    }
}

/// Returns true for a host that is well but counts as Down. It got its lease
/// because it was out of service, which is no longer true. So it must first report
/// that it is back, and be counted as in service.
fn is_to_be_back_first(rollout: &Rollout, me: HostId) -> bool {
    rollout.members().get(&me).is_some_and(|member| {
        member.down.is_some() && member.health == Health::Healthy && member.ailing.is_none()
    })
}

/// Returns the reason not to start yet. The host waits if its going would leave
/// fewer than the minimum among the hosts that it still trusts. Suspicion only
/// pauses; it fails no host.
pub(crate) fn start_blocker(rollout: &Rollout, me: HostId, suspects: &BTreeSet<HostId>) -> Option<Blocker> {
    let member = rollout.members().get(&me)?;
    if member.health == Health::Unhealthy || member.ailing.is_some() {
        return None;
    }
    let doubtful: Vec<HostId> = doubtful(rollout, suspects).collect();
    let blocker = |doubtful: usize, available: u32, minimum: u32| {
        let suspects = u32::try_from(doubtful).unwrap_or(u32::MAX);
        let is_too_few = available.saturating_sub(suspects) < minimum;
        is_too_few.then_some(Blocker::Suspects { suspects, available, minimum })
    };
    let of_group = blocker(doubtful.len(), rollout.counts().available, rollout.bounds.minimum);
    let Some(zone) = rollout.zone_of(me) else { return of_group };
    let there =
        doubtful.iter().filter(|host| rollout.zone_of(**host).is_some_and(|other| other.name == zone.name));
    of_group.or_else(|| blocker(there.count(), zone.counts.available, zone.minimum))
}

/// Returns this host's deferral, if it is time to propose one. The first is due
/// after a short wait, because most losses are over within seconds. Another is due
/// while half of the start timeout is left. Beacons wake a node often enough for
/// both.
fn deferral(
    rollout: &Rollout,
    me: HostId,
    state: &State,
    suspects: &BTreeSet<HostId>,
    clock: LedgerTime,
) -> Option<Statement> {
    let Stage::Leased { at } = rollout.members().get(&me)?.stage else { return None };
    let deployment = rollout.submission.deployment;
    let timeout = rollout.submission.policy.start_timeout;
    let due = match state.deferral(deployment, me) {
        None => at + DEFERRED_AFTER.min(timeout / 4),
        Some(before) => before.at + timeout / 2,
    };
    (clock >= due && state.mesh_version() >= DEFERRAL_SINCE).then(|| {
        Report::TurnDeferred {
            deployment,
            host: me,
            suspects: doubtful(rollout, suspects).take(SUSPECTS_NAMED_MAX).collect(),
        }
        .into()
    })
}

/// Returns the suspects that are counted as in service.
fn doubtful<'a>(rollout: &'a Rollout, suspects: &'a BTreeSet<HostId>) -> impl Iterator<Item = HostId> + 'a {
    let is_counted = |host: &HostId| rollout.members().get(host).is_some_and(|member| member.is_available());
    suspects.iter().copied().filter(is_counted)
}

//! Finds the host whose turn is next, or the blockers that stand in its way. This
//! is a pure function of a rollout, so `status`, `plan` and the fold cannot
//! disagree.
//!
//! The rule is CodeDeploy's (AWS user guide, "instances-health"). H is the number
//! of healthy hosts, and M is the minimum:
//!
//! - Hosts that are out of service (unhealthy, or unwell by their check) go first,
//!   because their turns take nothing out of service.
//! - Hosts that are Down go last, because their lease only uses up `lost_after`. They
//!   get a lease when no host that is up has a turn to come, or when the minimum lets
//!   no other host go.
//! - A healthy host may go only if M others stay in service.
//! - The deployment has failed as soon as H can no longer rise above M while hosts in
//!   service are still to come, or can no longer reach M at all. It fails *at* M and
//!   not below it, so that the next host cannot break the minimum.
//! - When no host is left to come, H = M is enough, if at least one host succeeded.
//!
//! Zone by zone, the same holds for each zone with its own H and M. A host goes only
//! if both its zone and the group allow it. The last host of a zone may fail at its
//! zone's M, but at the group's M only if it is the last host of all. Canaries have
//! no such exception: other hosts always follow them, so all of them must succeed.
//! Whichever minimum breaks, the deployment ends in all zones. A zone's minimum of
//! 0 % (the default) is never broken.
//!
//! If the minimum would otherwise stop everything, unhealthy hosts of a later wave go
//! ahead of the others, and after them hosts that are Down: one at a time, with no
//! other host in a turn. Otherwise a group that failed half-way, OneAtATime by zones,
//! could never be deployed to again. In a rollback, hosts that are Down do not go
//! ahead: a Down host that fails would end the rollback itself. So the rollback waits
//! until they return, are taken out of the mesh, or its time is up.
//!
//! # Differences from AWS
//!
//! - AWS tries every unhealthy host of a brand-new group. Here a deployment stops as
//!   soon as the minimum is out of reach, and unhealthy hosts are updated as slowly
//!   as the policy updates healthy ones (see [`crate::policy::Bounds`]).
//! - AWS picks at random among equal hosts. Here they go in the order of their names,
//!   so that `plan` and the rollout agree.

use super::{Blocker, Reason, ReasonCode, Rollout, Verdict, WaveKind, ZoneReason};
use crate::id::HostId;

/// The answer to the question whose turn is next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Turn {
    /// This host may be taken out of service now.
    Of(HostId),
    /// No host may go now, for these reasons.
    Blocked(Vec<Blocker>),
    /// No more turns come, and the deployment ends like this.
    Over(Verdict),
}

pub(super) fn next(rollout: &Rollout) -> Turn {
    if let Some(verdict) = &rollout.verdict {
        return match rollout.counts.in_flight {
            0 => Turn::Over(verdict.clone()),
            in_flight => Turn::Blocked(vec![Blocker::Ending { in_flight }]),
        };
    }
    if rollout.traits().hosts_alone {
        return super::catch_up_turns::next(rollout);
    }
    if let Some(reason) = unsatisfiable(rollout) {
        return Turn::Over(Verdict::Failed(reason));
    }
    if let Some(blocker) = rollout.alarms.blocker().filter(|_| !rollout.queue.is_empty()) {
        return Turn::Blocked(vec![blocker]);
    }
    let in_flight = rollout.counts.in_flight;
    let Some((wave, _, _, candidate)) = rollout.queue.first() else {
        if let Some(blocker) = between_waves(rollout, rollout.waves.current) {
            return Turn::Blocked(vec![blocker]);
        }
        return match (in_flight, rollout.counts.relapsed) {
            (0, 0) => Turn::Over(conclusion(rollout)),
            (0, relapsed) => Turn::Blocked(vec![Blocker::Relapsed { relapsed }]),
            (in_flight, _) => Turn::Blocked(vec![Blocker::LastTurns { in_flight }]),
        };
    };
    if let Some(blocker) = between_waves(rollout, *wave) {
        return Turn::Blocked(vec![blocker]);
    }
    turn_of(rollout, *candidate)
}

/// Returns the reason to wait if the next host belongs to a later wave.
fn between_waves(rollout: &Rollout, wave_of_next: u32) -> Option<Blocker> {
    let wave = rollout.waves.current()?;
    let kind = wave.kind.clone();
    match rollout.waves.bake_until {
        Some(until) => {
            let (unsure, is_last) = (wave.unsure, !rollout.waves.has_next());
            Some(Blocker::Baking { wave: kind, until, unsure, is_last })
        }
        None if wave_of_next == rollout.waves.current => None,
        None => Some(Blocker::WaveEnding { wave: kind, in_flight: wave.counts.in_flight }),
    }
}

/// Returns the reason why the deployment can only fail: a canary is not well, or H
/// of the group or of a zone can no longer become large enough, even if every
/// unhealthy host with a turn to come is healed by it.
pub(super) fn unsatisfiable(rollout: &Rollout) -> Option<Reason> {
    let is_ended_unhealthy = |wave: &super::Wave| wave.kind == WaveKind::Canary && wave.ended_unhealthy > 0;
    if rollout.waves.current().is_some_and(is_ended_unhealthy) {
        return Some(rollout.reason(ReasonCode::CanaryFailed));
    }
    if is_unsatisfiable(rollout) {
        return Some(rollout.reason(ReasonCode::HealthConstraints));
    }
    let zone = &rollout.zones[*rollout.unsatisfiable.first()? as usize];
    let reason = rollout.reason(ReasonCode::HealthConstraints);
    Some(Reason { zone: Some(ZoneReason::of(zone)), ..reason })
}

/// Hosts with a turn to come that are Down, or unwell by their check, are treated
/// as unhealthy here, whatever the outcome of their last turn: a turn takes nothing
/// out of service there.
fn is_unsatisfiable(rollout: &Rollout) -> bool {
    let counts = &rollout.counts;
    let best = counts.healthy + counts.hopeful;
    if counts.pending_available > 0 {
        return best <= rollout.bounds.minimum;
    }
    let may_change = counts.pending + counts.in_flight > 0 || rollout.waves.bake_until.is_some();
    may_change && best < rollout.bounds.minimum
}

pub(super) fn turn_of(rollout: &Rollout, candidate: HostId) -> Turn {
    let blockers = blockers(rollout, candidate);
    if blockers.is_empty() {
        return Turn::Of(candidate);
    }
    match mend(rollout, candidate, &blockers) {
        Some(broken) => Turn::Of(broken),
        None => Turn::Blocked(blockers),
    }
}

/// Returns true if a host whose turn is still to come could get a lease now, even
/// if other hosts are before it in the queue.
pub(super) fn may_go(rollout: &Rollout, host: HostId) -> bool {
    let wave = rollout.members[&host].wave;
    rollout.alarms.blocker().is_none()
        && between_waves(rollout, wave).is_none()
        && blockers(rollout, host).is_empty()
}

fn blockers(rollout: &Rollout, candidate: HostId) -> Vec<Blocker> {
    let counts = &rollout.counts;
    let bounds = rollout.bounds;
    let member = &rollout.members[&candidate];
    let zone = rollout.zones.get(member.zone as usize);
    let mut blockers = Vec::new();
    if counts.in_flight >= bounds.turns_max {
        blockers.push(Blocker::TurnsInFlight { in_flight: counts.in_flight, turns_max: bounds.turns_max });
    }
    if let Some(zone) = zone.filter(|zone| zone.counts.in_flight >= zone.turns_max) {
        let (in_flight, turns_max) = (zone.counts.in_flight, zone.turns_max);
        blockers.push(Blocker::ZoneTurnsInFlight { zone: zone.name.clone(), in_flight, turns_max });
    }
    // A turn takes nothing out of service on a host that is out of service already.
    // It may even be what the group needs to rise above its minimum again.
    if !member.is_available() {
        return blockers;
    }
    if counts.available <= bounds.minimum {
        blockers.push(Blocker::TooFewHealthy {
            available: counts.available,
            minimum: bounds.minimum,
            total: rollout.present(),
            down: counts.down,
            ailing: counts.ailing,
        });
    }
    if let Some(zone) = zone.filter(|zone| zone.counts.available <= zone.minimum) {
        blockers.push(Blocker::ZoneTooFewHealthy {
            zone: zone.name.clone(),
            available: zone.counts.available,
            minimum: zone.minimum,
            total: zone.total,
            down: zone.counts.down,
            ailing: zone.counts.ailing,
        });
    }
    blockers
}

/// Returns a host that is out of service and must go now, because otherwise no host
/// ever may. It is in the candidate's zone, if that zone has too few hosts in
/// service.
fn mend(rollout: &Rollout, candidate: HostId, blockers: &[Blocker]) -> Option<HostId> {
    if rollout.counts.in_flight > 0 {
        return None;
    }
    let is_of_zone = |blocker: &Blocker| matches!(blocker, Blocker::ZoneTooFewHealthy { .. });
    let zone = blockers.iter().any(is_of_zone).then(|| rollout.members[&candidate].zone);
    let first = |is_down: bool| {
        let from = (is_down, zone.unwrap_or(0), 0, 0, HostId::from_public_key([0; 32]));
        let (down, of_zone, _, _, first) = rollout.repairs.range(from..).next()?;
        (*down == is_down && zone.is_none_or(|zone| zone == *of_zone)).then_some(*first)
    };
    first(false).or_else(|| first(true).filter(|_| !rollout.traits().waits_for_down))
}

fn conclusion(rollout: &Rollout) -> Verdict {
    let counts = &rollout.counts;
    if counts.healthy >= rollout.bounds.minimum && counts.succeeded >= 1 {
        Verdict::Succeeded
    } else {
        Verdict::Failed(rollout.reason(ReasonCode::HealthConstraints))
    }
}

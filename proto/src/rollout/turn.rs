//! Whose turn is next, or which blockers stand in its way: a pure function of
//! a rollout, so that `status`, `plan` and the fold cannot disagree.
//!
//! The rule is CodeDeploy's (AWS user guide, "instances-health"), with H the
//! healthy hosts and M the minimum:
//!
//! - hosts that are of no service (unhealthy, or unwell by their check) go first;
//!   they lower nothing;
//! - hosts that are Down go last: they get a lease when nobody who is up has a turn
//!   to come, or when the minimum lets nobody else go;
//! - a healthy host may go only if M others stay in service;
//! - as soon as H can no longer rise above M with hosts in service still to come,
//!   or no longer reach M at all, the deployment has failed: *at* M and not
//!   below it, so that the next host cannot break it;
//! - with nobody left to come, H = M is enough, if one host succeeded.
//!
//! Zone by zone, the same holds for each zone with its own H and M: a host goes
//! only if both let it, and the last host of a zone may fail at its zone's M,
//! but at the group's M only if it is the last of all. Canaries have no such
//! exception: others always follow them, so all of them must go well.
//!
//! Unhealthy hosts of a later wave, and then hosts that are Down, go ahead of the
//! others only when the minimum would else stop everything: one at a time, with
//! nobody else in a turn. On the way back hosts that are Down do not: what is lost
//! with them is the way back itself, so it waits until they return, are taken out of
//! the mesh, or its time is up.

use super::{Blocker, Reason, ReasonCode, Rollout, Verdict, WaveKind, ZoneReason};
use crate::id::HostId;

/// The answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Turn {
    /// This host may be taken out of service now.
    Of(HostId),
    /// Nobody may, for these reasons.
    Blocked(Vec<Blocker>),
    /// Nobody may any more.
    Over(Verdict),
}

pub(super) fn next(rollout: &Rollout) -> Turn {
    if let Some(verdict) = &rollout.verdict {
        return match rollout.counts.in_flight {
            0 => Turn::Over(verdict.clone()),
            in_flight => Turn::Blocked(vec![Blocker::Ending { in_flight }]),
        };
    }
    if rollout.is_catch_up() {
        return super::catch_up::next(rollout);
    }
    if let Some(reason) = hopeless(rollout) {
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

/// What keeps the next host waiting if it belongs to a later wave.
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

/// Why it can only fail: a canary is not well; or H, of the group or of a zone,
/// can no longer become what it must be, even if every unhealthy host that
/// still has a turn heals in it.
pub(super) fn hopeless(rollout: &Rollout) -> Option<Reason> {
    let is_spoiled = |wave: &super::Wave| wave.kind == WaveKind::Canary && wave.spoiled > 0;
    if rollout.waves.current().is_some_and(is_spoiled) {
        return Some(rollout.reason(ReasonCode::CanaryFailed));
    }
    if is_hopeless(rollout) {
        return Some(rollout.reason(ReasonCode::HealthConstraints));
    }
    let zone = &rollout.zones[*rollout.hopeless.first()? as usize];
    let reason = rollout.reason(ReasonCode::HealthConstraints);
    Some(Reason { zone: Some(ZoneReason::of(zone)), ..reason })
}

/// Hosts to come that are Down or unwell by their check are like unhealthy ones
/// here, however their last turn ended: a turn takes nothing away from them.
fn is_hopeless(rollout: &Rollout) -> bool {
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

/// Whether a host whose turn is to come could get a lease now, whoever else
/// stands before it.
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
    // A host that is of no service now lowers nothing by being worked on, and
    // may be what the group needs to come back above its minimum.
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

/// A host of no service that must go now, or nobody ever may: of the candidate's
/// zone, if that is what has too few in service.
fn mend(rollout: &Rollout, candidate: HostId, blockers: &[Blocker]) -> Option<HostId> {
    if rollout.counts.in_flight > 0 {
        return None;
    }
    let is_of_zone = |blocker: &Blocker| matches!(blocker, Blocker::ZoneTooFewHealthy { .. });
    let zone = blockers.iter().any(is_of_zone).then(|| rollout.members[&candidate].zone);
    let first = |is_down: bool| {
        let from = (is_down, zone.unwrap_or(0), 0, 0, HostId::from_public_key([0; 32]));
        let (down, of_zone, _, _, first) = rollout.mending.range(from..).next()?;
        (*down == is_down && zone.is_none_or(|zone| zone == *of_zone)).then_some(*first)
    };
    first(false).or_else(|| first(true).filter(|_| !rollout.is_way_back()))
}

fn conclusion(rollout: &Rollout) -> Verdict {
    let counts = &rollout.counts;
    if counts.healthy >= rollout.bounds.minimum && counts.succeeded >= 1 {
        Verdict::Succeeded
    } else {
        Verdict::Failed(rollout.reason(ReasonCode::HealthConstraints))
    }
}

//! Whose turn is next, or which blockers stand in its way: a pure function of
//! a rollout, so that `status`, `plan` and the fold cannot disagree.
//!
//! The rule is CodeDeploy's (AWS user guide, "instances-health"), with H the
//! healthy hosts and M the minimum:
//!
//! - hosts that are unhealthy or Down go first; they lower nothing;
//! - a healthy host may go only if M others stay in service;
//! - as soon as H can no longer rise above M with healthy hosts still to come,
//!   or no longer reach M at all, the deployment has failed: *at* M and not
//!   below it, so that the next host cannot break it;
//! - with nobody left to come, H = M is enough, if one host succeeded.
//!
//! Zone by zone, the same holds for each zone with its own H and M: a host goes
//! only if both let it, and the last host of a zone may fail at its zone's M,
//! but at the group's M only if it is the last of all. Canaries have no such
//! exception: others always follow them, so all of them must go well.
//!
//! Unhealthy hosts of a later wave go ahead of it only when the minimum would
//! else stop everything: one at a time, with nobody else in a turn.

use std::fmt;

use super::{Reason, ReasonCode, Rollout, Verdict, WaveKind, ZoneReason};
use crate::id::{DeploymentId, HostId};
use crate::io::because;
use crate::time::LedgerTime;

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

/// Why the next turn may not start now. `status` prints these as they are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Blocker {
    /// As many turns are under way as the policy lets.
    TurnsInFlight {
        /// Under way.
        in_flight: u32,
        /// At most.
        turns_max: u32,
    },
    /// One host less in service would break the minimum.
    TooFewHealthy {
        /// In service now.
        available: u32,
        /// M.
        minimum: u32,
        /// N.
        total: u32,
        /// Of those not in service, how many the mesh counts Down.
        down: u32,
        /// And how many are unwell by the group's health check.
        ailing: u32,
    },
    /// Nobody is left to start; the last turns are under way.
    LastTurns {
        /// How many.
        in_flight: u32,
    },
    /// The deployment is ending; turns under way come to their end first.
    Ending {
        /// How many.
        in_flight: u32,
    },
    /// All turns are over, but hosts that were updated are unwell by the group's
    /// health check: they become well again, or their turns have failed.
    Relapsed {
        /// How many.
        relapsed: u32,
    },
    /// Another deployment of the group goes first.
    Queued {
        /// Which, if one runs.
        behind: Option<DeploymentId>,
    },
    /// The group's alarms must be read once before the first turn.
    AlarmUnread {
        /// Not read yet.
        unread: u32,
        /// In all.
        total: u32,
    },
    /// The group is frozen: what waits begins afterwards.
    Frozen {
        /// Until when.
        until: LedgerTime,
        /// Who did it.
        by: String,
        /// Why; may be empty.
        reason: String,
    },
    /// Hosts that count as in service are lost to too many of their observers, so
    /// this host does not trust the count enough to go out of service. Known only
    /// to it.
    Suspects {
        /// How many hosts are suspect.
        suspects: u32,
        /// Hosts in service by the ledger.
        available: u32,
        /// M.
        minimum: u32,
    },
    /// This host reaches too few voters, so nothing is committed that it could
    /// know of: all that it says is as of its last entry. Known only to that host.
    NoMajority {
        /// Voters that it reaches, itself included if it is one.
        voters_up: u32,
        /// All of them.
        voters: u32,
    },
    /// Hosts whose turn has come have said that they wait with their start: others
    /// are suspect.
    Deferred {
        /// How many.
        deferred: u32,
    },
    /// As many turns of the zone are under way as its minimum lets.
    ZoneTurnsInFlight {
        /// Which; empty for hosts that name none.
        zone: String,
        /// Under way.
        in_flight: u32,
        /// At most.
        turns_max: u32,
    },
    /// One host less in service would break the zone's minimum.
    ZoneTooFewHealthy {
        /// Which; empty for hosts that name none.
        zone: String,
        /// In service now.
        available: u32,
        /// M of the zone.
        minimum: u32,
        /// N of the zone.
        total: u32,
        /// Of those not in service, how many the mesh counts Down.
        down: u32,
        /// And how many are unwell by the group's health check.
        ailing: u32,
    },
    /// The last turns of a wave are under way; the next wave comes after them.
    WaveEnding {
        /// Which.
        wave: WaveKind,
        /// How many.
        in_flight: u32,
    },
    /// A wave is watched before the next one goes.
    Baking {
        /// Which.
        wave: WaveKind,
        /// Until when, by the ledger's clock.
        until: LedgerTime,
        /// How many of its hosts are Down or unwell: it is watched until they
        /// are back, or count as failed.
        unsure: u32,
    },
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
        Some(until) => Some(Blocker::Baking { wave: kind, until, unsure: wave.unsure }),
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

fn is_hopeless(rollout: &Rollout) -> bool {
    let counts = &rollout.counts;
    let best = counts.healthy + counts.hopeful;
    if counts.pending_healthy > 0 {
        return best <= rollout.bounds.minimum;
    }
    counts.pending + counts.in_flight > 0 && best < rollout.bounds.minimum
}

pub(super) fn turn_of(rollout: &Rollout, candidate: HostId) -> Turn {
    let blockers = blockers(rollout, candidate);
    if blockers.is_empty() {
        return Turn::Of(candidate);
    }
    match mend(rollout, &blockers) {
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
            total: rollout.total(),
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

/// An unhealthy host of a later wave that must go now, or nobody ever may.
fn mend(rollout: &Rollout, blockers: &[Blocker]) -> Option<HostId> {
    if rollout.counts.in_flight > 0 {
        return None;
    }
    let lacks_in_zone = |blocker: &Blocker| match blocker {
        Blocker::ZoneTooFewHealthy { zone, .. } => {
            (0..).zip(&rollout.zones).find(|(_, known)| known.name == *zone).map(|(at, _)| at)
        }
        Blocker::TurnsInFlight { .. }
        | Blocker::TooFewHealthy { .. }
        | Blocker::LastTurns { .. }
        | Blocker::Ending { .. }
        | Blocker::Queued { .. }
        | Blocker::Suspects { .. }
        | Blocker::Deferred { .. }
        | Blocker::NoMajority { .. }
        | Blocker::ZoneTurnsInFlight { .. }
        | Blocker::WaveEnding { .. }
        | Blocker::Relapsed { .. }
        | Blocker::Baking { .. }
        | Blocker::AlarmUnread { .. }
        | Blocker::Frozen { .. } => None,
    };
    let first_of = |from: u32, to: Option<u32>| {
        let first = rollout.mending.range((from, 0, 0, HostId::from_public_key([0; 32]))..).next();
        first.filter(|(zone, ..)| to.is_none_or(|to| *zone == to)).map(|(_, _, _, host)| *host)
    };
    match blockers.iter().find_map(lacks_in_zone) {
        Some(zone) => first_of(zone, Some(zone)),
        None => first_of(0, None),
    }
}

fn conclusion(rollout: &Rollout) -> Verdict {
    let counts = &rollout.counts;
    if counts.healthy >= rollout.bounds.minimum && counts.succeeded >= 1 {
        Verdict::Succeeded
    } else {
        Verdict::Failed(rollout.reason(ReasonCode::HealthConstraints))
    }
}

impl fmt::Display for Blocker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Blocker::TurnsInFlight { in_flight, turns_max } => {
                write!(f, "{in_flight} of at most {turns_max} turns are under way")
            }
            Blocker::TooFewHealthy { available, minimum, total, down, ailing } => {
                write!(
                    f,
                    "{available} of {total} hosts are in service and {minimum} must stay so ({down} Down, \
                     {ailing} unwell by their health check): one turn more would break the minimum"
                )
            }
            Blocker::LastTurns { in_flight: 1 } => f.write_str("the last turn is under way"),
            Blocker::LastTurns { in_flight } => write!(f, "the last {in_flight} turns are under way"),
            Blocker::Ending { in_flight: 1 } => {
                f.write_str("no turn is to come; the one under way comes to its end")
            }
            Blocker::Ending { in_flight } => {
                write!(f, "no turn is to come; the {in_flight} under way come to their end")
            }
            Blocker::Relapsed { relapsed } => write!(
                f,
                "all turns are over, but {relapsed} hosts that were updated are unwell by their health check: it \
                 passes again, or they count as failed"
            ),
            Blocker::Queued { behind: Some(behind) } => write!(f, "waits for {behind} to be over"),
            Blocker::Queued { behind: None } => write!(f, "waits for a rollback to be over"),
            Blocker::AlarmUnread { unread, total } => {
                write!(f, "{unread} of {total} alarms were not read yet since this deployment began")
            }
            Blocker::Frozen { until, by, reason } => {
                write!(f, "the group is frozen until {until} by {by}{}", because(reason))
            }
            Blocker::Suspects { suspects, available, minimum } => {
                let hosts = if *suspects == 1 { "1 host is".into() } else { format!("{suspects} hosts are") };
                write!(
                    f,
                    "{hosts} suspect, so of {available} in service this host cannot be sure that {minimum} stay so"
                )
            }
            Blocker::NoMajority { voters_up, voters } => write!(
                f,
                "this host reaches {voters_up} of {voters} voters, and it takes {}: here nothing is committed, and \
                 what is shown is as of its last entry. Bring voters, or its network, back",
                voters / 2 + 1
            ),
            Blocker::Deferred { deferred: 1 } => f.write_str(
                "a host whose turn it is waits with its start, because hosts that count as in service are suspect: \
                 some of their observers have lost them, and it may be that too few serve. It goes on when they are \
                 seen by all again, or are counted Down: mend the network between them, or stop the deployment",
            ),
            Blocker::Deferred { deferred } => write!(
                f,
                "{deferred} hosts whose turn it is wait with their start, because hosts that count as in service are \
                 suspect: some of their observers have lost them, and it may be that too few serve. They go on when \
                 they are seen by all again, or are counted Down: mend the network between them, or stop the \
                 deployment",
            ),
            Blocker::ZoneTurnsInFlight { zone, in_flight, turns_max } => {
                write!(f, "{in_flight} of at most {turns_max} turns {} are under way", in_zone(zone))
            }
            Blocker::ZoneTooFewHealthy { zone, available, minimum, total, down, ailing } => {
                write!(
                    f,
                    "{available} of {total} hosts {} are in service and {minimum} must stay so ({down} Down, \
                     {ailing} unwell by their health check): one turn more would break the zone's minimum",
                    in_zone(zone)
                )
            }
            Blocker::WaveEnding { wave, in_flight: 1 } => write!(f, "the last turn of {wave} is under way"),
            Blocker::WaveEnding { wave, in_flight } => {
                write!(f, "the last {in_flight} turns of {wave} are under way")
            }
            Blocker::Baking { wave, until: _, unsure: 0 } => write!(f, "{wave} is watched before others go"),
            Blocker::Baking { wave, until: _, unsure } => write!(
                f,
                "{wave} is watched before others go; {unsure} of its hosts are Down or unwell since their turn"
            ),
        }
    }
}

fn in_zone(zone: &str) -> String {
    if zone.is_empty() { "without a zone".into() } else { format!("in zone {zone}") }
}

impl fmt::Display for WaveKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            WaveKind::Rest => f.write_str("the group"),
            WaveKind::Canary => f.write_str("the canary"),
            WaveKind::Zone(zone) if zone.is_empty() => f.write_str("the hosts without a zone"),
            WaveKind::Zone(zone) => write!(f, "zone {zone}"),
        }
    }
}

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

use std::fmt;

use super::{ReasonCode, Rollout, Verdict};
use crate::id::{DeploymentId, HostId};

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
    /// This host's own observers are lost to it, so it does not trust the
    /// count enough to go out of service. Known only to that host.
    Suspects {
        /// How many hosts it has lost.
        suspects: u32,
        /// Hosts in service by the ledger.
        available: u32,
        /// M.
        minimum: u32,
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
    if is_hopeless(rollout) {
        return Turn::Over(Verdict::Failed(rollout.reason(ReasonCode::HealthConstraints)));
    }
    match rollout.queue.first() {
        Some((_, _, candidate)) => turn_of(rollout, *candidate),
        None if rollout.counts.in_flight == 0 && rollout.counts.relapsed > 0 => {
            Turn::Blocked(vec![Blocker::Relapsed { relapsed: rollout.counts.relapsed }])
        }
        None if rollout.counts.in_flight == 0 => Turn::Over(conclusion(rollout)),
        None => Turn::Blocked(vec![Blocker::LastTurns { in_flight: rollout.counts.in_flight }]),
    }
}

/// H can no longer become what it must be, even if every unhealthy host that
/// still has a turn heals in it.
fn is_hopeless(rollout: &Rollout) -> bool {
    let counts = &rollout.counts;
    let best = counts.healthy + counts.hopeful;
    if counts.pending_healthy > 0 {
        return best <= rollout.bounds.minimum;
    }
    counts.pending + counts.in_flight > 0 && best < rollout.bounds.minimum
}

pub(super) fn turn_of(rollout: &Rollout, candidate: HostId) -> Turn {
    let counts = &rollout.counts;
    let bounds = rollout.bounds;
    let mut blockers = Vec::new();
    if counts.in_flight >= bounds.turns_max {
        blockers.push(Blocker::TurnsInFlight { in_flight: counts.in_flight, turns_max: bounds.turns_max });
    }
    // A host that is of no service now lowers nothing by being worked on, and
    // may be what the group needs to come back above its minimum.
    if rollout.members[&candidate].is_available() && counts.available <= bounds.minimum {
        blockers.push(Blocker::TooFewHealthy {
            available: counts.available,
            minimum: bounds.minimum,
            total: rollout.total(),
            down: counts.down,
            ailing: counts.ailing,
        });
    }
    if blockers.is_empty() { Turn::Of(candidate) } else { Turn::Blocked(blockers) }
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
            Blocker::Suspects { suspects, available, minimum } => write!(
                f,
                "this host has lost sight of {suspects} hosts, so of {available} in service it cannot be sure \
                 that {minimum} stay so"
            ),
        }
    }
}

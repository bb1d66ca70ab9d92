//! What keeps the next turn from starting, in numbers.

use std::fmt;

use super::WaveKind;
use crate::id::DeploymentId;
use crate::io::because;
use crate::time::LedgerTime;

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
    /// A wave is watched before the next one goes, or, after the last one, before the
    /// deployment has succeeded.
    Baking {
        /// Which.
        wave: WaveKind,
        /// Until when, by the ledger's clock.
        until: LedgerTime,
        /// How many of its hosts are Down or unwell: it is watched until they
        /// are back, or count as failed.
        unsure: u32,
        /// Whether it is the last one.
        is_last: bool,
    },
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
                     {ailing} unhealthy by their health check): one turn more would break the minimum"
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
                "all turns are over, but {relapsed} hosts that were updated are unhealthy by their health check: it \
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
                     {ailing} unhealthy by their health check): one turn more would break the zone's minimum",
                    in_zone(zone)
                )
            }
            Blocker::WaveEnding { wave, in_flight: 1 } => write!(f, "the last turn of {wave} is under way"),
            Blocker::WaveEnding { wave, in_flight } => {
                write!(f, "the last {in_flight} turns of {wave} are under way")
            }
            Blocker::Baking { wave, until: _, unsure, is_last } => {
                let ends = if *is_last { "the deployment has succeeded" } else { "others go" };
                write!(f, "{wave} is watched before {ends}")?;
                match unsure {
                    0 => Ok(()),
                    _ => write!(f, "; {unsure} of its hosts are Down or unhealthy since their turn"),
                }
            }
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

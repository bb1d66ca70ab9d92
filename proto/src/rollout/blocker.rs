//! The reasons why the next turn may not start, with numbers.

use std::fmt;

use super::WaveKind;
use crate::entry::Shortage;
use crate::id::DeploymentId;
use crate::io::because;
use crate::time::LedgerTime;

/// A reason why the next turn may not start now. `status` prints it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Blocker {
    /// The policy allows no more turns at a time than are under way.
    TurnsInFlight {
        /// The turns under way.
        in_flight: u32,
        /// The most turns at a time.
        turns_max: u32,
    },
    /// One more host out of service would break the minimum.
    TooFewHealthy {
        /// The hosts in service now.
        available: u32,
        /// M: the hosts that must stay in service.
        minimum: u32,
        /// N: the hosts of the group.
        total: u32,
        /// The hosts out of service that the mesh counts Down.
        down: u32,
        /// The hosts out of service that are unwell by the group's health check.
        ailing: u32,
    },
    /// No host is left to start, and the last turns are under way.
    LastTurns {
        /// The turns under way.
        in_flight: u32,
    },
    /// The deployment is ending: its turns under way come to their end first.
    Ending {
        /// The turns under way.
        in_flight: u32,
    },
    /// All turns are over, but some updated hosts are unwell by the group's health
    /// check. They become well again, or their turns count as failed.
    Relapsed {
        /// The number of these hosts.
        relapsed: u32,
    },
    /// Another deployment of the group goes first.
    Queued {
        /// The deployment that runs; `None` if a rollback is about to begin.
        behind: Option<DeploymentId>,
    },
    /// The group's alarms must each be read once before the first turn.
    AlarmUnread {
        /// The alarms that are not read yet.
        unread: u32,
        /// All alarms that must be read.
        total: u32,
    },
    /// The group is frozen: what waits begins afterwards.
    Frozen {
        /// The end of the freeze.
        until: LedgerTime,
        /// The person who froze the group.
        by: String,
        /// The reason; may be empty.
        reason: String,
    },
    /// Too many observers have lost hosts that count as in service. So this host
    /// does not trust the count enough to go out of service. No other host knows
    /// this blocker.
    Suspects {
        /// The number of suspects.
        suspects: u32,
        /// The hosts in service by the ledger.
        available: u32,
        /// M: the hosts that must stay in service.
        minimum: u32,
    },
    /// This host reaches too few voters, so it learns of no new entries. Everything
    /// that it says is as of its last entry. No other host knows this blocker.
    NoMajority {
        /// The voters that it reaches, including itself if it votes.
        voters_up: u32,
        /// The number of all voters.
        voters: u32,
    },
    /// Hosts with a lease have said that they defer their start, because other
    /// hosts are suspect.
    Deferred {
        /// The number of these hosts.
        deferred: u32,
    },
    /// Hosts whose turn is still to begin have said that their disk lacks room for
    /// it.
    NoRoom {
        /// The name of the first of these hosts.
        host: String,
        /// The room that the host's disk has and that its turn needs.
        shortage: Shortage,
        /// The number of these hosts.
        short: u32,
    },
    /// The zone's minimum allows no more turns there than are under way.
    ZoneTurnsInFlight {
        /// The name of the zone; empty for hosts without a zone.
        zone: String,
        /// The turns under way.
        in_flight: u32,
        /// The most turns at a time.
        turns_max: u32,
    },
    /// One more host out of service would break the zone's minimum.
    ZoneTooFewHealthy {
        /// The name of the zone; empty for hosts without a zone.
        zone: String,
        /// The hosts in service now.
        available: u32,
        /// M: the hosts of the zone that must stay in service.
        minimum: u32,
        /// N: the hosts of the zone.
        total: u32,
        /// The hosts out of service that the mesh counts Down.
        down: u32,
        /// The hosts out of service that are unwell by the group's health check.
        ailing: u32,
    },
    /// The last turns of a wave are under way, and the next wave follows them.
    WaveEnding {
        /// The wave that is not over yet.
        wave: WaveKind,
        /// The turns under way.
        in_flight: u32,
    },
    /// A wave is watched before the next one goes. After the last wave: before the
    /// deployment succeeds.
    Baking {
        /// The wave that is watched.
        wave: WaveKind,
        /// The end of the bake, by the ledger's clock.
        until: LedgerTime,
        /// The number of its hosts that are Down or unwell. The wave is watched
        /// until they are back, or count as failed.
        unsure: u32,
        /// True if it is the last wave.
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
            Blocker::NoRoom { host, shortage, short } => {
                let others = if *short > 1 { format!(", and on {} more", short - 1) } else { String::new() };
                write!(
                    f,
                    "disk full on {host}: {shortage}{others}; it goes after the others of its wave, begins as soon as \
                     there is room, and fails if there is none within the start timeout: free some space there"
                )
            }
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

//! The number of hosts that must stay healthy, and shares of hosts.

use std::fmt;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};

use super::PERCENT_MAX;

/// The number of hosts that must stay healthy (AWS user guide, "instances-health").
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Minimum {
    /// All hosts but one, so one turn at a time.
    OneAtATime,
    /// Half of the hosts, rounded up.
    HalfAtATime,
    /// No host; but at least one must succeed.
    AllAtOnce,
    /// This number of hosts: `HOST_COUNT`.
    HostCount(u32),
    /// This percentage of the hosts, 0–99, rounded up: `FLEET_PERCENT`.
    FleetPercent(#[serde(deserialize_with = "percent")] u8),
}

/// A minimum in numbers, for one deployment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bounds {
    /// M: the number of hosts that must stay healthy.
    pub minimum: u32,
    /// The most turns at a time, whatever H − M (healthy hosts less the minimum)
    /// would allow.
    pub turns_max: u32,
}

impl Minimum {
    /// Computes M and the cap for a group of `total` hosts, once, when a deployment
    /// begins.
    ///
    /// A group of one host under HalfAtATime has M = 0, which AWS leaves open. The
    /// predefined names never describe a deployment that cannot start; a custom
    /// percentage may.
    pub fn bounds(self, total: u32) -> Bounds {
        let minimum = match self {
            Minimum::OneAtATime => total.saturating_sub(1),
            Minimum::HalfAtATime if total == 1 => 0,
            Minimum::HalfAtATime => total.div_ceil(2),
            Minimum::AllAtOnce => 0,
            Minimum::HostCount(hosts) => hosts,
            Minimum::FleetPercent(percent) => percent_of(percent, total),
        };
        // The cap also limits the turns of unhealthy hosts, about which AWS says
        // nothing. In a brand-new group all hosts are unhealthy, and an operator
        // who asked for one at a time does not mean "all at once, because nothing
        // runs yet".
        let turns_max = match self {
            Minimum::OneAtATime => 1,
            Minimum::HalfAtATime | Minimum::AllAtOnce | Minimum::HostCount(_) | Minimum::FleetPercent(_) => {
                total.saturating_sub(minimum).max(1)
            }
        };
        Bounds { minimum, turns_max }
    }

    /// Returns true if a group of `total` hosts can be deployed to at all: M < N.
    pub fn is_possible(self, total: u32) -> bool {
        self.bounds(total).minimum < total
    }
}

impl fmt::Display for Minimum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Minimum::OneAtATime => f.write_str("OneAtATime"),
            Minimum::HalfAtATime => f.write_str("HalfAtATime"),
            Minimum::AllAtOnce => f.write_str("AllAtOnce"),
            Minimum::HostCount(hosts) => Share::Hosts(*hosts).fmt(f),
            Minimum::FleetPercent(percent) => write!(f, "{percent} %"),
        }
    }
}

/// A number of hosts, or a percentage of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Share {
    /// This number of hosts: `HOST_COUNT`.
    Hosts(u32),
    /// This percentage of the hosts, 0–99, rounded up: `FLEET_PERCENT`.
    Percent(#[serde(deserialize_with = "percent")] u8),
}

impl Share {
    /// Returns the number of hosts, out of `total`.
    pub fn of(self, total: u32) -> u32 {
        match self {
            Share::Hosts(hosts) => hosts,
            Share::Percent(percent) => percent_of(percent, total),
        }
    }
}

/// Reads a percentage, and refuses one above [`PERCENT_MAX`].
fn percent<'de, D: Deserializer<'de>>(from: D) -> Result<u8, D::Error> {
    let percent = u8::deserialize(from)?;
    if percent <= PERCENT_MAX { Ok(percent) } else { Err(D::Error::custom("a percentage above 99")) }
}

fn percent_of(percent: u8, total: u32) -> u32 {
    u32::try_from((u64::from(percent) * u64::from(total)).div_ceil(100)).unwrap_or(u32::MAX)
}

impl fmt::Display for Share {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Share::Hosts(1) => f.write_str("1 host"),
            Share::Hosts(hosts) => write!(f, "{hosts} hosts"),
            Share::Percent(percent) => write!(f, "{percent} %"),
        }
    }
}

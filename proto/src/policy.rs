//! A policy: how a group is brought to a revision. CodeDeploy calls it a
//! deployment configuration.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// How many hosts must stay healthy (AWS user guide, "instances-health").
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Minimum {
    /// All but one, one at a time.
    OneAtATime,
    /// Half, rounded up.
    HalfAtATime,
    /// None; at least one host must succeed.
    AllAtOnce,
    /// This many: `HOST_COUNT`.
    HostCount(u32),
    /// This share, 0–99, rounded up: `FLEET_PERCENT`.
    FleetPercent(u8),
}

/// What Install does with a file that is there but not from the previous
/// deployment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the names are CodeDeploy's")]
pub enum FileExists {
    #[default]
    Disallow,
    Overwrite,
    Retain,
}

/// What makes the mesh roll back by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RollbackOn {
    /// The deployment failed: `DEPLOYMENT_FAILURE`.
    pub failure: bool,
    /// An alarm stopped it: `DEPLOYMENT_STOP_ON_ALARM`.
    pub alarm: bool,
    /// A person stopped it: `DEPLOYMENT_STOP_ON_REQUEST`.
    pub stop: bool,
}

/// The whole policy. Every host must read it alike, so it is written into the
/// ledger with the deployment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Policy {
    /// How many hosts must stay healthy.
    pub minimum: Minimum,
    /// What to do with files that are in the way.
    pub file_exists: FileExists,
    /// Whether the old revision's stop scripts may fail.
    pub ignore_application_stop_failures: bool,
    /// When to roll back.
    pub rollback: RollbackOn,
    /// How long a host whose turn it is may take to start (CodeDeploy: 5 min).
    pub start_timeout: Duration,
    /// How long a host that went Down in its turn may take to come back before
    /// its turn counts as failed.
    pub lost_after: Duration,
    /// How long one turn may take in all.
    pub turn_timeout: Duration,
    /// How long the whole deployment may take (CodeDeploy: 8 h).
    pub deployment_timeout: Duration,
    /// Whether the group's alarms say nothing to this deployment
    /// (CodeDeploy's alarm configuration, switched off).
    pub ignore_alarms: bool,
    /// Whether a freeze does not hold it: only of what brings back a revision
    /// that was there before.
    pub ignore_freeze: bool,
}

impl Default for Policy {
    fn default() -> Self {
        Policy {
            minimum: Minimum::OneAtATime,
            file_exists: FileExists::default(),
            ignore_application_stop_failures: false,
            rollback: RollbackOn { failure: true, alarm: true, stop: false },
            start_timeout: Duration::from_secs(5 * 60),
            lost_after: Duration::from_secs(60),
            turn_timeout: Duration::from_secs(2 * 3_600),
            deployment_timeout: Duration::from_secs(8 * 3_600),
            ignore_alarms: false,
            ignore_freeze: false,
        }
    }
}

/// A minimum as numbers, for one deployment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bounds {
    /// M: this many must stay healthy.
    pub minimum: u32,
    /// At most so many hosts are in their turn at a time, whatever H − M says.
    pub turns_max: u32,
}

impl Minimum {
    /// M and the cap for a group of `total` hosts: computed once, at the start.
    ///
    /// A group of one under HalfAtATime has M = 0: the predefined names never
    /// describe what cannot start, a custom percentage may.
    pub fn bounds(self, total: u32) -> Bounds {
        let minimum = match self {
            Minimum::OneAtATime => total.saturating_sub(1),
            Minimum::HalfAtATime if total == 1 => 0,
            Minimum::HalfAtATime => total.div_ceil(2),
            Minimum::AllAtOnce => 0,
            Minimum::HostCount(hosts) => hosts,
            Minimum::FleetPercent(percent) => {
                u32::try_from((u64::from(percent) * u64::from(total)).div_ceil(100)).unwrap_or(u32::MAX)
            }
        };
        // Also the bound of the unhealthy-first pass, where AWS is silent: a
        // brand-new group is all unhealthy, and an operator who asked for one
        // at a time does not mean "all at once, because nothing runs yet".
        let turns_max = match self {
            Minimum::OneAtATime => 1,
            Minimum::HalfAtATime | Minimum::AllAtOnce | Minimum::HostCount(_) | Minimum::FleetPercent(_) => {
                total.saturating_sub(minimum).max(1)
            }
        };
        Bounds { minimum, turns_max }
    }

    /// Whether a group of `total` hosts can be deployed to at all: M < N.
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
            Minimum::HostCount(hosts) => write!(f, "{hosts} hosts"),
            Minimum::FleetPercent(percent) => write!(f, "{percent} %"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(minimum: Minimum, total: u32, bounds: (u32, u32)) {
        let got = minimum.bounds(total);
        assert_eq!((got.minimum, got.turns_max), bounds, "{minimum} of {total}");
    }

    #[test]
    fn bounds_are_those_of_the_user_guide() {
        check(Minimum::OneAtATime, 9, (8, 1));
        check(Minimum::OneAtATime, 1, (0, 1));
        check(Minimum::HalfAtATime, 9, (5, 4));
        check(Minimum::HalfAtATime, 1, (0, 1));
        check(Minimum::AllAtOnce, 9, (0, 9));
        check(Minimum::HostCount(6), 9, (6, 3));
        check(Minimum::FleetPercent(40), 9, (4, 5));
        check(Minimum::FleetPercent(85), 10, (9, 1));
        check(Minimum::FleetPercent(75), 10, (8, 2));
    }

    #[test]
    fn the_traps_are_impossible() {
        assert!(!Minimum::FleetPercent(75).is_possible(3));
        assert!(!Minimum::FleetPercent(95).is_possible(10));
        assert!(!Minimum::FleetPercent(50).is_possible(1));
        assert!(Minimum::FleetPercent(75).is_possible(4));
        assert!(Minimum::OneAtATime.is_possible(1));
        assert!(!Minimum::AllAtOnce.is_possible(0));
    }
}

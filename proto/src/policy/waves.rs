//! The order of hosts beyond their ranks: a canary first, and then zone by zone.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::Share;

/// A few hosts that go before all others. All of them must succeed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Canary {
    /// The number of hosts in the canary.
    pub hosts: Share,
    /// The time for which these hosts are watched before the others go.
    pub bake: Duration,
}

/// The rule to deploy to one zone at a time (CodeDeploy's `ZonalConfig`).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Zonal {
    /// The number of hosts of each zone that must stay healthy:
    /// `minimumHealthyHostsPerZone`.
    pub minimum: Share,
    /// The time for which each zone is watched before the next one goes:
    /// `monitorDurationInSeconds`.
    pub bake: Duration,
    /// The time for which the first zone is watched; `None` means as long as the
    /// others: `firstZoneMonitorDurationInSeconds`.
    pub first_bake: Option<Duration>,
    /// The zones that go first, in this order. The others follow in the order of
    /// their names, and hosts without a zone come last.
    pub order: Vec<String>,
}

impl Default for Zonal {
    fn default() -> Self {
        Zonal { minimum: Share::Percent(0), bake: Duration::ZERO, first_bake: None, order: Vec::new() }
    }
}

impl Zonal {
    /// Returns the sort key of a zone.
    pub fn place<'a>(&self, zone: &'a str) -> (usize, bool, &'a str) {
        let named = self.order.iter().position(|named| named == zone);
        (named.unwrap_or(self.order.len()), zone.is_empty(), zone)
    }

    /// Returns how long the `nth` zone (from 0) is watched.
    pub fn bake_after(&self, nth: usize) -> Duration {
        if nth == 0 { self.first_bake.unwrap_or(self.bake) } else { self.bake }
    }

    /// Returns M and the cap on turns for a zone of `total` hosts.
    pub fn bounds(&self, total: u32) -> super::Bounds {
        let minimum = self.minimum.of(total);
        super::Bounds { minimum, turns_max: total.saturating_sub(minimum).max(1) }
    }
}

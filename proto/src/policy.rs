//! A policy: the rules by which a group is brought to a revision. CodeDeploy calls
//! it a deployment configuration.

mod limits;
mod minimum;
mod named;
mod waves;

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

pub use limits::{BAKE_MAX, InvalidPolicy, PERCENT_MAX};
pub use minimum::{Bounds, Minimum, Share};
pub use named::{DeploymentConfig, PREDEFINED};
pub use waves::{Canary, Zonal};

/// The action of Install for a file that exists already but is not from the
/// previous deployment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the names are CodeDeploy's")]
pub enum FileExists {
    #[default]
    Disallow,
    Overwrite,
    Retain,
}

/// The outcomes after which the mesh rolls back by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RollbackOn {
    /// After the deployment failed: `DEPLOYMENT_FAILURE`.
    pub failure: bool,
    /// After an alarm stopped it: `DEPLOYMENT_STOP_ON_ALARM`.
    pub alarm: bool,
    /// After a person stopped it: `DEPLOYMENT_STOP_ON_REQUEST`.
    pub stop: bool,
}

/// The work of a deployment on each host (CodeDeploy's `deploymentMode`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum Mode {
    /// Installs a revision: `STANDARD`.
    #[default]
    Standard,
    /// Stops and starts what is installed, without a download: `RESTART`.
    Restart,
}

/// The whole policy of a deployment. It is written into the ledger with the
/// deployment, so that every host follows the same one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Policy {
    /// The number of hosts that must stay healthy.
    pub minimum: Minimum,
    /// The action of Install for files that are in the way.
    pub file_exists: FileExists,
    /// True if the old revision's stop scripts may fail.
    pub ignore_application_stop_failures: bool,
    /// The outcomes after which the mesh rolls back.
    pub rollback: RollbackOn,
    /// The most time that a host may take to start its turn (CodeDeploy: 5 min).
    pub start_timeout: Duration,
    /// The most time that a host which went Down in its turn, or in the bake after
    /// it, may take to come back before it counts as failed.
    pub lost_after: Duration,
    /// The most time that one turn may take in all.
    pub turn_timeout: Duration,
    /// The most time that the whole deployment may take (CodeDeploy: 8 h).
    pub deployment_timeout: Duration,
    /// The most turns at a time, even where the minimum would allow more; `None`
    /// for no such cap.
    pub turns_max: Option<u32>,
    /// Deploy to a few hosts first, and then bake.
    pub canary: Option<Canary>,
    /// Deploy to one zone at a time.
    pub zonal: Option<Zonal>,
    /// Tells a deployment that installs a revision from one that restarts what is
    /// installed.
    pub mode: Mode,
    /// True to deploy only to hosts that do not have the revision (CodeDeploy's
    /// `updateOutdatedInstancesOnly`).
    pub outdated_only: bool,
    /// True if the group's alarms do not stop this deployment (CodeDeploy's alarm
    /// configuration, switched off).
    pub ignore_alarms: bool,
    /// True if a freeze does not hold this deployment. Only [`Policy::of_rollback`]
    /// sets it, and only a deployment that goes back may have it.
    pub ignore_freeze: bool,
    /// The most times that a turn may begin in all. It begins again if the host's
    /// agent is killed or stopped in an event, and is back before the host counts
    /// as lost.
    pub attempts: u8,
    /// The time for which the last wave is watched before the deployment succeeds.
    pub bake: Duration,
    /// The time that a host may be Down before it is taken out of the mesh for
    /// good; `None` leaves that to people. If a host is in several groups, the
    /// longest time counts.
    pub forget_down_after: Option<Duration>,
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
            turns_max: None,
            canary: None,
            zonal: None,
            mode: Mode::Standard,
            outdated_only: false,
            ignore_alarms: false,
            ignore_freeze: false,
            attempts: 2,
            bake: Duration::ZERO,
            forget_down_after: None,
        }
    }
}

/// The first wire version with canary, zones, the cap on turns, RESTART,
/// outdated-only, and alarms and freezes that can be ignored.
const WAVES_SINCE: u16 = 2;

/// The words by which a policy says that it restarts what is installed.
pub const RESTART_WORDS: &str = ", restart";

impl Policy {
    /// Returns M and the cap on turns for a group of `total` hosts.
    pub fn bounds(&self, total: u32) -> Bounds {
        let bounds = self.minimum.bounds(total);
        let turns_max = self.turns_max.map_or(bounds.turns_max, |cap| cap.min(bounds.turns_max));
        Bounds { turns_max, ..bounds }
    }

    /// Returns the policy of a deployment that undoes a deployment of this policy.
    /// A rollback tries nothing out, so it has no canary and no bake. Nothing that
    /// is broken now may block it: not a failing stop script, not an alarm, and not
    /// a freeze. It always installs a revision, even if it undoes a restart.
    #[must_use]
    pub fn of_rollback(&self) -> Policy {
        let unbaked = |zonal: &Zonal| Zonal { bake: Duration::ZERO, first_bake: None, ..zonal.clone() };
        Policy {
            ignore_application_stop_failures: true,
            canary: None,
            zonal: self.zonal.as_ref().map(unbaked),
            mode: Mode::Standard,
            outdated_only: false,
            ignore_alarms: true,
            ignore_freeze: true,
            bake: Duration::ZERO,
            ..self.clone()
        }
    }

    /// Returns the policy of a deployment that brings hosts which are behind to the
    /// group's last good revision. It is the policy of a rollback, but takes no
    /// notice of zones, and waits for a freeze to end because nothing is broken.
    #[must_use]
    pub fn of_catch_up(&self) -> Policy {
        Policy { zonal: None, ignore_freeze: false, ..self.of_rollback() }
    }

    /// Returns the oldest wire version that can fold this policy.
    pub fn wire(&self) -> u16 {
        let plain = self.turns_max.is_none()
            && self.canary.is_none()
            && self.zonal.is_none()
            && self.kind().installs()
            && !self.outdated_only
            && !self.ignore_alarms
            && !self.ignore_freeze;
        if plain { 1 } else { WAVES_SINCE }
    }
}

/// Says in one line for people how many hosts go at a time, and in which order.
impl fmt::Display for Policy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.minimum)?;
        if let Some(cap) = self.turns_max {
            write!(f, ", at most {cap} at a time")?;
        }
        if let Some(canary) = &self.canary {
            write!(f, ", canary of {}", canary.hosts)?;
        }
        if let Some(zonal) = &self.zonal {
            write!(f, ", zone by zone")?;
            if zonal.minimum != Share::Percent(0) {
                write!(f, " with {} of each", zonal.minimum)?;
            }
        }
        if !self.kind().installs() {
            f.write_str(RESTART_WORDS)?;
        }
        if self.outdated_only { f.write_str(", outdated hosts only") } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests;

//! A policy: how a group is brought to a revision. CodeDeploy calls it a
//! deployment configuration.

mod limits;
mod minimum;
mod named;
mod waves;

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::lifecycle::Course;

pub use limits::{BAKE_MAX, InvalidPolicy, PERCENT_MAX};
pub use minimum::{Bounds, Minimum, Share};
pub use named::{DeploymentConfig, PREDEFINED};
pub use waves::{Canary, Zonal};

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

/// CodeDeploy's `deploymentMode`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum Mode {
    /// Brings a revision: `STANDARD`.
    #[default]
    Standard,
    /// Stops and starts what is installed, without a download: `RESTART`.
    Restart,
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
    /// How long a host that went Down in its turn, or in the bake after it, may
    /// take to come back before it counts as failed.
    pub lost_after: Duration,
    /// How long one turn may take in all.
    pub turn_timeout: Duration,
    /// How long the whole deployment may take (CodeDeploy: 8 h).
    pub deployment_timeout: Duration,
    /// At most so many turns at a time, whatever the minimum would let.
    pub turns_max: Option<u32>,
    /// Some hosts first, then a bake.
    pub canary: Option<Canary>,
    /// One zone at a time.
    pub zonal: Option<Zonal>,
    /// Whether a revision is brought, or the installed one restarted.
    pub mode: Mode,
    /// Only hosts that do not have the revision: CodeDeploy's
    /// `updateOutdatedInstancesOnly`.
    pub outdated_only: bool,
    /// Whether the group's alarms say nothing to this deployment
    /// (CodeDeploy's alarm configuration, switched off).
    pub ignore_alarms: bool,
    /// Whether a freeze does not hold it: only of what brings back a revision
    /// that was there before.
    pub ignore_freeze: bool,
    /// How often a turn may begin in all, if the host's agent is killed or stopped in
    /// an event and is back before the host counts as lost.
    pub attempts: u8,
    /// How long the last wave is watched before the deployment has succeeded.
    pub bake: Duration,
    /// How long a host may be Down before it is taken out of the mesh for good; none
    /// leaves that to people. Of a host in several groups the longest counts.
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

/// The wire version that knows canary, zones, cap, RESTART, outdated-only, and
/// what alarms and freezes there are to ignore.
const WAVES_SINCE: u16 = 2;

impl Policy {
    /// M and the cap for a group of `total` hosts.
    pub fn bounds(&self, total: u32) -> Bounds {
        let bounds = self.minimum.bounds(total);
        let turns_max = self.turns_max.map_or(bounds.turns_max, |cap| cap.min(bounds.turns_max));
        Bounds { turns_max, ..bounds }
    }

    /// What hosts go through.
    pub fn course(&self) -> Course {
        match self.mode {
            Mode::Standard => Course::InPlace,
            Mode::Restart => Course::Restart,
        }
    }

    /// The policy of a deployment that undoes one of this policy: nothing is
    /// tried out on the way back, so there is no canary and no bake; what is
    /// broken now, an alarm that says so, or a freeze must not block it; and it
    /// installs, whatever it undoes.
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

    /// The policy of a deployment that brings hosts of a group under this one
    /// to where the group is: as on the way back, and wherever they stand, but
    /// nothing is so broken that it could not wait for a freeze to end.
    #[must_use]
    pub fn of_catch_up(&self) -> Policy {
        Policy { zonal: None, ignore_freeze: false, ..self.of_rollback() }
    }

    /// The oldest wire version whose fold follows this policy.
    pub fn wire(&self) -> u16 {
        let plain = self.turns_max.is_none()
            && self.canary.is_none()
            && self.zonal.is_none()
            && self.mode == Mode::Standard
            && !self.outdated_only
            && !self.ignore_alarms
            && !self.ignore_freeze;
        if plain { 1 } else { WAVES_SINCE }
    }
}

/// How many at a time, and in which order: one line for people.
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
        match self.mode {
            Mode::Standard => {}
            Mode::Restart => f.write_str(", restart")?,
        }
        if self.outdated_only { f.write_str(", outdated hosts only") } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests;

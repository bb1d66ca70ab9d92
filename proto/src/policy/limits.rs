//! What no policy may say.

use std::time::Duration;

use super::{Minimum, Policy, Share};

/// The largest percentage: with 100 % of them needed, no host could ever be
/// taken out of service (CodeDeploy: 0–99).
pub const PERCENT_MAX: u8 = 99;
/// The longest bake: CodeDeploy's longest wait, 2,880 minutes.
pub const BAKE_MAX: Duration = Duration::from_secs(2_880 * 60);
/// No timeout is shorter: the ledger's clock is not finer than its ticks.
pub(super) const TIMEOUT_MIN: Duration = Duration::from_secs(1);
/// A host that has not started after so long is not going to.
pub(super) const START_TIMEOUT_MAX: Duration = Duration::from_secs(3_600);
/// Beyond it a turn is not waited for but forgotten.
pub(super) const TURN_TIMEOUT_MAX: Duration = Duration::from_secs(24 * 3_600);
/// Beyond it a deployment is not waited for but forgotten.
pub(super) const DEPLOYMENT_TIMEOUT_MAX: Duration = Duration::from_secs(30 * 24 * 3_600);
/// A host that is rebooted, or cut off for a moment, must not be taken out.
pub(super) const FORGET_MIN: Duration = Duration::from_secs(10 * 60);
/// Attempts of one turn: an agent that is killed more often is killed by the turn.
pub(super) const ATTEMPTS_MAX: u8 = 5;
/// Zones that may be put in order.
pub(super) const ZONES_ORDERED_MAX: usize = 100;
/// The longest name of a zone, in characters.
pub(super) const ZONE_NAME_MAX: usize = 100;

/// Why a policy is none.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidPolicy {
    /// See [`PERCENT_MAX`].
    #[error(
        "{key} = {percent}%: a percentage is 0% to {PERCENT_MAX}%, because with 100% no host would be left to go"
    )]
    Percent {
        /// As the group file calls it.
        key: &'static str,
        /// As given.
        percent: u8,
    },
    /// Nothing can be done with none.
    #[error("{key} = 0: give at least {least}, or leave it out")]
    Zero {
        /// As the group file calls it.
        key: &'static str,
        /// The least that makes sense.
        least: &'static str,
    },
    /// A turn may begin only so often.
    #[error("attempts = {0}: a turn may begin at most {ATTEMPTS_MAX} times")]
    Attempts(u8),
    /// Too short or too long.
    #[error("{key} = {}: it may be {} to {}", words(*.given), words(*.least), words(*.most))]
    Duration {
        /// As the group file calls it.
        key: &'static str,
        /// As given.
        given: Duration,
        /// The shortest.
        least: Duration,
        /// The longest.
        most: Duration,
    },
    /// A zone is put in order twice, or without a name.
    #[error("zones.order names `{0}` twice, or no zone at all: name each zone once")]
    ZoneOrder(String),
    /// More zones than anybody can put in order by hand.
    #[error("zones.order names {0} zones: at most {ZONES_ORDERED_MAX} can be put in order")]
    ZonesMany(usize),
    /// RESTART brings nothing, so nobody can be behind.
    #[error(
        "mode = RESTART and outdated_only = true contradict each other: a restart brings no revision; keep one"
    )]
    RestartOutdated,
}

/// A duration in the unit that divides it.
fn words(duration: Duration) -> String {
    let seconds = duration.as_secs();
    match seconds {
        _ if duration.subsec_millis() > 0 => format!("{} ms", duration.as_millis()),
        0 => "0s".into(),
        _ if seconds.is_multiple_of(86_400) => format!("{}d", seconds / 86_400),
        _ if seconds.is_multiple_of(3_600) => format!("{}h", seconds / 3_600),
        _ if seconds.is_multiple_of(60) => format!("{}m", seconds / 60),
        _ => format!("{seconds}s"),
    }
}

impl Policy {
    /// Checks what must hold whatever the group: percentages, zeros, durations.
    /// # Errors
    /// The first limit that is broken.
    pub fn validate(&self) -> Result<(), InvalidPolicy> {
        match self.minimum {
            Minimum::FleetPercent(percent) => check_percent("minimum_healthy", percent)?,
            Minimum::OneAtATime | Minimum::HalfAtATime | Minimum::AllAtOnce | Minimum::HostCount(_) => {}
        }
        if self.turns_max == Some(0) {
            return Err(InvalidPolicy::Zero { key: "turns_max", least: "1" });
        }
        match self.attempts {
            0 => return Err(InvalidPolicy::Zero { key: "attempts", least: "1" }),
            1..=ATTEMPTS_MAX => {}
            more => return Err(InvalidPolicy::Attempts(more)),
        }
        check_duration("bake", self.bake, Duration::ZERO, BAKE_MAX)?;
        if let Some(after) = self.forget_down_after {
            check_duration("forget_down_after", after, FORGET_MIN, DEPLOYMENT_TIMEOUT_MAX)?;
        }
        self.validate_waves()?;
        if self.mode == super::Mode::Restart && self.outdated_only {
            return Err(InvalidPolicy::RestartOutdated);
        }
        let timeouts = [
            ("start_timeout", self.start_timeout, START_TIMEOUT_MAX),
            ("lost_after", self.lost_after, START_TIMEOUT_MAX),
            ("turn_timeout", self.turn_timeout, TURN_TIMEOUT_MAX),
            ("timeout", self.deployment_timeout, DEPLOYMENT_TIMEOUT_MAX),
        ];
        timeouts.into_iter().try_for_each(|(key, given, most)| check_duration(key, given, TIMEOUT_MIN, most))
    }

    fn validate_waves(&self) -> Result<(), InvalidPolicy> {
        if let Some(canary) = &self.canary {
            match canary.hosts {
                Share::Hosts(0) => return Err(InvalidPolicy::Zero { key: "canary.hosts", least: "1" }),
                Share::Percent(0) => return Err(InvalidPolicy::Zero { key: "canary.hosts", least: "1%" }),
                Share::Hosts(_) => {}
                Share::Percent(percent) => check_percent("canary.hosts", percent)?,
            }
            check_duration("canary.bake", canary.bake, Duration::ZERO, BAKE_MAX)?;
        }
        let Some(zonal) = &self.zonal else { return Ok(()) };
        match zonal.minimum {
            Share::Hosts(_) => {}
            Share::Percent(percent) => check_percent("zones.minimum_healthy", percent)?,
        }
        check_duration("zones.bake", zonal.bake, Duration::ZERO, BAKE_MAX)?;
        check_duration("zones.first_bake", zonal.first_bake.unwrap_or_default(), Duration::ZERO, BAKE_MAX)?;
        if zonal.order.len() > ZONES_ORDERED_MAX {
            return Err(InvalidPolicy::ZonesMany(zonal.order.len()));
        }
        for (at, zone) in zonal.order.iter().enumerate() {
            let is_long = zone.chars().count() > ZONE_NAME_MAX;
            if zone.is_empty() || is_long || zonal.order[..at].contains(zone) {
                return Err(InvalidPolicy::ZoneOrder(zone.chars().take(ZONE_NAME_MAX).collect()));
            }
        }
        Ok(())
    }
}

fn check_percent(key: &'static str, percent: u8) -> Result<(), InvalidPolicy> {
    if percent > PERCENT_MAX { Err(InvalidPolicy::Percent { key, percent }) } else { Ok(()) }
}

fn check_duration(
    key: &'static str,
    given: Duration,
    least: Duration,
    most: Duration,
) -> Result<(), InvalidPolicy> {
    if given < least || given > most {
        return Err(InvalidPolicy::Duration { key, given, least, most });
    }
    Ok(())
}

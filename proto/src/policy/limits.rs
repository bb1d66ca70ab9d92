//! The limits that every policy must keep.

use std::time::Duration;

use super::{Minimum, Policy, Share};

/// The largest percentage. If 100 % of the hosts had to stay healthy, none could
/// ever be taken out of service (CodeDeploy: 0–99).
pub const PERCENT_MAX: u8 = 99;
/// The longest bake: CodeDeploy's longest wait, 2,880 minutes.
pub const BAKE_MAX: Duration = Duration::from_secs(2_880 * 60);
/// The shortest timeout: the ledger's clock is not finer than its ticks.
pub(super) const TIMEOUT_MIN: Duration = Duration::from_secs(1);
/// The longest start timeout: a host that has not started after this time will not
/// start.
pub(super) const START_TIMEOUT_MAX: Duration = Duration::from_secs(3_600);
/// The longest turn timeout. A person who has waited longer has forgotten the turn.
pub(super) const TURN_TIMEOUT_MAX: Duration = Duration::from_secs(24 * 3_600);
/// The longest deployment timeout. A person who has waited longer has forgotten the
/// deployment.
pub(super) const DEPLOYMENT_TIMEOUT_MAX: Duration = Duration::from_secs(30 * 24 * 3_600);
/// The shortest time before a Down host is taken out: a reboot, or a short loss of
/// connection, must not do that.
pub(super) const FORGET_MIN: Duration = Duration::from_secs(10 * 60);
/// The most attempts of one turn. If the agent is killed more often than this, the
/// turn is what kills it.
pub(super) const ATTEMPTS_MAX: u8 = 5;
/// The most zones that `zones.order` may name.
pub(super) const ZONES_ORDERED_MAX: usize = 100;
/// The longest name of a zone, in characters.
pub(super) const ZONE_NAME_MAX: usize = 100;

/// The reason why a policy is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidPolicy {
    /// A percentage above [`PERCENT_MAX`].
    #[error(
        "{key} = {percent}%: a percentage is 0% to {PERCENT_MAX}%, because with 100% no host would be left to go"
    )]
    Percent {
        /// The key in the group file.
        key: &'static str,
        /// The percentage that was given.
        percent: u8,
    },
    /// A count of zero, with which nothing could be done.
    #[error("{key} = 0: give at least {least}, or leave it out")]
    Zero {
        /// The key in the group file.
        key: &'static str,
        /// The smallest value that makes sense.
        least: &'static str,
    },
    /// More attempts than a turn may have.
    #[error("attempts = {0}: a turn may begin at most {ATTEMPTS_MAX} times")]
    Attempts(u8),
    /// A duration that is too short or too long.
    #[error("{key} = {}: it may be {} to {}", words(*.given), words(*.least), words(*.most))]
    Duration {
        /// The key in the group file.
        key: &'static str,
        /// The duration that was given.
        given: Duration,
        /// The shortest duration that is allowed.
        least: Duration,
        /// The longest duration that is allowed.
        most: Duration,
    },
    /// A zone that the order names twice, or whose name is empty or too long.
    #[error("zones.order names `{0}` twice, or no zone at all: name each zone once")]
    ZoneOrder(String),
    /// More zones than a person would put in order by hand.
    #[error("zones.order names {0} zones: at most {ZONES_ORDERED_MAX} can be put in order")]
    ZonesMany(usize),
    /// RESTART together with outdated-only: a restart brings no revision, so no
    /// host can be outdated.
    #[error(
        "mode = RESTART and outdated_only = true contradict each other: a restart brings no revision; keep one"
    )]
    RestartOutdated,
}

/// Formats a duration in the largest unit that divides it.
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
    /// Checks the limits that hold for every group: on percentages, zeros and
    /// durations.
    /// # Errors
    /// The first limit that is exceeded.
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
        if !self.kind().installs() && self.outdated_only {
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

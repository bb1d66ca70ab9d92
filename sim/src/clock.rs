//! True virtual time, and the inaccurate clocks of the hosts.

use std::fmt;
use std::ops::{Add, Sub};
use std::time::Duration;

use proto::time::Time;
use serde::{Deserialize, Serialize};

/// True virtual time, in microseconds since the world began. Only the world
/// knows it; a node is told the [`Time`] of its own host's clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Default, Serialize, Deserialize)]
pub struct Moment(u64);

impl Moment {
    pub const START: Moment = Moment(0);

    pub const fn from_micros(micros: u64) -> Self {
        Moment(micros)
    }

    pub const fn as_micros(self) -> u64 {
        self.0
    }

    pub const fn as_secs(self) -> u64 {
        self.0 / 1_000_000
    }

    /// Returns the true time at which a correct clock shows `text`, an RFC 3339
    /// time as in the ledger. Returns None if `text` is not one, or lies before
    /// the world began.
    pub fn shown_as(text: &str) -> Option<Moment> {
        let shown = humantime::parse_rfc3339(text).ok()?.duration_since(std::time::UNIX_EPOCH).ok()?;
        let micros = u64::try_from(shown.as_micros()).ok()?;
        micros.checked_sub(EPOCH_MICROS).map(Moment)
    }

    /// Returns the time since `zero` as a story prints it, `m:ss`. It has whole
    /// seconds only, so that a small change of the code does not change the story.
    pub fn since(self, zero: Moment) -> String {
        let seconds = self.as_secs().saturating_sub(zero.as_secs());
        let (hours, minutes, seconds) = (seconds / 3_600, seconds / 60 % 60, seconds % 60);
        if hours > 0 {
            format!("{hours}:{minutes:02}:{seconds:02}")
        } else {
            format!("{minutes}:{seconds:02}")
        }
    }
}

impl Add<Duration> for Moment {
    type Output = Moment;
    fn add(self, later: Duration) -> Moment {
        Moment(self.0.saturating_add(u64::try_from(later.as_micros()).unwrap_or(u64::MAX)))
    }
}

impl Sub for Moment {
    type Output = Duration;
    fn sub(self, earlier: Moment) -> Duration {
        Duration::from_micros(self.0.saturating_sub(earlier.0))
    }
}

impl fmt::Display for Moment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:06}", self.0 / 1_000_000, self.0 % 1_000_000)
    }
}

/// The time that host clocks show when the world begins: a day in 2023. It is far
/// from zero, so that a clock that is behind does not go below zero.
const EPOCH_MICROS: u64 = 1_700_000_000_000_000;

const MILLION: i64 = 1_000_000;

/// One host's clock. It is off by some offset and runs too fast or too slow.
/// While its agent runs it never goes backwards, like a monotonic clock.
#[derive(Clone, Debug)]
pub struct HostClock {
    true_at: Moment,
    local_at: u64,
    parts_per_million: i64,
}

impl HostClock {
    /// Creates a clock that is `ahead_micros` ahead now and gains
    /// `parts_per_million`.
    pub fn new(now: Moment, ahead_micros: i64, parts_per_million: i64) -> Self {
        assert!(parts_per_million > -MILLION, "a clock does not stand still");
        let local_at = (EPOCH_MICROS + now.0).saturating_add_signed(ahead_micros);
        HostClock { true_at: now, local_at, parts_per_million }
    }

    /// Changes the rate of the clock from now on. The time that it shows does
    /// not jump.
    pub fn drift(&mut self, now: Moment, parts_per_million: i64) {
        assert!(parts_per_million > -MILLION, "a clock does not stand still");
        self.local_at = self.show(now).as_micros();
        self.true_at = now;
        self.parts_per_million = parts_per_million;
    }

    pub fn show(&self, now: Moment) -> Time {
        let passed = now.0.saturating_sub(self.true_at.0);
        let gained = i128::from(passed) * i128::from(self.parts_per_million) / i128::from(MILLION);
        let gained = i64::try_from(gained).expect("a clock gains less than a lifetime");
        Time::from_micros(self.local_at.saturating_add(passed).saturating_add_signed(gained))
    }

    /// Returns the first moment at which the clock shows `time` or later.
    pub fn when(&self, time: Time) -> Moment {
        let wanted = i128::from(time.as_micros().saturating_sub(self.local_at));
        let passed = wanted * i128::from(MILLION) / i128::from(MILLION + self.parts_per_million);
        let mut moment = self.true_at + Duration::from_micros(u64::try_from(passed).unwrap_or(u64::MAX / 2));
        // The division rounds down. Without this loop the host could ask for a
        // wake at the same moment again and again.
        while self.show(moment) < time {
            moment = moment + Duration::from_micros(1);
        }
        moment
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wake_never_comes_too_early() {
        for parts_per_million in [-50_000, -3, 0, 7, 333, 50_000] {
            let mut clock = HostClock::new(Moment(17), -1_000_000, parts_per_million);
            clock.drift(Moment(1_234_567), parts_per_million / 2);
            for ahead in [0, 1, 999, 1_000_003, 86_400_000_001] {
                let time = clock.show(Moment(2_000_000)) + Duration::from_micros(ahead);
                let moment = clock.when(time);
                assert!(clock.show(moment) >= time);
                assert!(clock.show(Moment(moment.0 - 1)) < time);
            }
        }
    }
}

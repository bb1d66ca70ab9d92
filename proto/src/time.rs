//! Two clocks that never mix.
//!
//! [`Time`] is one host's own clock. A host compares it only with itself and never
//! sends it. [`LedgerTime`] is the time in entries. The leader of consensus stamps
//! it; it never goes backwards, and is the same on every host.

use std::fmt;
use std::ops::{Add, Sub};
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// A time on this host's clock, in microseconds since the Unix epoch. It is read
/// from the system clock at start, and is monotonic from then on.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Time(u64);

/// A time on the ledger's clock, in milliseconds since the Unix epoch.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
pub struct LedgerTime(u64);

impl Time {
    /// Makes the time `micros` microseconds after the Unix epoch.
    pub const fn from_micros(micros: u64) -> Self {
        Time(micros)
    }

    /// Returns the microseconds since the Unix epoch.
    pub const fn as_micros(self) -> u64 {
        self.0
    }

    /// Returns the time that has passed since `earlier`; zero if `earlier` is
    /// later.
    pub const fn since(self, earlier: Time) -> Duration {
        Duration::from_micros(self.0.saturating_sub(earlier.0))
    }

    /// Returns the stamp that this host would give an entry if it led now.
    pub const fn to_ledger(self) -> LedgerTime {
        LedgerTime(self.0 / 1_000)
    }
}

impl LedgerTime {
    /// Makes the time `millis` milliseconds after the Unix epoch.
    pub const fn from_millis(millis: u64) -> Self {
        LedgerTime(millis)
    }

    /// Returns the milliseconds since the Unix epoch.
    pub const fn as_millis(self) -> u64 {
        self.0
    }

    /// Returns the time that has passed since `earlier`; zero if `earlier` is
    /// later.
    pub const fn since(self, earlier: LedgerTime) -> Duration {
        Duration::from_millis(self.0.saturating_sub(earlier.0))
    }
}

impl Add<Duration> for Time {
    type Output = Time;
    fn add(self, later: Duration) -> Time {
        Time(self.0.saturating_add(u64::try_from(later.as_micros()).unwrap_or(u64::MAX)))
    }
}

impl Add<Duration> for LedgerTime {
    type Output = LedgerTime;
    fn add(self, later: Duration) -> LedgerTime {
        LedgerTime(self.0.saturating_add(u64::try_from(later.as_millis()).unwrap_or(u64::MAX)))
    }
}

impl Sub<Duration> for Time {
    type Output = Time;
    fn sub(self, earlier: Duration) -> Time {
        Time(self.0.saturating_sub(u64::try_from(earlier.as_micros()).unwrap_or(u64::MAX)))
    }
}

/// Formats the time as RFC 3339 in UTC, to the second, for sentences.
impl fmt::Display for LedgerTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        /// The end of the year 9999, the last time that RFC 3339 can express.
        const LATEST_SECOND: u64 = 253_402_300_799;
        let since_epoch = Duration::from_secs((self.0 / 1_000).min(LATEST_SECOND));
        write!(f, "{}", humantime::format_rfc3339_seconds(std::time::UNIX_EPOCH + since_epoch))
    }
}

impl fmt::Debug for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:06}", self.0 / 1_000_000, self.0 % 1_000_000)
    }
}

impl fmt::Debug for LedgerTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "L{}.{:03}", self.0 / 1_000, self.0 % 1_000)
    }
}

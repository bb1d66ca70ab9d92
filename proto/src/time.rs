//! Two clocks that never mix.
//!
//! [`Time`] is one host's own clock: it is compared with itself and never
//! sent. [`LedgerTime`] is carried by entries, stamped by whoever leads
//! consensus, never goes backwards, and is the same on every host.

use std::fmt;
use std::ops::{Add, Sub};
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// A moment on this host's clock, in microseconds since the Unix epoch as that
/// clock saw it at start; monotonic from there on.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Time(u64);

/// A moment of the ledger, in milliseconds since the Unix epoch.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
pub struct LedgerTime(u64);

impl Time {
    /// The moment `micros` microseconds after the Unix epoch.
    pub const fn from_micros(micros: u64) -> Self {
        Time(micros)
    }

    /// Microseconds since the Unix epoch.
    pub const fn as_micros(self) -> u64 {
        self.0
    }

    /// How long after `earlier` this is; zero if it is not.
    pub const fn since(self, earlier: Time) -> Duration {
        Duration::from_micros(self.0.saturating_sub(earlier.0))
    }

    /// What this host would stamp on an entry if it led now.
    pub const fn to_ledger(self) -> LedgerTime {
        LedgerTime(self.0 / 1_000)
    }
}

impl LedgerTime {
    /// The moment `millis` milliseconds after the Unix epoch.
    pub const fn from_millis(millis: u64) -> Self {
        LedgerTime(millis)
    }

    /// Milliseconds since the Unix epoch.
    pub const fn as_millis(self) -> u64 {
        self.0
    }

    /// How long after `earlier` this is; zero if it is not.
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

/// RFC 3339 in UTC, to the second: for sentences.
impl fmt::Display for LedgerTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        /// The end of the year 9999: no later moment can be written.
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

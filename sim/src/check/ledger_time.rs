//! The ledger's time advances by the time that really passes, whatever the
//! clocks show.
//!
//! It may run a tenth faster while most voters' clocks are ahead. It may be set
//! anew only if most hosts were down at the same time since the last entry,
//! because then perhaps nobody knows how long that took.

use std::collections::BTreeSet;
use std::time::Duration;

use proto::time::LedgerTime;

use super::{Claim, Verdict, Violation};
use crate::clock::Moment;
use crate::host::HostNo;

/// How much the ledger's time may gain, in percent of the time that passes: a
/// tenth, and what host clocks gain.
const GAINS_MAX: i64 = 15;
/// How long before an entry is first seen here it may have been stamped.
const SLACK_MS: i64 = 20_000;
/// After most hosts were down, how long the first entries may still be older
/// ones.
const LEARNS_FOR: Duration = Duration::from_secs(30);

#[derive(Debug, Default)]
pub struct LedgerClock {
    /// By how many milliseconds, at most, the stamps were ahead of the time
    /// since the world began, and when that was seen.
    ahead: Option<(i64, Moment)>,
    /// Until this moment, `ahead` is determined anew.
    learns_until: Moment,
    /// The hosts that are up.
    up: BTreeSet<HostNo>,
    /// The hosts that have been up all the time since the last entry.
    stayed: BTreeSet<HostNo>,
}

impl LedgerClock {
    pub fn host_up(&mut self, host: HostNo) {
        self.up.insert(host);
    }

    pub fn host_down(&mut self, host: HostNo) {
        self.up.remove(&host);
        self.stayed.remove(&host);
    }

    /// Checks a committed entry in a mesh of `hosts` hosts.
    pub fn entry(&mut self, stamp: LedgerTime, hosts: usize, now: Moment) -> Verdict {
        let millis = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
        let passed = millis(now.as_micros() / 1_000);
        let ahead = millis(stamp.as_millis()) - passed;
        let stayed = std::mem::replace(&mut self.stayed, self.up.clone());
        if stayed.len() * 2 <= hosts || self.ahead.is_none() {
            self.learns_until = now + LEARNS_FOR;
        }
        let (known, since) = self.ahead.unwrap_or((ahead, now));
        if now < self.learns_until {
            self.ahead = Some((known.max(ahead), now));
            return Ok(());
        }
        let gains = (passed - millis(since.as_micros() / 1_000)) * GAINS_MAX / 100;
        if ahead <= known + gains + SLACK_MS {
            return Ok(());
        }
        let what = format!("an entry is stamped {} s too late", (ahead - known) / 1_000);
        Err(Violation::new(Claim::LedgerTime, [], what))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_that_jumps_is_found_unless_the_mesh_stood_still() {
        let at = |seconds: u64| LedgerTime::from_millis(seconds * 1_000);
        let now = |seconds: u64| Moment::from_micros(seconds * 1_000_000);
        let mut clock = LedgerClock::default();
        (0..3).for_each(|no| clock.host_up(HostNo(no)));
        assert_eq!(clock.entry(at(1_000), 3, now(10)), Ok(()));
        assert_eq!(clock.entry(at(1_100), 3, now(110)), Ok(()));
        clock.host_down(HostNo(0));
        let violation = clock.entry(at(9_000), 3, now(120)).expect_err("hours in ten seconds");
        assert_eq!(violation.claim, Claim::LedgerTime);
        // Two of three are down now, one of them for some time.
        clock.host_down(HostNo(1));
        assert_eq!(clock.entry(at(1_105), 3, now(200)), Ok(()), "stamped before they went down");
        assert_eq!(clock.entry(at(9_000), 3, now(201)), Ok(()));
        (0..2).for_each(|no| clock.host_up(HostNo(no)));
        assert_eq!(clock.entry(at(9_001), 3, now(202)), Ok(()));
        assert_eq!(clock.entry(at(9_100), 3, now(301)), Ok(()));
        assert!(clock.entry(at(9_900), 3, now(311)).is_err());
    }
}

//! The ledger's time advances by the time that really passes. Wall clocks move it
//! only as far as most voters' clocks show, and only in small steps: it gains at most
//! a tenth of the time that passes.
//!
//! It jumps to the time of most voters' clocks only if fewer voters than a majority
//! still know the ledger's time. This is exact: the host that stamps such an entry
//! hears most voters, and would have taken the time from any of them that knew it. So
//! at most the others can know it. A voter knows the time if it has folded an entry
//! when that was new, some seconds after it started, and has not gone down since: it
//! heard the host that stamped the entry, and the beacons of that host tell the time.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use proto::entry::Index;
use proto::time::LedgerTime;

use super::{Claim, Verdict, Violation};
use crate::clock::Moment;
use crate::host::HostNo;

/// The most that a host's own clock gains, in percent of the time that passes.
const DRIFT_MAX: i64 = 5;
/// The most that the ledger's time gains while most voters' clocks are ahead: a tenth,
/// and what host clocks gain.
const GAINS_MAX: i64 = 16;
/// The longest time from the stamping of an entry until it is first seen here.
const SLACK_MS: i64 = 20_000;
/// The time within which a host that starts hears the ledger's time from its
/// neighbours.
const LISTENS: Duration = Duration::from_secs(6);
/// The time after its first fold in which an entry is new: later it may come from a
/// host that does not know the time.
const NEW_FOR: Duration = Duration::from_secs(3);
/// The time for which the first entries may still be older ones, after most voters
/// have forgotten the time.
const OLDER_ONES: Duration = Duration::from_secs(30);

/// All leads are over the time since the world began, in milliseconds.
#[derive(Clone, Debug, Default)]
pub struct LedgerClock {
    /// The greatest lead of the entries' stamps, and when it was seen.
    ahead: Option<(i64, Moment)>,
    /// The greatest lead that the clocks of most voters have shown.
    of_voters: Option<i64>,
    voters: BTreeSet<HostNo>,
    /// The lead of each host's clock.
    clocks: BTreeMap<HostNo, i64>,
    /// The hosts that are up, and since when.
    up: BTreeMap<HostNo, Moment>,
    /// The hosts that know the ledger's time.
    know: BTreeSet<HostNo>,
    /// The newest entry with a stamp, and when it was first seen.
    newest: (Index, Moment),
    /// Until this moment, the ledger's time may be taken from the voters' clocks.
    forgotten_until: Moment,
}

fn millis(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

fn since_start(now: Moment) -> i64 {
    millis(now.as_micros() / 1_000)
}

impl LedgerClock {
    pub fn host_up(&mut self, host: HostNo, shows: LedgerTime, now: Moment) {
        self.up.insert(host, now);
        self.clock(host, shows, now);
    }

    pub fn host_down(&mut self, host: HostNo) {
        self.up.remove(&host);
        self.know.remove(&host);
    }

    /// Notes what a host's clock shows.
    pub fn clock(&mut self, host: HostNo, shows: LedgerTime, now: Moment) {
        self.clocks.insert(host, millis(shows.as_millis()) - since_start(now));
        self.compare_clocks();
    }

    pub fn voters(&mut self, voters: BTreeSet<HostNo>) {
        self.voters = voters;
        self.compare_clocks();
    }

    /// Notes that a host has folded the entries up to `index`.
    pub fn folded(&mut self, host: HostNo, index: Index, now: Moment) {
        let (newest, seen) = self.newest;
        let is_new = index >= newest && now - seen <= NEW_FOR;
        if is_new && self.up.get(&host).is_some_and(|since| now - *since >= LISTENS) {
            self.know.insert(host);
        }
    }

    fn most(&self) -> usize {
        self.voters.len() / 2 + 1
    }

    fn compare_clocks(&mut self) {
        let mut leads: Vec<i64> =
            self.voters.iter().filter_map(|voter| self.clocks.get(voter)).copied().collect();
        leads.sort_unstable_by(|a, b| b.cmp(a));
        // A majority of the voters shows at least this lead.
        self.of_voters = self.of_voters.max(leads.get(self.most() - 1).copied());
    }

    /// Checks a committed entry.
    pub fn entry(&mut self, index: Index, stamp: LedgerTime, now: Moment) -> Verdict {
        self.newest = (index, now);
        let ahead = millis(stamp.as_millis()) - since_start(now);
        let know = self.know.intersection(&self.voters).count();
        if know + self.most() <= self.voters.len() {
            self.forgotten_until = now + OLDER_ONES;
        }
        let is_forgotten = now < self.forgotten_until;
        let by_time = |percent: i64| {
            let (known, since) = self.ahead?;
            Some(known + (since_start(now) - since_start(since)) * percent / 100)
        };
        let is_within = |limit: Option<i64>| limit.is_some_and(|limit| ahead <= limit + SLACK_MS);
        let by_the_clocks = is_within(self.of_voters) && (is_forgotten || is_within(by_time(GAINS_MAX)));
        if !by_the_clocks && !is_within(by_time(DRIFT_MAX)) {
            let before = by_time(DRIFT_MAX).or(self.of_voters).unwrap_or_default();
            let what = format!("an entry is stamped {} s too late", (ahead - before) / 1_000);
            return Err(Violation::new(Claim::LedgerTime, [], what));
        }
        if is_forgotten && self.ahead.is_none_or(|(known, _)| ahead > known) {
            self.ahead = Some((ahead, now));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;

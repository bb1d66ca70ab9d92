//! The ledger's clock, as one host keeps it.
//!
//! The ledger's time advances with the time that passes on the hosts' monotonic
//! clocks. Wall clocks never move it at once, because a clock that is hours ahead
//! would time out turns and deployments. They only make it run faster or slower by at
//! most a tenth, and only if most voters agree. Given up: a mesh whose clocks are all
//! set right at once catches up slowly.
//!
//! There is one exception: after the whole mesh stood still, no host knows how long
//! that took. Then the clock goes on from what most voters' wall clocks show.
//!
//! A voter does not refuse an entry because of its stamp. If it did, a voter whose
//! own clock is wrong would stop the mesh. And an honest leader stamps by elapsed
//! time.

use std::collections::BTreeMap;
use std::time::Duration;

use super::{Node, Why};
use crate::deadlines::Deadlines;
use crate::id::{HostId, VoterId};
use crate::mesh::liveness::GRACE;
use crate::time::{LedgerTime, Time};

/// The bounds of the clock's rate, in percent of elapsed time, while it follows the
/// voters' wall clocks. A timeout comes too early or too late by at most a tenth of
/// its length.
const FAST: u64 = 110;
const SLOW: u64 = 90;
/// The difference within which the clock counts as right: beacons take some time,
/// and come once a second.
const CLOSE: Duration = Duration::from_millis(500);
/// The largest error of a host's clock that is not logged.
pub const CLOCK_OFF_MAX: Duration = Duration::from_secs(30);

/// Advances the ledger's time from the last known moment.
#[derive(Clone, Debug)]
pub(super) struct LedgerClock {
    /// In microseconds, so that nothing is lost however often the rate changes.
    at: u64,
    seen: Time,
    percent: u64,
    /// True if the time was counted without interruption from a moment that the
    /// mesh knew. Other hosts learn the time only from such hosts. Before that it
    /// may lag by as long as this host's agent was away.
    is_counted: bool,
}

impl LedgerClock {
    pub(super) fn new(clock: LedgerTime, now: Time) -> Self {
        LedgerClock { at: micros(clock), seen: now, percent: 100, is_counted: false }
    }

    fn micros(&self, now: Time) -> u64 {
        let passed = u64::try_from(now.since(self.seen).as_micros()).unwrap_or(u64::MAX);
        self.at.saturating_add(passed.saturating_mul(self.percent) / 100)
    }

    pub(super) fn now(&self, now: Time) -> LedgerTime {
        LedgerTime::from_millis(self.micros(now) / 1_000)
    }

    /// Notes that the ledger has reached this moment by now, or is further.
    pub(super) fn note(&mut self, moment: LedgerTime, now: Time) {
        if micros(moment) > self.micros(now) {
            (self.at, self.seen) = (micros(moment), now);
        }
    }

    /// Does the same for a moment that is known not to be an old one.
    pub(super) fn note_current(&mut self, moment: LedgerTime, now: Time) {
        self.note(moment, now);
        self.is_counted = true;
    }

    /// Returns the ledger's time, if this host has counted it without interruption.
    pub(super) fn counted(&self, now: Time) -> Option<LedgerTime> {
        self.is_counted.then(|| self.now(now))
    }

    fn run_at(&mut self, percent: u64, now: Time) {
        (self.at, self.seen, self.percent) = (self.micros(now), now, percent);
    }
}

/// The clocks and timers of one start of a host.
pub(super) struct Timekeeping {
    pub(super) deadlines: Deadlines<Why, Time>,
    pub(super) ledger: LedgerClock,
    /// The lead of this host's own clock over the ledger's, in milliseconds.
    pub(super) own_ahead: Option<i64>,
    /// The last timer of the ledger for which a `Tick` was planned, and how long
    /// this host waits before it proposes that.
    pub(super) tick: Option<(LedgerTime, Duration)>,
    pub(super) started: Time,
    /// The time of the last input.
    pub(super) handled_at: Time,
}

impl Timekeeping {
    pub(super) fn new(ledger: LedgerTime, now: Time) -> Self {
        Timekeeping {
            deadlines: Deadlines::new(),
            ledger: LedgerClock::new(ledger, now),
            own_ahead: None,
            tick: None,
            started: now,
            handled_at: now,
        }
    }
}

fn micros(moment: LedgerTime) -> u64 {
    moment.as_millis().saturating_mul(1_000)
}

/// The number of hosts that must tell the ledger's time to one that has just
/// started.
const TELLERS: usize = 2;

impl Node {
    /// Returns the time that the ledger's clock must have reached by now.
    pub(super) fn ledger_now(&self, now: Time) -> LedgerTime {
        self.time.ledger.now(now)
    }

    /// Returns the wall clocks of the voters that are heard, the earliest first,
    /// and the number of voters that make a majority.
    fn walls(&self, now: Time) -> (Vec<LedgerTime>, usize) {
        let voters = &self.ledger.voters().voters;
        let wall_of = |voter: &VoterId| {
            if *voter == self.own.meta.voter {
                return Some(now.to_ledger());
            }
            let host = self.mesh.voter_hosts().get(voter).filter(|host| self.mesh.hears(**host))?;
            self.mesh.reports().get(host).map(|heard| heard.clock.wall + now.since(heard.clock.at))
        };
        let mut walls: Vec<LedgerTime> = voters.iter().filter_map(wall_of).collect();
        walls.sort_unstable();
        (walls, voters.len() / 2 + 1)
    }

    /// Lets the clock run slightly faster or slower, towards what most voters' wall
    /// clocks show. Runs with every beacon of this host.
    pub(super) fn steer_clock(&mut self, now: Time) {
        let (walls, most) = self.walls(now);
        let percent = match walls.len() {
            heard if heard < most || most == 0 => 100,
            heard => {
                // Most voters show at least `least`, and most show at most
                // `greatest`.
                let (least, greatest) = (walls[heard - most], walls[most - 1]);
                let clock = self.ledger_now(now);
                match () {
                    () if least > clock + CLOSE => FAST,
                    () if clock > greatest + CLOSE => SLOW,
                    () => 100,
                }
            }
        };
        self.time.ledger.run_at(percent, now);
        self.tell_own_clock(now);
    }

    /// Takes the ledger's time from hosts that know it. A host that has just
    /// started does not know how much time has passed since the last entry, and
    /// gets it this way. A single host could lie, and a clock that is too far ahead
    /// is never set back, so two must tell it, unless after some seconds only one does.
    pub(super) fn hear_clock(&mut self, now: Time) {
        if self.time.ledger.is_counted {
            return;
        }
        let told = self.clocks_told(now);
        let wanted = TELLERS.min(self.mesh.members().len().saturating_sub(1));
        // The others may be as new as this host: then the only one that knows counts.
        if told.len() >= wanted.max(1) || now.since(self.time.started) >= GRACE {
            self.take_clock(&told, now);
        }
    }

    /// Returns the ledger's time as told by each member that is heard and has
    /// counted it, the earliest first.
    fn clocks_told(&self, now: Time) -> Vec<LedgerTime> {
        let is_member = |host: &HostId| self.mesh.members().contains(host) && self.mesh.hears(*host);
        let heard = self.mesh.reports().iter().filter(|(host, _)| is_member(host));
        let mut told: Vec<LedgerTime> =
            heard.filter_map(|(_, heard)| Some(heard.clock.counted? + now.since(heard.clock.at))).collect();
        told.sort_unstable();
        told
    }

    /// Takes the middle of what was told, or the earlier of two: a clock that lags
    /// follows the entries, and one that is ahead ends deployments too early.
    ///
    /// A single host is believed only up to what most voters' wall clocks show. Given up:
    /// where these lag, so does the clock, by no more than this host's agent was away.
    fn take_clock(&mut self, told: &[LedgerTime], now: Time) {
        let Some(&middle) = told.get(told.len().saturating_sub(1) / 2) else { return };
        if told.len() >= TELLERS {
            self.time.ledger.note_current(middle, now);
        } else if let Some(shown) = self.shown_by_most(now) {
            self.time.ledger.note_current(middle.min(shown), now);
        }
    }

    /// Returns the time that the wall clocks of most voters have reached.
    fn shown_by_most(&self, now: Time) -> Option<LedgerTime> {
        let (walls, most) = self.walls(now);
        (most > 0 && walls.len() >= most).then(|| walls[walls.len() - most])
    }

    /// Prepares the clock before this host stamps its first entry. If it has heard
    /// no host that knows how much time has passed since the last entry, the mesh
    /// stood still, and the wall clocks of most voters count. Returns true if the
    /// host may stamp entries: just after its start it first listens for a host
    /// that knows.
    pub(super) fn catch_up_clock(&mut self, now: Time) -> bool {
        if self.time.ledger.is_counted {
            return true;
        }
        let is_unheard = |host: &HostId| *host != self.config.host && !self.mesh.hears(*host);
        if now.since(self.time.started) < GRACE && self.mesh.members().iter().any(is_unheard) {
            return false;
        }
        let told = self.clocks_told(now);
        if !told.is_empty() {
            // Only one host knows it, and no other has come.
            self.take_clock(&told, now);
            return true;
        }
        if let Some(wall) = self.shown_by_most(now) {
            let stood = wall.since(self.ledger_now(now));
            tracing::info!(
                ?stood,
                "no agent has run since the ledger's last entry: its clock goes on from now"
            );
            self.time.ledger.note_current(wall, now);
        }
        true
    }

    /// Returns how far a host's wall clock is ahead of the ledger's, in
    /// milliseconds.
    pub(super) fn clock_ahead(&self, wall: LedgerTime, now: Time) -> i64 {
        let clock = self.ledger_now(now);
        let millis = |duration: Duration| i64::try_from(duration.as_millis()).unwrap_or(i64::MAX);
        millis(wall.since(clock)) - millis(clock.since(wall))
    }

    /// Returns how far the clocks of the hosts that are heard are ahead of the
    /// ledger's, in milliseconds.
    pub(super) fn clocks_ahead(&self) -> BTreeMap<HostId, i64> {
        let heard = self.mesh.reports().iter().filter(|(host, _)| self.mesh.hears(**host));
        let own = self.time.own_ahead.map(|ahead| (self.config.host, ahead));
        heard.map(|(host, heard)| (*host, heard.clock.ahead)).chain(own).collect()
    }

    /// Logs once, on the leader, that another host's clock is off.
    pub(super) fn tell_clock_of(&self, host: HostId, before: Option<i64>, ahead: i64) {
        let is_news = is_clock_off(ahead) && !before.is_some_and(is_clock_off);
        if is_news && self.ledger.is_leader() && self.time.ledger.is_counted {
            let name = self.state.host(host).map(|known| known.record.name.as_str()).unwrap_or_default();
            tracing::warn!(%host, name, ahead_ms = ahead, "a host's clock is off, against the mesh's");
        }
    }

    /// Logs once that this host's clock is off, or right again.
    fn tell_own_clock(&mut self, now: Time) {
        if !self.time.ledger.is_counted {
            return;
        }
        let ahead = self.clock_ahead(now.to_ledger(), now);
        let before = self.time.own_ahead.replace(ahead);
        match (before.is_some_and(is_clock_off), is_clock_off(ahead)) {
            (false, true) => tracing::warn!(
                ahead_ms = ahead,
                "this host's clock was off when its agent started, against the mesh's: set it right and restart the \
                 agent. Deployments go by elapsed time and are not affected"
            ),
            (true, false) => {
                tracing::info!(ahead_ms = ahead, "this host's clock agrees with the mesh's again")
            }
            (false, false) | (true, true) => {}
        }
    }
}

/// Returns true if a clock that is this many milliseconds ahead (or behind) is
/// logged.
pub fn is_clock_off(ahead_ms: i64) -> bool {
    u128::from(ahead_ms.unsigned_abs()) > CLOCK_OFF_MAX.as_millis()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_goes_on_by_elapsed_time_and_never_back() {
        let start = Time::from_micros(5_000_000);
        let mut clock = LedgerClock::new(LedgerTime::from_millis(1_000), start);
        let later = |millis: u64| start + Duration::from_millis(millis);
        assert_eq!(clock.now(later(250)), LedgerTime::from_millis(1_250));
        clock.note(LedgerTime::from_millis(1_100), later(250));
        assert_eq!(
            clock.now(later(250)),
            LedgerTime::from_millis(1_250),
            "what is behind it changes nothing"
        );
        assert_eq!(clock.counted(later(250)), None);
        clock.note_current(LedgerTime::from_millis(9_000), later(250));
        assert_eq!(clock.counted(later(350)), Some(LedgerTime::from_millis(9_100)));
        clock.run_at(SLOW, later(350));
        assert_eq!(clock.now(later(1_350)), LedgerTime::from_millis(10_000));
        clock.run_at(FAST, later(1_350));
        assert_eq!(clock.now(later(2_350)), LedgerTime::from_millis(11_100));
    }
}

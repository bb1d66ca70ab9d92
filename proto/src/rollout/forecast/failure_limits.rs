//! The limits of a deployment: how many failures it survives, and what would have
//! to change in one that cannot succeed.

use std::collections::BTreeSet;
use std::time::Duration;

use super::{Forecast, Played, Playing};
use crate::id::HostId;
use crate::policy::{Minimum, Policy};
use crate::rollout::WaveKind;

/// The course of a deployment, and the failures that it survives.
#[derive(Clone, Debug)]
pub struct Outlook {
    /// The course if every turn succeeds.
    pub well: Played,
    /// The end if every turn fails.
    pub worst: Worst,
    /// The number of failed turns that stop it.
    pub stops: Stops,
    /// The length of the deployment with slow turns; `None` if that was not asked
    /// for, or if it cannot succeed.
    pub slow: Option<Duration>,
}

/// The end of a deployment in which every turn fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Worst {
    /// Turns that have failed by then.
    pub failed: u32,
    /// Hosts that it never touches.
    pub untouched: u32,
    /// Hosts in service at its end.
    pub in_service: u32,
}

/// The numbers of turns that must fail to stop a deployment that would otherwise
/// succeed. Hosts that are Down fail in any case, and no number counts them. All
/// numbers are zero or `None` for a deployment that cannot succeed.
///
/// Zone by zone, the numbers depend on the zone whose hosts fail. Then `fewest` and
/// `after_canary` hold for the first turns, and `last` for the last ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Stops {
    /// The fewest failed turns that can stop it. Fewer never do, whichever hosts
    /// fail.
    pub fewest: u32,
    /// The same for the turns after the canary; `None` without a canary, and 0 if
    /// all other turns may fail.
    pub after_canary: Option<u32>,
    /// The most turns after the canary that may fail if they are the last ones. One
    /// more stops the deployment, whichever hosts fail. If this is less than
    /// `fewest`, it makes no difference whether the last turns fail or others.
    pub last: u32,
    /// Turns after the canary of hosts that are up.
    pub turns: u32,
}

impl Forecast {
    fn total(&self) -> u32 {
        u32::try_from(self.entrants.len()).unwrap_or(u32::MAX)
    }

    /// Plays the deployment through, and collects everything that a plan shows. If
    /// `slow` is given, plays it once more with turns of that length.
    pub fn outlook(&self, slow: Option<Duration>) -> Outlook {
        // A deployment that succeeds has at most this many failures among its last
        // turns.
        let spare_max = self.total().saturating_sub(self.policy().bounds(self.total()).minimum) + 1;
        let late = Playing::begin(self).until_so_many_wait(spare_max);
        let well = late.clone().play_out(|_| false);
        let all_fail = self.play(|_| true);
        let counts = all_fail.rollout.counts();
        let worst = Worst { failed: counts.failed, untouched: counts.skipped, in_service: counts.available };
        let ends_well = well.ends_well();
        Outlook {
            worst,
            stops: if ends_well { self.stops(&well, &late, &all_fail) } else { Stops::default() },
            slow: slow.filter(|_| ends_well).map(|slow| self.lasts(&well, slow)),
            well,
        }
    }

    fn stops(&self, well: &Played, late: &Playing<'_>, all_fail: &Played) -> Stops {
        let turns = |is_wanted: &dyn Fn(&WaveKind) -> bool| -> Vec<HostId> {
            let batches = well.batches.iter().filter(|batch| is_wanted(&batch.wave));
            batches.flat_map(|batch| batch.hosts.iter().copied()).collect()
        };
        let has_canary = !turns(&|wave| *wave == WaveKind::Canary).is_empty();
        let mut others = turns(&|wave| *wave != WaveKind::Canary);
        others.retain(|host| !late.down.contains(host));
        let is_stopped = |from: Playing<'_>, failing: &[HostId]| {
            let failing: BTreeSet<HostId> = failing.iter().copied().collect();
            !from.play_out(|host| failing.contains(&host)).ends_well()
        };
        let is_ahead = |host: &HostId| late.rollout.members[host].is_ahead();
        let first_ahead = others.iter().position(is_ahead).unwrap_or(others.len());
        let from = |first: usize| if first >= first_ahead { late.clone() } else { Playing::begin(self) };

        let guess = match has_canary {
            true => self.play(|host| well.rollout.members[&host].wave > 0).failed_by_then,
            false => all_fail.failed_by_then,
        };
        let fewest = least(0, others.len(), guess, |first| is_stopped(from(0), &others[..first]));
        // Fewer failures among the last turns cannot stop it, unless those turns
        // are in another zone.
        let zone = well.rollout.zones.last();
        let never = if zone.is_some() { 0 } else { fewest.map_or(others.len(), |hosts| hosts as usize - 1) };
        let spare = well.rollout.counts.healthy.saturating_sub(well.rollout.bounds.minimum);
        let of_zone = zone.map_or(spare, |zone| zone.counts.healthy.saturating_sub(zone.minimum));
        let beyond_last = least(never, others.len(), spare.min(of_zone) + 1, |last| {
            let first = others.len() - last;
            is_stopped(from(first), &others[first..])
        });
        let turns = u32::try_from(others.len()).unwrap_or(u32::MAX);
        Stops {
            // One failed canary stops it at once.
            fewest: if has_canary { 1 } else { fewest.unwrap_or(0) },
            after_canary: has_canary.then(|| fewest.unwrap_or(0)),
            last: beyond_last.map_or(turns, |beyond| beyond - 1),
            turns,
        }
    }

    /// Returns how long the deployment lasts with turns of another length.
    fn lasts(&self, well: &Played, turn: Duration) -> Duration {
        if turn == self.turn { well.lasted } else { self.at_pace(turn).play(|_| false).lasted }
    }

    /// Returns the largest minimum below the requested one with which the
    /// deployment can succeed; `None` if no minimum helps.
    pub fn largest_minimum(&self) -> Option<u32> {
        let total = self.total();
        let works = |hosts: u32| {
            let policy = Policy { minimum: Minimum::HostCount(hosts), ..self.policy().clone() };
            self.under(policy).play(|_| false).ends_well()
        };
        // The lower the minimum, the more is possible. The usual cause is too many
        // hosts that are Down, so the number of the others is tried first.
        let beyond = self.policy().bounds(total).minimum.min(total);
        let down = self.entrants.iter().filter(|entrant| entrant.down.is_some()).count();
        let left = total.saturating_sub(u32::try_from(down).unwrap_or(u32::MAX).saturating_add(1));
        let guess = left.min(beyond.checked_sub(1)?);
        let (mut low, mut high) = if works(guess) { (guess, beyond) } else { (0, guess) };
        if low == 0 && (high == 0 || (guess > 0 && !works(0))) {
            return None;
        }
        let mut step = u32::from(low == guess);
        while high - low > 1 {
            let probe = if step > 0 { (low + step).min(high - 1) } else { low + (high - low) / 2 };
            if works(probe) {
                (low, step) = (probe, step * 2);
            } else {
                (high, step) = (probe, 0);
            }
        }
        Some(low)
    }

    /// Returns the size of the smallest larger group that the minimum allows to
    /// deploy, if at most a hundred more hosts are enough.
    pub fn hosts_needed(&self) -> Option<u32> {
        const LOOKED_AT: u32 = 100;
        let total = self.total();
        let minimum = self.policy().minimum;
        (total + 1..=total.saturating_add(LOOKED_AT)).find(|hosts| minimum.is_possible(*hosts))
    }
}

/// Returns the least number above `low`, and up to `most`, for which `is_so` holds;
/// `None` if it holds for none. If it holds for a number, it must hold for all
/// larger ones. A good guess needs two calls.
fn least(mut low: usize, most: usize, guess: u32, is_so: impl Fn(usize) -> bool) -> Option<u32> {
    let (never, mut high) = (low, most + 1);
    let (mut probe, mut step) = (usize::try_from(guess).unwrap_or(most), 1);
    while high - low > 1 {
        probe = probe.clamp(low + 1, high - 1);
        if is_so(probe) {
            high = probe
        } else {
            low = probe
        }
        probe = match (low > never, high <= most) {
            (true, true) => low + (high - low) / 2,
            (false, _) => high.saturating_sub(step),
            (true, false) => low + step,
        };
        step *= 2;
    }
    u32::try_from(high).ok().filter(|_| high <= most)
}

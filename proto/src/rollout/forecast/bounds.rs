//! What a deployment stands: how many failures it takes, and how much has to be
//! changed in one that cannot end well.

use std::collections::BTreeSet;
use std::time::Duration;

use super::{Forecast, Played};
use crate::id::HostId;
use crate::policy::{Minimum, Policy};
use crate::rollout::WaveKind;

/// What a deployment would do, and what it stands.
#[derive(Clone, Debug)]
pub struct Outlook {
    /// How it goes if all goes well.
    pub well: Played,
    /// How it ends if every turn fails.
    pub worst: Worst,
    /// So many turns must fail to stop it once the canary is through; none
    /// without one.
    pub stopped_after_canary: Option<u32>,
    /// So many turns may fail if they are the last ones.
    pub last_may_fail: u32,
    /// How long it lasts if turns are slow.
    pub slow: Option<Duration>,
}

/// The end of a deployment of which every turn fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Worst {
    /// Turns that it takes to stop it, one after the other from the first.
    pub failed: u32,
    /// Hosts that it never touches.
    pub untouched: u32,
    /// Hosts in service at its end.
    pub in_service: u32,
}

impl Forecast {
    /// Plays through what there is to know, with turns that take so long if they
    /// are `slow`.
    pub fn outlook(&self, slow: Option<Duration>) -> Outlook {
        let well = self.play(|_| false);
        let counts = *self.play(|_| true).rollout.counts();
        let worst = Worst { failed: counts.failed, untouched: counts.skipped, in_service: counts.available };
        let ends_well = well.ends_well();
        Outlook {
            worst,
            stopped_after_canary: self.stopped_after_canary(&well),
            last_may_fail: if ends_well { self.last_may_fail(&well) } else { 0 },
            slow: slow.filter(|_| ends_well).map(|slow| self.lasts(&well, slow)),
            well,
        }
    }

    /// How long it lasts with turns of another length.
    fn lasts(&self, well: &Played, turn: Duration) -> Duration {
        if turn == self.turn { well.lasted } else { self.at_pace(turn).play(|_| false).lasted }
    }

    fn stopped_after_canary(&self, well: &Played) -> Option<u32> {
        let canary = well.batches.iter().filter(|batch| batch.wave == WaveKind::Canary);
        let canary: BTreeSet<HostId> = canary.flat_map(|batch| batch.hosts.iter().copied()).collect();
        let fails = |host: HostId| !canary.contains(&host);
        (!canary.is_empty()).then(|| self.play(fails).rollout.counts().failed)
    }

    /// The most turns that may fail at the end of it: what the minimum leaves, if
    /// the fold agrees.
    fn last_may_fail(&self, well: &Played) -> u32 {
        let counts = well.rollout.counts();
        let spare = counts.healthy.saturating_sub(well.rollout.bounds.minimum);
        let spare = spare.min(counts.succeeded.saturating_sub(1));
        let last_first = well.batches.iter().rev().flat_map(|batch| batch.hosts.iter().rev().copied());
        let last: BTreeSet<HostId> = last_first.take(spare as usize).collect();
        let is_survived = spare > 0 && self.play(|host| last.contains(&host)).ends_well();
        if is_survived { spare } else { 0 }
    }

    /// The largest minimum, below the one that is asked for, under which it can
    /// end well; none if no minimum helps.
    pub fn largest_minimum(&self) -> Option<u32> {
        let total = u32::try_from(self.entrants.len()).unwrap_or(u32::MAX);
        let works = |hosts: u32| {
            let policy = Policy { minimum: Minimum::HostCount(hosts), ..self.policy().clone() };
            self.under(policy).play(|_| false).ends_well()
        };
        // The lower the minimum, the more is possible. Mostly it is the hosts that
        // are Down that are too many: what they leave is looked at first.
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

    /// The size of the smallest group larger than this one that the minimum lets
    /// go, if the next hundred hosts make one.
    pub fn hosts_needed(&self) -> Option<u32> {
        const LOOKED_AT: u32 = 100;
        let total = u32::try_from(self.entrants.len()).unwrap_or(u32::MAX);
        let minimum = self.policy().minimum;
        (total + 1..=total.saturating_add(LOOKED_AT)).find(|hosts| minimum.is_possible(*hosts))
    }
}

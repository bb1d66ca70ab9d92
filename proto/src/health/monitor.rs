//! A monitor: probes one application on one host again and again, and counts the
//! results in a row.
//!
//! It knows nothing of the ledger. It only counts, and says what the count means.
//! `monitors` compares that with what the ledger says.

use std::collections::BTreeMap;
use std::time::Duration;

use super::{ERROR_BYTES_MAX, HealthCheck, Viewpoint};
use crate::entry::keep_start;
use crate::id::{DeploymentId, HostId};
use crate::io::ProbeId;
use crate::time::Time;

/// The purpose of a monitor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Aim {
    /// Between turns: reports every lasting change to the ledger.
    Watch,
    /// At the end of a turn: the turn may end once the check has passed.
    Turn(DeploymentId),
}

/// One probe under way, with what it needs to be a success.
#[derive(Clone, Debug)]
struct Attempt {
    id: ProbeId,
    due: Time,
    own: Option<Result<(), String>>,
    /// The observers that were asked, and their results.
    observers: BTreeMap<HostId, Option<Result<(), String>>>,
}

/// The state of a turn's wait for the check.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Wait {
    /// The check has neither passed nor failed yet.
    Goes,
    /// The check has passed.
    Passed,
    /// The check did not pass in time; the text says why, in numbers.
    Failed(String),
}

#[derive(Clone, Debug)]
pub(crate) struct Monitor {
    pub(super) check: HealthCheck,
    pub(super) aim: Aim,
    since: Time,
    next_at: Time,
    attempt: Option<Attempt>,
    good_in_row: u32,
    good_since: Time,
    good_at: Time,
    bad_in_row: u32,
    probes: u32,
    failed: u32,
    last_error: String,
}

impl Monitor {
    /// Makes a monitor whose first probe is due at once.
    pub(super) fn new(check: HealthCheck, aim: Aim, now: Time) -> Self {
        Monitor {
            check,
            aim,
            since: now,
            next_at: now,
            attempt: None,
            good_in_row: 0,
            good_since: now,
            good_at: now,
            bad_in_row: 0,
            probes: 0,
            failed: 0,
            last_error: String::new(),
        }
    }

    /// Returns when there is something to do.
    pub(super) fn next(&self) -> Time {
        let probing = self.attempt.as_ref().map_or(self.next_at, |attempt| attempt.due);
        match self.aim {
            Aim::Watch => probing,
            Aim::Turn(_) => probing.min(self.since + self.check.grace),
        }
    }

    /// Returns true if it is time to begin a probe. Counts a probe that has not
    /// answered in time as failed.
    pub(super) fn is_due(&mut self, now: Time) -> bool {
        if self.attempt.as_ref().is_some_and(|attempt| attempt.due <= now) {
            self.run_out();
        }
        self.attempt.is_none() && self.next_at <= now
    }

    /// Begins a probe on this host and at these observers.
    pub(super) fn begin(&mut self, id: ProbeId, observers: &[HostId], now: Time) {
        let observers = observers.iter().map(|host| (*host, None)).collect();
        let due = now + self.check.answers_within();
        self.attempt = Some(Attempt { id, due, own: None, observers });
        self.next_at = now + self.check.every;
    }

    /// Takes the result of the host's own probe, unless that was counted already.
    pub(super) fn answered(&mut self, result: Result<(), String>, now: Time) {
        if let Some(attempt) = &mut self.attempt {
            attempt.own = Some(result);
            self.judge(now);
        }
    }

    /// Takes the result of an observer; ignored unless that observer was asked.
    pub(super) fn observed(&mut self, id: ProbeId, by: HostId, result: Result<(), String>, now: Time) {
        if let Some(attempt) = self.attempt.as_mut().filter(|attempt| attempt.id == id)
            && let Some(said) = attempt.observers.get_mut(&by)
        {
            *said = Some(result);
            self.judge(now);
        }
    }

    /// Counts the probe as soon as its result can no longer change.
    fn judge(&mut self, now: Time) {
        let Some(attempt) = &self.attempt else { return };
        let needed = needed(attempt.observers.len());
        let said = |well: bool| {
            let of_all = attempt.observers.values().flatten();
            of_all.filter(|result| result.is_ok() == well).count()
        };
        let (good, bad) = (said(true), said(false));
        match &attempt.own {
            Some(Err(error)) => {
                let error = error.clone();
                self.count_failure(&error);
            }
            Some(Ok(())) if good >= needed => self.count_success(now),
            Some(Ok(())) if attempt.observers.len() - bad < needed => {
                let error = self.unconfirmed();
                self.count_failure(&error);
            }
            Some(Ok(())) | None => {}
        }
    }

    /// Counts the probe as failed, because its time to answer is over.
    fn run_out(&mut self) {
        let Some(attempt) = &self.attempt else { return };
        let error = match attempt.own {
            None => format!("{} did not answer within {} s", self.check.probe, seconds(self.check.timeout)),
            Some(_) => self.unconfirmed(),
        };
        self.count_failure(&error);
    }

    fn unconfirmed(&self) -> String {
        let Some(attempt) = &self.attempt else { return String::new() };
        let (asked, of_all) = (attempt.observers.len(), attempt.observers.values().flatten());
        let good = of_all.clone().filter(|result| result.is_ok()).count();
        let why = of_all.filter_map(|result| result.as_ref().err()).next();
        let why = why.map_or("the others did not answer", String::as_str);
        format!("well on the host, but confirmed by {good} of {asked} observers: {why}")
    }

    fn count_success(&mut self, now: Time) {
        self.attempt = None;
        self.probes = self.probes.saturating_add(1);
        // An older success says nothing about now: a host that was asleep between
        // two successes was not well all the time.
        let is_fresh = self.good_in_row > 0 && now.since(self.good_at) <= self.check.fresh_for();
        if !is_fresh {
            self.good_in_row = 0;
            self.good_since = now;
        }
        self.good_in_row = self.good_in_row.saturating_add(1);
        self.good_at = now;
        self.bad_in_row = 0;
    }

    fn count_failure(&mut self, error: &str) {
        self.attempt = None;
        self.probes = self.probes.saturating_add(1);
        self.failed = self.failed.saturating_add(1);
        self.bad_in_row = self.bad_in_row.saturating_add(1);
        self.good_in_row = 0;
        self.last_error = keep_start(&error.replace(char::is_control, " "), ERROR_BYTES_MAX).to_owned();
    }

    /// Returns true if enough fresh successes in a row were seen, over at least
    /// `steady_for`.
    pub(super) fn is_well(&self, steady_for: Duration) -> bool {
        self.good_in_row >= self.check.rise && self.good_at.since(self.good_since) >= steady_for
    }

    /// Returns the last error, if enough failures in a row were seen.
    pub(super) fn is_unwell(&self) -> Option<&str> {
        (self.bad_in_row >= self.check.fall).then_some(&self.last_error)
    }

    /// Returns whether the turn that waits may end.
    pub(super) fn wait(&self, now: Time) -> Wait {
        if self.is_well(Duration::ZERO) {
            return Wait::Passed;
        }
        if now.since(self.since) < self.check.grace {
            return Wait::Goes;
        }
        Wait::Failed(format!(
            "the health check did not pass within {} s of the last event: {}",
            seconds(self.check.grace),
            self.so_far()
        ))
    }

    /// Says in numbers what was seen.
    pub(super) fn so_far(&self) -> String {
        let last = match self.last_error.as_str() {
            "" => String::new(),
            error => format!("; the last failure: {error}"),
        };
        format!(
            "{} of {} successes in a row, {} of {} probes failed{last}",
            self.good_in_row.min(self.check.rise),
            self.check.rise,
            self.failed,
            self.probes
        )
    }

    pub(super) fn asks_observers(&self) -> bool {
        self.check.from == Viewpoint::Observers
    }
}

/// Returns how many of the observers that were asked must confirm a success: a
/// majority.
fn needed(asked: usize) -> usize {
    if asked == 0 { 0 } else { asked / 2 + 1 }
}

fn seconds(duration: Duration) -> f64 {
    duration.as_secs_f64()
}

#[cfg(test)]
mod tests;

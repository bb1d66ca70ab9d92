//! Limits the log lines about refused connections: strangers decide how many
//! there are, and must not decide how long the log becomes.

use std::collections::BTreeMap;
use std::time::Duration;

use super::places::{Lately, Source};

/// The interval of the summary line.
pub(super) const SUMMED_UP_EVERY: Duration = Duration::from_secs(60);
/// The number of addresses that get their own line in that time; others are only counted.
const LINES_MAX: u32 = 8;

/// The refusals since the last summary.
pub(super) struct Refusals {
    /// The counts by reason. The reasons are our own texts, so there are few.
    counts: BTreeMap<String, u64>,
    /// The addresses that were logged before.
    told: Lately<()>,
    lines: u32,
}

impl Refusals {
    pub(super) fn new() -> Self {
        Refusals { counts: BTreeMap::new(), told: Lately::new(), lines: 0 }
    }

    /// Counts a refusal. Returns true if it deserves a line, as the first one of its address.
    pub(super) fn note(&mut self, source: Source, reason: &str) -> bool {
        *self.counts.entry(reason.to_owned()).or_default() += 1;
        let is_first = !self.told.contains(&source);
        if is_first && self.lines < LINES_MAX {
            self.told.entry(source, || ());
            self.lines += 1;
            return true;
        }
        false
    }

    /// Returns a summary of the refusals since the last one; `None` if all were logged already.
    pub(super) fn sum_up(&mut self) -> Option<String> {
        let counts = std::mem::take(&mut self.counts);
        let lines = u64::from(std::mem::take(&mut self.lines));
        if counts.values().sum::<u64>() <= lines {
            return None;
        }
        let parts = counts.iter().map(|(reason, count)| format!("{count} × {reason}"));
        Some(parts.collect::<Vec<_>>().join(", "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(number: u8) -> Source {
        Source::V4([10, 0, 0, number].into())
    }

    #[test]
    fn the_first_refusal_of_an_address_is_told_and_the_rest_is_summed_up() {
        let mut refusals = Refusals::new();
        assert!(refusals.note(source(1), "too many"));
        assert!(!refusals.note(source(1), "too many"));
        assert!(refusals.note(source(2), "no key"));
        assert_eq!(refusals.sum_up().as_deref(), Some("1 × no key, 2 × too many"));
        assert_eq!(refusals.sum_up(), None);
        assert!(!refusals.note(source(1), "too many"), "not in the next minute either");
        assert_eq!(refusals.sum_up().as_deref(), Some("1 × too many"));
    }

    #[test]
    fn however_many_addresses_there_are_few_get_a_line() {
        let mut refusals = Refusals::new();
        let told = (0..200).filter(|number| refusals.note(source(*number), "too many")).count();
        assert_eq!(told, LINES_MAX as usize);
        assert_eq!(refusals.sum_up().as_deref(), Some("200 × too many"));
    }

    #[test]
    fn what_was_told_line_by_line_is_not_summed_up() {
        let mut refusals = Refusals::new();
        assert!(refusals.note(source(1), "too many"));
        assert_eq!(refusals.sum_up(), None);
    }
}

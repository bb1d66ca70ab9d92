//! Deadlines, each with its reason.
//!
//! One structure answers both "when next?" and "what is due?", so a timer that is
//! handled but never scheduled cannot be written. The node has one for its own
//! clock, and the fold has one for the ledger's.

use std::collections::{BTreeMap, BTreeSet};

/// At most one deadline for each reason.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Deadlines<Why, At> {
    pub(crate) at: BTreeMap<Why, At>,
    pub(crate) order: BTreeSet<(At, Why)>,
}

impl<Why, At> Default for Deadlines<Why, At> {
    fn default() -> Self {
        Deadlines { at: BTreeMap::new(), order: BTreeSet::new() }
    }
}

impl<Why: Copy + Ord, At: Copy + Ord> Deadlines<Why, At> {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    /// Sets the deadline for `why` to `at`, in place of any earlier one.
    pub(crate) fn set(&mut self, why: Why, at: At) {
        self.clear(why);
        self.at.insert(why, at);
        self.order.insert((at, why));
    }

    /// Sets the deadline for `why` to `at`, unless it has one already.
    pub(crate) fn set_if_none(&mut self, why: Why, at: At) {
        if !self.at.contains_key(&why) {
            self.set(why, at);
        }
    }

    /// Removes the deadline for `why`.
    pub(crate) fn clear(&mut self, why: Why) {
        if let Some(at) = self.at.remove(&why) {
            self.order.remove(&(at, why));
        }
    }

    /// Removes the earliest deadline that is due, and returns its reason.
    pub(crate) fn due(&mut self, now: At) -> Option<Why> {
        let (at, why) = *self.order.first()?;
        if at > now {
            return None;
        }
        self.clear(why);
        Some(why)
    }

    /// Returns true if both maps hold the same deadlines.
    pub(crate) fn is_consistent(&self) -> bool {
        self.at.len() == self.order.len() && self.at.iter().all(|(why, at)| self.order.contains(&(*at, *why)))
    }

    /// Returns the earliest deadline.
    pub(crate) fn next(&self) -> Option<At> {
        self.order.first().map(|(at, _)| *at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::Time;

    #[test]
    fn what_is_due_is_what_next_said() {
        let mut deadlines = Deadlines::new();
        deadlines.set('b', Time::from_micros(20));
        deadlines.set('a', Time::from_micros(10));
        deadlines.set('a', Time::from_micros(30));
        deadlines.set_if_none('a', Time::from_micros(5));

        assert_eq!(deadlines.next(), Some(Time::from_micros(20)));
        assert_eq!(deadlines.due(Time::from_micros(19)), None);
        assert_eq!(deadlines.due(Time::from_micros(30)), Some('b'));
        assert_eq!(deadlines.due(Time::from_micros(30)), Some('a'));
        assert_eq!(deadlines.next(), None);
    }
}

//! When somebody wants waking, and why.
//!
//! The same map answers "when next" and "what is due", so a timer that is
//! handled but never scheduled cannot be written. The node has one on its own
//! clock, the fold has one on the ledger's.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

/// For each reason at most one moment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(bound(deserialize = "Why: Ord + Deserialize<'de>, At: Ord + Deserialize<'de>"))]
pub(crate) struct Deadlines<Why, At> {
    at: BTreeMap<Why, At>,
    order: BTreeSet<(At, Why)>,
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

    /// Wakes for `why` at `at`, and at no other time.
    pub(crate) fn set(&mut self, why: Why, at: At) {
        self.clear(why);
        self.at.insert(why, at);
        self.order.insert((at, why));
    }

    /// Wakes for `why` at `at`, unless a moment is set already.
    pub(crate) fn set_if_none(&mut self, why: Why, at: At) {
        if !self.at.contains_key(&why) {
            self.set(why, at);
        }
    }

    /// No longer wakes for `why`.
    pub(crate) fn clear(&mut self, why: Why) {
        if let Some(at) = self.at.remove(&why) {
            self.order.remove(&(at, why));
        }
    }

    /// Takes the earliest reason that is due.
    pub(crate) fn due(&mut self, now: At) -> Option<Why> {
        let (at, why) = *self.order.first()?;
        if at > now {
            return None;
        }
        self.clear(why);
        Some(why)
    }

    /// Whether both maps say the same.
    pub(crate) fn is_consistent(&self) -> bool {
        self.at.len() == self.order.len() && self.at.iter().all(|(why, at)| self.order.contains(&(*at, *why)))
    }

    /// When to wake next.
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

//! When the node wants waking, and why.
//!
//! The only record of it. The same map answers "when next" and "what is due",
//! so a timer that is handled but never scheduled cannot be written.

use std::collections::{BTreeMap, BTreeSet};

use crate::time::Time;

/// For each reason at most one moment.
#[derive(Debug, Clone)]
pub(crate) struct Deadlines<Why> {
    at: BTreeMap<Why, Time>,
    order: BTreeSet<(Time, Why)>,
}

impl<Why: Copy + Ord> Deadlines<Why> {
    pub(crate) fn new() -> Self {
        Deadlines { at: BTreeMap::new(), order: BTreeSet::new() }
    }

    /// Wakes for `why` at `at`, and at no other time.
    pub(crate) fn set(&mut self, why: Why, at: Time) {
        self.clear(why);
        self.at.insert(why, at);
        self.order.insert((at, why));
    }

    /// Wakes for `why` at `at`, unless a moment is set already.
    pub(crate) fn set_if_none(&mut self, why: Why, at: Time) {
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
    pub(crate) fn due(&mut self, now: Time) -> Option<Why> {
        let (at, why) = *self.order.first()?;
        if at > now {
            return None;
        }
        self.clear(why);
        Some(why)
    }

    /// When to wake next.
    pub(crate) fn next(&self) -> Option<Time> {
        self.order.first().map(|(at, _)| *at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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

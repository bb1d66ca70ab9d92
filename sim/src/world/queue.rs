//! A queue of future events, ordered by time and then by insertion.

use std::cmp::{Ordering, Reverse};
use std::collections::BinaryHeap;

use crate::clock::Moment;

#[derive(Debug)]
pub(super) struct Queue<T> {
    heap: BinaryHeap<Reverse<Queued<T>>>,
    sequence: u64,
}

#[derive(Debug)]
struct Queued<T> {
    at: Moment,
    sequence: u64,
    event: T,
}

impl<T> Default for Queue<T> {
    fn default() -> Self {
        Queue { heap: BinaryHeap::new(), sequence: 0 }
    }
}

impl<T> Queue<T> {
    pub(super) fn push(&mut self, at: Moment, event: T) {
        self.sequence += 1;
        self.heap.push(Reverse(Queued { at, sequence: self.sequence, event }));
    }

    pub(super) fn pop(&mut self) -> Option<(Moment, T)> {
        self.heap.pop().map(|Reverse(queued)| (queued.at, queued.event))
    }

    /// Drops the events for which `is_kept` returns false.
    pub(super) fn retain(&mut self, is_kept: impl Fn(&T) -> bool) {
        self.heap.retain(|Reverse(queued)| is_kept(&queued.event));
    }

    /// Returns the events in the queue, in no order.
    pub(super) fn iter(&self) -> impl Iterator<Item = &T> {
        self.heap.iter().map(|Reverse(queued)| &queued.event)
    }

    pub(super) fn next_at(&self) -> Option<Moment> {
        self.heap.peek().map(|Reverse(queued)| queued.at)
    }
}

impl<T> Queued<T> {
    fn key(&self) -> (Moment, u64) {
        (self.at, self.sequence)
    }
}

impl<T> PartialEq for Queued<T> {
    fn eq(&self, other: &Self) -> bool {
        self.key() == other.key()
    }
}

impl<T> Eq for Queued<T> {}

impl<T> PartialOrd for Queued<T> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl<T> Ord for Queued<T> {
    fn cmp(&self, other: &Self) -> Ordering {
        self.key().cmp(&other.key())
    }
}

//! Measures how long turns of a group have taken.

use std::time::Duration;

use proto::rollout::Rollout;
use proto::state::{GroupState, State};

/// The number of turns to look at, the newest deployments' first.
const TURNS_MAX: usize = 2_000;

/// The durations of past turns, as a prediction of the next ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Pace {
    /// The median duration of past turns.
    pub(super) median: Duration,
    /// The 90th percentile of these durations.
    pub(super) slow: Duration,
    /// The number of turns measured.
    pub(super) turns: usize,
}

/// Returns the pace of the group's successful turns; `None` if there were none.
pub(super) fn pace(state: &State, known: &GroupState) -> Option<Pace> {
    let rollouts = known.deployments.iter().rev().filter_map(|id| state.rollout(*id));
    let mut took: Vec<Duration> = rollouts.flat_map(Rollout::took).take(TURNS_MAX).collect();
    took.sort_unstable();
    let at = |share: usize| took.get((took.len() * share / 100).min(took.len().saturating_sub(1))).copied();
    Some(Pace { median: at(50)?, slow: at(90)?, turns: took.len() })
}

//! How long turns of a group took so far.

use std::time::Duration;

use proto::rollout::Rollout;
use proto::state::{GroupState, State};

/// Turns that are looked at, the newest deployments' first.
const TURNS_MAX: usize = 2_000;

/// What past turns say of the next ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Pace {
    /// Half of them were done by then.
    pub(super) median: Duration,
    /// Nine of ten were.
    pub(super) slow: Duration,
    /// How many were looked at.
    pub(super) turns: usize,
}

/// The pace of the group's turns that succeeded; none if there were none.
pub(super) fn pace(state: &State, known: &GroupState) -> Option<Pace> {
    let rollouts = known.deployments.iter().rev().filter_map(|id| state.rollout(*id));
    let mut took: Vec<Duration> = rollouts.flat_map(Rollout::took).take(TURNS_MAX).collect();
    took.sort_unstable();
    let at = |share: usize| took.get((took.len() * share / 100).min(took.len().saturating_sub(1))).copied();
    Some(Pace { median: at(50)?, slow: at(90)?, turns: took.len() })
}

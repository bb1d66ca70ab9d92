//! How a catch-up goes: a rollout for hosts that are behind their group.
//!
//! It differs from what a person asks for in one thing. A person's deployment
//! stops as soon as it can no longer end well, to leave the rest of the group
//! in peace. A catch-up is for exactly the hosts that need it, each for itself:
//! that one of them fails says nothing about the next. So it never gives up
//! because of the minimum; it leaves alone whom the minimum protects.

use super::{Entrant, ReasonCode, Rollout, Turn, Verdict, turn};
use crate::entry::Creator;
use crate::id::HostId;
use crate::policy::Bounds;
use crate::time::LedgerTime;

impl Rollout {
    /// Whether it brings hosts that are behind to what their group has.
    pub fn is_catch_up(&self) -> bool {
        self.submission.creator == Creator::Autoscale
    }

    /// Begins a catch-up in a group of `total` hosts. One that runs `beside` a
    /// deployment has only its own hosts for members, so there is no minimum
    /// that it could break. Grants the first leases; returns who got one.
    pub(crate) fn begin_catch_up(
        &mut self,
        entrants: &[Entrant],
        total: u32,
        beside: bool,
        at: LedgerTime,
    ) -> Vec<HostId> {
        let bounds = self.submission.policy.bounds(total);
        let minimum = if beside { 0 } else { bounds.minimum };
        self.enter(entrants, Bounds { minimum, ..bounds }, at);
        self.advance(at)
    }

    /// Something newer goes first: whoever is in its turn ends it, nobody else
    /// begins one.
    pub(crate) fn supersede(&mut self, at: LedgerTime) {
        self.conclude(Verdict::Stopped(self.reason(ReasonCode::Superseded)));
        self.advance(at);
    }

    /// Whether a turn under way is to end before its next event.
    pub fn ends_turns_early(&self) -> bool {
        match &self.verdict {
            Some(Verdict::Stopped(reason)) => reason.code != ReasonCode::Superseded,
            None | Some(Verdict::Succeeded | Verdict::Failed(_)) => false,
        }
    }
}

pub(super) fn next(rollout: &Rollout) -> Turn {
    let in_flight = rollout.counts.in_flight;
    match rollout.queue.first() {
        Some((_, _, _, candidate)) => match turn::turn_of(rollout, *candidate) {
            // Nobody is under way who could make room: it is no use to wait,
            // and while it waits, nobody else who joins is caught up.
            Turn::Blocked(_) if in_flight == 0 => Turn::Over(conclusion(rollout)),
            other @ (Turn::Of(_) | Turn::Blocked(_) | Turn::Over(_)) => other,
        },
        None if in_flight == 0 => Turn::Over(conclusion(rollout)),
        None => Turn::Blocked(vec![super::Blocker::LastTurns { in_flight }]),
    }
}

fn conclusion(rollout: &Rollout) -> Verdict {
    match rollout.counts.failed {
        0 => Verdict::Succeeded,
        _ => Verdict::Failed(rollout.reason(ReasonCode::CatchUpFailed)),
    }
}

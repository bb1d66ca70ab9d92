//! Catch-ups: rollouts for hosts that are behind their group.
//!
//! A catch-up differs from a person's deployment in one thing. A person's deployment
//! stops as soon as it can no longer succeed, to leave the rest of the group alone. A
//! catch-up is for exactly the hosts that need it. If one of them fails, that says
//! nothing about the next. So a catch-up never fails because of the minimum; it only
//! leaves out the hosts that the minimum protects. They are in the next catch-up,
//! once there is room.

use super::{Entrant, ReasonCode, Rollout, Turn, Verdict, turn};
use crate::id::HostId;
use crate::policy::Bounds;
use crate::time::LedgerTime;

impl Rollout {
    /// Begins a catch-up in a group of `total` hosts. If it runs `beside` a
    /// deployment, only the hosts that it catches up are its members, so it has no
    /// minimum that it could break. Grants the first leases, and returns the hosts
    /// that got one.
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

    /// Ends the catch-up because something newer goes first. Hosts in their turn
    /// finish it, and no other host begins one.
    pub(crate) fn supersede(&mut self, at: LedgerTime) {
        self.conclude(Verdict::Stopped(self.reason(ReasonCode::Superseded)));
        self.advance(at);
    }

    /// Returns true if turns under way must end before their next event.
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
            // No host in a turn could make room, so waiting is useless. And while
            // it waits, other hosts that join are not caught up.
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

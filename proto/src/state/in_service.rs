//! Which hosts of a group are in service, by all that the state knows.

use super::{ChecksOf, GroupState, Host, State};
use crate::rollout::{Member, Rollout};
use crate::service::Condition;

/// The parts of the state that decide which hosts of a group are in service. They are
/// looked up once for all hosts of the group.
#[derive(Clone, Copy, Debug)]
pub struct InService<'a> {
    group: &'a GroupState,
    checks: ChecksOf<'a>,
    under_way: [Option<&'a Rollout>; 2],
}

impl State {
    /// Returns which hosts of the group are in service.
    pub fn in_service<'a>(&'a self, group: &'a GroupState) -> InService<'a> {
        let rollout = |id| self.rollouts.get(id?);
        InService {
            group,
            checks: self.checks.of(&group.group.name),
            under_way: [rollout(group.running), rollout(group.catching_up)],
        }
    }
}

impl InService<'_> {
    /// Returns what decides whether the host is in service.
    pub fn condition(&self, host: &Host) -> Condition {
        let id = host.record.host;
        let has_turn = |rollout: &&Rollout| rollout.members().get(&id).is_some_and(Member::is_in_flight);
        Condition {
            last_turn: self.group.standing.get(&id).map(|standing| standing.health),
            fails_check: self.checks.ailing(id).is_some(),
            is_down: host.down.is_some(),
            is_in_turn: self.under_way.iter().flatten().any(has_turn),
        }
    }
}

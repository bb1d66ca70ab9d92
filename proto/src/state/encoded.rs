//! Encodes the folded state for snapshots.
//!
//! A host that is offered a state of a version that it does not read ignores it, and goes
//! on with entries. A host that finds one in its own store does not start, because it must
//! not forget what it has promised.

use super::{GroupState, State};
use crate::entry::Index;
use crate::form::{self, Unreadable, Version};
use crate::group::Group;
use crate::id::{DeploymentId, GroupName};
use crate::rollout::Rollout;

/// The reason why bytes are not the wanted state.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NotAState {
    #[error("the state {0}")]
    Unreadable(Unreadable),
    #[error("the parts of the state contradict each other")]
    Inconsistent,
    #[error("the state is of entry {0}, not of entry {1}")]
    Index(Index, Index),
}

impl State {
    /// Encodes the state for a snapshot.
    pub fn encode(&self) -> Vec<u8> {
        form::encode_state(self)
    }

    /// Decodes the bytes of a snapshot, if they are a state as of `index`, in a version
    /// up to `newest`.
    pub(crate) fn decode(bytes: &[u8], index: Index, newest: Version) -> Result<State, NotAState> {
        let state = form::decode_state(bytes, newest).map_err(NotAState::Unreadable)?;
        if !state.is_consistent() {
            return Err(NotAState::Inconsistent);
        }
        if state.index == index { Ok(state) } else { Err(NotAState::Index(state.index, index)) }
    }

    /// Returns true if the parts of the state agree with each other, so that
    /// folding more entries neither panics nor loops. A snapshot comes from another
    /// host or from a disk, and is not trusted.
    fn is_consistent(&self) -> bool {
        let is_rollout = |(id, rollout): (&DeploymentId, &Rollout)| {
            let group = self.groups.get(&rollout.submission.group);
            let is_listed = group.is_some_and(|group| group.deployments.contains(id));
            *id == rollout.submission.deployment
                && rollout.submission.check_values().is_ok()
                && is_listed
                && rollout.is_consistent()
        };
        self.hosts.is_consistent()
            && self.timers.is_consistent()
            && self.configs.all().values().all(|config| config.validate().is_ok())
            && self.groups.all().iter().all(|(name, group)| self.is_consistent_group(name, group))
            && self.rollouts.all().iter().all(is_rollout)
    }

    fn is_consistent_group(&self, name: &GroupName, group: &GroupState) -> bool {
        let of_group = |id: &DeploymentId| {
            self.rollouts.get(*id).is_some_and(|rollout| rollout.submission.group == *name)
        };
        let under_way = [group.running, group.queued, group.catching_up];
        let is_valid = |group: &Group| {
            let is_checked = group.health.as_ref().is_none_or(|check| check.validate().is_ok());
            is_checked && group.validate().is_ok() && group.policy.validate().is_ok()
        };
        *name == group.group.name
            && is_valid(&group.group)
            && group.deployments.iter().chain(under_way.iter().flatten()).all(of_group)
            && under_way.iter().flatten().all(|id| group.deployments.contains(id))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::entry::{ErrorCode, TurnOutcome};
    use crate::policy::Minimum;
    use crate::state::testing::{Ledger, host};
    use crate::statement::{Intent, Report};

    #[test]
    fn a_state_is_read_back_as_it_was_and_only_as_of_its_index() {
        let state = State::founding();
        assert_eq!(State::decode(&state.encode(), 1, Version::NEWEST), Ok(state.clone()));
        assert_eq!(State::decode(&state.encode(), 2, Version::NEWEST), Err(NotAState::Index(1, 2)));
    }

    /// A state with much under way, so that each of its bytes means something.
    fn busy() -> Ledger {
        let mut ledger = Ledger::deployed(4, Minimum::HalfAtATime);
        let bad = ledger.deploy(2);
        ledger.start(bad, 0);
        ledger.end(bad, 0, Some(ErrorCode::ScriptFailed));
        ledger.do_due();
        ledger.join(5);
        ledger.down(3);
        ledger
    }

    /// Goes on folding for a long time.
    fn go_on(state: &State) {
        let mut ledger = Ledger { state: state.clone(), millis: 1_000_000 };
        for number in 0..4 {
            for deployment in ledger.state.rollouts().keys().copied().collect::<Vec<_>>() {
                let host = host(number);
                let _ = ledger.put(Report::TurnStarted { deployment, host });
                let outcome = TurnOutcome::Succeeded;
                let _ = ledger.put(Report::TurnEnded { deployment, host, outcome });
            }
            let _ = ledger.put(Report::HostDown { host: host(number), incarnation: 1 });
            ledger.millis += 100_000_000;
            ledger.state.due().into_iter().for_each(|statement| drop(ledger.put(statement)));
        }
        let _ = ledger.put(Intent::RemoveHost(host(1)));
        assert!(State::decode(&ledger.state.encode(), ledger.state.index, Version::NEWEST).is_ok());
    }

    #[test]
    fn a_state_in_which_much_is_under_way_is_consistent() {
        let state = busy().state;
        assert_eq!(State::decode(&state.encode(), state.index, Version::NEWEST), Ok(state.clone()));
        go_on(&state);
    }

    /// A policy that no fold would have taken: from a host that lies, or a spoilt disk.
    #[test]
    fn a_state_with_values_out_of_their_bounds_is_refused() {
        let good = busy().state;
        let mut bad = good.clone();
        bad.groups.any_mut().group.policy.turn_timeout = std::time::Duration::MAX;
        assert_eq!(State::decode(&bad.encode(), bad.index, Version::NEWEST), Err(NotAState::Inconsistent));
        let mut bad = good.clone();
        bad.hosts.any_mut().record.name = "a\u{1b}[2J".into();
        assert_eq!(State::decode(&bad.encode(), bad.index, Version::NEWEST), Err(NotAState::Inconsistent));
        let mut bad = good;
        bad.rollouts.any_mut().submission.revision.origin = "x".repeat(5_000);
        assert_eq!(State::decode(&bad.encode(), bad.index, Version::NEWEST), Err(NotAState::Inconsistent));
    }

    proptest::proptest! {
        #![proptest_config(proptest::prelude::ProptestConfig {
            cases: 3_000,
            failure_persistence: None,
            ..proptest::prelude::ProptestConfig::default()
        })]

        #[test]
        fn a_spoilt_state_is_refused_or_can_be_gone_on_with(
            spoilt in proptest::collection::vec((0_usize..100_000, 0_u8..=255), 1..4),
        ) {
            thread_local!(static GOOD: (Vec<u8>, Index) = {
                let state = busy().state;
                (state.encode(), state.index)
            });
            let (mut bytes, index) = GOOD.with(Clone::clone);
            for (at, byte) in spoilt {
                let at = 3 + at % (bytes.len() - 3);
                bytes[at] = byte;
            }
            if let Ok(state) = State::decode(&bytes, index, Version::NEWEST) {
                go_on(&state);
            }
        }
    }

    #[test]
    fn a_state_of_another_version_is_named_and_one_of_none_is_malformed() {
        let refused =
            |bytes: &[u8]| State::decode(bytes, 1, Version::NEWEST).expect_err("refused").to_string();
        let mut other = State::founding().encode();
        other[2] = 6;
        assert_eq!(refused(&other), "the state needs version 7, this agent reads up to 6");
        other[2] = 2;
        assert_eq!(refused(&other), "the state is of version 3, this agent reads from 4 on");
        let whole = State::founding().encode();
        assert_eq!(refused(&whole[3..]), "the state is malformed");
        for length in 0..whole.len() {
            assert_eq!(refused(&whole[..length]), "the state is malformed", "{length} bytes");
        }
    }
}

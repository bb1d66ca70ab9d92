//! Encodes the folded state for snapshots.
//!
//! The bytes begin with the version of their form, because an agent of another
//! version may use another form. A host that is offered a state of another version
//! ignores it, and goes on with entries. A host that finds one in its own store
//! does not start, because it must not forget what it has promised. Version 3 has
//! new fields in the middle of groups and policies. Older agents are no longer
//! heard (see [`crate::wire::WIRE`]), so no earlier form is read.
//!
//! Version 4 adds the hosts that lack disk space, at the end. A state without any is
//! written as version 3. So an agent of the last release can read it, and agents of
//! both releases seal the same bytes. A state with such hosts exists only once all
//! agents of the mesh are newer.

use super::{GroupState, Host, State};
use crate::entry::Index;
use crate::group::Group;
use crate::id::{DeploymentId, GroupName, HostId};
use crate::rollout::Rollout;
use crate::wire;

/// The newest version of the form.
pub(crate) const VERSION: u16 = 4;
/// The version without [`State::shortages`].
const VERSION_BEFORE: u16 = 3;
/// The encoding of an empty map, with which a state of the newest version ends if
/// no host lacks disk space.
const NO_SHORTAGES: u8 = 0;
/// The byte before the version. No number in our codec begins with it, so it tells
/// states apart from those that had no version yet.
const MARK: u8 = 255;

/// The reason why bytes are not the wanted state.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NotAState {
    #[error("it is a state of version {0}, this agent reads versions {VERSION_BEFORE} and {VERSION}")]
    Version(u16),
    #[error("it is no state")]
    Malformed,
    #[error("it is a state as of entry {0}, not {1}")]
    Index(Index, Index),
}

impl State {
    /// Encodes the state for a snapshot.
    pub fn encode(&self) -> Vec<u8> {
        let mut form = wire::encode(self);
        let version = match self.shortages.is_empty() {
            true => {
                assert_eq!(form.pop(), Some(NO_SHORTAGES), "an empty map is encoded as its length");
                VERSION_BEFORE
            }
            false => VERSION,
        };
        let [high, low] = version.to_be_bytes();
        [&[MARK, high, low], form.as_slice()].concat()
    }

    /// Decodes the bytes of a snapshot, if they are a state as of `index`.
    pub(crate) fn decode(bytes: &[u8], index: Index) -> Result<State, NotAState> {
        let Some(([MARK, high, low], form)) = bytes.split_first_chunk::<3>() else {
            return Err(NotAState::Malformed);
        };
        let read = match u16::from_be_bytes([*high, *low]) {
            VERSION => wire::decode(form),
            VERSION_BEFORE => wire::decode(&[form, &[NO_SHORTAGES]].concat()),
            other => return Err(NotAState::Version(other)),
        };
        let state: State = read.map_err(|_| NotAState::Malformed)?;
        if !state.is_consistent() {
            return Err(NotAState::Malformed);
        }
        if state.index == index { Ok(state) } else { Err(NotAState::Index(state.index, index)) }
    }

    /// Returns true if the parts of the state agree with each other, so that
    /// folding more entries neither panics nor loops. A snapshot comes from another
    /// host or from a disk, and is not trusted.
    fn is_consistent(&self) -> bool {
        let is_host =
            |(id, host): (&HostId, &Host)| *id == host.record.host && host.record.check_values().is_ok();
        let is_rollout = |(id, rollout): (&DeploymentId, &Rollout)| {
            let group = self.groups.get(&rollout.submission.group);
            let is_listed = group.is_some_and(|group| group.deployments.contains(id));
            *id == rollout.submission.deployment
                && rollout.submission.check_values().is_ok()
                && is_listed
                && rollout.is_consistent()
        };
        self.hosts.iter().all(is_host)
            && self.taken.is_of(&self.hosts)
            && self.timers.is_consistent()
            && self.configs.values().all(|config| config.validate().is_ok())
            && self.groups.iter().all(|(name, group)| self.is_consistent_group(name, group))
            && self.rollouts.iter().all(is_rollout)
    }

    fn is_consistent_group(&self, name: &GroupName, group: &GroupState) -> bool {
        let of_group = |id: &DeploymentId| {
            self.rollouts.get(id).is_some_and(|rollout| rollout.submission.group == *name)
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
        assert_eq!(State::decode(&state.encode(), 1), Ok(state.clone()));
        assert_eq!(State::decode(&state.encode(), 2), Err(NotAState::Index(1, 2)));
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
        assert!(State::decode(&ledger.state.encode(), ledger.state.index).is_ok());
    }

    #[test]
    fn a_state_in_which_much_is_under_way_is_consistent() {
        let state = busy().state;
        assert_eq!(State::decode(&state.encode(), state.index), Ok(state.clone()));
        go_on(&state);
    }

    /// A policy that no fold would have taken: from a host that lies, or a spoilt disk.
    #[test]
    fn a_state_with_values_out_of_their_bounds_is_refused() {
        let good = busy().state;
        let mut bad = good.clone();
        let group = bad.groups.values_mut().next().expect("a group");
        group.group.policy.turn_timeout = std::time::Duration::MAX;
        assert_eq!(State::decode(&bad.encode(), bad.index), Err(NotAState::Malformed));
        let mut bad = good.clone();
        bad.hosts.values_mut().next().expect("a host").record.name = "a\u{1b}[2J".into();
        assert_eq!(State::decode(&bad.encode(), bad.index), Err(NotAState::Malformed));
        let mut bad = good;
        bad.rollouts.values_mut().next().expect("a rollout").submission.revision.origin = "x".repeat(5_000);
        assert_eq!(State::decode(&bad.encode(), bad.index), Err(NotAState::Malformed));
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
            if let Ok(state) = State::decode(&bytes, index) {
                go_on(&state);
            }
        }
    }

    #[test]
    fn a_state_of_another_version_is_named_and_one_of_none_is_told_apart() {
        let mut newer = State::founding().encode();
        newer[2] = 5;
        assert_eq!(State::decode(&newer, 1), Err(NotAState::Version(5)));
        newer[2] = 2;
        assert_eq!(State::decode(&newer, 1), Err(NotAState::Version(2)));
        assert_eq!(State::decode(&wire::encode(&State::founding()), 1), Err(NotAState::Malformed));
        let whole = State::founding().encode();
        for length in 0..whole.len() {
            assert_eq!(State::decode(&whole[..length], 1), Err(NotAState::Malformed), "{length} bytes");
        }
    }
}

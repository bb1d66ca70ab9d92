//! The folded state as bytes: what a snapshot holds.
//!
//! Unlike what entries say, its form may change from version to version of the
//! agent, so the bytes say which one it is. A host that is told a state of
//! another version leaves it alone and goes on with entries; one that finds it in
//! its own store does not start, rather than forget what it has promised. Whoever
//! changes the form raises [`VERSION`] and reads the version before as well, so
//! that agents can be upgraded one by one. What is new stands at the end of
//! [`State`], so that the form before is read by adding that there is none of it.

use super::State;
use crate::entry::Index;
use crate::rollout::Rollout;
use crate::wire;

/// The version of the form that is written.
pub(crate) const VERSION: u16 = 2;
/// The version before: without what stands last now.
const BEFORE: u16 = 1;
/// That no proposer is known, and that nobody waits with its start.
const SINCE: [u8; 2] = [0, 0];
/// Stands before the version. No number begins with it in our codec, so a state
/// from before there were versions is told apart.
const MARK: u8 = 255;

/// Why bytes are not the state that is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NotAState {
    #[error("it is a state of version {0}, this agent reads version {VERSION}")]
    Version(u16),
    #[error("it is no state")]
    Malformed,
    #[error("it is a state as of entry {0}, not {1}")]
    Index(Index, Index),
}

impl State {
    /// What is counted in a running deployment has changed since the form before.
    fn recounted(mut self) -> State {
        self.rollouts.values_mut().for_each(Rollout::recount);
        self
    }

    /// As a snapshot holds it.
    pub fn encode(&self) -> Vec<u8> {
        let [high, low] = VERSION.to_be_bytes();
        let mut bytes = vec![MARK, high, low];
        bytes.extend_from_slice(&wire::encode(self));
        bytes
    }

    /// From a snapshot's bytes, if they are a state as of `index`.
    pub(crate) fn decode(bytes: &[u8], index: Index) -> Result<State, NotAState> {
        let Some(([MARK, high, low], form)) = bytes.split_first_chunk::<3>() else {
            return Err(NotAState::Malformed);
        };
        let read = match u16::from_be_bytes([*high, *low]) {
            VERSION => wire::decode(form),
            BEFORE => wire::decode(&[form, &SINCE].concat()).map(State::recounted),
            other => return Err(NotAState::Version(other)),
        };
        let state: State = read.map_err(|_| NotAState::Malformed)?;
        if state.index == index { Ok(state) } else { Err(NotAState::Index(state.index, index)) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::Minimum;
    use crate::state::testing::Ledger;

    #[test]
    fn a_state_is_read_back_as_it_was_and_only_as_of_its_index() {
        let state = State::founding();
        assert_eq!(State::decode(&state.encode(), 1), Ok(state.clone()));
        assert_eq!(State::decode(&state.encode(), 2), Err(NotAState::Index(1, 2)));
    }

    #[test]
    fn a_state_of_the_version_before_is_read() {
        let mut ledger = Ledger::deployed(3, Minimum::OneAtATime);
        ledger.deploy(2);
        let mut state = ledger.state;
        state.proposers.clear();
        // What is counted of those that run was something else then.
        let mut before = state.clone();
        before.rollouts.values_mut().filter(|of| !of.members().is_empty()).for_each(Rollout::miscount);
        assert_ne!(before, state);
        let mut bytes = before.encode();
        assert!(bytes.ends_with(&SINCE));
        bytes.truncate(bytes.len() - SINCE.len());
        bytes[2] = 1;
        assert_eq!(State::decode(&bytes, state.index), Ok(state));
    }

    #[test]
    fn a_state_of_another_version_is_named_and_one_of_none_is_told_apart() {
        let mut newer = State::founding().encode();
        newer[2] += 1;
        assert_eq!(State::decode(&newer, 1), Err(NotAState::Version(VERSION + 1)));
        assert_eq!(State::decode(&wire::encode(&State::founding()), 1), Err(NotAState::Malformed));
        let whole = State::founding().encode();
        for length in 0..whole.len() {
            assert_eq!(State::decode(&whole[..length], 1), Err(NotAState::Malformed), "{length} bytes");
        }
    }
}

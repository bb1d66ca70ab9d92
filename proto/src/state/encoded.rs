//! The folded state as bytes: what a snapshot holds.
//!
//! The bytes name the version of their form, because it may change from version to
//! version of the agent. A host that is offered a state of another version leaves it
//! alone and goes on with entries; one that finds it in its own store does not start,
//! rather than forget what it has promised. Version 3 has new fields in the middle of
//! groups and policies, and agents of before are not heard any longer (see
//! [`crate::wire::WIRE`]): it reads no earlier form.

use super::State;
use crate::entry::Index;
use crate::rollout::Rollout;
use crate::wire;

/// The version of the form that is written, and the only one that is read.
pub(crate) const VERSION: u16 = 3;
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
            other => return Err(NotAState::Version(other)),
        };
        let state: State = read.map_err(|_| NotAState::Malformed)?;
        if !state.rollouts.values().all(Rollout::is_counted_right) {
            return Err(NotAState::Malformed);
        }
        if state.index == index { Ok(state) } else { Err(NotAState::Index(state.index, index)) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_state_is_read_back_as_it_was_and_only_as_of_its_index() {
        let state = State::founding();
        assert_eq!(State::decode(&state.encode(), 1), Ok(state.clone()));
        assert_eq!(State::decode(&state.encode(), 2), Err(NotAState::Index(1, 2)));
    }

    #[test]
    fn a_state_of_another_version_is_named_and_one_of_none_is_told_apart() {
        let mut newer = State::founding().encode();
        newer[2] = 4;
        assert_eq!(State::decode(&newer, 1), Err(NotAState::Version(4)));
        newer[2] = 2;
        assert_eq!(State::decode(&newer, 1), Err(NotAState::Version(2)));
        assert_eq!(State::decode(&wire::encode(&State::founding()), 1), Err(NotAState::Malformed));
        let whole = State::founding().encode();
        for length in 0..whole.len() {
            assert_eq!(State::decode(&whole[..length], 1), Err(NotAState::Malformed), "{length} bytes");
        }
    }
}

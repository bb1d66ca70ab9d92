//! What is checked before raft-rs sees a message from the network. It panics
//! on several of these, and believes a stranger on the rest.

use super::consensus::Consensus;
use super::message::{CONTEXT_MAX, Kind, RaftMessage};
use super::voters::Voters;
use crate::id::VoterId;

/// Terms a peer may be ahead: elections, not arithmetic. A term that jumps
/// further would exhaust the numbers.
const TERM_JUMP_MAX: u64 = 1 << 20;

/// Why a message of consensus was not looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Refused {
    #[error("this host does not vote")]
    NotVoting,
    #[error("it is meant for another voter")]
    NotForMe,
    #[error("its sender does not vote")]
    Stranger,
    #[error("its term is absurdly far ahead")]
    Term,
    #[error("its entries are not in order")]
    Entries,
    #[error("it contradicts what is committed here")]
    Contradiction,
    #[error("its snapshot is missing or out of place")]
    Snapshot,
    #[error("its context is too long")]
    Context,
    #[error("this voter cannot stand for election before what it has is durable")]
    NotDurable,
    /// The sender remembers more of us than we do: our disk was lost or
    /// shortened, and we must not vote under this number again.
    #[error("the sender knows of entries that this host has lost")]
    Amnesia,
}

pub(super) fn check(
    me: VoterId,
    voters: &Voters,
    consensus: &Consensus,
    message: &RaftMessage,
) -> Result<(), Refused> {
    let refuse_if = |broken: bool, why: Refused| if broken { Err(why) } else { Ok(()) };
    refuse_if(message.to != me, Refused::NotForMe)?;
    // A voter that lags may not have folded the newer voters yet: a leader of
    // a later term is let in, because consensus itself asks no more of it.
    let is_known = voters.has(message.from) || message.term >= consensus.hard_state().term;
    refuse_if(message.from == me || message.from.0 == 0 || !is_known, Refused::Stranger)?;
    refuse_if(message.term > consensus.hard_state().term.saturating_add(TERM_JUMP_MAX), Refused::Term)?;
    refuse_if(message.context.len() > CONTEXT_MAX, Refused::Context)?;
    refuse_if(message.kind == Kind::TimeoutNow && !consensus.may_campaign(), Refused::NotDurable)?;
    match message.kind {
        Kind::Append => check_append(consensus, message),
        Kind::Heartbeat => refuse_if(message.commit > consensus.log().last_index(), Refused::Amnesia),
        Kind::Snapshot => check_snapshot(message),
        Kind::AppendResponse => {
            let beyond = !message.reject && message.index > consensus.log().last_index();
            refuse_if(beyond, Refused::Contradiction)
        }
        Kind::RequestVote
        | Kind::RequestVoteResponse
        | Kind::RequestPreVote
        | Kind::RequestPreVoteResponse
        | Kind::HeartbeatResponse
        | Kind::TimeoutNow => refuse_if(!message.entries.is_empty(), Refused::Entries),
    }
}

fn check_append(consensus: &Consensus, message: &RaftMessage) -> Result<(), Refused> {
    let mut expected = message.index;
    let mut term = message.log_term;
    for entry in &message.entries {
        expected = expected.checked_add(1).ok_or(Refused::Entries)?;
        if entry.index != expected || entry.term < term || entry.term > message.term {
            return Err(Refused::Entries);
        }
        term = entry.term;
        let committed = entry.index <= consensus.commit();
        let known = consensus.log().term_at(entry.index);
        if committed && known.is_some_and(|known| known != entry.term) {
            return Err(Refused::Contradiction);
        }
    }
    Ok(())
}

fn check_snapshot(message: &RaftMessage) -> Result<(), Refused> {
    match &message.snapshot {
        Some(snapshot) if snapshot.index > 0 && snapshot.term <= message.term => {
            match crate::state::State::decode(&snapshot.state, snapshot.index) {
                Ok(_) => Ok(()),
                Err(_) => Err(Refused::Snapshot),
            }
        }
        Some(_) | None => Err(Refused::Snapshot),
    }
}

#[cfg(test)]
mod tests;

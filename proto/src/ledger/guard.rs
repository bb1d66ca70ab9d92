//! Checks messages from the network before raft-rs sees them. On several of these
//! mistakes raft-rs would panic, and on the others it would believe a stranger.
//!
//! The caller has already checked that the message comes from the host to which the
//! folded ledger assigns the voter's number, whatever beacons claim. A heartbeat that
//! claims more of this voter's log than exists is refused and counted: a voter that
//! obeyed it would lose its number to one frame.

use super::consensus::Consensus;
use super::message::{CONTEXT_MAX, Kind, RaftMessage};
use super::voters::Voters;
use super::{Content, NUMBER_MAX, Snapshot};
use crate::form::Version;
use crate::id::VoterId;

/// The most terms that a peer may be ahead. Terms grow by elections only; a larger
/// jump could exhaust the numbers.
const TERM_JUMP_MAX: u64 = 1 << 20;

/// The reason why a message of consensus was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Refused {
    #[error("this host does not vote")]
    NotVoting,
    #[error("it is meant for another voter")]
    NotForMe,
    #[error("its sender does not vote")]
    Stranger,
    #[error("its term is none, or absurdly far ahead")]
    Term,
    #[error("its sender does not lead")]
    NotLeader,
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
    #[error("it says that this host's log is longer than it is")]
    BeyondLog,
}

pub(super) fn check(
    me: VoterId,
    voters: &Voters,
    consensus: &Consensus,
    message: &RaftMessage,
    newest: Version,
) -> Result<(), Refused> {
    let refuse_if = |broken: bool, why: Refused| if broken { Err(why) } else { Ok(()) };
    let term = consensus.hard_state().term;
    refuse_if(message.to != me, Refused::NotForMe)?;
    // A voter that lags may not know the current voters yet. Then it hears no
    // leader, and catches up by following.
    refuse_if(message.from == me || !voters.has(message.from), Refused::Stranger)?;
    // In raft-rs, term zero means a message of the voter to itself.
    let in_range = 1..=term.saturating_add(TERM_JUMP_MAX).min(NUMBER_MAX);
    refuse_if(!in_range.contains(&message.term), Refused::Term)?;
    refuse_if(message.context.len() > CONTEXT_MAX, Refused::Context)?;
    // None of our hosts asks for a snapshot: the leader sends one when it is
    // needed.
    refuse_if(message.request_snapshot != 0, Refused::Snapshot)?;
    match message.kind {
        Kind::Append => check_leader(consensus, message).and_then(|()| check_append(consensus, message)),
        Kind::Heartbeat => {
            check_leader(consensus, message)?;
            refuse_if(message.commit > consensus.log().last_index(), Refused::BeyondLog)
        }
        Kind::Snapshot => {
            check_leader(consensus, message).and_then(|()| check_snapshot(consensus, message, newest))
        }
        Kind::AppendResponse => check_answer(consensus, message),
        Kind::TimeoutNow => {
            let leads = message.term == term && consensus.leads_in_term() == Some(message.from);
            refuse_if(!leads, Refused::NotLeader)?;
            refuse_if(!consensus.may_campaign(), Refused::NotDurable)
        }
        Kind::RequestVote
        | Kind::RequestVoteResponse
        | Kind::RequestPreVote
        | Kind::RequestPreVoteResponse
        | Kind::HeartbeatResponse => refuse_if(!message.entries.is_empty(), Refused::Entries),
    }
}

/// Refuses a second leader in the same term.
fn check_leader(consensus: &Consensus, message: &RaftMessage) -> Result<(), Refused> {
    let another = consensus.leads_in_term().is_some_and(|leader| leader != message.from);
    if another && message.term == consensus.hard_state().term { Err(Refused::NotLeader) } else { Ok(()) }
}

fn check_append(consensus: &Consensus, message: &RaftMessage) -> Result<(), Refused> {
    let mut expected = message.index;
    let mut term = message.log_term;
    // raft-rs treats any place beyond the end of its log as one of term zero.
    if term == 0 {
        return Err(Refused::Entries);
    }
    for entry in &message.entries {
        expected = expected.checked_add(1).ok_or(Refused::Entries)?;
        let follows = entry.index == expected && entry.term >= term && entry.term <= message.term;
        // A recovery is proven to a host before it gets the entry, and then not by
        // consensus, in which only those take part who have folded it.
        let is_recovery = matches!(entry.content, Content::Recovered(_));
        if !follows || !entry.is_sound() || is_recovery {
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

/// Checks that the log of a voter, as it reports it, lies within this host's log,
/// from which the voter got it. raft-rs relies on that.
fn check_answer(consensus: &Consensus, message: &RaftMessage) -> Result<(), Refused> {
    let last = consensus.log().last_index();
    let hint = if message.reject { message.reject_hint } else { 0 };
    if message.index > last || hint > last { Err(Refused::Contradiction) } else { Ok(()) }
}

fn check_snapshot(consensus: &Consensus, message: &RaftMessage, newest: Version) -> Result<(), Refused> {
    let sound = |snapshot: &&Snapshot| snapshot.is_sound() && snapshot.term <= message.term;
    let snapshot = message.snapshot.as_ref().filter(sound).ok_or(Refused::Snapshot)?;
    let known = consensus.log().term_at(snapshot.index);
    let committed = snapshot.index <= consensus.commit();
    if committed && known.is_some_and(|known| known != snapshot.term) {
        return Err(Refused::Contradiction);
    }
    crate::state::State::decode(&snapshot.state, snapshot.index, newest)
        .map(drop)
        .map_err(|_| Refused::Snapshot)
}

#[cfg(test)]
mod tests;

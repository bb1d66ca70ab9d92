//! Tests elections while the disk is slow.

use super::*;

/// More ticks than any host waits before it stands for election.
const LONG: u32 = 60;

fn two_voters() -> Voters {
    Voters { voters: [VoterId(1), VoterId(2)].into(), ..Voters::default() }
}

#[test]
fn the_only_voter_stands_for_election_again_once_what_it_has_is_durable() {
    let mut voter = Replica::founder(1);
    let learns = VoterChange { learn: vec![VoterId(2)], ..VoterChange::default() };
    assert!(voter.ledger.propose_voters(&learns));
    voter.finish();
    voter.propose(1);
    let newer = message(Kind::Heartbeat, 2, 1, voter.ledger.log().hard().term + 1);
    assert_eq!(voter.step(newer.clone()), Ok(()));
    assert!(!voter.ledger.is_leader(), "somebody else had a newer term");
    let now = message(Kind::TimeoutNow, 2, 1, newer.term);
    assert_eq!(voter.step(now), Err(Refused::NotDurable));
    voter.tick(LONG);
    assert!(!voter.ledger.is_leader());

    voter.finish();
    voter.tick(LONG);
    assert!(voter.ledger.is_leader());
    voter.finish();
    assert!(voter.folded.len() >= 3, "its entry is not lost: {:?}", voter.folded);
}

#[test]
fn a_voter_stands_for_election_only_when_its_snapshot_is_durable() {
    let mut voter = Replica::voter(1, &two_voters());
    let snapshot = Snapshot { index: 9, term: 2, hash: [7; 32], voters: two_voters(), state: state_at(9) };
    let leads = RaftMessage { snapshot: Some(snapshot), ..message(Kind::Snapshot, 2, 1, 2) };
    assert_eq!(voter.step(leads), Ok(()));
    assert_eq!(voter.step(message(Kind::TimeoutNow, 2, 1, 2)), Err(Refused::NotDurable));
    voter.tick(LONG);
    assert!(voter.sent.is_empty(), "it asks for no vote: {:?}", voter.sent);

    voter.finish();
    voter.sent.clear();
    voter.tick(LONG);
    assert!(voter.sent.iter().any(|message| message.kind == Kind::RequestPreVote));
}

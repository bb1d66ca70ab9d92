//! Tests that a host says only what is durable. (Each message is compared with the
//! disk when it is sent.)

use super::*;

fn three_voters() -> Voters {
    Voters { voters: [VoterId(1), VoterId(2), VoterId(3)].into(), ..Voters::default() }
}

fn second() -> LogEntry {
    LogEntry { index: 2, term: 2, content: Content::Empty }
}

/// Returns the leader's question whether this host has the second entry.
fn probe() -> RaftMessage {
    RaftMessage { index: 2, log_term: 2, ..message(Kind::Append, 2, 1, 2) }
}

fn has_promised(voter: &Replica) -> bool {
    voter.sent.iter().any(|sent| sent.kind == Kind::AppendResponse && sent.index == 2)
}

#[test]
fn what_a_killed_process_had_not_synced_is_promised_when_it_is() {
    let mut voter = Replica::voter(1, &three_voters());
    let appends =
        RaftMessage { index: 1, log_term: 1, entries: vec![second()], ..message(Kind::Append, 2, 1, 2) };
    assert_eq!(voter.step(appends), Ok(()));
    voter.restart();
    assert_eq!(voter.ledger.last_index(), 2, "the operating system kept it");
    assert_eq!(voter.step(probe()), Err(Refused::NotVoting));
    voter.finish();
    assert_eq!(voter.step(probe()), Ok(()));
    voter.finish();
    assert!(has_promised(&voter));
    voter.lose_power();
    assert_eq!(voter.ledger.last_index(), 2);
}

#[test]
fn what_came_from_a_neighbour_is_promised_when_it_is_durable() {
    let mut voter = Replica::voter(1, &three_voters());
    assert_eq!(voter.ledger.follow(vec![second()]), 1);
    voter.finish();
    assert!(voter.ledger.is_voting());
    assert_eq!(voter.step(probe()), Ok(()));
    voter.finish();
    assert!(has_promised(&voter));
    voter.lose_power();
    assert_eq!(voter.ledger.last_index(), 2);
}

#[test]
fn the_only_voter_sends_nothing_of_a_term_that_it_would_not_remember() {
    let mut leader = Replica::founder(1);
    let learns = VoterChange { learn: vec![VoterId(2)], ..VoterChange::default() };
    assert!(leader.ledger.propose_voters(&learns));
    leader.finish();
    leader.restart();
    leader.finish();
    leader.sent.clear();

    while !leader.ledger.is_leader() {
        leader.tick(1);
    }
    leader.propose(1);
    assert!(leader.sent.is_empty(), "{:?}", leader.sent);
    leader.finish();
    assert!(leader.sent.iter().any(|sent| sent.kind == Kind::Append && sent.to == VoterId(2)));
}

#[test]
fn that_the_voters_changed_is_told_when_it_is_durable() {
    let mut leader = Replica::founder(1);
    let learns = VoterChange { learn: vec![VoterId(2)], ..VoterChange::default() };
    assert!(leader.ledger.propose_voters(&learns));
    leader.settle();
    let before = leader.ledger.head();
    assert!(leader.write(), "the entry");
    assert_eq!((leader.ledger.voters_since(), leader.ledger.told_head()), (before.0 + 1, before));
    assert!(leader.write(), "that it is committed");
    assert_eq!(leader.ledger.told_head(), leader.ledger.head());
    leader.lose_power();
    assert_eq!(leader.ledger.voters().learners, [VoterId(2)].into());
}

#[test]
fn a_snapshot_is_told_of_when_it_is_durable() {
    let mut voter = Replica::voter(1, &three_voters());
    let before = voter.ledger.head();
    let snapshot = Snapshot { index: 9, term: 2, hash: [9; 32], voters: three_voters(), state: state_at(9) };
    assert!(voter.ledger.follow_snapshot(snapshot));
    assert_eq!(voter.ledger.told_head(), before, "it is not even in a write");
    voter.settle();
    assert_eq!((voter.ledger.head().0, voter.ledger.told_head()), (9, before));
    voter.finish();
    assert_eq!(voter.ledger.told_head(), voter.ledger.head());
}

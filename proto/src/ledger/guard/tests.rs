use super::super::log::{Base, Log};
use super::super::{Content, LogEntry};
use super::*;
use crate::ledger::ChainHash;

const ME: VoterId = VoterId(1);
const OTHER: VoterId = VoterId(2);

/// Makes a voter with entries 2..=5 of term 3, all of them committed.
fn consensus() -> (Voters, Consensus) {
    let mut voters = Voters::only(ME);
    voters.voters.insert(OTHER);
    let hash: ChainHash = [0; 32];
    let mut log = Log::new(Base { index: 1, term: 1, hash, voters: voters.clone() });
    for index in 2..=5 {
        log.append(LogEntry { index, term: 3, content: Content::Empty });
    }
    log.begin_consensus(5, 3, voters.clone());
    (voters, Consensus::start(ME, 0, 5, log).expect("it starts"))
}

fn message(kind: Kind) -> RaftMessage {
    RaftMessage {
        kind,
        to: ME,
        from: OTHER,
        term: 3,
        log_term: 3,
        index: 5,
        entries: Vec::new(),
        commit: 5,
        commit_term: 0,
        snapshot: None,
        request_snapshot: 0,
        reject: false,
        reject_hint: 0,
        context: Vec::new(),
    }
}

fn check_one(message: RaftMessage, expected: Result<(), Refused>) {
    let (voters, consensus) = consensus();
    assert_eq!(check(ME, &voters, &consensus, &message, Version::NEWEST), expected, "{message:?}");
}

fn entry(index: u64, term: u64) -> LogEntry {
    LogEntry { index, term, content: Content::Empty }
}

#[test]
fn an_honest_message_is_let_in() {
    check_one(message(Kind::Heartbeat), Ok(()));
    check_one(RaftMessage { entries: vec![entry(6, 3)], ..message(Kind::Append) }, Ok(()));
}

#[test]
fn a_stranger_is_not_believed() {
    for term in [2, 3, 4] {
        let of_a_stranger = RaftMessage { from: VoterId(9), term, ..message(Kind::Heartbeat) };
        check_one(of_a_stranger, Err(Refused::Stranger));
    }
    check_one(RaftMessage { from: ME, ..message(Kind::Heartbeat) }, Err(Refused::Stranger));
    check_one(RaftMessage { to: VoterId(9), ..message(Kind::Heartbeat) }, Err(Refused::NotForMe));
    check_one(RaftMessage { term: 1 << 50, ..message(Kind::Heartbeat) }, Err(Refused::Term));
}

#[test]
fn what_raft_would_panic_on_is_refused() {
    check_one(RaftMessage { commit: 102, ..message(Kind::Heartbeat) }, Err(Refused::BeyondLog));
    check_one(RaftMessage { entries: vec![entry(7, 3)], ..message(Kind::Append) }, Err(Refused::Entries));
    check_one(RaftMessage { entries: vec![entry(6, 9)], ..message(Kind::Append) }, Err(Refused::Entries));
    let rewrites = RaftMessage { index: 3, log_term: 2, entries: vec![entry(4, 2)], ..message(Kind::Append) };
    check_one(rewrites, Err(Refused::Contradiction));
    check_one(RaftMessage { index: 99, ..message(Kind::AppendResponse) }, Err(Refused::Contradiction));
    check_one(message(Kind::Snapshot), Err(Refused::Snapshot));
    check_one(RaftMessage { term: 0, ..message(Kind::Heartbeat) }, Err(Refused::Term));
    check_one(RaftMessage { index: 9, log_term: 0, ..message(Kind::Append) }, Err(Refused::Entries));
    let rejects = RaftMessage { reject: true, reject_hint: u64::MAX, ..message(Kind::AppendResponse) };
    check_one(rejects, Err(Refused::Contradiction));
    check_one(RaftMessage { request_snapshot: 1, ..message(Kind::AppendResponse) }, Err(Refused::Snapshot));
    check_one(message(Kind::TimeoutNow), Err(Refused::NotLeader));
    check_one(RaftMessage { context: vec![0; 65], ..message(Kind::RequestVote) }, Err(Refused::Context));
}

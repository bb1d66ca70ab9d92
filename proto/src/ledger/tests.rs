//! Tests ledgers without their nodes: writes are done when a test says so, and
//! messages only go where a test takes them.

mod elections;
mod hostile;
mod promises;

use std::collections::BTreeMap;

use super::message::Kind;
use super::*;
use crate::entry::{Entry, ProposalId};
use crate::id::HostId;
use crate::state::State;
use crate::statement::Finding;
use crate::time::LedgerTime;

type Store = BTreeMap<Vec<u8>, Vec<u8>>;

/// The most rounds of one settling. More would be a bug.
const ROUNDS_MAX: usize = 100;
/// The number of entries that a ledger keeps before its snapshot: few, so that logs
/// are cut.
const KEPT: usize = 4;

pub(super) struct Replica {
    pub(super) ledger: Ledger,
    /// The contents that the next start finds.
    stored: Store,
    /// The contents that the next start finds after a power loss: only what was
    /// synced.
    durable: Store,
    /// The changes since the last write that was synced.
    unsure: Vec<Change>,
    /// The writes under way, in order; the flag says whether to sync.
    writes: VecDeque<(WriteId, bool, Vec<Change>)>,
    next_write: u64,
    /// The messages that it has sent.
    pub(super) sent: Vec<RaftMessage>,
    /// The entries that the ledger handed out as committed.
    pub(super) folded: BTreeMap<Index, LogEntry>,
}

/// Encodes the folded state of a ledger that has no entries but consensus's own.
fn state_at(index: Index) -> Vec<u8> {
    let mut state = State::founding();
    if index > 1 {
        state.skip(index);
    }
    state.encode()
}

fn entry(number: u64) -> Entry {
    let host = HostId::from_public_key([1; 32]);
    let proposal = ProposalId { host, incarnation: 1, number };
    Entry { at: LedgerTime::from_millis(number), proposal, statement: Finding::Tick.into() }
}

fn apply(store: &mut Store, changes: &[Change]) {
    for (key, value) in changes {
        match value {
            Some(value) => store.insert(key.clone(), value.clone()),
            None => store.remove(key),
        };
    }
}

/// Makes a message of one voter to another with default values in all other fields.
pub(super) fn message(kind: Kind, from: u64, to: u64, term: u64) -> RaftMessage {
    RaftMessage {
        kind,
        to: VoterId(to),
        from: VoterId(from),
        term,
        log_term: 0,
        index: 0,
        entries: Vec::new(),
        commit: 0,
        commit_term: 0,
        snapshot: None,
        request_snapshot: 0,
        reject: false,
        reject_hint: 0,
        context: Vec::new(),
    }
}

impl Replica {
    fn new(ledger: Ledger) -> Replica {
        Replica {
            ledger,
            stored: Store::new(),
            durable: Store::new(),
            unsure: Vec::new(),
            writes: VecDeque::new(),
            next_write: 1,
            sent: Vec::new(),
            folded: BTreeMap::new(),
        }
    }

    /// Makes a founder that has begun a ledger and leads it.
    pub(super) fn founder(me: u64) -> Replica {
        let mut founder = Replica::new(Ledger::empty(VoterId(me), 0, KEPT).found([0; 32], state_at(1)));
        founder.finish();
        founder
    }

    /// Makes a replica that has only a snapshot at index 1, with these voters.
    pub(super) fn voter(me: u64, voters: &Voters) -> Replica {
        let mut replica = Replica::new(Ledger::empty(VoterId(me), 0, KEPT));
        let voters = voters.clone();
        replica.ledger.install(Snapshot { index: 1, term: 1, hash: [0; 32], voters, state: state_at(1) });
        replica.finish();
        replica
    }

    /// Settles, as a node does after every input.
    pub(super) fn settle(&mut self) {
        if self.ledger.wants_snapshot() {
            let state = state_at(self.ledger.folded);
            self.ledger.take_snapshot(state);
        }
        self.ledger.cut();
        for _ in 0..ROUNDS_MAX {
            if !self.work() {
                return;
            }
        }
        panic!("it does not settle");
    }

    fn work(&mut self) -> bool {
        let write = WriteId(self.next_write);
        let Some(todo) = self.ledger.todo(write) else {
            return self.ledger.settle_role(self.writes.is_empty());
        };
        self.next_write += 1;
        self.send(todo.messages);
        if todo.changes.is_empty() && self.writes.is_empty() {
            let messages = self.ledger.persisted(write);
            self.send(messages);
        } else {
            self.writes.push_back((write, todo.sync, todo.changes));
        }
        for committed in todo.committed {
            match committed {
                Committed::Entry(entry) => {
                    self.ledger.note_folded(&entry);
                    if self.ledger.is_checkpoint_due() {
                        self.ledger.take_checkpoint(state_at(entry.index));
                    }
                    let before = self.folded.insert(entry.index, entry.clone());
                    assert!(before.is_none_or(|before| before == entry), "what is committed stays");
                }
                Committed::Snapshot(snapshot) => self.ledger.note_snapshot(&snapshot),
            }
        }
        self.ledger.settle_role(self.writes.is_empty());
        true
    }

    /// Does the first write under way. Returns true if there was one.
    pub(super) fn write(&mut self) -> bool {
        let Some((write, sync, changes)) = self.writes.pop_front() else { return false };
        apply(&mut self.stored, &changes);
        self.unsure.extend(changes);
        if sync {
            apply(&mut self.durable, &std::mem::take(&mut self.unsure));
        }
        let messages = self.ledger.persisted(write);
        self.send(messages);
        self.settle();
        true
    }

    fn send(&mut self, messages: Vec<RaftMessage>) {
        messages.iter().for_each(|message| self.check_promise(message));
        self.sent.extend(messages);
    }

    /// Checks that what others rely on would survive a power loss.
    fn check_promise(&self, message: &RaftMessage) {
        let hard: records::Hard = self.durable.get(b"H".as_slice()).map_or_else(Default::default, |bytes| {
            crate::form::decode_record(bytes).expect("it wrote that itself")
        });
        let is_answer = matches!(message.kind, Kind::RequestPreVote | Kind::RequestPreVoteResponse);
        assert!(is_answer || hard.term >= message.term, "{message:?} with {hard:?} on the disk");
        if message.kind == Kind::RequestVoteResponse && !message.reject {
            assert_eq!((hard.term, hard.vote), (message.term, message.to.0), "the vote is on the disk");
        }
        if message.kind == Kind::AppendResponse && !message.reject && message.index > 0 {
            let restored =
                Restored::read(&self.durable).expect("it can be read").expect("there is something");
            let last = restored.into_log().last_index();
            assert!(last >= message.index, "{message:?} with a log up to {last} on the disk");
        }
    }

    /// Settles, and does all writes.
    pub(super) fn finish(&mut self) {
        self.settle();
        while self.write() {}
    }

    pub(super) fn step(&mut self, message: RaftMessage) -> Result<(), Refused> {
        let result = self.ledger.step(message);
        self.settle();
        result
    }

    pub(super) fn tick(&mut self, ticks: u32) {
        for _ in 0..ticks {
            self.ledger.tick();
            self.settle();
        }
    }

    /// Restarts the process; the writes that it had handed over are done.
    pub(super) fn restart(&mut self) {
        for (_, _, changes) in std::mem::take(&mut self.writes) {
            apply(&mut self.stored, &changes);
            self.unsure.extend(changes);
        }
        self.start();
    }

    /// Loses power and starts again.
    pub(super) fn lose_power(&mut self) {
        self.writes.clear();
        self.unsure.clear();
        self.stored = self.durable.clone();
        self.start();
    }

    fn start(&mut self) {
        let me = self.ledger.me();
        let restored = Restored::read(&self.stored).expect("what it wrote can be read");
        self.ledger = match restored {
            Some(restored) => Ledger::empty(me, 0, KEPT).restore(restored),
            None => Ledger::empty(me, 0, KEPT),
        };
        // It had folded some entries before they were written. After the restart
        // these may never come.
        let commit = self.ledger.log().hard().commit;
        self.folded.retain(|index, _| *index <= commit);
        self.sent.clear();
        self.settle();
    }

    fn propose(&mut self, number: u64) {
        assert!(self.ledger.propose(&entry(number)), "it leads");
        self.settle();
    }
}

#[test]
fn a_snapshot_from_far_ahead_is_taken_in_a_few_writes() {
    let voters = Voters { voters: [VoterId(1), VoterId(2)].into(), ..Voters::default() };
    let mut voter = Replica::voter(1, &voters);
    assert!(voter.ledger.is_voting());
    let index = 50_000_000;
    let snapshot = Snapshot { index, term: 2, hash: [7; 32], voters, state: state_at(index) };
    let leads = RaftMessage { snapshot: Some(snapshot), ..message(Kind::Snapshot, 2, 1, 2) };
    assert_eq!(voter.step(leads), Ok(()));
    voter.finish();
    assert_eq!(voter.ledger.head(), (index, [7; 32]));
}

#[test]
fn a_long_log_is_cut_once_it_is_folded() {
    let mut leader = Replica::founder(1);
    let base = leader.ledger.log().base().index;
    for number in 0..100 {
        leader.propose(number);
    }
    assert_eq!(leader.ledger.log().base().index, base, "nothing of it is folded");
    leader.finish();
    leader.settle();
    let held = leader.ledger.folded - leader.ledger.log().base().index;
    assert!((KEPT..=2 * KEPT).contains(&(held as usize)), "{held}");
}

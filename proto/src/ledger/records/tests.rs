use super::super::{Content, Ledger, Voters};
use super::*;
use crate::id::VoterId;
use crate::io::WriteId;

/// Returns the store of a founder after a few entries.
fn founded() -> BTreeMap<Vec<u8>, Vec<u8>> {
    let ledger = Ledger::empty(VoterId(1), 0, 100);
    let mut ledger = ledger.found([0; 32], crate::state::State::founding().encode());
    let mut stored = BTreeMap::new();
    for write in 1..10 {
        let Some(todo) = ledger.todo(WriteId(write)) else { break };
        for (key, value) in todo.changes {
            match value {
                Some(value) => stored.insert(key, value),
                None => stored.remove(&key),
            };
        }
        for committed in todo.committed {
            if let super::super::Committed::Entry(entry) = committed {
                ledger.note_folded(&entry);
            }
        }
        ledger.persisted(WriteId(write));
    }
    stored
}

fn check(change: impl Fn(&mut BTreeMap<Vec<u8>, Vec<u8>>), expected: StoredError) {
    let mut stored = founded();
    change(&mut stored);
    assert_eq!(Restored::read(&stored).expect_err("it cannot be gone on from"), expected);
}

#[test]
fn what_was_written_can_be_read() {
    let restored = Restored::read(&founded()).expect("it reads").expect("there is a ledger");
    assert_eq!(restored.snapshot.index, 1);
    assert_eq!(restored.entries[0].content, Content::Empty, "a new leader's first entry");
    assert!(Restored::read(&BTreeMap::new()).expect("nothing is no error").is_none());
}

#[test]
fn a_store_that_lost_something_is_not_gone_on_from() {
    check(|stored| drop(stored.remove(b"H".as_slice())), StoredError::Missing("H"));
    check(|stored| drop(stored.insert(b"S".to_vec(), vec![1, 2])), StoredError::Damaged("S"));
    check(
        |stored| drop(stored.insert(b"H".to_vec(), encode(&Hard { term: 1, vote: 1, commit: 99 }))),
        StoredError::Short { last: 2, commit: 99 },
    );
    check(
        |stored| {
            let entry = LogEntry { index: 4, term: 2, content: Content::Empty };
            stored.insert(entry_key(4), encode(&entry));
        },
        StoredError::Gap(3),
    );
}

#[test]
fn a_store_whose_records_do_not_fit_each_other_is_not_gone_on_from() {
    let base = |index: u64| Base { index, term: 1, hash: [0; 32], voters: Voters::only(VoterId(1)) };
    let snapshot = |index: u64, voters: Voters| {
        let state = crate::state::State::founding().encode();
        encode(&Snapshot { index, term: 1, hash: [0; 32], voters, state })
    };
    check(|stored| drop(stored.insert(b"B".to_vec(), encode(&base(2)))), StoredError::Gap(2));
    check(|stored| drop(stored.insert(b"B".to_vec(), encode(&base(u64::MAX)))), StoredError::Gap(2));
    let sole = Voters::only(VoterId(1));
    check(
        |stored| drop(stored.insert(b"S".to_vec(), snapshot(u64::MAX, sole.clone()))),
        StoredError::Damaged("S"),
    );
    check(
        |stored| drop(stored.insert(b"S".to_vec(), snapshot(1, Voters::default()))),
        StoredError::Damaged("S"),
    );
    check(
        |stored| drop(stored.insert(b"H".to_vec(), encode(&Hard { term: u64::MAX, vote: 1, commit: 1 }))),
        StoredError::Damaged("H"),
    );
    check(
        |stored| {
            let entry = LogEntry { index: 3, term: 1, content: Content::Empty };
            stored.insert(entry_key(3), encode(&entry));
        },
        StoredError::Damaged("E"),
    );
}

#[test]
fn what_lies_below_the_log_is_deleted_after_all() {
    let mut stored = founded();
    let nothing_left = Restored::read(&stored).expect("it reads").expect("a ledger").left_over;
    assert!(nothing_left.is_empty(), "{nothing_left:?}");
    stored.insert(entry_key(1), encode(&LogEntry { index: 1, term: 1, content: Content::Empty }));
    let restored = Restored::read(&stored).expect("it reads").expect("a ledger");
    let mut ledger = Ledger::empty(VoterId(1), 0, 100).restore(restored);
    let todo = ledger.todo(WriteId(1)).expect("there is something to do");
    assert!(todo.changes.contains(&delete_entry(1)), "{:?}", todo.changes);
}

#[test]
fn what_was_never_there_is_not_deleted() {
    let mut stored = BTreeMap::new();
    assert_eq!(indexes(&stored, 1_000_000), 0..0);
    for index in [3, 4, 5, 900_000] {
        stored.insert(entry_key(index), vec![]);
    }
    assert_eq!((indexes(&stored, 1_000), indexes(&stored, 900_000)), (3..6, 3..900_001));
}

use super::*;

type Contents = BTreeMap<Vec<u8>, Vec<u8>>;

/// A store in memory, as each write left it.
struct History {
    account: Account,
    states: Vec<(Contents, Fence)>,
}

impl History {
    fn new() -> Self {
        let account = Account::open(&Stored::default()).expect("an empty store");
        History { account, states: vec![(BTreeMap::new(), Fence::default())] }
    }

    fn write(&mut self, changes: &[(&str, Option<&str>)]) {
        let bytes = |text: &str| text.as_bytes().to_vec();
        let mut changes: Vec<Change> =
            changes.iter().map(|(key, value)| (bytes(key), value.map(bytes))).collect();
        let fence = self.account.count(&mut changes);
        let mut contents = self.states.last().expect("a state").0.clone();
        for (key, value) in changes {
            match value {
                Some(value) => contents.insert(key, value),
                None => contents.remove(&key),
            };
        }
        self.states.push((contents, fence));
    }

    fn of_four() -> Self {
        let mut history = History::new();
        history.write(&[("M", Some("me")), ("H", Some("term 1"))]);
        history.write(&[("E1", Some("first")), ("E2", Some("second"))]);
        history.write(&[("E2", None), ("E2", Some("another")), ("H", Some("term 2"))]);
        history.write(&[("E1", None)]);
        history
    }
}

fn open(contents: &Contents, fence: Option<Fence>) -> Result<Fence, Loss> {
    let stored = Stored { contents: contents.clone(), fence };
    Account::open(&stored).map(|account| account.fence)
}

#[test]
fn a_store_at_its_fence_or_beyond_it_is_taken_and_an_older_one_is_not() {
    let states = History::of_four().states;
    for (at, (contents, fence)) in states.iter().enumerate() {
        assert_eq!(Fence::of(contents), *fence);
        for (kept_at, (_, kept)) in states.iter().enumerate() {
            let expected = if kept_at <= at {
                Ok(*fence)
            } else {
                Err(Loss::Behind { holds: at as u64, synced: kept_at as u64 })
            };
            assert_eq!(open(contents, Some(*kept)), expected, "{at} {kept_at}");
        }
    }
}

#[test]
fn a_record_that_is_missing_stale_or_changed_is_found() {
    let states = History::of_four().states;
    let (contents, fence) = &states[3];
    for key in contents.keys().filter(|key| *key != KEY) {
        let mut without = contents.clone();
        without.remove(key);
        let mut changed = contents.clone();
        changed.insert(key.clone(), b"other".to_vec());
        // This holds also if the kept fence is one write older: the store carries
        // its own.
        for kept in [*fence, states[2].1] {
            assert_eq!(open(&without, Some(kept)), Err(Loss::Altered(3)));
            assert_eq!(open(&changed, Some(kept)), Err(Loss::Altered(3)));
        }
    }
    let mut stale = contents.clone();
    stale.insert(b"H".to_vec(), b"term 1".to_vec());
    assert_eq!(open(&stale, Some(*fence)), Err(Loss::Altered(3)));
    let (mut another, kept) = (History::of_four().states.remove(3).0, History::new());
    another.remove(KEY);
    assert_eq!(open(&another, Some(kept.states[0].1)), Err(Loss::Altered(0)), "records, but no account");
}

#[test]
fn a_store_without_its_fence_is_taken_only_while_it_is_empty() {
    let states = History::of_four().states;
    assert_eq!(open(&states[0].0, None), Ok(Fence::default()));
    assert_eq!(open(&states[1].0, None), Err(Loss::NoFence));
    let lost = open(&BTreeMap::new(), Some(states[4].1));
    assert_eq!(
        lost,
        Err(Loss::Behind { holds: 0, synced: 4 }),
        "the store was deleted, and its fence was not"
    );
}

#[test]
fn an_account_goes_on_where_the_store_ends() {
    let mut history = History::of_four();
    let (contents, fence) = history.states.last().expect("a state").clone();
    history.account = Account::open(&Stored { contents, fence: Some(fence) }).expect("nothing is lost");
    history.write(&[("H", Some("term 3"))]);
    let (contents, fence) = history.states.last().expect("a state");
    assert_eq!((open(contents, Some(*fence)), fence.writes), (Ok(*fence), 5));
    let mut nothing = Vec::new();
    assert_eq!((history.account.count(&mut nothing), nothing), (*fence, Vec::new()));
}

#[test]
fn a_fence_is_read_as_it_was_written() {
    for (_, fence) in History::of_four().states {
        assert_eq!(Fence::from_bytes(fence.to_bytes()), fence);
    }
}

//! Tests nodes whose store has lost something.

use super::*;
use crate::io::Write;
use crate::statement::Report;

/// A store in memory: its content after each write, and the newest fence that was
/// kept by then.
struct Disk {
    states: Vec<Stored>,
}

impl Disk {
    fn new() -> Self {
        Disk { states: vec![Stored { fence: Some(Fence::default()), ..Stored::default() }] }
    }

    fn newest(&self) -> Stored {
        self.states.last().expect("a state").clone()
    }

    fn write(&mut self, write: Write) {
        let mut state = self.newest();
        for (key, value) in write.changes {
            match value {
                Some(value) => state.contents.insert(key, value),
                None => state.contents.remove(&key),
            };
        }
        if write.sync {
            state.fence = Some(write.fence);
        }
        self.states.push(state);
    }

    /// Starts the founder from the newest state, and runs it for this many wakes.
    fn run(&mut self, wakes: u32) -> Node {
        let mut now = Time::from_micros(1_000_000_000_000_000);
        let mut node = Node::start(config(0), self.newest(), now).expect("it starts");
        for _ in 0..=wakes {
            while let Some(output) = node.poll_output() {
                let Output::Persist(write) = output else { continue };
                let id = write.id;
                self.write(write);
                node.handle(Input::Persisted(id), now);
            }
            now = node.next_wake().expect("beacons never end").max(now);
            node.handle(Input::Wake, now);
        }
        node
    }
}

fn start(stored: Stored) -> Result<Node, StartError> {
    Node::start(config(0), stored, Time::from_micros(1))
}

#[test]
fn a_store_that_ends_before_its_fence_is_refused_wherever_it_ends() {
    let mut disk = Disk::new();
    let voter = disk.run(100).voter();
    assert_eq!(disk.run(100).voter(), voter);
    assert!(disk.states.len() > 10, "there is something to lose");
    let newest = disk.newest();
    let synced = |state: &Stored| Some(Fence::of(&state.contents)) == newest.fence;
    let fenced = disk.states.iter().position(synced).expect("a write was synced");
    for (at, state) in disk.states.iter().enumerate() {
        let found = start(Stored { contents: state.contents.clone(), fence: newest.fence });
        match found {
            Ok(node) => assert!(at >= fenced && node.voter() == voter, "write {at} of {fenced}"),
            Err(StartError::Forgotten(Loss::Behind { .. })) => assert!(at < fenced, "write {at} of {fenced}"),
            Err(other) => panic!("{other}"),
        }
    }
}

#[test]
fn a_store_without_its_fence_or_with_a_lost_record_is_refused() {
    let mut disk = Disk::new();
    disk.run(100);
    let newest = disk.newest();
    let found = start(Stored { fence: None, ..newest.clone() });
    assert!(matches!(found, Err(StartError::Forgotten(Loss::NoFence))));
    // Only the digest covers this record.
    let entry = newest.contents.keys().rfind(|key| key.first() == Some(&b'E')).expect("an entry").clone();
    let mut stored = newest;
    stored.contents.remove(&entry);
    assert!(matches!(start(stored), Err(StartError::Forgotten(Loss::Altered(_)))));
}

/// An agent that was downgraded by mistake: nothing that it finds is damage.
#[test]
fn a_store_that_a_newer_agent_wrote_is_not_taken_for_a_damaged_one() {
    let mut disk = Disk::new();
    disk.run(100);
    let newest = disk.newest();
    let keys: Vec<Vec<u8>> = newest.contents.keys().cloned().collect();
    for key in keys {
        let mut stored = newest.clone();
        // A record of version 9, and the fence that its agent kept.
        stored.contents.insert(key.clone(), vec![255, 0, 9, 200, 200]);
        let found = start(stored).err().map(|error| error.to_string()).unwrap_or_default();
        assert!(
            found.contains("needs version 9, this agent reads up to 6: nothing was changed"),
            "{key:?}: {found}"
        );
    }
    // The release before looks at this format alone.
    let mut stored = newest;
    stored.contents.get_mut(b"M".as_slice()).expect("whose it is")[0] = 9;
    assert!(matches!(start(stored), Err(StartError::OtherVersion { .. })));
}

#[test]
fn a_store_without_a_ledger_starts_under_a_new_number() {
    let mut disk = Disk::new();
    let config = |seed| Config { seed, ..config(1) };
    let now = Time::from_micros(1);
    let mut node = Node::start(config(1), disk.newest(), now).expect("it starts");
    while let Some(output) = node.poll_output() {
        if let Output::Persist(write) = output {
            assert!(write.sync, "a start that is forgotten could be taken for another one");
            disk.write(write);
        }
    }
    let again = Node::start(config(2), disk.newest(), now).expect("it starts");
    assert_ne!(again.voter(), node.voter(), "its ledger may have been lost, and its promises with it");
    assert_eq!((node.incarnation(), again.incarnation()), (1, 2));
}

/// What a killed agent had handed over, its next start finds, and a power loss may
/// still take it: also that the voters changed, or the snapshot that says so.
#[test]
fn a_start_is_announced_and_tells_of_its_ledger_once_it_is_synced_and_no_sooner() {
    let mut disk = Disk::new();
    disk.run(100);
    let now = Time::from_micros(2_000_000_000_000_000);
    let mut node = Node::start(config(0), disk.newest(), now).expect("it starts");
    let announced = |node: &Node| node.proposals.has(&Report::HostJoined(node.record()).into());
    assert!(!announced(&node));
    assert!(node.ledger.head().0 > 0);
    assert_eq!(node.told_head().0, 0);
    let Some(Output::Persist(write)) =
        std::iter::from_fn(|| node.poll_output()).find(|output| matches!(output, Output::Persist(_)))
    else {
        panic!("a start is written");
    };
    node.handle(Input::Persisted(write.id), now);
    assert!(announced(&node));
    assert_eq!(node.told_head(), node.ledger.head());
}

//! Tests how a node uses its ledger and its store, and what happens when it has
//! forgotten something.

use super::*;
use crate::statement::{Intent, Report};

#[test]
fn starts_are_not_counted_beyond_what_can_be_counted() {
    let mut mesh = Mesh::of(2);
    mesh.run(Duration::from_secs(10));
    let (leader, other) = (HostId::from_public_key([0; 32]), HostId::from_public_key([1; 32]));
    let record = mesh.state(0).host(other).expect("it has joined").record.clone();
    let lie = Report::HostJoined(HostRecord { voter: VoterId(77), incarnation: u64::MAX, ..record }).into();
    let id = ProposalId { host: other, incarnation: 1, number: 1 };
    let frame = crate::wire::proposal(MeshId([7; 16]), id, lie);
    mesh.inputs.push_back((leader, Input::Received { from: other, frame }));
    mesh.run(Duration::from_secs(10));
    assert_eq!(mesh.state(1).host(other).expect("it is known").record.incarnation, u64::MAX);
}

/// The first voter of a mesh is needed until it has handed over to all three.
#[test]
fn a_majority_of_the_outgoing_voters_is_missed_too() {
    let mut mesh = Mesh::of(3);
    let host = |number: u8| HostId::from_public_key([number; 32]);
    let changes = |mesh: &Mesh, number| !mesh.nodes[&host(number)].ledger.voters().outgoing.is_empty();
    while !changes(&mesh, 1) || !changes(&mesh, 2) {
        mesh.run(Duration::from_millis(1));
    }
    mesh.nodes.remove(&host(0));
    for other in [1, 2] {
        mesh.inputs.push_back((host(other), Input::Disconnected { host: host(0) }));
    }
    mesh.run(Duration::from_secs(5));
    let without_the_first = Blocker::NoMajority { voters_up: 0, voters: 1 };
    assert_eq!(mesh.nodes[&host(1)].no_majority(), Some(without_the_first));
}

#[test]
fn only_who_knows_its_voters_misses_a_majority_of_them() {
    let mut mesh = Mesh::of(3);
    let host = |number: u8| HostId::from_public_key([number; 32]);
    assert_eq!(mesh.nodes[&host(1)].no_majority(), None, "it has heard of no mesh yet");
    mesh.run(Duration::from_secs(10));
    assert_eq!(mesh.nodes[&host(0)].no_majority(), None);
    for other in [1, 2] {
        mesh.nodes.remove(&host(other));
        mesh.inputs.push_back((host(0), Input::Disconnected { host: host(other) }));
    }
    mesh.run(Duration::from_secs(1));
    let alone = Blocker::NoMajority { voters_up: 1, voters: 3 };
    assert_eq!(mesh.nodes[&host(0)].no_majority(), Some(alone));
}

#[test]
fn who_misses_a_majority_knows_when_it_was_last_heard_and_who_is_not_heard() {
    let mut mesh = Mesh::of(3);
    let host = |number: u8| HostId::from_public_key([number; 32]);
    mesh.run(Duration::from_secs(10));
    let cut_at = mesh.now;
    for other in [1, 2] {
        mesh.nodes.remove(&host(other));
        mesh.inputs.push_back((host(0), Input::Disconnected { host: host(other) }));
    }
    mesh.run(Duration::from_secs(60));
    let node = &mesh.nodes[&host(0)];
    let heard_at = node.majority_heard_at().expect("it was heard");
    assert!(
        heard_at <= cut_at && cut_at.since(heard_at) <= Duration::from_secs(1),
        "{heard_at:?} {cut_at:?}"
    );
    assert_eq!(node.mesh().unheard, BTreeSet::from([host(1), host(2)]));
}

#[test]
fn what_a_snapshot_says_was_folded_is_not_proposed_anew() {
    let mut mesh = Mesh::with(4, |number| Config { log_kept: 8, voters_max: 1, ..config(number) });
    mesh.run(Duration::from_secs(10));
    let (group, deaf) = (mesh.group(), HostId::from_public_key([3; 32]));
    mesh.deaf.insert(deaf);
    let until = crate::io::Until::For(Duration::from_secs(3_600));
    let freeze = Request::Freeze { group: group.clone(), until, reason: String::new(), by: "ann".into() };
    mesh.inputs.push_back((deaf, Input::Request { id: RequestId(9), request: Box::new(freeze) }));
    mesh.run(Duration::from_secs(1));
    let frozen = |mesh: &Mesh, of: u8| mesh.state(of).freezes().of(&group).cloned();
    assert!(frozen(&mesh, 0).is_some());
    assert_eq!(mesh.request(0, Request::Intent(Intent::Unfreeze(group.clone()))), Ok(Accepted::Done));
    mesh.burst();
    mesh.deaf.clear();
    mesh.replies.clear();
    mesh.run(Duration::from_secs(10));

    assert_eq!((frozen(&mesh, 0), frozen(&mesh, 3)), (None, None));
    assert!(matches!(mesh.replies[..], [Err(Refusal::FoldedUnseen)]), "{:?}", mesh.replies);
}

#[test]
fn what_a_snapshot_says_was_done_is_answered_so() {
    let mut mesh = Mesh::with(5, |number| Config { log_kept: 8, voters_max: 1, ..config(number) });
    mesh.run(Duration::from_secs(10));
    let (group, deaf) = (mesh.group(), HostId::from_public_key([3; 32]));
    mesh.hangs = Some(LifecycleEvent::Install);
    let deployment = mesh.deploy(0, &group, 1);
    let renewed = HostId::from_public_key([2; 32]);
    mesh.deaf.insert(deaf);
    let stop = Request::Intent(Intent::Stop { deployment, rollback: false, now: false, by: String::new() });
    let remove = Request::Intent(Intent::RemoveHost(HostId::from_public_key([4; 32])));
    for (number, request) in [(8, stop), (9, remove)] {
        let input = Input::Request { id: RequestId(number), request: Box::new(request) };
        mesh.inputs.push_back((deaf, input));
    }
    mesh.run(Duration::from_secs(1));
    assert!(mesh.state(0).host(HostId::from_public_key([4; 32])).is_none());
    // Another host starts anew, which only the snapshot tells.
    mesh.nodes.get_mut(&renewed).expect("a node").own.meta.incarnation = 5;
    mesh.run(Duration::from_secs(1));
    mesh.burst();
    mesh.deaf.clear();
    mesh.replies.clear();
    mesh.run(Duration::from_secs(10));
    assert_eq!(mesh.replies, [Ok(Accepted::Done), Ok(Accepted::Done)]);
    let node = mesh.nodes.get_mut(&deaf).expect("a node");
    let accusation = BTreeSet::from([renewed]);
    let observer = HostId::from_public_key([1; 32]);
    node.tell_mesh(MeshInput::Lost { observer, index: 1, lost: accusation }, mesh.now);
    node.handle(Input::Wake, mesh.now);
    assert!(!node.mesh().suspects.contains(&renewed), "what was said of its start before is stale");
}

#[test]
fn what_followers_repeat_of_a_leader_is_not_believed() {
    let mut mesh = Mesh::of(7);
    mesh.run(Duration::from_secs(10));
    let is_follower = |node: &&Node| !node.ledger.is_voting();
    let followers: Vec<HostId> = mesh.nodes.values().filter(is_follower).map(Node::host).collect();
    let [one, other] = followers[..] else { panic!("two of seven follow: {followers:?}") };
    let node = mesh.nodes.get_mut(&one).expect("a node");
    let leader = node.leader();
    let claimed = node.own.meta.voter;
    for (host, heard) in node.mesh.reports_mut() {
        heard.leader = if *host == other { Some(claimed) } else { None };
    }
    assert!(leader.is_some());
    assert_eq!(node.leader(), None, "the other follower has it from this one");
}

#[test]
fn a_leader_whose_disk_stands_still_takes_more_than_a_log_holds() {
    let mut mesh = Mesh::of(1);
    mesh.run(Duration::from_secs(5));
    let (host, now) = (HostId::from_public_key([0; 32]), mesh.now);
    let node = mesh.nodes.get_mut(&host).expect("a node");
    assert!(node.ledger.is_leader());
    let folded = node.state.index();
    let mut writes = Vec::new();
    for number in 0..9_000 {
        let from = HostId::from_public_key([1; 32]);
        let id = crate::entry::ProposalId { host: from, incarnation: 99, number };
        let statement =
            Box::new(crate::statement::Intent::Unfreeze("hello/prod".parse().expect("a name")).into());
        let message = crate::wire::Message::Propose { id, statement, forwarded: false };
        let frame = crate::wire::frame(MeshId([7; 16]), Default::default(), &message);
        node.handle(Input::Received { from, frame }, now);
        while let Some(output) = node.poll_output() {
            if let Output::Persist(write) = output {
                writes.push(write.id);
            }
        }
    }
    assert_eq!(node.state.index(), folded, "nothing is durable, so nothing is committed");
    node.handle(Input::Persisted(*writes.last().expect("a write")), now);
    assert_eq!(node.state.index(), folded + 9_000);
}

#[test]
fn a_node_whose_store_ends_with_a_snapshot_knows_the_mesh_at_once() {
    let config = Config { log_kept: 0, ..config(0) };
    let (mut now, mut stored) = (Time::from_micros(1_000_000_000_000_000), BTreeMap::new());
    let mut node = Node::start(config.clone(), Stored::default(), now).expect("it starts");
    for _ in 0..200 {
        while let Some(output) = node.poll_output() {
            let Output::Persist(write) = output else { continue };
            for (key, value) in write.changes {
                match value {
                    Some(value) => stored.insert(key, value),
                    None => stored.remove(&key),
                };
            }
            node.handle(Input::Persisted(write.id), now);
        }
        now = node.next_wake().expect("beacons never end").max(now);
        node.handle(Input::Wake, now);
    }
    let restored = Restored::read(&stored).expect("it can be read").expect("there is something");
    assert_eq!(restored.snapshot.index, restored.commit);
    let fence = Some(Fence::of(&stored));
    let again = Node::start(config, Stored { contents: stored, fence }, now).expect("it starts");
    assert_eq!(
        (again.mesh().voters, again.mesh.members().clone()),
        (BTreeSet::from([node.host()]), [node.host()].into())
    );
}

#[test]
fn a_host_that_has_forgotten_a_start_outranks_what_the_mesh_knows_of_it() {
    let mut mesh = Mesh::of(3);
    mesh.run(Duration::from_secs(10));
    let host = HostId::from_public_key([2; 32]);
    // The store lost power before it had counted two starts.
    let node = mesh.nodes.get_mut(&host).expect("a node");
    node.own.meta.incarnation = 3;
    mesh.run(Duration::from_secs(5));
    mesh.nodes.get_mut(&host).expect("a node").own.meta.incarnation = 1;
    mesh.run(Duration::from_secs(5));
    let known = mesh.state(0).host(host).expect("it is known").record.incarnation;
    assert_eq!((known, mesh.nodes[&host].incarnation()), (4, 4));
    let index = mesh.state(0).index();
    mesh.run(Duration::from_secs(5));
    assert_eq!(mesh.state(0).index(), index, "it says it once");
}

//! Tests that a host which cannot fold as the others do halts, and says so.

use super::*;
use crate::form::Unreadable;
use crate::statement::Intent;

fn host(number: u8) -> HostId {
    HostId::from_public_key([number; 32])
}

#[test]
fn an_entry_that_cannot_be_read_is_not_skipped() {
    let mut mesh = Mesh::of(7);
    mesh.run(Duration::from_secs(10));
    let follows = |node: &&mut Node| !node.ledger.is_voting();
    let now = mesh.now;
    let node = mesh.nodes.values_mut().find(follows).expect("two of seven follow");
    let (index, _) = node.ledger.head();
    // The entry is from an agent of version 9, in which entries have another form.
    let content = Content::Entry(vec![0, 9, 200, 200, 200]);
    assert_eq!(node.ledger.follow(vec![LogEntry { index: index + 1, term: 9, content }]), 1);
    node.handle(Input::Wake, now);
    let halt =
        Halt::Unreadable { index: index + 1, cause: Unreadable::NeedsVersion { needs: 9, reads_up_to: 6 } };
    assert_eq!(node.halted(), Some(&halt));
    assert!(halt.to_string().contains("needs version 9, this agent reads up to 6"), "{halt}");
    assert_eq!((node.state().index(), node.ledger.head().0), (index, index), "nothing of it is folded");

    let (stopped, others) = (node.host(), mesh.nodes.len() - 1);
    let number = *stopped.public_key().first().expect("a byte");
    let request =
        mesh.request(number, Request::Intent(Intent::Unfreeze("hello/prod".parse().expect("a name"))));
    assert_eq!(request, Err(Refusal::Halted(halt)));
    mesh.group();
    mesh.run(Duration::from_secs(5));
    let folded = |node: &&Node| node.state().index() > index;
    assert_eq!(mesh.nodes.values().filter(folded).count(), others, "the others go on");
    assert!(mesh.nodes[&host(0)].mesh().connected.contains(&stopped), "and it stays reachable");
}

#[test]
fn a_host_that_folds_otherwise_than_most_stops_and_starts_no_turn() {
    for voters_max in [5, 3] {
        let mut mesh = Mesh::with(5, |number| Config { log_kept: 8, voters_max, ..config(number) });
        mesh.run(Duration::from_secs(10));
        let group = mesh.group();
        mesh.nodes.get_mut(&host(4)).expect("a node").state.corrupt();
        mesh.burst();
        mesh.run(Duration::from_secs(5));
        let halted = mesh.nodes[&host(4)].halted();
        assert!(matches!(halted, Some(Halt::Diverged { .. })), "{halted:?} with {voters_max} voters");
        for number in 0..4 {
            assert_eq!(mesh.nodes[&host(number)].halted(), None);
        }
        let deployment = mesh.deploy(0, &group, 1);
        mesh.run(Duration::from_secs(30));
        assert!(mesh.ran.iter().all(|(of, _)| *of != host(4)), "no event runs there");
        let ended = |number| {
            let part = mesh.state(0).part(deployment, host(number)).expect("a part");
            matches!(&*part.stage, Stage::Ended { outcome: TurnOutcome::Succeeded, .. })
        };
        assert!((0..4).all(ended), "the others are served");
    }
}

#[test]
fn one_that_lies_about_its_state_stops_nobody() {
    let mut mesh = Mesh::with(5, |number| Config { log_kept: 8, ..config(number) });
    mesh.run(Duration::from_secs(10));
    let (index, _) = mesh.nodes[&host(0)].ledger.newest_seal().expect("a checkpoint");
    for liar in [3, 4] {
        let (head, hash) = mesh.nodes[&host(0)].ledger.head();
        let beacon = crate::wire::Beacon {
            incarnation: 1,
            index: head,
            hash,
            checkpoint: Some((index, [9; 32])),
            leader: None,
            lost: Vec::new(),
            wall: mesh.now.to_ledger(),
            clock: None,
            last: (1, head),
        };
        let frame =
            crate::wire::frame(MeshId([7; 16]), Default::default(), &crate::wire::Message::Beacon(beacon));
        mesh.inputs.push_back((host(0), Input::Received { from: host(liar), frame }));
    }
    mesh.run(Duration::from_millis(100));
    assert_eq!(mesh.nodes[&host(0)].halted(), None);
}

fn group_called(name: &str) -> Group {
    let tags = TagSets(vec![vec![TagFilter::parse("role=web").expect("a filter")]]);
    Group::new(name.parse().expect("a name"), tags, Policy::default())
}

/// An agent whose fold has an error: it panics at an entry that sets this group.
fn faulty(number: u8) -> Config {
    let fold_panics_on = Some("hello/bad".parse().expect("a name"));
    Config { log_kept: 8, fold_panics_on, ..config(number) }
}

#[test]
fn a_fold_that_panics_stops_the_decisions_and_not_the_agent() {
    let mut mesh = Mesh::with(7, faulty);
    mesh.run(Duration::from_secs(10));
    let group = mesh.group();
    mesh.burst();
    let deployed = mesh.deploy(0, &group, 1);
    mesh.run(Duration::from_secs(60));
    let before = mesh.state(0).clone();

    let reply = mesh.request(0, Request::Intent(Intent::SetGroup(group_called("hello/bad"))));
    let at = before.index() + 1;
    let Err(Refusal::Halted(Halt::Panicked { index, error })) = reply else { panic!("{reply:?}") };
    assert_eq!((index, error.as_str()), (at, "the fold fails here for a test"));
    mesh.run(Duration::from_secs(30));
    for node in mesh.nodes.values() {
        assert!(
            matches!(node.halted(), Some(Halt::Panicked { index, .. }) if *index == at),
            "{:?}",
            node.halted()
        );
        assert_eq!(node.state().rollouts(), before.rollouts(), "nothing of the entry is left");
        assert_eq!((node.state().index(), node.state().groups()), (at - 1, before.groups()));
        assert_eq!(node.mesh().connected.len(), 6, "it can still be asked");
    }
    assert!(matches!(mesh.request(3, Request::Intent(Intent::RemoveHost(host(6)))), Err(Refusal::Halted(_))));

    // Started again, it stops at the same entry, and does not end.
    mesh.start_anew(0, faulty(0));
    mesh.run(Duration::from_secs(5));
    assert!(matches!(mesh.nodes[&host(0)].halted(), Some(Halt::Panicked { index, .. }) if *index == at));

    // One that is mended waits for the others, and says so.
    mesh.start_anew(0, Config { fold_panics_on: None, ..faulty(0) });
    mesh.run(Duration::from_secs(20));
    let node = &mesh.nodes[&host(0)];
    assert_eq!((node.halted(), node.no_majority(), node.leaderless_since().is_some()), (None, None, true));

    // Agents in which the error is mended go on by themselves.
    for number in 1..7 {
        mesh.start_anew(number, Config { fold_panics_on: None, ..faulty(number) });
    }
    mesh.run(Duration::from_secs(20));
    for node in mesh.nodes.values() {
        assert_eq!((node.halted(), node.leaderless_since()), (None, None));
        assert!(node.state().group(&"hello/bad".parse().expect("a name")).is_some());
        assert!(node.state().rollout(deployed).is_some());
    }
    let next = mesh.deploy(0, &group, 2);
    mesh.run(Duration::from_secs(60));
    assert_eq!(mesh.state(0).rollout(next).map(|rollout| rollout.status().name()), Some("Succeeded"));
}

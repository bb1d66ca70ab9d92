use crate::io::Output;
use std::time::Duration;

use super::super::tests::Mesh;
use super::*;
use crate::io::{Input, Request};
use crate::ledger::{Content, LogEntry, VoterChange};
use crate::statement::Intent;
use crate::wire::{self, Beacon, Message};

fn host(number: u8) -> HostId {
    HostId::from_public_key([number; 32])
}

/// Returns the voters, as host `of` knows them.
fn voters(mesh: &Mesh, of: u8) -> Vec<HostId> {
    mesh.nodes[&host(of)].mesh().voters.into_iter().collect()
}

fn leader(mesh: &Mesh) -> HostId {
    mesh.nodes.values().find_map(|node| node.mesh().leader).expect("somebody leads")
}

/// Removes a host. The answer comes only after the voters have changed, step by
/// step.
fn remove(mesh: &mut Mesh, out: u8, by: u8) {
    mesh.replies.clear();
    let request = Box::new(Request::Intent(Intent::RemoveHost(host(out))));
    mesh.inputs.push_back((host(by), Input::Request { id: RequestId(7), request }));
    mesh.run(Duration::from_secs(6));
    assert_eq!(mesh.replies, [Ok(Accepted::Done)]);
}

/// Makes a mesh, and removes host `out` by a request to host `by`.
fn taken_out(hosts: u8, out: u8, by: u8) -> Mesh {
    let mut mesh = Mesh::of(hosts);
    mesh.run(Duration::from_secs(10));
    remove(&mut mesh, out, by);
    mesh
}

#[test]
fn the_answer_comes_when_the_host_votes_no_more() {
    for (hosts, out, by, left) in [(5, 4, 1, 3), (3, 0, 1, 1), (2, 0, 1, 1), (6, 0, 5, 5)] {
        let mesh = taken_out(hosts, out, by);
        let voters = voters(&mesh, by);
        assert!(voters.len() == left && !voters.contains(&host(out)), "{hosts} {out}: {voters:?}");
    }
}

#[test]
fn the_leader_itself_lets_another_lead_and_is_gone() {
    let mut mesh = Mesh::of(5);
    mesh.run(Duration::from_secs(10));
    let leader = leader(&mesh);
    let number = leader.public_key()[0];
    let other = (number + 1) % 5;
    remove(&mut mesh, number, other);
    mesh.nodes.remove(&leader);
    assert_ne!(self::leader(&mesh), leader);
    let last = (number + 2) % 5;
    remove(&mut mesh, last, other);
}

#[test]
fn a_host_that_was_taken_out_says_so_and_closes_its_connections() {
    let mut mesh = taken_out(4, 3, 0);
    mesh.run(Duration::from_secs(3));
    let node = &mesh.nodes[&host(3)];
    assert!(node.removed().is_some() && !node.is_voting() && node.mesh.is_retired());
    assert_eq!(node.mesh.dialled(), [].into());
    let at = node.removed().expect("looked at above").at;
    let refusal = Err(Refusal::Removed { at });
    assert_eq!(mesh.request(3, Request::Intent(Intent::RemoveHost(host(0)))), refusal);
    // A host that connects to it and lacks nothing that it has is disconnected.
    let Message::Beacon(beacon) = mesh.nodes[&host(0)].beacon(mesh.now) else { panic!("a beacon") };
    let node = mesh.nodes.get_mut(&host(3)).expect("its node");
    node.handle(Input::Connected { host: host(0) }, mesh.now);
    let (index, hash) = node.ledger.head();
    let mut is_sent_away_at = |told: u64| {
        let beacon = Message::Beacon(Beacon { index: told, hash, ..beacon.clone() });
        let frame = wire::frame(node.config.mesh, Default::default(), &beacon);
        node.handle(Input::Received { from: host(0), frame }, mesh.now);
        let outputs: Vec<Output> = std::iter::from_fn(|| node.poll_output()).collect();
        outputs.iter().any(|o| matches!(o, Output::Disconnect { host: peer } if *peer == host(0)))
    };
    assert!(!is_sent_away_at(index - 1), "it may take the rest from nobody else");
    assert!(is_sent_away_at(index));
}

#[test]
fn while_nobody_can_take_its_place_it_is_not_told_to_be_gone() {
    let mut mesh = Mesh::of(2);
    mesh.run(Duration::from_secs(10));
    // The other host is gone.
    mesh.nodes.remove(&host(1));
    let ask =
        Input::Request { id: RequestId(7), request: Box::new(Request::Intent(Intent::RemoveHost(host(0)))) };
    mesh.inputs.push_back((host(0), ask));
    mesh.run(Duration::from_secs(10));
    assert_eq!(mesh.replies, []);
    mesh.run(Duration::from_secs(10));
    let refusal = Refusal::StillVotes { seconds: 15, voters_up: 1, voters: 1 };
    assert_eq!(mesh.replies, [Err(refusal)]);
    assert!(mesh.nodes[&host(0)].is_voting(), "and it stands by");
}

#[test]
fn while_voters_hand_over_most_of_both_sets_must_know() {
    let mut mesh = Mesh::of(6);
    mesh.run(Duration::from_secs(10));
    let voting = voters(&mesh, 0);
    let follower = (0..6).map(host).find(|host| !voting.contains(host)).expect("five of six vote");
    let numbers: Vec<VoterId> = voting.iter().map(|host| mesh.nodes[host].voter()).collect();
    let node = mesh.nodes.get_mut(&follower).expect("its node");
    let (index, term) = (node.ledger.head().0 + 1, 9);
    let change = VoterChange { remove: numbers[3..].to_vec(), ..VoterChange::default() };
    node.ledger.note_folded(&LogEntry { index, term, content: Content::Voters(change) });
    assert_eq!((node.ledger.voters().voters.len(), node.ledger.voters().outgoing.len()), (3, 5));
    for (known, most_know) in [(0, false), (1, false), (2, false), (3, true)] {
        for host in &voting[..known] {
            node.mesh.reports_mut().get_mut(host).expect("it was heard").index = index;
        }
        assert_eq!(node.most_voters_know(), most_know, "{known} of five, which are among the three");
    }
}

//! Tests two agents with the same key, and stores that are older than the mesh
//! knows.

use super::*;
use crate::statement::Report;
use crate::wire::{self, Message};

/// A mesh of three hosts. Host 2 may have a twin, for which a test speaks.
struct Cloned {
    mesh: Mesh,
    host: HostId,
    said: u64,
}

impl Cloned {
    fn new() -> Self {
        let mut mesh = Mesh::of(3);
        mesh.run(Duration::from_secs(10));
        Cloned { mesh, host: HostId::from_public_key([2; 32]), said: 0 }
    }

    fn node(&self) -> &Node {
        &self.mesh.nodes[&self.host]
    }

    fn known(&self) -> crate::state::Host {
        self.mesh.state(0).host(self.host).expect("it is known").clone()
    }

    /// The other agent announces itself with this number.
    fn announce(&mut self, start: u64, incarnation: u64) {
        let addresses = vec!["/ip4/10.9.9.9/tcp/1".to_string()];
        let record = HostRecord { start, incarnation, addresses, ..self.known().record };
        self.said += 1;
        let id = ProposalId { host: self.host, incarnation, number: self.said };
        let statement = Box::new(Report::HostJoined(record).into());
        let frame = wire::frame(
            self.node().config().mesh,
            Default::default(),
            &Message::Propose { id, statement, forwarded: false },
        );
        let leader = self.mesh.nodes.values().find(|node| node.ledger.is_leader()).expect("a leader").host();
        self.mesh.inputs.push_back((leader, Input::Received { from: self.host, frame }));
        self.mesh.run(Duration::from_secs(1));
    }
}

#[test]
fn two_agents_with_one_key_are_found_out_and_fall_silent() {
    let mut cloned = Cloned::new();
    let (own, voter) = (cloned.known().record.addresses, cloned.node().voter());
    let incarnation = cloned.node().incarnation();
    cloned.announce(77, incarnation + 1);
    let known = cloned.known();
    let twin = known.twin.clone().expect("this host has spoken again");
    assert_eq!((known.record.addresses, twin.addresses), (own, vec!["/ip4/10.9.9.9/tcp/1".to_string()]));
    assert!(known.down.is_some(), "nobody counts on a host of which there are two");
    assert_ne!(cloned.node().voter(), voter, "the other may vote under the number in its copy");

    let group = cloned.mesh.group();
    let index = cloned.mesh.state(0).index();
    cloned.mesh.run(Duration::from_secs(60));
    assert!(cloned.mesh.state(0).index() < index + 10, "the ledger does not grow by it");
    let deployment = cloned.mesh.deploy(0, &group, 1);
    cloned.mesh.run(Duration::from_secs(60));
    assert!(cloned.mesh.ran.iter().all(|(host, _)| *host != cloned.host), "it starts nothing");
    assert!(cloned.mesh.state(0).rollout(deployment).is_some());

    // One of the two agents was stopped, and the other is started again.
    let (host, number) = (cloned.host, cloned.node().incarnation());
    let mut again =
        Node::start(Config { seed: 99, ..config(2) }, Stored::default(), cloned.mesh.now).expect("started");
    again.own.meta.incarnation = number + 1;
    cloned.mesh.nodes.insert(host, again);
    for other in [0, 1].map(|number| HostId::from_public_key([number; 32])) {
        cloned.mesh.inputs.push_back((host, Input::Connected { host: other }));
        cloned.mesh.inputs.push_back((other, Input::Connected { host }));
    }
    cloned.mesh.run(Duration::from_secs(20));
    let known = cloned.known();
    assert_eq!((known.twin, known.down), (None, None), "it is one host again");
}

#[test]
fn an_older_copy_of_a_store_does_not_vote_under_its_number() {
    let mut cloned = Cloned::new();
    let (voter, incarnation) = (cloned.node().voter(), cloned.node().incarnation());
    // The mesh has seen three starts of this host, but its store knows of one.
    cloned.announce(77, incarnation + 3);
    assert_ne!(cloned.node().voter(), voter);
    assert!(cloned.node().incarnation() > incarnation + 3);
}

#[test]
fn a_late_word_of_an_earlier_start_changes_nothing() {
    let mut cloned = Cloned::new();
    let (voter, incarnation) = (cloned.node().voter(), cloned.node().incarnation());
    cloned.announce(77, incarnation - 1);
    assert_eq!((cloned.known().twin, cloned.node().voter()), (None, voter));
    assert_eq!(cloned.known().record.start, cloned.node().own.start);
}

//! Tests one lying member: it speaks the protocol, and no other host believes it.

use super::*;
use crate::ledger::{Kind, RaftMessage, Snapshot, Voters};
use crate::statement::{Intent, Report, Statement};
use crate::wire::{self, Beacon, Gossip, Message};

const MESH: MeshId = MeshId([7; 16]);

fn host(number: u8) -> HostId {
    HostId::from_public_key([number; 32])
}

impl Mesh {
    fn hear(&mut self, to: HostId, from: HostId, message: &Message) {
        let frame = wire::frame(MESH, Default::default(), message);
        self.inputs.push_back((to, Input::Received { from, frame }));
    }

    fn voting(&self, votes: bool) -> Vec<HostId> {
        let of = |node: &&Node| node.ledger.is_voting() == votes;
        self.nodes.values().filter(of).map(Node::host).collect()
    }

    fn leader(&self) -> HostId {
        let leads = |node: &&Node| node.ledger.is_leader();
        self.nodes.values().find(leads).map(Node::host).expect("one leads")
    }

    fn numbers(&self) -> Vec<VoterId> {
        self.nodes.values().map(|node| node.own.meta.voter).collect()
    }

    /// Checks that all hosts have folded the same, and can go on.
    fn check_well(&mut self) {
        self.run(Duration::from_secs(10));
        self.group();
        self.run(Duration::from_secs(2));
        for node in self.nodes.values() {
            assert_eq!(node.mesh().hash, self.nodes[&host(0)].mesh().hash, "on {}", node.host());
            assert_eq!(node.halted(), None);
        }
    }
}

fn raft(kind: Kind, from: VoterId, to: VoterId, term: u64, commit: Index) -> Message {
    Message::Raft(Box::new(RaftMessage {
        kind,
        to,
        from,
        term,
        log_term: 1,
        index: 1,
        entries: Vec::new(),
        commit,
        commit_term: 0,
        snapshot: None,
        request_snapshot: 0,
        reject: false,
        reject_hint: 0,
        context: Vec::new(),
    }))
}

#[test]
fn no_frame_makes_a_voter_give_up_its_number() {
    let mut mesh = Mesh::of(7);
    mesh.run(Duration::from_secs(10));
    let (stranger, leader) = (mesh.voting(false)[0], mesh.leader());
    let voter = mesh.voting(true).into_iter().find(|host| *host != leader).expect("five vote");
    let number = |mesh: &Mesh, of: HostId| mesh.nodes[&of].own.meta.voter;
    let before = mesh.numbers();
    // The stranger claims a number that no host has, its own, and the leader's. One
    // voter claims its own.
    let claims = [
        (stranger, VoterId(99)),
        (stranger, number(&mesh, stranger)),
        (stranger, number(&mesh, leader)),
        (voter, number(&mesh, voter)),
    ];
    for (liar, claimed) in claims {
        for to in mesh.voting(true).into_iter().filter(|to| *to != liar) {
            let of = number(&mesh, to);
            for term in [1, 2, 3, 1 << 19] {
                mesh.hear(to, liar, &raft(Kind::Heartbeat, claimed, of, term, 1 << 40));
            }
        }
    }
    mesh.run(Duration::from_secs(3));
    assert_eq!(mesh.numbers(), before);
    assert!(mesh.nodes.values().any(|node| node.mesh().beyond_log > 0), "it is counted");
    mesh.check_well();
}

#[test]
fn a_false_snapshot_takes_no_follower_over() {
    let mut mesh = Mesh::of(7);
    mesh.run(Duration::from_secs(10));
    let (follower, liar) = (mesh.voting(false)[0], mesh.voting(true)[1]);
    let mut state = mesh.state(0).clone();
    let index = 1 << 40;
    state.skip(index);
    let voters = Voters::only(mesh.nodes[&liar].own.meta.voter);
    let false_one = Snapshot { index, term: 9, hash: [6; 32], voters, state: state.encode() };
    let message = Message::Snapshot(Box::new(false_one));
    let before = mesh.nodes[&follower].ledger.head();
    // The snapshot comes once unasked, and once as the answer of the very neighbour
    // that was asked.
    for is_asked in [false, true] {
        let now = mesh.now;
        let node = mesh.nodes.get_mut(&follower).expect("a node");
        node.mesh.fetch.asked_for_test(is_asked.then_some((liar, now)), None);
        mesh.hear(follower, liar, &message);
        mesh.hear(follower, liar, &Message::Confirmed { index, seal: [1; 32] });
        mesh.run(Duration::from_millis(100));
        assert_eq!(mesh.nodes[&follower].ledger.head(), before);
    }
    mesh.check_well();
}

#[test]
fn entries_are_taken_from_voters_only() {
    let mut mesh = Mesh::of(7);
    mesh.run(Duration::from_secs(10));
    let [follower, liar] = mesh.voting(false)[..] else { panic!("two of seven follow") };
    let node = &mesh.nodes[&follower];
    let (index, before) = node.ledger.head();
    let lie = LogEntry { index: index + 1, term: 9, content: Content::Empty };
    mesh.hear(follower, liar, &Message::Committed(vec![lie]));
    mesh.run(Duration::from_millis(100));
    assert_eq!(mesh.nodes[&follower].ledger.head(), (index, before));
    mesh.check_well();
}

#[test]
fn nobody_proposes_in_the_name_of_another() {
    let mut mesh = Mesh::of(5);
    mesh.run(Duration::from_secs(10));
    let leader = mesh.leader();
    let [victim, liar, ..] =
        mesh.nodes.keys().copied().filter(|host| *host != leader).collect::<Vec<_>>()[..]
    else {
        panic!("five hosts")
    };
    let record = mesh.state(0).host(victim).expect("it has joined").record.clone();
    let lie: Statement =
        Report::HostJoined(HostRecord { tags: BTreeSet::new(), incarnation: 9, ..record.clone() }).into();
    let id = |host| ProposalId { host, incarnation: 1, number: 7 };
    let propose =
        |host, forwarded| Message::Propose { id: id(host), statement: Box::new(lie.clone()), forwarded };
    // The victim is heard, so nothing needs to relay its proposals.
    for message in [propose(victim, false), propose(liar, false), propose(victim, true), propose(liar, true)]
    {
        mesh.hear(leader, liar, &message);
    }
    mesh.run(Duration::from_secs(1));
    assert_eq!(mesh.state(0).host(victim).expect("it has joined").record, record);

    // When the victim is not heard, a relay by the liar alone is not believed
    // either.
    for other in [leader, liar] {
        mesh.cut.extend([(victim, other), (other, victim)]);
    }
    mesh.run(Duration::from_secs(4));
    mesh.hear(leader, liar, &propose(victim, true));
    mesh.run(Duration::from_millis(100));
    assert_eq!(mesh.state(0).host(victim).expect("it has joined").record, record);
}

#[test]
fn what_the_leader_cannot_hear_is_relayed_by_most_of_the_others() {
    for hosts in [3, 5, 7] {
        let mut mesh = Mesh::of(hosts);
        mesh.run(Duration::from_secs(10));
        let leader = mesh.leader();
        let speaker = (0..hosts).rev().find(|number| host(*number) != leader).expect("another");
        mesh.cut.extend([(leader, host(speaker)), (host(speaker), leader)]);
        mesh.run(Duration::from_secs(5));
        assert_eq!(mesh.leader(), leader, "most still hear it");
        let name: GroupName = "hello/prod".parse().expect("a name");
        let tags = TagSets(vec![vec![TagFilter::parse("role=web").expect("a filter")]]);
        let group = Group::new(name.clone(), tags, Policy::default());
        let id = RequestId(5);
        mesh.inputs.push_back((
            host(speaker),
            Input::Request { id, request: Box::new(Request::Intent(Intent::SetGroup(group))) },
        ));
        mesh.run(Duration::from_secs(3));
        assert!(mesh.nodes[&leader].state().group(&name).is_some(), "of {hosts}");
        assert_eq!(mesh.replies, [Ok(Accepted::Done)], "of {hosts}");
    }
}

#[test]
fn what_is_published_is_progress_and_nothing_else() {
    let mut mesh = Mesh::of(5);
    mesh.run(Duration::from_secs(10));
    let (judge, victim) = (host(0), host(4));
    let (index, hash) = mesh.nodes[&judge].ledger.head();
    let lost = vec![victim];
    let beacon = Beacon {
        incarnation: 1,
        index,
        hash,
        checkpoint: None,
        leader: None,
        lost,
        wall: mesh.now.to_ledger(),
        clock: None,
        last: (1, index),
    };
    let frame = wire::frame(MESH, Default::default(), &Message::Beacon(beacon));
    for by in [1, 2, 3, 4].map(host) {
        mesh.inputs.push_back((judge, Input::Gossip { by, frame: frame.clone() }));
        mesh.run(Duration::from_millis(10));
        assert!(mesh.nodes[&judge].mesh().suspects.is_empty());
    }
    // Nor is progress taken as a message, or believed from a host that it is not
    // about.
    let group = mesh.group();
    mesh.hangs = Some(LifecycleEvent::Install);
    let deployment = mesh.deploy(0, &group, 1);
    let event = LifecycleEvent::ValidateService;
    let heard = wire::ProgressEvent { deployment, host: victim, event };
    let progress = wire::gossip(MESH, Default::default(), &Gossip::Progress(heard));
    mesh.inputs.push_back((judge, Input::Received { from: host(1), frame: progress }));
    mesh.hear(judge, host(1), &Message::Progress(heard));
    mesh.run(Duration::from_millis(10));
    assert_eq!(mesh.nodes[&judge].progress(deployment, victim), None);
    mesh.hear(judge, victim, &Message::Progress(heard));
    mesh.run(Duration::from_millis(10));
    assert_eq!(mesh.nodes[&judge].progress(deployment, victim), Some(event));
}

#[test]
fn one_member_does_not_set_the_clock_of_a_host_that_has_just_started() {
    let mut mesh = Mesh::of(5);
    mesh.run(Duration::from_secs(10));
    let leader = mesh.leader();
    let [starter, liar, ..] =
        mesh.nodes.keys().copied().filter(|host| *host != leader).collect::<Vec<_>>()[..]
    else {
        panic!("five hosts")
    };
    let now = mesh.now;
    let truth = mesh.nodes[&leader].ledger_now(now);
    let node = mesh.nodes.get_mut(&starter).expect("a node");
    node.time.ledger = super::super::ledger_clock::LedgerClock::new(node.state.clock(), now);
    node.time.started = now;
    node.mesh.forget_reports();
    let (index, hash) = node.ledger.head();
    let far = truth + Duration::from_secs(1 << 30);
    let beacon = Beacon {
        incarnation: 1,
        index,
        hash,
        checkpoint: None,
        leader: None,
        lost: Vec::new(),
        wall: now.to_ledger(),
        clock: Some(far),
        last: (1, index),
    };
    mesh.hear(starter, liar, &Message::Beacon(beacon));
    mesh.run(Duration::from_secs(3));
    let (node, now) = (&mesh.nodes[&starter], mesh.now);
    let clock = node.time.ledger.counted(now).expect("the others have told it");
    assert!(clock.since(truth) < Duration::from_secs(30), "{clock:?} and not {far:?}");
    mesh.check_well();
}

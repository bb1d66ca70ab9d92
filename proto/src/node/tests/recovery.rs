//! A mesh most of whose voters are gone, and who may bring it back.

use super::*;
use crate::recovery::{History, NotRecovered, Recovery, RecoveryKey, SignedRecovery};
use crate::statement::{Intent, Statement};
use crate::wire::{self, Message};

fn key() -> RecoveryKey {
    RecoveryKey::from_secret(&[5; 32])
}

fn host(number: u8) -> HostId {
    HostId::from_public_key([number; 32])
}

fn recoverable(number: u8) -> Config {
    Config { mesh: key().mesh(), ..config(number) }
}

fn group_named(name: &str) -> Group {
    let tags = TagSets(vec![vec![TagFilter::parse("role=web").expect("a filter")]]);
    Group::new(format!("hello/{name}").parse().expect("a name"), tags, Policy::default())
}

impl Mesh {
    fn recoverable(hosts: u8) -> Mesh {
        let mut mesh = Mesh::with(hosts, recoverable);
        mesh.run(Duration::from_secs(10));
        mesh
    }

    fn node(&self, of: u8) -> &Node {
        &self.nodes[&host(of)]
    }

    /// The host's agent is gone; its disk stays.
    fn stop(&mut self, number: u8) {
        self.nodes.remove(&host(number));
        for other in self.nodes.keys() {
            self.inputs.push_back((*other, Input::Disconnected { host: host(number) }));
        }
        self.run(Duration::from_millis(10));
    }

    /// Starts the host's agent on the disk that it had.
    fn start_again(&mut self, number: u8) {
        let disk = self.disks.get(&host(number)).cloned().unwrap_or_default();
        let node = Node::start(recoverable(number), disk, self.now).expect("it starts");
        for other in self.nodes.keys() {
            self.inputs.push_back((*other, Input::Connected { host: host(number) }));
            self.inputs.push_back((host(number), Input::Connected { host: *other }));
        }
        self.nodes.insert(host(number), node);
    }

    fn cut_off(&mut self, those: &[u8], others: &[u8]) {
        for a in those {
            self.cut.extend(others.iter().map(|b| (host(*a), host(*b))));
        }
    }

    fn offer(&self, of: u8) -> Result<Recovery, Refusal> {
        self.node(of).recovery_offer("ops").map(|offer| offer.recovery)
    }

    fn recover(&mut self, of: u8) -> SignedRecovery {
        let signed = key().sign(self.offer(of).expect("it can be recovered"));
        let reply = self.request(of, Request::Recover(Box::new(signed.clone())));
        assert_eq!(reply, Ok(Accepted::Done));
        self.run(Duration::from_secs(3));
        signed
    }

    fn refusal(&mut self, of: u8, signed: &SignedRecovery) -> NotRecovered {
        match self.request(of, Request::Recover(Box::new(signed.clone()))) {
            Err(Refusal::Recovery(why)) => why,
            other => panic!("{other:?}"),
        }
    }

    fn set(&mut self, of: u8, name: &str) -> Reply {
        self.request(of, Request::Intent(Intent::SetGroup(group_named(name))))
    }

    fn knows(&self, of: u8, name: &str) -> bool {
        self.state(of).group(&group_named(name).name).is_some()
    }

    fn says(&mut self, to: u8, from: u8, history: History, message: &Message) {
        let frame = wire::frame(key().mesh(), history, message);
        self.inputs.push_back((host(to), Input::Received { from: host(from), frame }));
    }

    fn check_equal(&self) {
        let heads: BTreeSet<_> = self.nodes.values().map(|node| node.ledger.head()).collect();
        assert_eq!(heads.len(), 1, "{heads:?}");
        assert!(self.nodes.values().all(|node| node.halted().is_none() && node.verify_chain().is_ok()));
    }
}

/// Five hosts, of which the last three are gone.
fn bereft() -> Mesh {
    let mut mesh = Mesh::recoverable(5);
    assert_eq!(mesh.set(0, "before"), Ok(Accepted::Done));
    [2, 3, 4].iter().for_each(|number| mesh.stop(*number));
    mesh.run(Duration::from_secs(5));
    assert!(mesh.nodes.values().all(|node| node.no_majority().is_some()));
    mesh
}

#[test]
fn the_mesh_goes_on_from_one_host_and_the_others_follow_it() {
    let mut mesh = bereft();
    let signed = mesh.recover(0);
    assert_eq!(signed.recovery().gone, [host(2), host(3), host(4)]);
    mesh.run(Duration::from_secs(5));
    assert_eq!(mesh.set(1, "after"), Ok(Accepted::Done));
    mesh.check_equal();
    assert!(mesh.knows(1, "before") && mesh.knows(1, "after"));
    let recovered = mesh.state(1).recoveries().next_back().expect("the ledger says so");
    assert_eq!((recovered.epoch, recovered.host, &*recovered.by), (1, host(0), "ops"));
    assert_eq!(recovered.index, signed.recovery().base + 1);
    let entries = mesh.node(1).entries();
    let of_recovery = entries.iter().find(|(index, ..)| *index == recovered.index).expect("it is kept");
    assert!(
        matches!(&of_recovery.2, Some(Entry { statement: Statement::Intent(Intent::Recover(it)), .. }) if **it == signed)
    );
}

#[test]
fn voters_are_chosen_again_by_the_usual_rules() {
    let mut mesh = Mesh::recoverable(7);
    [2, 3, 4].iter().for_each(|number| mesh.stop(*number));
    mesh.run(Duration::from_secs(5));
    let voters = mesh.node(0).mesh().voters;
    if voters.is_disjoint(&[host(0), host(1), host(5), host(6)].into()) {
        panic!("{voters:?}");
    }
    if mesh.node(0).no_majority().is_none() {
        // Other hosts vote than were stopped: stop what is missing.
        for number in [5, 6] {
            if voters.contains(&host(number)) && mesh.node(0).no_majority().is_none() {
                mesh.stop(number);
                mesh.run(Duration::from_secs(5));
            }
        }
    }
    mesh.recover(0);
    mesh.run(Duration::from_secs(90));
    let alive = mesh.nodes.len();
    let expected = if alive >= 3 { 3 } else { 1 };
    assert!(mesh.node(0).mesh().voters.len() >= expected, "{:?}", mesh.node(0).mesh().voters);
    mesh.check_equal();
}

#[test]
fn the_tail_that_nobody_knew_to_be_committed_is_kept() {
    let mut mesh = Mesh::recoverable(3);
    let leader = (0..3).find(|number| mesh.node(*number).ledger.is_leader()).expect("one leads");
    let others: Vec<u8> = (0..3).filter(|number| *number != leader).collect();
    // The leader appends, and nobody answers it.
    mesh.cut_off(&[leader], &others);
    let request = Box::new(Request::Intent(Intent::SetGroup(group_named("tail"))));
    mesh.inputs.push_back((host(leader), Input::Request { id: RequestId(9), request }));
    mesh.run(Duration::from_millis(50));
    assert!(!mesh.knows(leader, "tail"));
    others.iter().for_each(|number| mesh.stop(*number));
    mesh.run(Duration::from_secs(5));
    let signed = mesh.recover(leader);
    let Recovery { committed, base, tail, .. } = signed.recovery();
    assert!(base > committed && tail.len() as u64 == base - committed, "{signed:?}");
    assert!(mesh.knows(leader, "tail"));
}

#[test]
fn what_is_not_signed_by_the_meshs_key_or_not_for_now_is_refused() {
    let mut mesh = bereft();
    let good = mesh.offer(0).expect("an offer");
    let refused = |mesh: &mut Mesh, signed: &SignedRecovery| mesh.refusal(0, signed);
    let thief = RecoveryKey::from_secret(&[6; 32]);
    assert_eq!(refused(&mut mesh, &thief.sign(good.clone())), NotRecovered::OtherKey);
    let of = thief.mesh();
    let other_mesh = thief.sign(Recovery { mesh: of, ..good.clone() });
    assert_eq!(refused(&mut mesh, &other_mesh), NotRecovered::OtherMesh { of, mesh: key().mesh() });
    for epoch in [2, 9] {
        let skips = key().sign(Recovery { epoch, ..good.clone() });
        assert_eq!(refused(&mut mesh, &skips), NotRecovered::Epoch { of: epoch, epoch: 0 });
    }
    let nothing = key().sign(Recovery { epoch: 0, ..good.clone() });
    assert_eq!(refused(&mut mesh, &nothing), NotRecovered::Malformed);
    let moved = [
        Recovery { base: good.base - 1, committed: good.committed - 1, ..good.clone() },
        Recovery { hash: [1; 32], ..good.clone() },
        Recovery { host: host(1), ..good.clone() },
        Recovery { voter: VoterId(7), ..good.clone() },
        Recovery { gone: vec![host(2)], ..good.clone() },
    ];
    for wrong in moved {
        assert!(matches!(refused(&mut mesh, &key().sign(wrong)), NotRecovered::Moved(_)));
    }
    assert_eq!(mesh.node(0).history(), History::default());

    let signed = mesh.recover(0);
    // Again, and another one of the same epoch.
    assert_eq!(refused(&mut mesh, &signed), NotRecovered::Epoch { of: 1, epoch: 1 });
    let again = key().sign(Recovery { by: "other".into(), ..good });
    assert_eq!(refused(&mut mesh, &again), NotRecovered::Contradicts { epoch: 1, host: host(0) });
}

#[test]
fn each_changed_byte_of_what_was_signed_is_noticed() {
    let mesh = bereft();
    let good = mesh.offer(0).expect("an offer");
    let signed = key().sign(good.clone());
    assert_eq!(signed.verify(key().mesh()), Ok(()));
    let bytes = signed.to_bytes();
    for at in 0..bytes.len() {
        for bit in [0, 3, 7] {
            let mut spoilt = bytes.clone();
            spoilt[at] ^= 1 << bit;
            if let Some(spoilt) = SignedRecovery::from_bytes(&spoilt) {
                assert!(spoilt == signed || spoilt.verify(key().mesh()).is_err(), "byte {at}, bit {bit}");
            }
        }
    }
}

#[test]
fn a_mesh_that_has_its_majority_or_a_host_that_lags_is_not_recovered() {
    let mut mesh = Mesh::recoverable(5);
    let Err(Refusal::Recovery(NotRecovered::MajorityThere { voters_up: 5, voters: 5 })) = mesh.offer(0)
    else {
        panic!("{:?}", mesh.offer(0));
    };
    // Host 1 misses an entry, and then three die.
    mesh.deaf.insert(host(1));
    assert_eq!(mesh.set(0, "unheard"), Ok(Accepted::Done));
    [2, 3, 4].iter().for_each(|number| mesh.stop(*number));
    mesh.deaf.clear();
    // It hears beacons, and takes no entry.
    mesh.run(Duration::from_secs(5));
    let (ahead, behind) = (mesh.node(0).ledger.last(), mesh.node(1).ledger.last());
    if behind < ahead {
        let refused = mesh.offer(1);
        assert!(
            matches!(refused, Err(Refusal::Recovery(NotRecovered::Further { host: of, .. })) if of == host(0)),
            "{refused:?}"
        );
    }
    mesh.recover(0);
    mesh.run(Duration::from_secs(5));
    mesh.check_equal();
}

#[test]
fn a_crash_before_the_write_leaves_the_old_history_and_one_after_it_the_new() {
    let mut mesh = bereft();
    let number = mesh.node(0).voter();
    mesh.stuck.insert(host(0));
    let signed = key().sign(mesh.offer(0).expect("an offer"));
    let request = Box::new(Request::Recover(Box::new(signed)));
    mesh.inputs.push_back((host(0), Input::Request { id: RequestId(3), request }));
    mesh.replies.clear();
    mesh.run(Duration::from_secs(3));
    assert!(mesh.replies.is_empty(), "it is not durable");
    assert_eq!(mesh.node(1).history(), History::default(), "nor has anybody heard of it");
    mesh.stop(0);
    mesh.stuck.clear();
    mesh.start_again(0);
    mesh.run(Duration::from_secs(5));
    assert_eq!((mesh.node(0).history().epoch, mesh.node(0).voter()), (0, number));

    let signed = mesh.recover(0);
    for number in [0, 1] {
        mesh.stop(number);
        mesh.start_again(number);
        assert_eq!(mesh.node(number).history(), signed.history());
    }
    mesh.run(Duration::from_secs(5));
    assert_eq!(mesh.set(1, "after"), Ok(Accepted::Done));
    mesh.check_equal();
}

#[test]
fn a_follower_that_crashes_in_the_middle_goes_by_the_recovery_and_not_by_its_old_number() {
    let mut mesh = bereft();
    let old = mesh.node(1).voter();
    let signed = mesh.recover(0);
    mesh.stop(1);
    mesh.start_again(1);
    // Right after its start, before it has heard anything.
    let node = mesh.node(1);
    assert_eq!(node.history(), signed.history());
    assert_eq!(node.voter(), signed.renumbered(old));
    assert!(!node.is_voting());
}

#[test]
fn an_old_voter_whose_ledger_is_a_prefix_rejoins() {
    let mut mesh = bereft();
    let old: Vec<VoterId> = [2, 3, 4].iter().map(|number| mesh_voter(&mesh, *number)).collect();
    let signed = mesh.recover(0);
    assert_eq!(mesh.set(0, "after"), Ok(Accepted::Done));
    // All three at once: together they were the majority.
    [2, 3, 4].iter().for_each(|number| mesh.start_again(*number));
    mesh.run(Duration::from_secs(20));
    mesh.check_equal();
    for (number, old) in [2, 3, 4].into_iter().zip(old) {
        assert!(mesh.knows(number, "after"));
        assert_eq!(mesh.node(number).voter(), signed.renumbered(old), "its old number is void");
        assert!(mesh.state(0).host(host(number)).expect("a member").down.is_none());
    }
    assert_eq!(mesh.node(0).mesh().voters.len(), 5);
    // None of them counts as one that lost its disk.
    check_nobody_is_replaced(&mesh);
}

fn check_nobody_is_replaced(mesh: &Mesh) {
    for node in mesh.nodes.values() {
        let behind = node.state().groups().values().flat_map(|group| group.behind.values());
        let causes: Vec<crate::state::Cause> = behind.map(|behind| behind.cause).collect();
        assert!(!causes.contains(&crate::state::Cause::Replaced), "{causes:?}");
    }
}

fn mesh_voter(mesh: &Mesh, number: u8) -> VoterId {
    mesh.state(0).host(host(number)).expect("a member").record.voter
}

#[test]
fn an_old_majority_that_went_on_halts_and_loses_nothing() {
    let mut mesh = Mesh::recoverable(5);
    mesh.cut_off(&[0, 1], &[2, 3, 4]);
    mesh.run(Duration::from_secs(10));
    assert_eq!(mesh.set(2, "second"), Ok(Accepted::Done), "the majority is alive behind the cut");
    mesh.recover(0);
    mesh.run(Duration::from_secs(3));
    assert_eq!(mesh.set(1, "first"), Ok(Accepted::Done));
    mesh.cut.clear();
    mesh.run(Duration::from_secs(10));
    for number in [2, 3, 4] {
        let node = mesh.node(number);
        assert!(matches!(node.halted(), Some(Halt::Superseded { epoch: 1, .. })), "{:?}", node.halted());
        assert!(!node.is_voting() && mesh.knows(number, "second") && !mesh.knows(number, "first"));
    }
    assert!(mesh.knows(1, "first") && !mesh.knows(1, "second"));
    assert!(matches!(mesh.set(3, "third"), Err(Refusal::Halted(Halt::Superseded { .. }))));
    // Not even when it starts again where it hears of nobody.
    [2, 3, 4].iter().for_each(|number| mesh.stop(*number));
    mesh.cut_off(&[0, 1], &[2, 3, 4]);
    [2, 3, 4].iter().for_each(|number| mesh.start_again(*number));
    mesh.run(Duration::from_secs(10));
    for number in [2, 3, 4] {
        assert!(matches!(mesh.node(number).halted(), Some(Halt::Superseded { .. })));
        assert!(!mesh.node(number).is_voting() && mesh.knows(number, "second"));
    }
}

#[test]
fn of_two_recoveries_of_one_epoch_each_side_keeps_its_own_and_says_so() {
    let mut mesh = bereft();
    mesh.cut_off(&[0], &[1]);
    mesh.run(Duration::from_secs(5));
    let (first, second) = (mesh.recover(0), mesh.recover(1));
    mesh.cut.clear();
    mesh.run(Duration::from_secs(5));
    for (number, own, other) in [(0, &first, 1), (1, &second, 0)] {
        let node = mesh.node(number);
        assert_eq!(node.history(), own.history());
        assert_eq!(node.contradicting(), &BTreeSet::from([host(other)]));
        assert_eq!(node.halted(), None);
    }
    assert_eq!(mesh.set(0, "of-the-first"), Ok(Accepted::Done));
    mesh.run(Duration::from_secs(3));
    assert!(!mesh.knows(1, "of-the-first"));
    // As the log says: the other one starts anew.
    mesh.stop(1);
    mesh.disks.remove(&host(1));
    mesh.start_again(1);
    mesh.run(Duration::from_secs(5));
    mesh.check_equal();
    assert!(mesh.knows(1, "of-the-first"));
}

#[test]
fn a_second_loss_is_recovered_from_and_who_missed_both_is_brought_along() {
    let mut mesh = bereft();
    mesh.recover(0);
    mesh.start_again(2);
    mesh.run(Duration::from_secs(30));
    assert_eq!(mesh.node(0).mesh().voters.len(), 3);
    mesh.stop(0);
    mesh.stop(2);
    mesh.run(Duration::from_secs(5));
    mesh.recover(1);
    assert_eq!(mesh.node(1).history().epoch, 2);
    [0, 2, 3, 4].iter().for_each(|number| mesh.start_again(*number));
    mesh.run(Duration::from_secs(20));
    mesh.check_equal();
    assert!(mesh.nodes.values().all(|node| node.history().epoch == 2));
    check_nobody_is_replaced(&mesh);
}

#[test]
fn a_host_that_joins_a_recovered_mesh_believes_it() {
    let mut mesh = bereft();
    mesh.recover(0);
    mesh.run(Duration::from_secs(2));
    let config = recoverable(8);
    let fresh = Node::start(config, Stored::default(), mesh.now).expect("it starts");
    for other in [0, 1] {
        mesh.inputs.push_back((host(other), Input::Connected { host: host(8) }));
        mesh.inputs.push_back((host(8), Input::Connected { host: host(other) }));
    }
    mesh.nodes.insert(host(8), fresh);
    mesh.run(Duration::from_secs(5));
    mesh.check_equal();
    assert!(mesh.state(0).host(host(8)).is_some());
}

/// The mesh key lets a member speak. Nothing that it says recovers the mesh.
#[test]
fn a_member_without_the_recovery_key_takes_nothing_over() {
    let mut mesh = bereft();
    let thief = RecoveryKey::from_secret(&[6; 32]);
    let offer = mesh.offer(1).expect("an offer");
    let before = (mesh.node(0).ledger.head(), mesh.node(0).voter());
    let honest = key().sign(offer.clone());
    let mut tampered = honest.to_bytes();
    // The epoch: the second field, after 16 bytes of mesh.
    tampered[16] = 2;
    let mut lies =
        vec![thief.sign(offer.clone()), thief.sign(Recovery { mesh: thief.mesh(), ..offer.clone() })];
    lies.extend(SignedRecovery::from_bytes(&tampered));
    assert_eq!(lies.len(), 3);
    for lie in lies {
        for history in [History::default(), lie.history(), History { epoch: 9, id: 9 }] {
            mesh.says(0, 1, history, &Message::Recoveries(vec![lie.clone()]));
            let index = before.0.0 + 1;
            let content = Content::Recovered(Box::new(lie.clone()));
            let entry = LogEntry { index, term: 99, content };
            mesh.says(0, 1, history, &Message::Committed(vec![entry]));
            let statement = Box::new(Intent::Recover(Box::new(lie.clone())).into());
            let id = ProposalId { host: host(1), incarnation: 1, number: 3 };
            mesh.says(0, 1, history, &Message::Propose { id, statement, forwarded: false });
        }
    }
    mesh.run(Duration::from_secs(3));
    let node = mesh.node(0);
    assert_eq!((node.ledger.head(), node.voter()), before);
    assert_eq!((node.history(), node.halted()), (History::default(), None));
    assert!(node.is_voting());
    mesh.recover(0);
    mesh.check_equal();
}

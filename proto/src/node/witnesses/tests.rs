use std::time::Duration;

use super::super::tests::Mesh;
use super::*;
use crate::entry::Index;
use crate::io::{Input, Request, RequestId};
use crate::ledger::{Content, LogEntry, Snapshot, Voters};
use crate::statement::Intent;
use crate::wire::{self, Beacon, Message};

/// The host that was away.
const STALE: u8 = 2;
/// A host that has the mesh key, and never joined.
const STRANGER: u8 = 9;
const SECOND: Duration = Duration::from_secs(1);

fn host(number: u8) -> HostId {
    HostId::from_public_key([number; 32])
}

impl Mesh {
    fn hears(&mut self, to: u8, from: u8, message: &Message) {
        let frame = wire::frame(self.nodes[&host(to)].config.mesh, Default::default(), message);
        self.inputs.push_back((host(to), Input::Received { from: host(from), frame }));
    }

    /// Lets `to` hear a beacon of a host that claims to have all entries up to `index`.
    fn hears_claim(&mut self, to: u8, from: u8, index: Index) {
        let wall = self.now.to_ledger();
        let (lost, last) = (Vec::new(), (9, index));
        let beacon = Beacon {
            incarnation: 1,
            index,
            hash: [6; 32],
            checkpoint: None,
            leader: None,
            lost,
            wall,
            clock: None,
            last,
        };
        self.hears(to, from, &Message::Beacon(beacon));
    }

    /// Lets `to` hear an entry that was never made, as its next one.
    fn hears_false_entry(&mut self, to: u8, from: u8) {
        let index = self.head(to) + 1;
        let lie = LogEntry { index, term: 9, content: Content::Entry(b"a lie".to_vec()) };
        self.hears(to, from, &Message::Committed(vec![lie]));
    }

    fn head(&self, of: u8) -> Index {
        self.nodes[&host(of)].ledger.head().0
    }
}

/// A mesh of three hosts of which the last one was away while so many new hosts
/// replaced the two others. It is back, and hears the new ones only.
fn replaced_by(count: u8) -> Mesh {
    let mut mesh = Mesh::of(3);
    mesh.run(10 * SECOND);
    let new = 3..3 + count;
    mesh.cut = (0..3 + count).map(|other| (host(STALE), host(other))).collect();
    new.clone().for_each(|number| {
        mesh.add(number);
    });
    // Long enough for a new voter in place of the one that is away.
    mesh.run(90 * SECOND);
    for gone in [0, 1] {
        let request = Box::new(Request::Intent(Intent::RemoveHost(host(gone))));
        mesh.inputs.push_back((host(3), Input::Request { id: RequestId(1), request }));
        mesh.run(10 * SECOND);
        mesh.nodes.remove(&host(gone));
        for of in [STALE].into_iter().chain(new.clone()) {
            mesh.inputs.push_back((host(of), Input::Disconnected { host: host(gone) }));
        }
    }
    let strangers = |host: &HostId| !mesh.nodes[&self::host(STALE)].mesh.members().contains(host);
    assert!(mesh.nodes[&host(3)].voters_known().iter().all(strangers), "it knows no voter");
    mesh.cut.clear();
    mesh
}

#[test]
fn two_strangers_that_tell_alike_are_believed_after_a_minute() {
    let mut mesh = replaced_by(2);
    let before = mesh.head(STALE);
    mesh.run(ALONE_AFTER - SECOND);
    assert_eq!(mesh.head(STALE), before);
    mesh.run(10 * SECOND);
    assert_eq!(mesh.head(STALE), mesh.head(3));
    assert_eq!(mesh.nodes[&host(STALE)].state, mesh.nodes[&host(3)].state);
}

#[test]
fn two_strangers_are_believed_beside_one_that_lies() {
    let mut mesh = replaced_by(2);
    mesh.inputs.push_back((host(STALE), Input::Connected { host: host(STRANGER) }));
    for _ in 0..90 {
        mesh.hears_claim(STALE, STRANGER, 1 << 40);
        mesh.run(SECOND / 2);
        mesh.hears_false_entry(STALE, STRANGER);
        mesh.run(SECOND / 2);
    }
    assert_eq!(mesh.nodes[&host(STALE)].state, mesh.nodes[&host(3)].state);
    assert_eq!(mesh.nodes[&host(STALE)].halted(), None);
}

#[test]
fn the_only_host_that_could_help_is_believed_after_ten_minutes() {
    let mut mesh = replaced_by(1);
    let before = mesh.head(STALE);
    mesh.run(ONE_STRANGER_AFTER - SECOND);
    assert_eq!(mesh.head(STALE), before);
    mesh.run(10 * SECOND);
    assert_eq!(mesh.head(STALE), mesh.head(3));
    assert_eq!(mesh.nodes[&host(STALE)].state, mesh.nodes[&host(3)].state);
}

#[test]
fn a_host_of_a_mesh_at_work_believes_no_stranger_however_long_it_claims_to_have_more() {
    let mut mesh = Mesh::of(7);
    mesh.run(10 * SECOND);
    let number = (0..7).find(|number| !mesh.nodes[&host(*number)].is_voting()).expect("two only follow");
    let strangers = [STRANGER, STRANGER - 1];
    for stranger in strangers {
        mesh.inputs.push_back((host(number), Input::Connected { host: host(stranger) }));
    }
    let before = mesh.head(number);
    for _ in 0..(ONE_STRANGER_AFTER.as_secs() + 10) {
        for stranger in strangers {
            mesh.hears_claim(number, stranger, 1 << 40);
            mesh.hears_false_entry(number, stranger);
        }
        mesh.run(SECOND);
    }
    assert!(mesh.nodes[&host(number)].is_orphaned(mesh.now), "as far as it knows");
    assert_eq!(mesh.head(number), before);
    mesh.group();
    mesh.run(2 * SECOND);
    assert_eq!(mesh.nodes[&host(number)].state, mesh.nodes[&host(0)].state);
}

#[test]
fn a_snapshot_of_the_only_voter_that_is_left_is_taken_after_a_while() {
    let mut mesh = Mesh::of(3);
    mesh.run(10 * SECOND);
    let (gone, left) = (host(0), host(1));
    mesh.nodes.remove(&gone);
    for of in [left, host(STALE)] {
        mesh.inputs.push_back((of, Input::Disconnected { host: gone }));
    }
    mesh.cut.insert((left, host(STALE)));
    mesh.run(6 * SECOND);
    mesh.cut.clear();
    let voter = &mesh.nodes[&left];
    let mut state = voter.state.clone();
    let index = state.index() + 1_000;
    state.skip(index);
    let voters = Voters::only(voter.own.meta.voter);
    let snapshot = Snapshot { index, term: 9, hash: [6; 32], voters, state: state.encode() };
    let message = Message::Snapshot(Box::new(snapshot));
    for (alone_for, is_taken) in [(ALONE_AFTER - SECOND, false), (ALONE_AFTER, true)] {
        let now = mesh.now;
        mesh.hears_claim(STALE, 1, index);
        let node = mesh.nodes.get_mut(&host(STALE)).expect("its node");
        let since = now - alone_for;
        node.mesh.fetch.asked_for_test(Some((left, now)), Some(since));
        node.mesh.fetch.only_helper_for_test(left, since);
        mesh.hears(STALE, 1, &message);
        mesh.run(Duration::from_millis(1));
        assert_eq!(mesh.head(STALE) == index, is_taken, "after {alone_for:?}");
    }
}

use super::super::tests::Mesh;
use super::*;
use crate::io::Input;
use crate::ledger::Voters;
use crate::wire;

fn host(number: u8) -> HostId {
    HostId::from_public_key([number; 32])
}

#[test]
fn a_snapshot_of_the_only_voter_that_is_left_is_taken_after_a_while() {
    let mut mesh = Mesh::of(3);
    mesh.run(Duration::from_secs(10));
    let (gone, left, away) = (host(0), host(1), host(2));
    mesh.nodes.remove(&gone);
    for of in [left, away] {
        mesh.inputs.push_back((of, Input::Disconnected { host: gone }));
    }
    mesh.cut.insert((left, away));
    mesh.run(Duration::from_secs(6));
    mesh.cut.clear();
    let voter = &mesh.nodes[&left];
    let mut state = voter.state.clone();
    let index = state.index() + 1_000;
    state.skip(index);
    let voters = Voters::only(voter.meta.voter);
    let snapshot = Snapshot { index, term: 9, hash: [6; 32], voters, state: state.encode() };
    let frame = wire::frame(voter.config.mesh, Default::default(), &Message::Snapshot(Box::new(snapshot)));
    for (alone_for, is_taken) in [(ALONE_AFTER - Duration::from_secs(1), false), (ALONE_AFTER, true)] {
        let now = mesh.now;
        let node = mesh.nodes.get_mut(&away).expect("its node");
        (node.wanted, node.behind_since) = (Some((left, now)), Some(now - alone_for));
        mesh.inputs.push_back((away, Input::Received { from: left, frame: frame.clone() }));
        mesh.run(Duration::from_millis(1));
        assert_eq!(mesh.nodes[&away].ledger.head().0 == index, is_taken, "after {alone_for:?}");
    }
}

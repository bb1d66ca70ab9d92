//! Tests which hosts are chosen to keep copies of a bundle.

use super::*;

#[test]
fn copies_go_to_hosts_that_are_alive_and_not_always_to_the_same() {
    let mut mesh = Mesh::of(5);
    mesh.run(Duration::from_secs(10));
    let (me, gone) = (HostId::from_public_key([0; 32]), HostId::from_public_key([4; 32]));
    let keepers = |mesh: &Mesh, digest: u8| mesh.nodes[&me].keepers(Digest([digest; 32]));
    let first: BTreeSet<HostId> = (0..50).map(|digest| keepers(&mesh, digest)[0]).collect();
    assert_eq!(first.len(), 4, "each other host is the first for some bundle");
    assert!(!first.contains(&me));

    // The link to it stays, so only the ledger says that it is gone.
    let record = mesh.state(0).host(gone).expect("a member").record.clone();
    mesh.deaf.extend(mesh.nodes.keys().copied().filter(|host| *host != gone));
    let down = Report::HostDown { host: gone, incarnation: record.incarnation };
    let node = mesh.nodes.get_mut(&me).expect("a node");
    let index = node.state.index() + 1;
    let proposal = ProposalId { host: me, incarnation: 1, number: u64::MAX };
    let entry = Entry { at: node.state.clock(), proposal, statement: down.into() };
    node.state.apply(index, &entry).expect("it is folded");
    for digest in 0..50 {
        assert!(!keepers(&mesh, digest).contains(&gone));
        assert_eq!(keepers(&mesh, digest).len(), 3);
    }
}

use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;

use super::*;

fn host(number: u8) -> HostId {
    HostId::from_public_key([number; 32])
}

fn contact(voter: u64, port: u8, is_member: bool) -> Contact {
    Contact { voter: VoterId(voter), addresses: vec![format!("/ip4/10.0.0.1/tcp/{port}")], is_member }
}

fn outputs(mesh: &mut Mesh) -> Vec<MeshOutput> {
    std::iter::from_fn(|| mesh.poll_output()).collect()
}

fn read(hosts: impl IntoIterator<Item = (HostId, Option<Contact>)>) -> MeshInput {
    MeshInput::Hosts(hosts.into_iter().collect())
}

/// After each change of one host, the maps are those of a mesh that reads all hosts at once.
#[test]
fn a_change_of_one_member_gives_what_reading_all_would_give() {
    let now = Time::from_micros(1);
    let mut dice = ChaCha8Rng::seed_from_u64(1);
    let mut mesh = Mesh::new(host(0), Overlay::Full, now);
    let mut ledger = BTreeMap::from([(host(0), contact(100, 0, true))]);
    mesh.handle(read(ledger.clone().into_iter().map(|(host, it)| (host, Some(it)))), now);
    for step in 0..2_000_u64 {
        let changed = host(dice.random_range(0..20));
        let new =
            contact(1_000 + step, dice.random_range(0..4), changed == host(0) || dice.random_range(0..4) > 0);
        let new = (changed == host(0) || dice.random_range(0..3) > 0).then_some(new);
        match &new {
            Some(new) => drop(ledger.insert(changed, new.clone())),
            None => drop(ledger.remove(&changed)),
        }
        mesh.handle(read([(changed, new)]), now);
        let mut whole = Mesh::new(host(0), Overlay::Full, now);
        whole.handle(read(ledger.clone().into_iter().map(|(host, it)| (host, Some(it)))), now);
        assert_eq!((&mesh.members, &mesh.voters), (&whole.members, &whole.voters), "after {step}");
        assert_eq!((&mesh.contacts, &mesh.former), (&whole.contacts, &whole.former), "after {step}");
        assert_eq!(mesh.dialled, whole.dialled, "after {step}");
        assert_eq!(mesh.next_silence().is_some(), whole.next_silence().is_some());
    }
}

#[test]
fn a_change_of_one_member_asks_for_its_connection_alone() {
    let now = Time::from_micros(1);
    let mut mesh = Mesh::new(host(0), Overlay::Full, now);
    let all = (0..200).map(|number| (host(number), Some(contact(u64::from(number) + 1, 1, true))));
    mesh.handle(read(all), now);
    assert_eq!(outputs(&mut mesh).len(), 199);
    let moved = contact(8, 9, true);
    let addresses = moved.addresses.clone();
    mesh.handle(read([(host(7), Some(moved.clone()))]), now);
    assert_eq!(outputs(&mut mesh), [MeshOutput::Connect { host: host(7), addresses }]);
    mesh.handle(read([(host(7), Some(moved))]), now);
    assert_eq!(outputs(&mut mesh), [], "nothing has changed");
    mesh.handle(read([(host(7), None)]), now);
    assert_eq!(outputs(&mut mesh), [MeshOutput::Disconnect { host: host(7) }]);
    assert_eq!((mesh.members.len(), mesh.voters.len(), mesh.dialled.len()), (199, 199, 198));
}

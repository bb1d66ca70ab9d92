use std::time::Duration;

use super::super::tests::{Mesh, config};
use super::*;
use crate::config::Config;
use crate::mesh::moves::ASK_EVERY;
use crate::wire;

const NEW: &str = "/ip4/10.9.9.9/tcp/1";

fn host(number: u8) -> HostId {
    HostId::from_public_key([number; 32])
}

fn places_of(mesh: &Mesh, of: u8, host: HostId) -> &[String] {
    mesh.nodes[&self::host(of)].mesh.addresses_dialled(host)
}

/// Three hosts, of which the first alone votes.
fn mesh() -> Mesh {
    let mut mesh = Mesh::with(3, |number| Config { voters_max: 1, ..config(number) });
    mesh.run(Duration::from_secs(5));
    mesh
}

#[test]
fn a_host_that_lags_hears_from_a_member_where_the_only_voter_has_moved() {
    let mut mesh = mesh();
    mesh.cut.insert((host(0), host(2)));
    for (number, other) in [(0, 2), (2, 0)] {
        mesh.inputs.push_back((host(number), crate::io::Input::Disconnected { host: host(other) }));
    }
    let voter = mesh.nodes.get_mut(&host(0)).expect("its node");
    voter.config.addresses = vec![NEW.into()];
    voter.own.meta.incarnation += 1;
    mesh.run(ASK_EVERY / 2);
    assert_eq!(places_of(&mesh, 1, host(0)), [NEW]);
    assert_eq!(places_of(&mesh, 2, host(0)), ["/ip4/10.0.0.0/tcp/1"]);
    mesh.run(2 * ASK_EVERY);
    assert_eq!(places_of(&mesh, 2, host(0)), [NEW, "/ip4/10.0.0.0/tcp/1"]);
}

#[test]
fn a_host_that_needs_no_help_looks_for_nobody_elsewhere() {
    let mut mesh = mesh();
    let places = Message::Places(vec![(host(1), vec![NEW.into()])]);
    let frame = wire::frame(mesh.nodes[&host(2)].config.mesh, Default::default(), &places);
    mesh.inputs.push_back((host(2), crate::io::Input::Received { from: host(1), frame }));
    mesh.run(Duration::from_secs(1));
    assert_eq!(places_of(&mesh, 2, host(1)), ["/ip4/10.0.0.1/tcp/1"]);
}

#[test]
fn voters_that_move_at_once_find_each_other_by_a_neighbour_that_they_reach() {
    let mut mesh = Mesh::of(4);
    mesh.run(Duration::from_secs(10));
    let voters = mesh.nodes[&host(3)].voters_known();
    let follower = (0..4).map(host).find(|host| !voters.contains(host)).expect("three of four vote");
    let [a, b, c] = voters.into_iter().collect::<Vec<_>>()[..] else { panic!("three vote") };
    // One voter is gone, and the two others, which have moved, reach the follower alone.
    mesh.nodes.remove(&c);
    mesh.cut.insert((a, b));
    for (one, other) in [(a, b), (b, a), (a, c), (b, c), (follower, c)] {
        mesh.inputs.push_back((one, crate::io::Input::Disconnected { host: other }));
    }
    mesh.run(Duration::from_secs(1));
    for voter in [a, b] {
        mesh.nodes.get_mut(&voter).expect("its node").config.addresses = vec![NEW.into()];
        mesh.inputs.push_back((voter, crate::io::Input::Disconnected { host: follower }));
        mesh.inputs.push_back((voter, crate::io::Input::Connected { host: follower }));
    }
    mesh.run(3 * ASK_EVERY);
    assert_eq!(mesh.nodes[&a].mesh.addresses_dialled(b).first().map(String::as_str), Some(NEW));
    assert_eq!(mesh.nodes[&b].mesh.addresses_dialled(a).first().map(String::as_str), Some(NEW));
}

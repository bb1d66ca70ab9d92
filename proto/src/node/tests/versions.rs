//! Tests agents of several versions in one mesh, upgraded and downgraded.

use super::*;
use crate::form::Unreadable;
use crate::statement::{Finding, Statement};
use crate::wire::{MESH_VERSION_SINCE, WIRE};

const BEFORE: u16 = MESH_VERSION_SINCE - 1;

fn speaks(number: u8, wire: u16) -> Config {
    Config { wire, ..config(number) }
}

/// Returns the versions that the ledger says the mesh has moved to, one after the other.
fn moves(mesh: &Mesh, of: u8) -> Vec<u16> {
    let entries = mesh.nodes[&config(of).host].entries();
    let version = |entry: Option<Entry>| match entry?.statement {
        Statement::Finding(Finding::MeshVersion(version)) => Some(version),
        Statement::Intent(_) | Statement::Report(_) | Statement::Finding(_) => None,
    };
    entries.into_iter().filter_map(|(_, _, entry)| version(entry)).collect()
}

#[test]
fn a_mesh_of_one_version_needs_no_entry_for_it() {
    for wire in [WIRE, BEFORE, BEFORE - 1] {
        let mut mesh = Mesh::with(3, |number| speaks(number, wire));
        mesh.run(Duration::from_secs(10));
        assert_eq!((moves(&mesh, 0), mesh.state(0).mesh_version()), (vec![], wire));
    }
}

#[test]
fn a_mesh_moves_on_when_its_last_agent_was_upgraded_and_not_before() {
    let mut mesh = Mesh::with(3, |number| speaks(number, BEFORE));
    mesh.run(Duration::from_secs(10));
    let group = mesh.group();
    for number in 0..3 {
        assert_eq!(mesh.state(0).mesh_version(), BEFORE, "before host {number} is upgraded");
        mesh.start_anew(number, speaks(number, WIRE));
        mesh.run(Duration::from_secs(10));
    }
    for number in 0..3 {
        assert_eq!((moves(&mesh, number), mesh.state(number).mesh_version()), (vec![WIRE], WIRE));
    }

    // One is downgraded by mistake: it says so, and takes no turn.
    mesh.start_anew(2, speaks(2, BEFORE));
    let deployment = mesh.deploy(0, &group, 1);
    mesh.run(Duration::from_secs(60));
    let downgraded = config(2).host;
    let halt = mesh.nodes[&downgraded].halted().map(ToString::to_string).unwrap_or_default();
    assert!(halt.contains("needs version 6, this agent reads up to 5: this host folds no further"), "{halt}");
    assert!(mesh.ran.iter().all(|(host, _)| *host != downgraded));

    // It goes on from there when it is upgraded again.
    mesh.start_anew(2, speaks(2, WIRE));
    mesh.run(Duration::from_secs(60));
    assert_eq!(mesh.nodes[&downgraded].halted(), None);
    assert_eq!(mesh.state(2).rollout(deployment).map(Rollout::status), Some(DeploymentStatus::Succeeded));
    assert_eq!((moves(&mesh, 2), mesh.state(2).mesh_version()), (vec![WIRE], WIRE));
}

#[test]
fn an_older_agent_that_is_new_to_the_mesh_is_not_let_in_and_says_why() {
    let mut mesh = Mesh::of(3);
    mesh.run(Duration::from_secs(10));
    let newcomer = mesh.add(3);
    mesh.nodes
        .insert(newcomer, Node::start(speaks(3, BEFORE), Stored::default(), mesh.now).expect("it starts"));
    mesh.run(Duration::from_secs(10));
    assert!(mesh.state(0).host(newcomer).is_none());
    let node = &mesh.nodes[&newcomer];
    let needs = Some(Unreadable::NeedsVersion { needs: WIRE, reads_up_to: BEFORE });
    assert_eq!((node.state().index(), node.newer_heard()), (0, needs));
}

//! Tests what a rollout costs the ledger.

use proto::policy::{Minimum, Policy};
use proto::rollout::DeploymentStatus;
use proto::statement::{Finding, Statement};

use super::fleet::Fleet;
use proto::state::DEPLOYMENTS_KEPT;

/// The entries besides the hosts' own: the submission and the end.
const ENTRIES_OF_THE_DEPLOYMENT: usize = 2;

#[test]
fn a_rollout_costs_two_entries_a_host() {
    const HOSTS: u32 = 10_000;
    let mut fleet = Fleet::new(HOSTS);
    let before = fleet.entries.len();
    let policy = Policy { minimum: Minimum::FleetPercent(90), ..Policy::default() };
    // The group is brand-new, so every host has something to do.
    let deployment = fleet.deploy("first", policy, |_| false);
    assert_eq!(fleet.rollout(deployment).status(), DeploymentStatus::Succeeded);
    assert_eq!(fleet.rollout(deployment).counts().succeeded, HOSTS);
    // A mesh moves to a newer version once a release, whatever it deploys.
    let is_of_rollout = |statement: &Statement| {
        !matches!(statement, Statement::Finding(Finding::Tick | Finding::MeshVersion(_)))
    };
    let cost = fleet.entries[before..].iter().filter(|entry| is_of_rollout(&entry.statement)).count();
    assert!(
        cost <= 2 * HOSTS as usize + ENTRIES_OF_THE_DEPLOYMENT,
        "{cost} entries for {HOSTS} hosts, ticks not counted"
    );
    assert!(fleet.state.due().is_empty(), "nothing more is to be said");
}

/// The most snapshot bytes for one host of one past deployment. With 10,000 hosts
/// and fifty deployments that makes 4 MB, a sixteenth of the longest frame.
const BYTES_PER_PAST_TURN: usize = 8;

#[test]
fn a_deployment_that_is_over_costs_a_few_bytes_a_host() {
    const HOSTS: u32 = 500;
    let mut fleet = Fleet::new(HOSTS);
    // A turn begins or ends every 0.7 s, so one takes half a minute.
    fleet.every = 700;
    let policy = || Policy { minimum: Minimum::FleetPercent(90), ..Policy::default() };
    fleet.deploy("first", policy(), |_| false);
    let before = fleet.state.encode().len();
    for number in 1..DEPLOYMENTS_KEPT {
        fleet.deploy(&format!("revision {number}"), policy(), |host| host.public_key()[3] == number as u8);
    }
    assert_eq!(fleet.state.rollouts().len(), DEPLOYMENTS_KEPT);
    let turns = HOSTS as usize * (DEPLOYMENTS_KEPT - 1);
    let each = (fleet.state.encode().len() - before).div_ceil(turns);
    assert!(each <= BYTES_PER_PAST_TURN, "{each} bytes a host and deployment");
    // The state no longer grows from here on.
    let full = fleet.state.encode().len();
    fleet.deploy("one more", policy(), |_| false);
    assert!(fleet.state.encode().len() < full + full / 10, "the oldest is dropped");
}

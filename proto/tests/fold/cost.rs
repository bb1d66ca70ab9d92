//! What a rollout costs the ledger.

use proto::entry::Body;
use proto::policy::{Minimum, Policy};
use proto::rollout::DeploymentStatus;

use super::fleet::Fleet;

/// Besides the hosts' own: the submission and the end.
const ENTRIES_OF_THE_DEPLOYMENT: usize = 2;

#[test]
fn a_rollout_costs_two_entries_a_host() {
    const HOSTS: u32 = 10_000;
    let mut fleet = Fleet::new(HOSTS);
    let before = fleet.entries.len();
    let policy = Policy { minimum: Minimum::FleetPercent(90), ..Policy::default() };
    // A brand-new group: nothing is left out because nothing was to be done.
    let deployment = fleet.deploy("first", policy, |_| false);
    assert_eq!(fleet.rollout(deployment).status(), DeploymentStatus::Succeeded);
    assert_eq!(fleet.rollout(deployment).counts().succeeded, HOSTS);
    let is_tick = |body: &Body| matches!(body, Body::Tick);
    let cost = fleet.entries[before..].iter().filter(|entry| !is_tick(&entry.body)).count();
    assert!(
        cost <= 2 * HOSTS as usize + ENTRIES_OF_THE_DEPLOYMENT,
        "{cost} entries for {HOSTS} hosts, ticks not counted"
    );
    assert!(fleet.state.due().is_empty(), "nothing more is to be said");
}

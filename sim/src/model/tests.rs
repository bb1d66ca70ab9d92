use super::*;
use crate::testing;
use proto::statement::Finding;

fn folded(entries: &[Entry]) -> Model {
    let mut model = Model::default();
    entries.iter().for_each(|entry| model.apply(entry));
    model
}

#[test]
fn a_brand_new_group_goes_one_at_a_time() {
    let model = folded(&testing::deployed_to(3));
    let id = model.unfinished()[0];
    assert_eq!(model.deployment(id).expect("it runs").in_flight(), [testing::host(0).record.host]);
}

#[test]
fn a_whole_deployment_succeeds() {
    let model = folded(&testing::redeployed_to(3));
    let first = model.deployment(DeploymentId::derive(b"one")).expect("kept");
    assert_eq!(first.status, DeploymentStatus::Succeeded);
    let second = model.deployment(DeploymentId::derive(b"two")).expect("it runs");
    assert_eq!((second.available(), second.minimum, second.turns_max), (2, 2, 1));
}

#[test]
fn a_host_that_does_not_start_fails_its_turn() {
    let mut entries = testing::redeployed_to(3);
    let late = 1_000 + 5 * 60_000 + 100;
    entries.push(testing::entry(late, Finding::Tick));
    let model = folded(&entries);
    let second = model.deployment(DeploymentId::derive(b"two")).expect("it runs");
    // One of three hosts is out of service, two must be healthy, and both
    // others have yet to go.
    assert_eq!(second.ends_as, Some(DeploymentStatus::Failed));
    assert_eq!(second.turns[0].stage, Stage::Failed);
    assert_eq!(second.turns[1].stage, Stage::Skipped);
}

use std::time::Duration;

use proto::group::Group;
use proto::health::{HealthCheck, Probe};
use proto::id::DeploymentId;
use proto::lifecycle::LifecycleEvent;

use super::*;
use crate::testing;

const A: HostNo = HostNo(0);

/// A look, from its beginning to its end.
fn look(health: &mut Health, host: HostNo, group: &GroupName, number: u64, is_well: bool) {
    health.probes(host, group, ProbeId(number));
    health.probed(host, group, ProbeId(number), is_well);
}

/// Three checked hosts; the first has begun its turn of the first deployment.
fn in_a_turn() -> (Health, Model, BTreeMap<HostId, HostNo>, DeploymentId, GroupName) {
    let (mut health, mut model) = (Health::default(), Model::default());
    let numbers = (0..3).map(|no| (testing::host(no).record.host, HostNo(no))).collect();
    let deployment = DeploymentId::derive(b"one");
    let mut entries = testing::deployed_to(3);
    entries.push(testing::entry(1_100, Body::TurnStarted { deployment, host: testing::host(0).record.host }));
    let mut name = None;
    for (index, entry) in (1..).zip(&mut entries) {
        if let Body::GroupSet(group) = &mut entry.body {
            let probe = Probe::Tcp("127.0.0.1:80".into());
            let check = HealthCheck { every: Duration::from_secs(1), ..HealthCheck::new(probe) };
            *group = Group { health: Some(check), ..group.clone() };
            name = Some(group.name.clone());
        }
        assert_eq!(health.entry(index, entry, &model, &numbers), Ok(()));
        model.apply(entry);
    }
    health.event_ends(A, &testing::run(deployment, LifecycleEvent::ValidateService));
    (health, model, numbers, deployment, name.expect("a group is set"))
}

#[test]
fn a_turn_that_ends_well_before_its_check_has_passed_is_found() {
    let (mut health, model, numbers, deployment, group) = in_a_turn();
    let ended = |health: &mut Health| {
        let outcome = TurnOutcome::Succeeded;
        let body = Body::TurnEnded { deployment, host: testing::host(0).record.host, outcome };
        health.entry(9, &testing::entry(2_000, body), &model, &numbers).err().map(|found| found.claim)
    };
    assert_eq!(ended(&mut health), Some(Claim::Checked), "it was never looked at");
    look(&mut health, A, &group, 1, true);
    look(&mut health, A, &group, 2, false);
    look(&mut health, A, &group, 3, true);
    assert_eq!(ended(&mut health), Some(Claim::Checked), "twice, but not in a row");
    look(&mut health, A, &group, 4, true);
    assert_eq!(ended(&mut health), None);
    health.event_ends(A, &testing::run(deployment, LifecycleEvent::ValidateService));
    assert_eq!(ended(&mut health), Some(Claim::Checked), "what was before an event is no evidence");
}

#[test]
fn a_storm_of_words_is_found() {
    let (mut health, mut model, numbers, _, group) = in_a_turn();
    // Of a host that is not in its turn, more often than damped words come.
    let host = testing::host(1).record.host;
    let said = (0..60_u64).map(|number| {
        let (healthy, error, as_of) = (number % 2 == 1, String::new(), 100 + number);
        let body = Body::HealthChanged { group: group.clone(), host, healthy, error, as_of };
        testing::entry(10_000 + number * 100_000, body)
    });
    let found = said.into_iter().map(|entry| {
        let verdict = health.entry(50, &entry, &model, &numbers);
        model.apply(&entry);
        verdict.err().map(|found| found.claim)
    });
    let found: Vec<Option<Claim>> = found.collect();
    assert_eq!(found[19], None);
    assert_eq!(found[20], Some(Claim::Damped), "the twenty-first within an hour");
}

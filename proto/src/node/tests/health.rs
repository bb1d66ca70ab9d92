//! Tests the group's health check, during turns and between them.

use super::*;
use crate::statement::Intent;

#[test]
fn a_turn_ends_with_its_check_and_later_news_enters_the_ledger() {
    let mut mesh = Mesh::of(5);
    mesh.run(Duration::from_secs(10));
    let probe = Probe::Tcp("127.0.0.1:80".into());
    let check = HealthCheck {
        every: Duration::from_secs(1),
        timeout: Duration::from_secs(1),
        ..HealthCheck::new(probe)
    };
    let group = mesh.checked_group(Some(HealthCheck { grace: Duration::from_secs(10), ..check }));
    let first = mesh.deploy(0, &group, 1);
    // Five hosts go one after the other, and each waits for a second success.
    mesh.run(Duration::from_secs(3));
    assert_eq!(mesh.state(0).rollout(first).map(Rollout::status), Some(DeploymentStatus::InProgress));
    mesh.run(Duration::from_secs(3));
    assert_eq!(mesh.state(0).rollout(first).map(Rollout::status), Some(DeploymentStatus::Succeeded));

    let entries = mesh.state(0).index();
    mesh.run(Duration::from_secs(60));
    assert_eq!(mesh.state(0).index(), entries, "nothing is said while nothing changes");
    let sick = HostId::from_public_key([3; 32]);
    mesh.unwell.insert(sick);
    mesh.run(Duration::from_secs(60));
    assert_eq!(mesh.state(1).index(), entries + 1, "one word");
    assert_eq!(mesh.state(1).checks().ailing(&group, sick).expect("it is").error, "500");

    mesh.unwell.extend(mesh.nodes.keys().copied().collect::<Vec<_>>());
    let bad = mesh.deploy(0, &group, 2);
    // Two hosts fail. The other hosts are unwell too, so a single failure takes
    // nothing out of service.
    mesh.run(Duration::from_secs(30));
    assert_eq!(code_of(mesh.state(2), bad, sick), Some(crate::entry::ErrorCode::HealthCheckFailed));
    assert!(mesh.state(2).rollout(bad).expect("it is known").rolled_back_by.is_some());
}

#[test]
fn a_stop_ends_the_wait_for_the_check() {
    let mut mesh = Mesh::of(3);
    mesh.run(Duration::from_secs(10));
    let group = mesh.checked_group(Some(HealthCheck::new(Probe::Tcp("127.0.0.1:80".into()))));
    mesh.unwell.extend(mesh.nodes.keys().copied().collect::<Vec<_>>());
    let deployment = mesh.deploy(0, &group, 1);
    mesh.run(Duration::from_secs(20));
    let waits = HostId::from_public_key([0; 32]);
    assert_eq!(mesh.state(1).turns_of(waits), [deployment]);
    assert_eq!(
        mesh.request(
            1,
            Request::Intent(Intent::Stop { deployment, rollback: false, now: false, by: String::new() })
        ),
        Ok(Accepted::Done)
    );
    assert_eq!(mesh.state(1).rollout(deployment).map(Rollout::status), Some(DeploymentStatus::Stopped));
    assert_eq!(code_of(mesh.state(1), deployment, waits), Some(crate::entry::ErrorCode::Stopped));
}

#[test]
fn a_catch_up_that_makes_way_lets_the_wait_for_the_check_end() {
    let mut mesh = Mesh::of(3);
    mesh.run(Duration::from_secs(10));
    let group = mesh.checked_group(Some(HealthCheck::new(Probe::Tcp("127.0.0.1:80".into()))));
    mesh.deploy(0, &group, 1);
    mesh.run(Duration::from_secs(60));
    let late = mesh.add(3);
    mesh.unwell.insert(late);
    mesh.run(Duration::from_secs(20));
    let catch_up = mesh.state(1).group(&group).and_then(|group| group.catching_up).expect("a catch-up");
    assert_eq!(mesh.state(1).turns_of(late), [catch_up]);
    let wanted = mesh.deploy(0, &group, 2);
    mesh.run(Duration::from_secs(5));
    mesh.unwell.remove(&late);
    mesh.run(Duration::from_secs(90));

    let turn = mesh.state(1).part(catch_up, late).expect("it had a turn").stage.into_owned();
    assert!(matches!(turn, Stage::Ended { outcome: TurnOutcome::Succeeded, .. }), "{turn:?}");
    assert_eq!(mesh.state(1).rollout(wanted).map(Rollout::status), Some(DeploymentStatus::Succeeded));
}

#[test]
fn observers_look_and_another_takes_over_from_one_that_is_lost() {
    let mut mesh = Mesh::of(6);
    mesh.run(Duration::from_secs(10));
    let probe = Probe::Tcp("127.0.0.1:80".into());
    let group =
        mesh.checked_group(Some(HealthCheck { from: Viewpoint::Observers, ..HealthCheck::new(probe) }));
    let deployment = mesh.deploy(0, &group, 1);
    mesh.run(Duration::from_secs(60));
    assert_eq!(mesh.state(0).rollout(deployment).map(Rollout::status), Some(DeploymentStatus::Succeeded));
    let subject = HostId::from_public_key([0; 32]);
    let observers = |mesh: &Mesh| -> Vec<HostId> {
        let of_it = mesh.looks.iter().filter(|(by, of)| *of == subject && *by != subject);
        of_it.map(|(by, _)| *by).collect()
    };
    let before = observers(&mesh);
    assert_eq!(before.len(), 3);

    mesh.nodes.remove(&before[0]);
    for host in mesh.nodes.keys() {
        mesh.inputs.push_back((*host, Input::Disconnected { host: before[0] }));
    }
    mesh.inputs.retain(|(to, _)| *to != before[0]);
    mesh.looks.clear();
    mesh.run(Duration::from_secs(20));
    let after = observers(&mesh);
    assert_eq!(after.len(), 3, "{after:?}");
    assert!(!after.contains(&before[0]));
    assert!(mesh.state(0).checks().ailing(&group, subject).is_none());
}

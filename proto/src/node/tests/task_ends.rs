//! Tests tasks that end twice, never, or with the result of another kind of task.

use super::*;
use crate::entry::ErrorCode;

/// A mesh of one host whose turn hangs in Install.
fn installing() -> (Mesh, HostId, DeploymentId) {
    let mut mesh = Mesh::of(1);
    mesh.run(Duration::from_secs(10));
    mesh.hangs = Some(LifecycleEvent::Install);
    let group = mesh.group();
    let deployment = mesh.deploy(0, &group, 1);
    mesh.run(Duration::from_secs(1));
    assert_eq!(mesh.ran.last().map(|(_, event)| *event), Some(LifecycleEvent::Install));
    (mesh, HostId::from_public_key([0; 32]), deployment)
}

#[test]
fn an_end_that_is_reported_again_does_not_end_the_next_event() {
    let (mut mesh, host, _) = installing();
    let ran = mesh.ran.clone();
    let (_, ended) = mesh.started.split_last().expect("some events");
    assert!(ended.len() > 1, "{ran:?}");
    for id in ended.iter().copied().chain([TaskId(u64::MAX)]) {
        mesh.inputs.push_back((host, Input::Ended { id, result: TaskResult::Event(Ok(())) }));
    }
    mesh.run(Duration::from_secs(1));
    assert_eq!(mesh.ran, ran);
}

#[test]
fn a_result_of_another_kind_fails_the_task() {
    let (mut mesh, host, deployment) = installing();
    let id = *mesh.started.last().expect("an event");
    mesh.inputs.push_back((host, Input::Ended { id, result: TaskResult::Probed(Ok(())) }));
    mesh.run(Duration::from_secs(1));
    assert_eq!(code_of(mesh.state(0), deployment, host), Some(ErrorCode::UnknownError));
}

#[test]
fn probes_that_never_end_fail_in_time_and_do_not_pile_up() {
    let mut mesh = Mesh::of(3);
    mesh.run(Duration::from_secs(10));
    let check = HealthCheck {
        every: Duration::from_secs(1),
        timeout: Duration::from_secs(1),
        from: Viewpoint::Observers,
        ..HealthCheck::new(Probe::Tcp("10.0.0.1:80".into()))
    };
    let group = mesh.checked_group(Some(check));
    mesh.deploy(0, &group, 1);
    mesh.run(Duration::from_secs(60));
    mesh.probes_hang = true;
    mesh.run(Duration::from_secs(120));
    for (host, node) in &mesh.nodes {
        assert!(node.state().checks().ailing(&group, *host).is_some(), "{host:?} does not answer");
        let tasks = node.footprint().into_iter().find(|(part, _)| *part == "tasks").expect("it is counted");
        assert!(tasks.1 <= 4, "a probe for each host and the fetch, and not {}", tasks.1);
    }
}

//! Tests links and disks that fail silently.

use super::*;
use crate::statement::{Intent, Report};
use crate::time::LedgerTime;

fn host(number: u8) -> HostId {
    HostId::from_public_key([number; 32])
}

fn leader(mesh: &Mesh) -> HostId {
    let leads = |(host, node): (&HostId, &Node)| node.ledger.is_leader().then_some(*host);
    mesh.nodes.iter().find_map(leads).expect("somebody leads")
}

#[test]
fn what_a_host_has_to_say_goes_around_a_link_that_is_silent() {
    let mut mesh = Mesh::with(4, |number| Config { voters_max: 3, ..config(number) });
    mesh.run(Duration::from_secs(10));
    let leader = leader(&mesh);
    let follower = (0..4).map(host).find(|host| !mesh.nodes[host].ledger.is_voting()).expect("three vote");
    mesh.cut.insert((follower, leader));
    mesh.run(Duration::from_secs(4));
    assert!(mesh.nodes[&follower].mesh.is_neighbour(leader), "nobody has closed the connection");
    let group = Request::Intent(Intent::SetGroup(Group::new(
        "hello/prod".parse().expect("a name"),
        TagSets(vec![vec![TagFilter::parse("role=web").expect("a filter")]]),
        Policy::default(),
    )));
    mesh.replies.clear();
    mesh.inputs.push_back((follower, Input::Request { id: RequestId(1), request: Box::new(group) }));
    mesh.run(Duration::from_secs(3));
    assert_eq!(mesh.replies, [Ok(Accepted::Done)]);
}

#[test]
fn a_leader_whose_disk_hangs_lets_another_one_lead_and_timers_still_fire() {
    let mut mesh = Mesh::of(3);
    mesh.run(Duration::from_secs(10));
    let name = mesh.group();
    let mut group = mesh.state(0).group(&name).expect("it is set").group.clone();
    group.policy.deployment_timeout = Duration::from_secs(60);
    assert_eq!(mesh.request(0, Request::Intent(Intent::SetGroup(group))), Ok(Accepted::Done));
    mesh.hangs = Some(LifecycleEvent::ApplicationStart);
    let deployment = mesh.deploy(1, &name, 1);
    let before = leader(&mesh);
    mesh.stuck.insert(before);
    mesh.replies.clear();
    let freeze = Request::Freeze {
        group: name,
        until: crate::io::Until::For(Duration::from_secs(3_600)),
        reason: String::new(),
        by: "ann".into(),
    };
    let asked = (0..3).map(host).find(|host| *host != before).expect("another host");
    mesh.inputs.push_back((asked, Input::Request { id: RequestId(1), request: Box::new(freeze) }));
    mesh.run(Duration::from_secs(12));
    assert_eq!(mesh.replies, [Ok(Accepted::Done)]);
    let others: Vec<HostId> = mesh.nodes.keys().copied().filter(|host| *host != before).collect();
    assert!(others.iter().any(|host| mesh.nodes[host].ledger.is_leader()), "another one leads");
    mesh.run(Duration::from_secs(80));
    for other in others {
        let rollout = mesh.nodes[&other].state().rollout(deployment).expect("it is known");
        assert_eq!(rollout.status(), DeploymentStatus::Failed, "on {other}");
    }
}

#[test]
fn a_timer_that_the_leader_does_not_tell_of_is_told_of_by_others() {
    let timer = LedgerTime::from_millis(5_000);
    let waits = |number: u8, hosts| duties::tick_wait(host(number), hosts, timer);
    for hosts in [1, 3, 10_000] {
        for number in 0..50 {
            let wait = waits(number, hosts);
            assert!(wait >= Duration::from_millis(300) && wait <= Duration::from_millis(5_100), "{wait:?}");
        }
    }
    assert!((1..50).any(|number| waits(number, 50) != waits(0, 50)), "not all at once");
}

#[test]
fn what_is_not_lacking_any_more_is_not_proposed_any_longer() {
    let mut mesh = Mesh::of(3);
    mesh.run(Duration::from_secs(10));
    let lost = host(2);
    // Nothing is committed, so proposals stay pending.
    mesh.stuck.extend((0..3).map(host));
    for other in [0, 1] {
        mesh.cut.insert((host(other), lost));
    }
    mesh.run(Duration::from_secs(6));
    let incarnation = mesh.state(0).host(lost).expect("it has joined").record.incarnation;
    let down = Report::HostDown { host: lost, incarnation }.into();
    let proposes = |mesh: &Mesh| (0..2).any(|number| mesh.nodes[&host(number)].proposals.has(&down));
    assert!(proposes(&mesh), "it is lost");
    mesh.cut.clear();
    mesh.run(Duration::from_secs(3));
    assert!(!proposes(&mesh), "it is heard again, and was never counted Down");
}

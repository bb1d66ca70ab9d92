//! A mesh in a few lines: frames arrive at once, writes are done at once, and
//! every event succeeds. (The simulator is where things go wrong.)

use std::time::Duration;

use super::*;
use crate::entry::{Body, Failure, HostRecord, ProposalId, TurnOutcome};
use crate::group::{Group, Tag, TagFilter, TagSets};
use crate::health::{HealthCheck, Probe, Viewpoint};
use crate::id::{Digest, GroupName, MeshId};
use crate::io::{Accepted, DeployRequest, Refusal, Reply, Request, RequestId};
use crate::policy::Policy;
use crate::revision::Revision;
use crate::rollout::{Blocker, DeploymentStatus, Rollout, Stage};

pub(super) struct Mesh {
    pub(super) nodes: BTreeMap<HostId, Node>,
    pub(super) now: Time,
    pub(super) inputs: VecDeque<(HostId, Input)>,
    pub(super) replies: Vec<Reply>,
    ran: Vec<(HostId, LifecycleEvent)>,
    /// What may not take as long as its scripts like.
    hurried: BTreeSet<(DeploymentId, LifecycleEvent)>,
    /// Digests whose ValidateService fails.
    bad: Vec<Digest>,
    /// Hosts that hear nothing, and are heard.
    deaf: BTreeSet<HostId>,
    /// An event that goes on until it is cancelled.
    hangs: Option<LifecycleEvent>,
    /// Hosts whose application does not answer well.
    unwell: BTreeSet<HostId>,
    /// Who looked at whose application.
    looks: BTreeSet<(HostId, HostId)>,
}

fn config(number: u8) -> Config {
    Config {
        host: HostId::from_public_key([number; 32]),
        mesh: MeshId([7; 16]),
        name: format!("web-{number}"),
        tags: BTreeSet::from([Tag::parse("role=web").expect("a tag")]),
        zone: String::new(),
        addresses: vec![format!("/ip4/10.0.0.{number}/tcp/1")],
        founds: number == 0,
        seed: u64::from(number),
        voters_max: 5,
        wire: crate::wire::WIRE,
        log_kept: crate::config::LOG_KEPT_DEFAULT,
    }
}

impl Mesh {
    pub(super) fn of(hosts: u8) -> Mesh {
        Mesh::with(hosts, config)
    }

    fn with(hosts: u8, config: impl Fn(u8) -> Config) -> Mesh {
        let now = Time::from_micros(1_000_000_000_000_000);
        let mut mesh = Mesh {
            nodes: BTreeMap::new(),
            now,
            inputs: VecDeque::new(),
            replies: Vec::new(),
            ran: Vec::new(),
            hurried: BTreeSet::new(),
            bad: Vec::new(),
            deaf: BTreeSet::new(),
            hangs: None,
            unwell: BTreeSet::new(),
            looks: BTreeSet::new(),
        };
        for number in 0..hosts {
            let config = config(number);
            mesh.nodes.insert(config.host, Node::start(config, BTreeMap::new(), now).expect("it starts"));
        }
        let hosts: Vec<HostId> = mesh.nodes.keys().copied().collect();
        for a in &hosts {
            for b in hosts.iter().filter(|b| *b != a) {
                mesh.inputs.push_back((*a, Input::Connected { host: *b }));
            }
        }
        mesh
    }

    /// One more host, connected to all.
    fn add(&mut self, number: u8) -> HostId {
        let config = config(number);
        let host = config.host;
        for other in self.nodes.keys() {
            self.inputs.push_back((*other, Input::Connected { host }));
            self.inputs.push_back((host, Input::Connected { host: *other }));
        }
        self.nodes.insert(host, Node::start(config, BTreeMap::new(), self.now).expect("it starts"));
        host
    }

    fn carry_out(&mut self, host: HostId, output: Output) {
        match output {
            Output::Send { to, frame } => self.inputs.push_back((to, Input::Received { from: host, frame })),
            Output::Publish { frame } => {
                for to in self.nodes.keys().filter(|to| **to != host) {
                    self.inputs.push_back((*to, Input::Received { from: host, frame: frame.clone() }));
                }
            }
            Output::Persist(write) => self.inputs.push_back((host, Input::Persisted(write.id))),
            Output::Run { effect, run } => {
                self.ran.push((host, run.event));
                self.hurried.extend(run.script_timeout_max.map(|_| (run.deployment, run.event)));
                if self.hangs == Some(run.event) {
                    return;
                }
                let fails =
                    run.event == LifecycleEvent::ValidateService && self.bad.contains(&run.revision.digest);
                let failure = Failure {
                    event: Some(run.event),
                    code: crate::entry::ErrorCode::ScriptFailed,
                    script: "validate.sh".into(),
                    message: "exit code 1".into(),
                    log: String::new(),
                };
                let result = if fails { Err(failure) } else { Ok(()) };
                self.inputs.push_back((host, Input::Done { effect, outcome: Outcome::Event(result) }));
            }
            Output::Probe { id, task } => {
                self.looks.insert((host, task.subject));
                let result = if self.unwell.contains(&task.subject) { Err("500".into()) } else { Ok(()) };
                self.inputs.push_back((host, Input::Probed { probe: id, result }));
            }
            Output::Cancel { effect } => {
                let (script, message, log) = (String::new(), "cancelled".into(), String::new());
                let code = crate::entry::ErrorCode::Stopped;
                let failure = Failure { event: self.hangs, code, script, message, log };
                self.inputs.push_back((host, Input::Done { effect, outcome: Outcome::Event(Err(failure)) }));
            }
            Output::Reply { reply, .. } => self.replies.push(reply),
            Output::Connect { .. }
            | Output::Disconnect { .. }
            | Output::Fetch { .. }
            | Output::ReadAlarm { .. }
            | Output::Tell { .. }
            | Output::Notify(_) => {}
        }
    }

    pub(super) fn run(&mut self, time: Duration) {
        let end = self.now + time;
        loop {
            let hosts: Vec<HostId> = self.nodes.keys().copied().collect();
            for host in hosts {
                while let Some(output) = self.nodes.get_mut(&host).expect("a node").poll_output() {
                    self.carry_out(host, output);
                }
            }
            if let Some((host, input)) = self.inputs.pop_front() {
                let is_lost = matches!(input, Input::Received { .. }) && self.deaf.contains(&host);
                // One that is gone hears nothing.
                if let Some(node) = self.nodes.get_mut(&host).filter(|_| !is_lost) {
                    node.handle(input, self.now);
                }
                continue;
            }
            let next = self.nodes.values().filter_map(Node::next_wake).min().expect("beacons never end");
            if next > end {
                self.now = end;
                return;
            }
            self.now = next;
            for node in self.nodes.values_mut().filter(|node| node.next_wake() == Some(next)) {
                node.handle(Input::Wake, next);
            }
        }
    }

    pub(super) fn request(&mut self, of: u8, request: Request) -> Reply {
        self.replies.clear();
        let host = HostId::from_public_key([of; 32]);
        self.inputs.push_back((host, Input::Request { id: RequestId(1), request: Box::new(request) }));
        self.run(Duration::from_secs(1));
        self.replies.pop().expect("an answer within a second")
    }

    pub(super) fn group(&mut self) -> GroupName {
        self.checked_group(None)
    }

    fn checked_group(&mut self, health: Option<HealthCheck>) -> GroupName {
        let name: GroupName = "hello/prod".parse().expect("a name");
        let tags = TagSets(vec![vec![TagFilter::parse("role=web").expect("a filter")]]);
        let group = Group { health, ..Group::new(name.clone(), tags, Policy::default()) };
        assert_eq!(self.request(0, Request::SetGroup(group)), Ok(Accepted::Done));
        name
    }

    fn deploy(&mut self, of: u8, group: &GroupName, revision: u8) -> DeploymentId {
        let request = DeployRequest {
            group: group.clone(),
            revision: Revision { digest: Digest([revision; 32]), size: 1, origin: format!("v{revision}") },
            policy: None,
            description: String::new(),
            holders: Vec::new(),
            queue: false,
        };
        match self.request(of, Request::Deploy(Box::new(request))) {
            Ok(Accepted::Deployment(id)) => id,
            other => panic!("{other:?}"),
        }
    }

    fn state(&self, of: u8) -> &State {
        self.nodes[&HostId::from_public_key([of; 32])].state()
    }
}

#[test]
fn five_nodes_become_one_mesh_with_five_voters() {
    let mut mesh = Mesh::of(5);
    mesh.run(Duration::from_secs(10));
    for node in mesh.nodes.values() {
        assert_eq!(node.state().hosts().len(), 5);
        assert_eq!(node.mesh().voters.len(), 5);
        assert_eq!(node.state(), mesh.state(0));
        assert!(node.verify_chain().is_ok());
    }
}

#[test]
fn a_deployment_goes_through_all_hosts_one_at_a_time() {
    let mut mesh = Mesh::of(7);
    mesh.run(Duration::from_secs(10));
    let group = mesh.group();
    let deployment = mesh.deploy(6, &group, 1);
    mesh.run(Duration::from_secs(5));
    let rollout = mesh.state(3).rollout(deployment).expect("it is known");
    assert_eq!(rollout.status(), DeploymentStatus::Succeeded, "{rollout:#?}");
    assert_eq!(mesh.ran.len(), 7 * 7);
    // One host's events never mix with another's.
    for turn in mesh.ran.chunks(7) {
        assert!(turn.iter().all(|(host, _)| *host == turn[0].0));
    }
}

#[test]
fn a_bad_revision_is_rolled_back_by_the_mesh() {
    let mut mesh = Mesh::of(5);
    mesh.run(Duration::from_secs(10));
    let group = mesh.group();
    mesh.deploy(0, &group, 1);
    mesh.run(Duration::from_secs(5));
    mesh.bad.push(Digest([2; 32]));
    let bad = mesh.deploy(1, &group, 2);
    mesh.run(Duration::from_secs(5));

    let state = mesh.state(4);
    let rollout = state.rollout(bad).expect("it is known");
    assert_eq!(rollout.status(), DeploymentStatus::Failed);
    assert_eq!((rollout.counts().failed, rollout.counts().skipped), (1, 4));
    let rollback = state.rollout(rollout.rolled_back_by.expect("a rollback")).expect("it is known");
    assert_eq!(rollback.status(), DeploymentStatus::Succeeded);
    assert_eq!(rollback.submission.rollback_of, Some(bad));
    let parts = state.parts(rollback.submission.deployment);
    let targets = parts.values().filter(|part| *part.stage != Stage::NotTargeted);
    assert_eq!(targets.count(), 1, "only the host that was touched");
    let stops = (rollback.submission.deployment, LifecycleEvent::ApplicationStop);
    assert_eq!(mesh.hurried, [stops].into(), "what is broken must not hold up the way back");
    assert!(parts.values().all(|part| match &*part.stage {
        Stage::Ended { outcome, .. } => *outcome == TurnOutcome::Succeeded,
        Stage::NotTargeted => true,
        Stage::Pending | Stage::Leased { .. } | Stage::Started { .. } | Stage::Skipped => false,
    }));
}

fn code_of(state: &State, deployment: DeploymentId, host: HostId) -> Option<crate::entry::ErrorCode> {
    match &*state.part(deployment, host)?.stage {
        Stage::Ended { outcome: TurnOutcome::Failed(failure), .. } => Some(failure.code),
        Stage::Ended { .. }
        | Stage::NotTargeted
        | Stage::Pending
        | Stage::Leased { .. }
        | Stage::Started { .. }
        | Stage::Skipped => None,
    }
}

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
    // Five hosts, one after the other, and each waits for a second success.
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
    assert_eq!(mesh.state(1).group(&group).and_then(|group| group.ailing(sick)).expect("it is").error, "500");

    mesh.unwell.extend(mesh.nodes.keys().copied().collect::<Vec<_>>());
    let bad = mesh.deploy(0, &group, 2);
    // Two fail: the others are unwell too, so one alone takes nothing away.
    mesh.run(Duration::from_secs(30));
    assert_eq!(code_of(mesh.state(2), bad, sick), Some(crate::entry::ErrorCode::HealthCheckFailed));
    assert!(mesh.state(2).rollout(bad).expect("it is known").rolled_back_by.is_some());
}

#[test]
fn starts_are_not_counted_beyond_what_can_be_counted() {
    let mut mesh = Mesh::of(2);
    mesh.run(Duration::from_secs(10));
    let (me, other) = (HostId::from_public_key([0; 32]), HostId::from_public_key([1; 32]));
    let record = mesh.state(0).host(me).expect("it has joined").record.clone();
    let lie = Body::HostJoined(HostRecord { voter: VoterId(77), incarnation: u64::MAX, ..record });
    let id = ProposalId { host: other, incarnation: 1, number: 1 };
    let frame = crate::wire::proposal(MeshId([7; 16]), id, lie);
    mesh.inputs.push_back((me, Input::Received { from: other, frame }));
    mesh.run(Duration::from_secs(10));
    assert_eq!(mesh.state(1).host(me).expect("it is known").record.incarnation, u64::MAX);
}

#[test]
fn only_who_knows_its_voters_misses_a_majority_of_them() {
    let mut mesh = Mesh::of(3);
    let host = |number: u8| HostId::from_public_key([number; 32]);
    assert_eq!(mesh.nodes[&host(1)].no_majority(), None, "it has heard of no mesh yet");
    mesh.run(Duration::from_secs(10));
    assert_eq!(mesh.nodes[&host(0)].no_majority(), None);
    for other in [1, 2] {
        mesh.nodes.remove(&host(other));
        mesh.inputs.push_back((host(0), Input::Disconnected { host: host(other) }));
    }
    mesh.run(Duration::from_secs(1));
    let alone = Blocker::NoMajority { voters_up: 1, voters: 3 };
    assert_eq!(mesh.nodes[&host(0)].no_majority(), Some(alone));
}

#[test]
fn where_a_turn_was_that_a_timer_ended_is_remembered_and_no_other() {
    let mut mesh = Mesh::of(3);
    mesh.run(Duration::from_secs(10));
    let name = mesh.group();
    let mut group = mesh.state(0).group(&name).expect("it is set").group.clone();
    group.policy.turn_timeout = Duration::from_secs(60);
    assert_eq!(mesh.request(0, Request::SetGroup(group)), Ok(Accepted::Done));
    let good = mesh.deploy(0, &name, 1);
    mesh.run(Duration::from_secs(5));
    mesh.hangs = Some(LifecycleEvent::ApplicationStart);
    let deployment = mesh.deploy(1, &name, 2);
    mesh.run(Duration::from_secs(70));
    mesh.hangs = None;
    mesh.run(Duration::from_secs(10));

    let first = HostId::from_public_key([0; 32]);
    let code = code_of(mesh.state(2), deployment, first);
    assert_eq!(code, Some(crate::entry::ErrorCode::TurnTimedOut));
    assert!(mesh.state(2).rollout(deployment).expect("it is known").status().is_over());
    for (host, node) in &mesh.nodes {
        assert_eq!(node.progress(deployment, first), Some(LifecycleEvent::ApplicationStart), "on {host}");
        for other in mesh.nodes.keys() {
            assert_eq!(node.progress(good, *other), None, "on {host}");
        }
    }
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
        mesh.request(1, Request::Stop { deployment, rollback: false, now: false }),
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
fn what_a_snapshot_says_was_folded_is_not_proposed_anew() {
    let mut mesh = Mesh::with(4, |number| Config { log_kept: 8, voters_max: 1, ..config(number) });
    mesh.run(Duration::from_secs(10));
    let (group, deaf) = (mesh.group(), HostId::from_public_key([3; 32]));
    mesh.deaf.insert(deaf);
    let until = crate::io::Until::For(Duration::from_secs(3_600));
    let freeze = Request::Freeze { group: group.clone(), until, reason: String::new(), by: "ann".into() };
    mesh.inputs.push_back((deaf, Input::Request { id: RequestId(9), request: Box::new(freeze) }));
    mesh.run(Duration::from_secs(1));
    let frozen = |mesh: &Mesh, of: u8| mesh.state(of).group(&group).and_then(|group| group.freeze.clone());
    assert!(frozen(&mesh, 0).is_some());
    assert_eq!(mesh.request(0, Request::Unfreeze(group.clone())), Ok(Accepted::Done));
    (0..6).for_each(|_| drop(mesh.group()));
    mesh.deaf.clear();
    mesh.replies.clear();
    mesh.run(Duration::from_secs(10));

    assert_eq!((frozen(&mesh, 0), frozen(&mesh, 3)), (None, None));
    assert!(matches!(mesh.replies[..], [Err(Refusal::NotCommitted { .. })]), "{:?}", mesh.replies);
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
    assert!(mesh.state(0).group(&group).expect("the group").ailing(subject).is_none());
}

#[test]
fn what_followers_repeat_of_a_leader_is_not_believed() {
    let mut mesh = Mesh::of(7);
    mesh.run(Duration::from_secs(10));
    let is_follower = |node: &&Node| !node.ledger.is_voting();
    let followers: Vec<HostId> = mesh.nodes.values().filter(is_follower).map(Node::host).collect();
    let [one, other] = followers[..] else { panic!("two of seven follow: {followers:?}") };
    let node = mesh.nodes.get_mut(&one).expect("a node");
    let leader = node.leader();
    let claimed = node.meta.voter;
    for (host, heard) in &mut node.heard {
        heard.leader = if *host == other { Some(claimed) } else { None };
    }
    assert!(leader.is_some());
    assert_eq!(node.leader(), None, "the other follower has it from this one");
}

#[test]
fn a_leader_whose_disk_stands_still_takes_more_than_a_log_holds() {
    let mut mesh = Mesh::of(1);
    mesh.run(Duration::from_secs(5));
    let (host, now) = (HostId::from_public_key([0; 32]), mesh.now);
    let node = mesh.nodes.get_mut(&host).expect("a node");
    assert!(node.ledger.is_leader());
    let folded = node.state.index();
    let mut writes = Vec::new();
    for number in 0..9_000 {
        let id = crate::entry::ProposalId { host, incarnation: 99, number };
        let body = Box::new(crate::entry::Body::Unfrozen { group: "hello/prod".parse().expect("a name") });
        let message = wire::Message::Propose { id, body, forwarded: true };
        let frame = wire::frame(MeshId([7; 16]), &message);
        node.handle(Input::Received { from: HostId::from_public_key([1; 32]), frame }, now);
        while let Some(output) = node.poll_output() {
            if let Output::Persist(write) = output {
                writes.push(write.id);
            }
        }
    }
    assert_eq!(node.state.index(), folded, "nothing is durable, so nothing is committed");
    node.handle(Input::Persisted(*writes.last().expect("a write")), now);
    assert_eq!(node.state.index(), folded + 9_000);
}

#[test]
fn a_node_whose_store_ends_with_a_snapshot_knows_the_mesh_at_once() {
    let config = Config { log_kept: 0, ..config(0) };
    let (mut now, mut stored) = (Time::from_micros(1_000_000_000_000_000), BTreeMap::new());
    let mut node = Node::start(config.clone(), BTreeMap::new(), now).expect("it starts");
    for _ in 0..200 {
        while let Some(output) = node.poll_output() {
            let Output::Persist(write) = output else { continue };
            for (key, value) in write.changes {
                match value {
                    Some(value) => stored.insert(key, value),
                    None => stored.remove(&key),
                };
            }
            node.handle(Input::Persisted(write.id), now);
        }
        now = node.next_wake().expect("beacons never end").max(now);
        node.handle(Input::Wake, now);
    }
    let restored = Restored::read(&stored).expect("it can be read").expect("there is something");
    assert_eq!(restored.snapshot.index, restored.commit);
    let again = Node::start(config, stored, now).expect("it starts");
    assert_eq!((again.mesh().voters, again.members), (BTreeSet::from([node.host()]), [node.host()].into()));
}

#[test]
fn a_host_that_has_forgotten_a_start_outranks_what_the_mesh_knows_of_it() {
    let mut mesh = Mesh::of(3);
    mesh.run(Duration::from_secs(10));
    let host = HostId::from_public_key([2; 32]);
    // Its store lost power before it had counted two starts.
    let node = mesh.nodes.get_mut(&host).expect("a node");
    node.meta.incarnation = 3;
    mesh.run(Duration::from_secs(5));
    mesh.nodes.get_mut(&host).expect("a node").meta.incarnation = 1;
    mesh.run(Duration::from_secs(5));
    let known = mesh.state(0).host(host).expect("it is known").record.incarnation;
    assert_eq!((known, mesh.nodes[&host].incarnation()), (4, 4));
    let index = mesh.state(0).index();
    mesh.run(Duration::from_secs(5));
    assert_eq!(mesh.state(0).index(), index, "it says it once");
}

//! A mesh in memory: frames arrive at once, writes are done at once, and every
//! event succeeds. (Faults are the simulator's business.)

use std::time::Duration;

use std::collections::BTreeMap;

use super::*;
use crate::entry::Index;
use crate::entry::{Failure, HostRecord, ProposalId, TurnOutcome};
use crate::group::{Group, Tag, TagFilter, TagSets};
use crate::health::{HealthCheck, Probe, Viewpoint};
use crate::id::DeploymentId;
use crate::id::{Digest, GroupName, MeshId};
use crate::io::{Accepted, DeployRequest, Refusal, Reply, Request, RequestId};
use crate::lifecycle::LifecycleEvent;
use crate::policy::Policy;
use crate::revision::Revision;
use crate::rollout::{Blocker, DeploymentStatus, Rollout, Stage};
use crate::statement::{Intent, Report};
use crate::task::{Task, TaskId, TaskResult};

mod forgotten;
mod halts;
mod health;
mod keeping;
mod ledger;
mod liars;
mod recovery;
mod starts;
mod task_ends;
mod trouble;
mod versions;

pub(super) struct Mesh {
    pub(super) nodes: BTreeMap<HostId, Node>,
    pub(super) now: Time,
    pub(super) inputs: VecDeque<(HostId, Input)>,
    pub(super) replies: Vec<Reply>,
    ran: Vec<(HostId, LifecycleEvent)>,
    /// The events whose scripts got a time limit.
    hurried: BTreeSet<(DeploymentId, LifecycleEvent)>,
    /// The digests of revisions whose ValidateService fails.
    bad: Vec<Digest>,
    /// Hosts that hear nothing, but are heard.
    deaf: BTreeSet<HostId>,
    /// Pairs of hosts that do not hear each other, although they are connected.
    pub(super) cut: BTreeSet<(HostId, HostId)>,
    /// Hosts whose disks do no writes.
    stuck: BTreeSet<HostId>,
    /// An event that runs until it is cancelled.
    hangs: Option<LifecycleEvent>,
    /// The ids of the events that were started.
    started: Vec<TaskId>,
    /// True if no probe ends.
    probes_hang: bool,
    /// Hosts whose application is unwell.
    unwell: BTreeSet<HostId>,
    /// The host that looked, and the host whose application it looked at.
    looks: BTreeSet<(HostId, HostId)>,
    /// The contents of each host's disk, all of it synced.
    disks: BTreeMap<HostId, Stored>,
}

pub(super) fn config(number: u8) -> Config {
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
        replaces: String::new(),
        log_kept: crate::config::LOG_KEPT_DEFAULT,
        fold_panics_on: None,
        overlay: Default::default(),
    }
}

impl Mesh {
    pub(super) fn of(hosts: u8) -> Mesh {
        Mesh::with(hosts, config)
    }

    pub(super) fn with(hosts: u8, config: impl Fn(u8) -> Config) -> Mesh {
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
            cut: BTreeSet::new(),
            stuck: BTreeSet::new(),
            hangs: None,
            started: Vec::new(),
            probes_hang: false,
            unwell: BTreeSet::new(),
            looks: BTreeSet::new(),
            disks: BTreeMap::new(),
        };
        for number in 0..hosts {
            let config = config(number);
            mesh.nodes.insert(config.host, Node::start(config, Stored::default(), now).expect("it starts"));
        }
        let hosts: Vec<HostId> = mesh.nodes.keys().copied().collect();
        for a in &hosts {
            for b in hosts.iter().filter(|b| *b != a) {
                mesh.inputs.push_back((*a, Input::Connected { host: *b }));
            }
        }
        mesh
    }

    /// Adds one host that is connected to all others.
    pub(super) fn add(&mut self, number: u8) -> HostId {
        let config = config(number);
        let host = config.host;
        for other in self.nodes.keys() {
            self.inputs.push_back((*other, Input::Connected { host }));
            self.inputs.push_back((host, Input::Connected { host: *other }));
        }
        self.nodes.insert(host, Node::start(config, Stored::default(), self.now).expect("it starts"));
        host
    }

    fn carry_out(&mut self, host: HostId, output: Output) {
        match output {
            Output::Send { to, frame } => self.inputs.push_back((to, Input::Received { from: host, frame })),
            Output::Publish { frame } => {
                for to in self.nodes.keys().filter(|to| **to != host) {
                    self.inputs.push_back((*to, Input::Gossip { by: host, frame: frame.clone() }));
                }
            }
            Output::Persist(_) if self.stuck.contains(&host) => {}
            Output::Persist(write) => {
                let disk = self.disks.entry(host).or_default();
                for (key, value) in write.changes {
                    match value {
                        Some(value) => disk.contents.insert(key, value),
                        None => disk.contents.remove(&key),
                    };
                }
                disk.fence = Some(write.fence);
                self.inputs.push_back((host, Input::Persisted(write.id)));
            }
            Output::Start { id, task: Task::RunEvent(run) } => {
                self.ran.push((host, run.event));
                self.started.push(id);
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
                self.inputs.push_back((host, Input::Ended { id, result: TaskResult::Event(result) }));
            }
            Output::Start { task: Task::Probe(_), .. } if self.probes_hang => {}
            Output::Start { id, task: Task::Probe(task) } => {
                self.looks.insert((host, task.subject));
                let result = if self.unwell.contains(&task.subject) { Err("500".into()) } else { Ok(()) };
                self.inputs.push_back((host, Input::Ended { id, result: TaskResult::Probed(result) }));
            }
            Output::Cancel { id } => {
                let (script, message, log) = (String::new(), "cancelled".into(), String::new());
                let code = crate::entry::ErrorCode::Stopped;
                let failure = Failure { event: self.hangs, code, script, message, log };
                self.inputs.push_back((host, Input::Ended { id, result: TaskResult::Event(Err(failure)) }));
            }
            Output::Reply { reply, .. } => self.replies.push(reply),
            Output::Connect { .. }
            | Output::Disconnect { .. }
            | Output::Start {
                task: Task::FetchBundle { .. } | Task::ReadAlarm { .. } | Task::Notify { .. },
                ..
            }
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
                let is_lost = match &input {
                    Input::Received { from, .. } | Input::Gossip { by: from, .. } => {
                        self.deaf.contains(&host)
                            || self.cut.contains(&(host, *from))
                            || self.cut.contains(&(*from, host))
                    }
                    Input::Wake
                    | Input::Connected { .. }
                    | Input::Disconnected { .. }
                    | Input::Persisted(_)
                    | Input::Ended { .. }
                    | Input::Request { .. }
                    | Input::Leaving
                    | Input::Disk { .. } => false,
                };
                // A host that is gone gets no input.
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

    /// Ends the host's agent, and starts it like this on the disk that it had.
    pub(super) fn start_anew(&mut self, number: u8, config: Config) {
        let host = HostId::from_public_key([number; 32]);
        self.nodes.remove(&host);
        for other in self.nodes.keys() {
            self.inputs.push_back((*other, Input::Disconnected { host }));
        }
        self.run(Duration::from_millis(10));
        let disk = self.disks.get(&host).cloned().unwrap_or_default();
        let node = Node::start(config, disk, self.now).expect("it starts");
        for other in self.nodes.keys() {
            self.inputs.push_back((*other, Input::Connected { host }));
            self.inputs.push_back((host, Input::Connected { host: *other }));
        }
        self.nodes.insert(host, node);
    }

    pub(super) fn group(&mut self) -> GroupName {
        self.checked_group(None)
    }

    fn checked_group(&mut self, health: Option<HealthCheck>) -> GroupName {
        let name: GroupName = "hello/prod".parse().expect("a name");
        let tags = TagSets(vec![vec![TagFilter::parse("role=web").expect("a filter")]]);
        let group = Group { health, ..Group::new(name.clone(), tags, Policy::default()) };
        assert_eq!(self.request(0, Request::Intent(Intent::SetGroup(group))), Ok(Accepted::Done));
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
            by: String::new(),
        };
        match self.request(of, Request::Deploy(Box::new(request))) {
            Ok(Accepted::Deployment(id)) => id,
            other => panic!("{other:?}"),
        }
    }

    /// Adds so many entries at once that the log is cut.
    fn burst(&mut self) {
        let name: GroupName = "hello/other".parse().expect("a name");
        for number in 0..40 {
            let tags = TagSets(vec![vec![TagFilter::parse("role=db").expect("a filter")]]);
            let request = Box::new(Request::Intent(Intent::SetGroup(Group::new(
                name.clone(),
                tags,
                Policy::default(),
            ))));
            let id = RequestId(1_000 + number);
            self.inputs.push_back((HostId::from_public_key([0; 32]), Input::Request { id, request }));
        }
        self.run(Duration::from_secs(1));
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
    // The events of one host are never interleaved with those of another.
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
fn where_a_turn_was_that_a_timer_ended_is_remembered_and_no_other() {
    let mut mesh = Mesh::of(3);
    mesh.run(Duration::from_secs(10));
    let name = mesh.group();
    let mut group = mesh.state(0).group(&name).expect("it is set").group.clone();
    group.policy.turn_timeout = Duration::from_secs(60);
    assert_eq!(mesh.request(0, Request::Intent(Intent::SetGroup(group))), Ok(Accepted::Done));
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
    for (host, node) in &mut mesh.nodes {
        // What the host says about its turn after the end makes no difference.
        node.forget_progress(
            &Report::TurnEnded { deployment, host: first, outcome: TurnOutcome::Succeeded }.into(),
        );
        assert_eq!(node.progress(deployment, first), Some(LifecycleEvent::ApplicationStart), "on {host}");
        for other in [0, 1, 2] {
            assert_eq!(node.progress(good, HostId::from_public_key([other; 32])), None, "on {host}");
        }
    }
}

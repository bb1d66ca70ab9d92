use std::collections::BTreeSet;
use std::time::Duration;

use super::*;
use crate::entry::{Creator, Entry, ErrorCode, HostRecord, ProposalId, Submission, TurnOutcome};
use crate::group::{Group, Tag, TagFilter, TagSets};
use crate::health::{HealthCheck, Probe};
use crate::id::{DeploymentId, Digest, VoterId};
use crate::policy::{Canary, Minimum, Policy, Share};
use crate::revision::Revision;
use crate::rollout::{Blocker, DeploymentStatus, Rollout, Stage, Turn, Verdict};
use crate::state::State;
use crate::statement::{Finding, Intent, Report, Statement};

fn host(number: u8) -> HostId {
    HostId::from_public_key([number; 32])
}

fn name() -> GroupName {
    "hello/prod".parse().expect("a name")
}

fn id(revision: u8) -> DeploymentId {
    DeploymentId::derive(&[revision])
}

fn check() -> HealthCheck {
    HealthCheck::new(Probe::Tcp("127.0.0.1:80".into()))
}

/// Five hosts with a health check. The first revision is deployed, and a second is
/// submitted.
struct Mesh(State);

impl Mesh {
    fn new(minimum: Minimum) -> Mesh {
        let mut mesh = Mesh::deployed();
        mesh.submit(2, minimum);
        mesh
    }

    fn deployed() -> Mesh {
        let mut mesh = Mesh(State::founding());
        for number in 1..=5 {
            mesh.add(Report::HostJoined(HostRecord {
                host: host(number),
                voter: VoterId(number.into()),
                name: format!("web-{number}"),
                tags: BTreeSet::from([Tag::parse("role=web").expect("a tag")]),
                zone: String::new(),
                addresses: Vec::new(),
                incarnation: 1,
                wire: crate::wire::WIRE,
                replaces: String::new(),
                start: 0,
            }));
        }
        mesh.set(Some(check()));
        mesh.submit(1, Minimum::AllAtOnce);
        (1..=5).for_each(|number| mesh.turn(1, number, TurnOutcome::Succeeded));
        mesh.add(Finding::Finished { deployment: id(1) });
        mesh
    }

    fn set(&mut self, health: Option<HealthCheck>) {
        let tags = TagSets(vec![vec![TagFilter::parse("role=web").expect("a filter")]]);
        self.add(Intent::SetGroup(Group { health, ..Group::new(name(), tags, Policy::default()) }));
    }

    fn submit(&mut self, revision: u8, minimum: Minimum) {
        self.submit_with(revision, Policy { minimum, ..Policy::default() });
    }

    fn submit_with(&mut self, revision: u8, policy: Policy) {
        self.add(Intent::Deploy(Box::new(Submission {
            deployment: id(revision),
            group: name(),
            revision: Revision { digest: Digest([revision; 32]), size: 1, origin: String::new() },
            policy,
            creator: Creator::User,
            rollback_of: None,
            description: String::new(),
            holders: Vec::new(),
            queue: false,
            by: String::new(),
        })));
    }

    fn add(&mut self, statement: impl Into<Statement>) {
        let at = self.0.clock() + Duration::from_secs(1);
        self.add_at(at, statement);
    }

    fn add_at(&mut self, at: LedgerTime, statement: impl Into<Statement>) {
        let statement = statement.into();
        let index = self.0.index() + 1;
        let author = statement.author().unwrap_or(host(1));
        let proposal = ProposalId { host: author, incarnation: 1, number: index };
        self.0.apply(index, &Entry { at, proposal, statement }).expect("it is accepted");
    }

    fn start(&mut self, revision: u8, number: u8) {
        self.add(Report::TurnStarted { deployment: id(revision), host: host(number) });
    }

    fn turn(&mut self, revision: u8, number: u8, outcome: TurnOutcome) {
        self.start(revision, number);
        self.end(revision, number, outcome);
    }

    fn end(&mut self, revision: u8, number: u8, outcome: TurnOutcome) {
        self.add(Report::TurnEnded { deployment: id(revision), host: host(number), outcome });
    }

    fn say(&mut self, number: u8, healthy: bool) {
        self.say_as_of(number, healthy, self.0.index());
    }

    fn say_as_of(&mut self, number: u8, healthy: bool, as_of: Index) {
        let error = if healthy { String::new() } else { "it answered 500".into() };
        self.add(Report::HealthChanged { group: name(), host: host(number), healthy, error, as_of });
    }

    fn rollout(&self) -> &Rollout {
        self.0.rollout(id(2)).expect("the second deployment")
    }

    fn ailing(&self) -> Vec<u8> {
        let name = name();
        let checks = self.0.checks().of(&name);
        (1..=5).filter(|number| checks.ailing(host(*number)).is_some()).collect()
    }

    fn holds_lease(&self) -> Vec<u8> {
        (1..=5).filter(|number| self.rollout().in_flight().contains(&host(*number))).collect()
    }
}

#[test]
fn an_unwell_host_is_out_of_service_and_goes_first() {
    let mut mesh = Mesh::new(Minimum::OneAtATime);
    assert_eq!(mesh.holds_lease(), [1]);
    mesh.start(2, 1);
    mesh.say(4, false);
    assert_eq!((mesh.ailing(), mesh.rollout().counts().available), (vec![4], 3));
    mesh.add(Report::TurnEnded { deployment: id(2), host: host(1), outcome: TurnOutcome::Succeeded });
    assert_eq!(mesh.holds_lease(), [4], "not the second: a turn takes nothing away from the fourth");
    mesh.say(4, true);
    assert_eq!(mesh.holds_lease(), [4], "it is well again, and can be spared");
    assert_eq!(mesh.rollout().counts().available, 4);
}

#[test]
fn a_lease_of_an_unwell_host_is_taken_back_if_it_is_needed_when_it_is_well() {
    let mut mesh = Mesh::new(Minimum::OneAtATime);
    mesh.start(2, 1);
    mesh.say(3, false);
    mesh.say(4, false);
    mesh.add(Report::TurnEnded { deployment: id(2), host: host(1), outcome: TurnOutcome::Succeeded });
    assert_eq!(mesh.holds_lease(), [3]);
    mesh.say(3, true);
    assert_eq!(mesh.holds_lease(), [4], "with the third in service there are four, and four must stay so");
}

#[test]
fn nothing_is_heard_in_a_turn_nor_what_was_said_before_it() {
    let mut mesh = Mesh::new(Minimum::OneAtATime);
    let before = mesh.0.index();
    mesh.start(2, 1);
    mesh.say(1, false);
    assert_eq!(mesh.ailing(), [] as [u8; 0]);
    mesh.add(Report::TurnEnded { deployment: id(2), host: host(1), outcome: TurnOutcome::Succeeded });
    mesh.say_as_of(1, false, before);
    assert_eq!(mesh.ailing(), [] as [u8; 0], "it was said of what ran before the turn");
    mesh.say(1, false);
    assert_eq!(mesh.ailing(), [1]);
    let unwell = mesh.0.clone();
    mesh.say(1, false);
    let group = |state: &State| state.checks().of(&name()).all().expect("the group").clone();
    assert_eq!(group(&mesh.0), group(&unwell), "said twice is said once");
    assert!(
        mesh.0.is_settled(
            &Report::HealthChanged {
                group: name(),
                host: host(1),
                healthy: false,
                error: String::new(),
                as_of: mesh.0.index(),
            }
            .into()
        )
    );
}

#[test]
fn an_updated_host_that_is_unwell_pauses_and_then_counts_as_failed() {
    let mut mesh = Mesh::new(Minimum::OneAtATime);
    mesh.turn(2, 1, TurnOutcome::Succeeded);
    assert_eq!(mesh.holds_lease(), [2]);
    mesh.turn(2, 2, TurnOutcome::Succeeded);
    assert_eq!(mesh.holds_lease(), [3]);
    mesh.start(2, 3);
    mesh.say(1, false);
    mesh.end(2, 3, TurnOutcome::Succeeded);
    let blocker = Blocker::TooFewHealthy { available: 4, minimum: 4, total: 5, down: 0, ailing: 1 };
    assert_eq!(mesh.rollout().turn(), Turn::Blocked(vec![blocker]));
    assert_eq!(mesh.rollout().verdict, None, "it may come back");

    let mut back = Mesh(mesh.0.clone());
    back.say(1, true);
    assert_eq!(back.holds_lease(), [4], "it came back");

    let at = mesh.0.next_timer().expect("it may not stay so");
    mesh.add_at(at, Finding::Tick);
    let stage = &mesh.rollout().members()[&host(1)].stage;
    let Stage::Ended { outcome: TurnOutcome::Failed(failure), .. } = stage else { panic!("{stage:?}") };
    assert_eq!(failure.code, ErrorCode::HealthCheckFailed);
    assert!(failure.message.contains("has failed for 60 s"), "{}", failure.message);
    assert!(failure.message.contains("it answered 500"), "{}", failure.message);
    assert!(
        matches!(mesh.rollout().verdict, Some(Verdict::Failed(_))),
        "with it the minimum is out of reach"
    );
}

#[test]
fn a_deployment_does_not_succeed_while_an_updated_host_is_unwell() {
    let mut mesh = Mesh::new(Minimum::OneAtATime);
    (1..=4).for_each(|number| mesh.turn(2, number, TurnOutcome::Succeeded));
    mesh.start(2, 5);
    mesh.say(2, false);
    mesh.end(2, 5, TurnOutcome::Succeeded);
    assert_eq!(mesh.rollout().turn(), Turn::Blocked(vec![Blocker::Relapsed { relapsed: 1 }]));
    assert!(!mesh.rollout().is_decided());
    mesh.say(2, true);
    assert_eq!(mesh.rollout().verdict, Some(Verdict::Succeeded));
    mesh.add(Finding::Finished { deployment: id(2) });
    assert_eq!(mesh.rollout().status(), DeploymentStatus::Succeeded);
    mesh.say(2, false);
    assert_eq!(mesh.ailing(), [2], "between deployments it is heard as well");
}

#[test]
fn without_a_check_nobody_is_unwell() {
    let mut mesh = Mesh::new(Minimum::OneAtATime);
    mesh.start(2, 1);
    mesh.say(3, false);
    mesh.set(None);
    assert_eq!((mesh.ailing(), mesh.rollout().counts().available), (vec![], 4));
    mesh.say(3, false);
    assert_eq!(mesh.ailing(), [] as [u8; 0], "a word that came late");
    let mut mesh = Mesh::new(Minimum::OneAtATime);
    mesh.start(2, 1);
    mesh.say(3, false);
    mesh.set(Some(HealthCheck { fall: 5, ..check() }));
    assert_eq!(mesh.ailing(), [3], "another check has not said otherwise yet");
    mesh.add(Intent::RemoveHost(host(3)));
    assert_eq!(mesh.ailing(), [] as [u8; 0]);
}

#[test]
fn how_often_a_host_was_unwell_is_forgotten_in_an_hour_and_by_a_good_turn() {
    let mut mesh = Mesh::new(Minimum::OneAtATime);
    for _ in 0..3 {
        mesh.say(5, false);
        mesh.say(5, true);
    }
    let of_late = |mesh: &Mesh, later: u64| {
        let at = mesh.0.clock() + Duration::from_secs(later);
        mesh.0.checks().known(&name(), host(5), at).unwell_of_late
    };
    assert_eq!((of_late(&mesh, 0), of_late(&mesh, 3_700)), (3, 0));
    (1..=5).for_each(|number| mesh.turn(2, number, TurnOutcome::Succeeded));
    assert_eq!(of_late(&mesh, 0), 0);
}

#[test]
fn a_lease_that_may_not_be_used_runs_no_timeout_down() {
    let mut mesh = Mesh::new(Minimum::OneAtATime);
    mesh.turn(2, 1, TurnOutcome::Succeeded);
    assert_eq!(mesh.holds_lease(), [2]);
    mesh.add(Report::HostDown { host: host(1), incarnation: 1 });
    assert_eq!(mesh.holds_lease(), [] as [u8; 0], "the second has not begun: it goes on serving");
    let start_timeout = Policy::default().start_timeout;
    mesh.add_at(mesh.0.clock() + 2 * start_timeout, Finding::Tick);
    assert_eq!(mesh.rollout().members()[&host(2)].stage, Stage::Pending, "it did nothing wrong");
    assert_eq!(mesh.rollout().verdict, None);
    mesh.add(Report::HostUp { host: host(1), incarnation: 1 });
    assert_eq!(mesh.holds_lease(), [2]);
    mesh.add_at(mesh.0.clock() + start_timeout, Finding::Tick);
    let stage = &mesh.rollout().members()[&host(2)].stage;
    let Stage::Ended { outcome: TurnOutcome::Failed(failure), .. } = stage else { panic!("{stage:?}") };
    assert_eq!(failure.code, ErrorCode::DidNotStart, "with room, it had to");
}

/// A host goes Down during its bake, `then` runs, and the host's time ends.
fn check_lost(then: impl Fn(&mut Mesh)) {
    let mut mesh = Mesh::deployed();
    let canary = Some(Canary { hosts: Share::Hosts(1), bake: Duration::from_secs(600) });
    let policy = Policy { canary, lost_after: Duration::from_secs(60), ..Policy::default() };
    mesh.submit_with(2, policy);
    mesh.turn(2, 1, TurnOutcome::Succeeded);
    assert_eq!(mesh.rollout().status(), DeploymentStatus::Baking);
    mesh.add(Report::HostDown { host: host(1), incarnation: 1 });
    let over = mesh.0.clock() + Duration::from_secs(60);
    then(&mut mesh);
    assert_eq!(mesh.rollout().verdict, None);
    mesh.add_at(over, Finding::Tick);
    assert!(matches!(mesh.rollout().verdict, Some(Verdict::Failed(_))), "{:?}", mesh.rollout().verdict);
}

#[test]
fn nothing_but_its_return_gives_a_host_that_is_down_in_its_bake_more_time() {
    check_lost(|mesh| {
        mesh.say(1, false);
        mesh.say(1, true);
    });
    check_lost(|mesh| mesh.add(Intent::RemoveHost(host(1))));
}

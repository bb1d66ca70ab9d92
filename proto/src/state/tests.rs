use std::time::Duration;

use super::*;
use crate::entry::{Creator, HostRecord, ProposalId, Submission, TurnOutcome};
use crate::group::{Tag, TagFilter, TagSets};
use crate::id::{Digest, VoterId};
use crate::policy::{Canary, Minimum, Mode, Policy, Share, Zonal};
use crate::revision::Revision;
use crate::rollout::{DeploymentStatus, ReasonCode, Verdict};
use crate::statement::{Finding, Intent, Report, Statement};

fn host(number: u8) -> HostId {
    HostId::from_public_key([number; 32])
}

fn name() -> GroupName {
    "hello/prod".parse().expect("a name")
}

fn revision(version: u8) -> Revision {
    Revision { digest: Digest([version; 32]), size: 1, origin: String::new() }
}

/// A mesh with a group of all its hosts.
struct Mesh {
    state: State,
    millis: u64,
}

impl Mesh {
    /// Makes one host for each zone given; an empty name means no zone.
    fn of(zones: &[&str]) -> Mesh {
        let mut mesh = Mesh { state: State::founding(), millis: 0 };
        for (number, zone) in (1..).zip(zones) {
            mesh.join(number, zone, crate::wire::WIRE);
        }
        mesh.set_group(Policy::default(), None).expect("a group");
        mesh
    }

    fn join(&mut self, number: u8, zone: &str, wire: u16) {
        let record = HostRecord {
            host: host(number),
            voter: VoterId(u64::from(number)),
            name: format!("web-{number}"),
            tags: [Tag::parse("role=web").expect("a tag")].into(),
            zone: zone.into(),
            addresses: Vec::new(),
            incarnation: 1,
            wire,
            replaces: String::new(),
            start: 0,
        };
        self.add(Report::HostJoined(record)).expect("joined");
    }

    fn set_group(&mut self, policy: Policy, config: Option<&str>) -> Result<(), Refusal> {
        let tags = TagSets(vec![vec![TagFilter::parse("role=web").expect("a filter")]]);
        let config = config.map(|name| name.parse().expect("a name"));
        self.add(Intent::SetGroup(Group { config, ..Group::new(name(), tags, policy) }))
    }

    fn add(&mut self, statement: impl Into<Statement>) -> Result<(), Refusal> {
        let statement = statement.into();
        self.millis += 1;
        let index = self.state.index() + 1;
        let author = statement.author().unwrap_or(host(1));
        let proposal = ProposalId { host: author, incarnation: 1, number: index };
        let at = LedgerTime::from_millis(self.millis);
        // The proposer of an entry has checked it before.
        self.state.apply(index, &Entry { at, proposal, statement })
    }

    fn submit(&mut self, id: u8, version: u8, policy: Policy) -> Result<(), Refusal> {
        self.add(Intent::Deploy(Box::new(Submission {
            deployment: DeploymentId::derive(&[id]),
            group: name(),
            revision: revision(version),
            policy,
            creator: Creator::User,
            rollback_of: None,
            description: String::new(),
            holders: Vec::new(),
            queue: false,
            by: String::new(),
        })))
    }

    fn rollout(&self, id: u8) -> &Rollout {
        self.state.rollout(DeploymentId::derive(&[id])).expect("a deployment")
    }

    fn turn(&mut self, id: u8, number: u8) {
        let (deployment, host) = (DeploymentId::derive(&[id]), host(number));
        self.add(Report::TurnStarted { deployment, host }).expect("started");
        self.add(Report::TurnEnded { deployment, host, outcome: TurnOutcome::Succeeded }).expect("ended");
    }

    fn finish(&mut self, id: u8) {
        self.add(Finding::Finished { deployment: DeploymentId::derive(&[id]) }).expect("finished");
    }

    /// Makes a mesh that is deployed to, all hosts in the order of their names.
    fn brought_to(zones: &[&str], version: u8) -> Mesh {
        let mut mesh = Mesh::of(zones);
        mesh.submit(0, version, Policy::default()).expect("submitted");
        (1..).zip(zones).for_each(|(number, _)| mesh.turn(0, number));
        mesh.finish(0);
        assert_eq!(mesh.rollout(0).status(), DeploymentStatus::Succeeded);
        mesh
    }
}

fn check(zones: &[&str], change: impl FnOnce(&mut Policy), words: &[&str]) {
    let mut policy = Policy { minimum: Minimum::AllAtOnce, ..Policy::default() };
    change(&mut policy);
    let refusal = Mesh::of(zones).submit(1, 1, policy).expect_err(words[0]).to_string();
    for words in words {
        assert!(refusal.contains(words), "`{refusal}` does not say `{words}`");
    }
}

const TWO_ZONES: [&str; 4] = ["a", "a", "a", "b"];

#[test]
fn what_could_never_succeed_is_refused_with_numbers() {
    let zonal = |minimum| Some(Zonal { minimum, ..Zonal::default() });
    let bakes = |bake| Some(Zonal { bake: Duration::from_secs(bake), ..Zonal::default() });
    let canary = |hosts| Some(Canary { hosts, bake: Duration::ZERO });
    check(
        &TWO_ZONES,
        |policy| policy.zonal = zonal(Share::Hosts(1)),
        &["1 host of the 1 hosts in zone b means 1 must stay healthy", "zones.minimum_healthy = 0"],
    );
    check(
        &["a", "a", "a"],
        |policy| policy.zonal = zonal(Share::Percent(67)),
        &["67 % of the 3 hosts in zone a means 3 must stay healthy", "zones.minimum_healthy = \"66%\""],
    );
    check(
        &["", ""],
        |policy| policy.zonal = zonal(Share::Percent(0)),
        &["none of its 2 hosts says in which zone"],
    );
    check(
        &TWO_ZONES,
        |policy| policy.zonal = Some(Zonal { order: vec!["c".into(), "a".into()], ..Zonal::default() }),
        &["zones.order names c, but no host of hello/prod is there; its zones are: a, b"],
    );
    check(
        &TWO_ZONES,
        |policy| policy.canary = canary(Share::Hosts(4)),
        &["a canary of 4 hosts takes in every host of hello/prod (4)"],
    );
    check(
        &[""],
        |policy| policy.canary = canary(Share::Percent(10)),
        &["10 % takes in every host of hello/prod (1)"],
    );
    check(
        &["a", "b", "c"],
        |policy| {
            policy.zonal = bakes(1_800);
            policy.deployment_timeout = Duration::from_secs(3_600);
        },
        &["take 3600 s in all and its timeout is 3600 s"],
    );
    check(&TWO_ZONES, |policy| policy.minimum = Minimum::FleetPercent(100), &["minimum_healthy = 100%"]);
    check(&TWO_ZONES, |policy| policy.mode = Mode::Restart, &["is no longer 010101010101"]);
}

#[test]
fn the_advice_is_followed_with_success() {
    let mut mesh = Mesh::of(&["a", "a", "a"]);
    let zonal = Some(Zonal { minimum: Share::Percent(66), ..Zonal::default() });
    assert_eq!(mesh.submit(1, 1, Policy { zonal, ..Policy::default() }), Ok(()));
}

#[test]
fn a_policy_that_an_older_agent_does_not_know_is_refused_with_its_name() {
    let mut mesh = Mesh::of(&["a", "b"]);
    mesh.join(7, "c", 1);
    let capped = Policy { turns_max: Some(1), ..Policy::default() };
    let refusal = mesh.submit(1, 1, capped).expect_err("refused");
    assert_eq!(refusal, Refusal::TooOld { hosts: vec!["web-7".into()], older: 1, needs: 2 });
    assert_eq!(mesh.submit(1, 1, Policy::default()), Ok(()), "what it knows it may be asked");
}

#[test]
fn only_outdated_hosts_are_updated_if_that_is_asked() {
    let mut mesh = Mesh::brought_to(&["", ""], 1);
    mesh.join(3, "", crate::wire::WIRE);
    let outdated = Policy { outdated_only: true, ..Policy::default() };
    mesh.submit(1, 1, outdated.clone()).expect("one has not got it");
    assert_eq!(mesh.rollout(1).in_flight(), [host(3)]);
    mesh.turn(1, 3);
    mesh.finish(1);
    assert_eq!(mesh.rollout(1).status(), DeploymentStatus::Succeeded);
    let refusal = mesh.submit(2, 1, outdated).expect_err("all have it");
    assert_eq!(refusal, Refusal::NothingOutdated { group: name(), hosts: 3, digest: revision(1).digest });
}

#[test]
fn a_restart_is_for_hosts_that_run_the_last_good_revision() {
    let mut mesh = Mesh::brought_to(&["", ""], 1);
    mesh.join(3, "", crate::wire::WIRE);
    let restart = Policy { mode: Mode::Restart, minimum: Minimum::HostCount(0), ..Policy::default() };
    mesh.submit(1, 1, restart.clone()).expect("two run it");
    assert_eq!(mesh.rollout(1).in_flight(), [host(1), host(2)]);
    [1, 2].into_iter().for_each(|number| mesh.turn(1, number));
    mesh.finish(1);
    assert_eq!(mesh.rollout(1).status(), DeploymentStatus::Succeeded);
    let refusal = mesh.submit(2, 2, restart).expect_err("another revision");
    assert_eq!(refusal, Refusal::RestartOutrun { group: name(), digest: revision(2).digest });
}

fn careful(minimum: Minimum) -> DeploymentConfig {
    let canary = Some(Canary { hosts: Share::Hosts(1), bake: Duration::ZERO });
    DeploymentConfig {
        name: "careful".parse().expect("a name"),
        minimum,
        turns_max: None,
        canary,
        zonal: None,
    }
}

#[test]
fn a_named_configuration_is_looked_up_when_a_deployment_is_submitted() {
    let mut mesh = Mesh::of(&["", "", ""]);
    let unknown = mesh.set_group(Policy::default(), Some("careful")).expect_err("unknown").to_string();
    assert!(unknown.contains("no deployment configuration `careful`: there are OneAtATime,"), "{unknown}");
    mesh.add(Intent::SetConfig(careful(Minimum::AllAtOnce))).expect("set");
    mesh.set_group(Policy::default(), Some("careful")).expect("known");
    let policy_of = |mesh: &Mesh| mesh.state.policy_of(&mesh.state.group(&name()).expect("set").group);
    let policy = policy_of(&mesh).expect("known");
    assert_eq!((policy.minimum, policy.canary.is_some()), (Minimum::AllAtOnce, true));
    mesh.submit(1, 1, policy).expect("submitted");
    // A new definition does not change a running deployment.
    mesh.add(Intent::SetConfig(careful(Minimum::HalfAtATime))).expect("set again");
    assert_eq!(mesh.rollout(1).submission.policy.minimum, Minimum::AllAtOnce);
    assert_eq!(policy_of(&mesh).expect("known").minimum, Minimum::HalfAtATime);
}

#[test]
fn a_configuration_is_deleted_only_if_nobody_follows_it() {
    let mut mesh = Mesh::of(&["", ""]);
    let named = careful(Minimum::AllAtOnce).name;
    mesh.add(Intent::SetConfig(careful(Minimum::AllAtOnce))).expect("set");
    mesh.set_group(Policy::default(), Some("careful")).expect("set");
    let groups = vec![name().to_string()];
    let refusal = Refusal::ConfigInUse { name: named.clone(), groups };
    assert_eq!(mesh.add(Intent::DeleteConfig(named.clone())), Err(refusal));
    mesh.set_group(Policy::default(), None).expect("set");
    assert_eq!(mesh.add(Intent::DeleteConfig(named.clone())), Ok(()));
    assert!(matches!(mesh.add(Intent::DeleteConfig(named)), Err(Refusal::UnknownConfig { .. })));
}

#[test]
fn predefined_names_mean_the_same_everywhere() {
    let mut mesh = Mesh::of(&[""]);
    for text in ["OneAtATime", "allatonce", "CodeDeployDefault.OneAtATime"] {
        let config = DeploymentConfig { name: text.parse().expect("a name"), ..careful(Minimum::AllAtOnce) };
        let refusal = Refusal::PredefinedConfig(config.name.clone());
        assert_eq!(mesh.add(Intent::SetConfig(config)), Err(refusal), "{text}");
    }
    let config = careful(Minimum::FleetPercent(100));
    assert!(matches!(mesh.add(Intent::SetConfig(config)), Err(Refusal::InvalidPolicy(_))));
}

/// Makes a mesh in which zone a is done and bakes for a minute.
fn baking(minimum: Minimum) -> Mesh {
    let mut mesh = Mesh::brought_to(&["a", "b", "c"], 1);
    let zonal = Some(Zonal { bake: Duration::from_secs(60), ..Zonal::default() });
    mesh.submit(1, 2, Policy { minimum, zonal, ..Policy::default() }).expect("submitted");
    mesh.turn(1, 1);
    assert_eq!(mesh.rollout(1).status(), DeploymentStatus::Baking);
    mesh
}

#[test]
fn a_bake_ends_by_the_ledgers_clock() {
    let mut mesh = baking(Minimum::AllAtOnce);
    let until = mesh.rollout(1).bakes_until().expect("it bakes");
    assert_eq!(mesh.state.next_timer(), Some(until));
    mesh.millis = until.as_millis() - 2;
    mesh.add(Finding::Tick).expect("time passes");
    assert_eq!(mesh.rollout(1).in_flight(), []);
    mesh.add(Finding::Tick).expect("time passes");
    assert_eq!(mesh.rollout(1).in_flight(), [host(2)]);
}

#[test]
fn a_zone_that_is_lost_in_its_bake_counts() {
    for (minimum, goes_on) in [(Minimum::HostCount(1), true), (Minimum::HostCount(2), false)] {
        let mut mesh = baking(minimum);
        mesh.add(Report::HostDown { host: host(1), incarnation: 1 }).expect("down");
        // The host has a minute to come back, as long as the bake lasts.
        mesh.millis += 60_000;
        mesh.add(Finding::Tick).expect("time passes");
        let rollout = mesh.rollout(1);
        assert_eq!(rollout.in_flight() == [host(2)], goes_on, "{:?}", rollout.verdict);
        let failed = matches!(&rollout.verdict, Some(Verdict::Failed(why)) if why.code == ReasonCode::HealthConstraints);
        assert_eq!(failed, !goes_on);
    }
}

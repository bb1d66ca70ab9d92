//! Tests alarms, freezes and happenings in the fold, with ledgers of three hosts.

use std::collections::VecDeque;
use std::time::Duration;

use super::*;
use crate::alarm::AlarmSource;
use crate::deployment_kind::DeploymentKind;
use crate::entry::{Creator, Entry, ErrorCode, Failure, HostRecord, Index, ProposalId, TurnOutcome};
use crate::group::{Tag, TagFilter, TagSets};
use crate::id::{Digest, HostId, VoterId};
use crate::policy::{Minimum, Policy};
use crate::revision::Revision;
use crate::rollout::{Blocker, DeploymentStatus, ReasonCode, Rollout, Stage, Turn, Verdict};
use crate::state::{FREEZE_MAX, GroupState, State};
use crate::statement::{Finding, Intent, Report, Statement};
use crate::time::LedgerTime;
use crate::trigger::{GivenUp, HAPPENINGS_MAX, Happening, Target, Trigger, TriggerEvent};

fn host(number: u8) -> HostId {
    HostId::from_public_key([number; 32])
}

fn name() -> GroupName {
    "hello/prod".parse().expect("a name")
}

fn id(text: &str) -> DeploymentId {
    DeploymentId::derive(text.as_bytes())
}

fn alarm(name: &str, source: AlarmSource, unreadable: OnUnreadable) -> Alarm {
    Alarm {
        name: name.into(),
        source,
        every: Duration::from_secs(10),
        timeout: Duration::from_secs(5),
        unreadable,
    }
}

fn group() -> Group {
    let tags = TagSets(vec![vec![TagFilter::parse("role=web").expect("a filter")]]);
    let mut group = Group::new(name(), tags, Policy { minimum: Minimum::AllAtOnce, ..Policy::default() });
    let exec = || AlarmSource::Exec { command: "check".into() };
    group.alarms = vec![
        alarm("errors", exec(), OnUnreadable::Stop),
        alarm("latency", exec(), OnUnreadable::Ignore),
        alarm("pager", AlarmSource::Manual, OnUnreadable::Stop),
    ];
    let on =
        [TriggerEvent::DeploymentStart, TriggerEvent::DeploymentStop, TriggerEvent::InstanceSuccess].into();
    group.triggers =
        vec![Trigger { name: "chat".into(), on, target: Target::Exec { command: "tell".into() } }];
    group
}

struct Ledger(State);

impl Ledger {
    fn new() -> Ledger {
        let mut ledger = Ledger(State::founding());
        for number in 1..=3 {
            ledger.add(Report::HostJoined(HostRecord {
                host: host(number),
                voter: VoterId(u64::from(number)),
                name: format!("web-{number}"),
                tags: [Tag::parse("role=web").expect("a tag")].into(),
                zone: String::new(),
                addresses: Vec::new(),
                incarnation: 1,
                wire: crate::wire::WIRE,
                replaces: String::new(),
                start: 0,
            }));
        }
        ledger.add(Intent::SetGroup(group()));
        ledger
    }

    fn offer(&mut self, statement: impl Into<Statement>) -> Result<(), Refusal> {
        self.offer_at(self.0.index() + 1, statement)
    }

    /// Sets the ledger's clock to one second for each entry.
    fn offer_at(&mut self, index: Index, statement: impl Into<Statement>) -> Result<(), Refusal> {
        let statement = statement.into();
        let at = LedgerTime::from_millis(index * 1_000);
        let author = statement.author().unwrap_or(host(1));
        let proposal = ProposalId { host: author, incarnation: 1, number: index };
        self.0.apply(index, &Entry { at, proposal, statement })
    }

    fn add(&mut self, statement: impl Into<Statement>) {
        self.offer(statement).expect("it is accepted");
    }

    fn submission(&self, deployment: &str, policy: Policy, queue: bool) -> Statement {
        Intent::Deploy(Box::new(Submission {
            deployment: id(deployment),
            group: name(),
            revision: Revision { digest: Digest::of(deployment.as_bytes()), size: 1, origin: String::new() },
            policy,
            creator: Creator::User,
            rollback_of: None,
            description: String::new(),
            holders: Vec::new(),
            queue,
            by: String::new(),
        }))
        .into()
    }

    fn submit(&mut self, deployment: &str) -> Result<(), Refusal> {
        let statement = self.submission(deployment, group().policy, false);
        self.offer(statement)
    }

    fn read(&mut self, deployment: &str, alarm: &str, state: AlarmState) {
        let (alarm, detail) = (alarm.into(), "it says".into());
        self.add(Report::AlarmRead { group: name(), deployment: id(deployment), alarm, state, detail });
    }

    fn read_all(&mut self, deployment: &str) {
        self.read(deployment, "errors", AlarmState::Ok);
        self.read(deployment, "latency", AlarmState::Ok);
    }

    fn set_by_hand(&mut self, active: bool) {
        self.add(Intent::SetAlarm { group: name(), alarm: "pager".into(), active, reason: "carts".into() });
    }

    fn rollout(&self, deployment: &str) -> &Rollout {
        self.0.rollout(id(deployment)).expect("it is kept")
    }

    fn group(&self) -> &GroupState {
        self.0.group(&name()).expect("it is defined")
    }

    /// Every host takes its turn and succeeds.
    fn run(&mut self, deployment: &str) {
        for number in 1..=3 {
            let (deployment, host) = (id(deployment), host(number));
            self.add(Report::TurnStarted { deployment, host });
            self.add(Report::TurnEnded { deployment, host, outcome: TurnOutcome::Succeeded });
        }
        self.add(Finding::Finished { deployment: id(deployment) });
        assert_eq!(self.rollout(deployment).status(), DeploymentStatus::Succeeded);
    }

    fn code(&self, deployment: &str) -> Option<ReasonCode> {
        match self.rollout(deployment).verdict.as_ref()? {
            Verdict::Stopped(reason) => Some(reason.code),
            Verdict::Failed(_) | Verdict::Succeeded => None,
        }
    }

    fn waiting(&self) -> &VecDeque<Happening> {
        &self.0.notifications().all_of(&name()).expect("the group").waiting
    }

    fn to_tell(&self) -> Vec<(TriggerEvent, DeploymentId)> {
        let (name, trigger) = (name(), &self.group().group.triggers[0]);
        let waiting = self.0.notifications().undelivered(&name, trigger);
        waiting.map(|event| (event.event, event.deployment)).collect()
    }
}

#[test]
fn no_turn_begins_before_each_alarm_was_read_in_this_deployment() {
    let mut ledger = Ledger::new();
    ledger.submit("one").expect("accepted");
    let unread = |unread| Turn::Blocked(vec![Blocker::AlarmUnread { unread, total: 2 }]);
    assert_eq!(ledger.rollout("one").turn(), unread(2));
    ledger.read("one", "errors", AlarmState::Ok);
    assert_eq!(ledger.rollout("one").turn(), unread(1));
    ledger.read("one", "latency", AlarmState::Unreadable);
    assert_eq!(ledger.rollout("one").in_flight().len(), 3, "one that may be unreadable says nothing");
    ledger.run("one");

    ledger.submit("two").expect("accepted");
    assert_eq!(ledger.rollout("two").turn(), unread(2), "what was read before does not count");
    ledger.read("one", "errors", AlarmState::Active);
    assert_eq!(ledger.code("two"), None, "nor what comes late");
    ledger.read_all("two");
    ledger.run("two");
}

#[test]
fn an_alarm_stops_what_runs_and_not_the_way_back() {
    for (name, state) in
        [("errors", AlarmState::Active), ("errors", AlarmState::Unreadable), ("latency", AlarmState::Active)]
    {
        let mut ledger = Ledger::new();
        ledger.submit("one").expect("accepted");
        ledger.read_all("one");
        ledger.run("one");
        ledger.submit("two").expect("accepted");
        ledger.read_all("two");
        ledger.add(Report::TurnStarted { deployment: id("two"), host: host(1) });
        ledger.read("two", name, state);

        assert_eq!(ledger.code("two"), Some(ReasonCode::AlarmActive), "{name} {state:?}");
        assert_eq!(ledger.rollout("two").stopped_by.as_ref().map(|by| by.alarm.as_str()), Some(name));
        assert_eq!(ledger.rollout("two").in_flight(), [host(1)], "leases are taken back, turns are not");
        assert_eq!(ledger.0.alarms_to_read().len(), 0, "nobody reads on");
        ledger.add(Report::TurnEnded {
            deployment: id("two"),
            host: host(1),
            outcome: TurnOutcome::Succeeded,
        });
        ledger.add(Finding::Finished { deployment: id("two") });
        let rollback = ledger.0.due().pop().expect("a rollback is owed");
        ledger.add(rollback);
        let running = ledger.group().running.expect("it runs");
        let back = ledger.0.rollout(running).expect("it is kept");
        assert_eq!((back.kind(), back.in_flight()), (DeploymentKind::Rollback, vec![host(1)]));
    }
}

#[test]
fn an_alarm_that_is_set_by_hand_refuses_what_heeds_it() {
    let mut ledger = Ledger::new();
    ledger.set_by_hand(true);
    let refused = ledger.submit("one").expect_err("an alarm is active");
    assert!(
        matches!(&refused, Refusal::AlarmActive { alarm, detail, .. } if alarm == "pager" && detail == "carts")
    );
    let statement = ledger.submission("one", Policy { ignore_alarms: true, ..group().policy }, false);
    ledger.add(statement);
    assert_eq!(ledger.rollout("one").in_flight().len(), 3, "it waits for no reading either");
    ledger.run("one");
    ledger.set_by_hand(false);
    ledger.submit("two").expect("accepted");
    ledger.read_all("two");
    ledger.set_by_hand(true);
    assert_eq!(ledger.code("two"), Some(ReasonCode::AlarmActive));
    let unknown = |alarm: &str| Intent::SetAlarm {
        group: name(),
        alarm: alarm.into(),
        active: true,
        reason: String::new(),
    };
    for wrong in ["errors", "pagr"] {
        assert!(matches!(ledger.offer(unknown(wrong)), Err(Refusal::UnknownAlarm { .. })), "{wrong}");
    }
}

#[test]
fn a_group_that_is_defined_anew_is_watched_anew() {
    let mut ledger = Ledger::new();
    ledger.submit("one").expect("accepted");
    ledger.read_all("one");
    let mut changed = group();
    changed.alarms[0].source = AlarmSource::Exec { command: "check-better".into() };
    ledger.add(Intent::SetGroup(changed));
    let gate = ledger.rollout("one").alarms;
    assert_eq!((gate.unread, gate.total), (1, 2));
    let mut without = group();
    without.alarms.clear();
    ledger.add(Intent::SetGroup(without));
    ledger.run("one");
}

#[test]
fn a_frozen_group_begins_nothing_until_it_thaws_by_itself_or_by_hand() {
    let mut ledger = Ledger::new();
    ledger.submit("zero").expect("accepted");
    ledger.read_all("zero");
    ledger.run("zero");
    ledger.submit("one").expect("accepted");
    ledger.read_all("one");
    let statement = ledger.submission("two", group().policy, true);
    ledger.add(statement);
    let freeze = |seconds: u64| Intent::Freeze {
        group: name(),
        until: LedgerTime::from_millis(seconds * 1_000),
        reason: "black friday".into(),
        by: "alice".into(),
    };
    ledger.add(freeze(60));
    ledger.run("one");
    assert_eq!((ledger.group().running, ledger.group().queued), (None, Some(id("two"))), "what ran went on");
    assert!(matches!(ledger.submit("three"), Err(Refusal::Frozen { by, .. }) if by == "alice"));

    // Only a deployment that goes back may pass it, whatever the policy says.
    let back = Policy { ignore_alarms: true, ignore_freeze: true, ..group().policy };
    let Statement::Intent(Intent::Deploy(submission)) = ledger.submission("back", back, false) else {
        unreachable!()
    };
    let refused = ledger.offer(Intent::Deploy(submission.clone()));
    assert!(matches!(refused, Err(Refusal::Frozen { .. })), "{refused:?}");
    let revision = ledger.group().good.first().expect("the first").revision.clone();
    let rollback_of = Some(id("one"));
    ledger.add(Intent::Deploy(Box::new(Submission { rollback_of, revision, ..*submission })));
    ledger.run("back");
    assert_eq!(ledger.group().running, None);

    assert_eq!(ledger.0.next_timer(), Some(LedgerTime::from_millis(60_000)));
    ledger.offer_at(60, Finding::Tick).expect("time passes");
    assert_eq!((ledger.group().running, ledger.0.freezes().of(&name()).is_none()), (Some(id("two")), true));
    ledger.read_all("two");
    ledger.run("two");

    ledger.add(freeze(9_999));
    ledger.add(Intent::Unfreeze(name()));
    ledger.submit("three").expect("accepted");
    let too_long = FREEZE_MAX.as_secs() + 100;
    for wrong in [1, too_long] {
        assert!(matches!(ledger.offer(freeze(wrong)), Err(Refusal::NotAFreeze { .. })), "{wrong}");
    }
}

#[test]
fn happenings_wait_until_they_are_told_or_given_up() {
    let mut ledger = Ledger::new();
    ledger.submit("one").expect("accepted");
    ledger.read_all("one");
    ledger.run("one");
    let success = (TriggerEvent::InstanceSuccess, id("one"));
    assert_eq!(ledger.to_tell(), [(TriggerEvent::DeploymentStart, id("one")), success, success, success]);
    let trigger = "chat".to_string();
    let given_up = vec![GivenUp {
        number: 2,
        id: "e-1".into(),
        event: TriggerEvent::InstanceSuccess,
        deployment: id("one"),
        why: "no route".into(),
    }];
    let statement: Statement =
        Report::TriggersDelivered { group: name(), trigger, up_to: 3, given_up }.into();
    ledger.add(statement.clone());
    assert!(ledger.0.is_settled(&statement));
    ledger.add(statement);
    assert_eq!(ledger.to_tell(), [success]);
    let cursor = ledger.0.notifications().cursor(&name(), "chat").expect("it is known");
    assert_eq!((cursor.up_to, cursor.given_up, cursor.last_given_up.len()), (3, 1, 1), "twice is once");
    assert_eq!(ledger.waiting().len(), 1, "what is told is forgotten");
}

#[test]
fn who_is_told_that_it_failed_is_told_why_in_numbers() {
    let mut ledger = Ledger::new();
    let mut group = group();
    group.policy.minimum = Minimum::HostCount(2);
    group.triggers[0].on.insert(TriggerEvent::DeploymentFailure);
    ledger.add(Intent::SetGroup(group.clone()));
    let mut policy = group.policy;
    policy.ignore_alarms = true;
    let statement = ledger.submission("one", policy, false);
    ledger.add(statement);
    while let Some(host) = ledger.rollout("one").in_flight().into_iter().next() {
        ledger.add(Report::TurnStarted { deployment: id("one"), host });
        let failure = Failure {
            event: None,
            code: ErrorCode::ScriptFailed,
            script: String::new(),
            message: String::new(),
            log: String::new(),
        };
        ledger.add(Report::TurnEnded { deployment: id("one"), host, outcome: TurnOutcome::Failed(failure) });
    }
    ledger.add(Finding::Finished { deployment: id("one") });
    // Everything is over, and each happening is told as it was at its time.
    for happening in ledger.waiting().clone() {
        let told = ledger.0.told(&happening).expect("told");
        let is_end = happening.event == TriggerEvent::DeploymentFailure;
        assert_eq!(told.status, if is_end { "Failed" } else { "InProgress" }, "{:?}", happening.event);
        assert_eq!(told.reason.is_some(), is_end, "{:?}", happening.event);
    }
    let last = ledger.waiting().back().expect("it failed").clone();
    assert_eq!(last.event, TriggerEvent::DeploymentFailure);
    let (reason, sentence) = ledger.0.told(&last).expect("told").reason.expect("a reason");
    assert_eq!(reason.code, ReasonCode::HealthConstraints);
    assert!(sentence.starts_with("0 of 3 hosts are healthy and 2 must be; 2 failed"), "{sentence}");
}

#[test]
fn a_receiver_that_is_never_there_costs_no_more_than_the_limit() {
    let mut ledger = Ledger::new();
    for number in 0..HAPPENINGS_MAX / 4 + 10 {
        let deployment = number.to_string();
        ledger.submit(&deployment).expect("accepted");
        ledger.read_all(&deployment);
        ledger.run(&deployment);
    }
    assert_eq!(ledger.waiting().len(), HAPPENINGS_MAX);
    assert_eq!(ledger.0.notifications().cursor(&name(), "chat").expect("it is known").dropped, 40);
    assert!(matches!(ledger.waiting()[0].event, TriggerEvent::DeploymentStart));
}

#[test]
fn a_deployment_that_is_stopped_before_its_first_turn_touches_nobody() {
    let mut ledger = Ledger::new();
    ledger.submit("one").expect("accepted");
    ledger.set_by_hand(true);
    let stages = ledger.rollout("one").members().values().map(|member| &member.stage);
    assert!(stages.clone().all(|stage| *stage == Stage::Skipped), "{:?}", stages.collect::<Vec<_>>());
    ledger.add(Finding::Finished { deployment: id("one") });
    assert_eq!(ledger.to_tell().last(), Some(&(TriggerEvent::DeploymentStop, id("one"))));
}

mod disk_space;
use std::time::Duration;

use super::start::DEFERRED_AFTER;
use super::*;
use crate::entry::{Creator, Entry, HostRecord, ProposalId, Submission};
use crate::group::{Group, Tag, TagFilter, TagSets};
use crate::health::{HealthCheck, Probe};
use crate::id::{Digest, VoterId};
use crate::lifecycle::LifecycleEvent as E;
use crate::policy::Policy;
use crate::revision::Revision;
use crate::state::Deferral;
use crate::statement::{Finding, Intent, Report, Statement};
use crate::time::LedgerTime;
use crate::wire::{DEFERRAL_SINCE, WIRE};

fn me() -> HostId {
    HostId::from_public_key([1; 32])
}

fn deployment() -> DeploymentId {
    DeploymentId::derive(b"a turn")
}

fn group() -> GroupName {
    "hello/prod".parse().expect("a name")
}

fn submitted(deployment: DeploymentId) -> Statement {
    submitted_with(deployment, Policy::default().attempts)
}

fn submitted_with(deployment: DeploymentId, attempts: u8) -> Statement {
    Intent::Deploy(Box::new(Submission {
        deployment,
        group: group(),
        revision: Revision { digest: Digest([2; 32]), size: 1, origin: String::new() },
        policy: Policy { attempts, ..Policy::default() },
        creator: Creator::User,
        rollback_of: None,
        description: String::new(),
        holders: Vec::new(),
        queue: false,
        by: String::new(),
    }))
    .into()
}

/// A mesh of this one host, whose turn has started. Tests can add entries.
struct Ledger(State);

impl Ledger {
    fn with_a_turn() -> Ledger {
        let mut ledger = Ledger::with_a_lease();
        ledger.add(Report::TurnStarted { deployment: deployment(), host: me() });
        ledger
    }

    fn with_a_lease() -> Ledger {
        Ledger::of(&[1])
    }

    /// Makes a mesh of three. This host is first in name order, and so gets the
    /// first lease.
    fn with_a_mesh_of_three() -> Ledger {
        let mut ledger = Ledger::of(&[1, 2, 3]);
        let first = deployment();
        for number in 1..=3 {
            let host = HostId::from_public_key([number; 32]);
            ledger.add(Report::TurnStarted { deployment: first, host });
            ledger.add(Report::TurnEnded { deployment: first, host, outcome: TurnOutcome::Succeeded });
        }
        ledger.add(Finding::Finished { deployment: first });
        ledger.add(submitted(DeploymentId::derive(b"the next")));
        ledger
    }

    fn of(hosts: &[u8]) -> Ledger {
        Ledger::with_attempts(hosts, Policy::default().attempts)
    }

    fn with_attempts(hosts: &[u8], attempts: u8) -> Ledger {
        let mut ledger = Ledger(State::founding());
        let tags = TagSets(vec![vec![TagFilter::parse("role=web").expect("a filter")]]);
        hosts.iter().for_each(|number| ledger.join_as(*number, VoterId(u64::from(*number)), 1, WIRE));
        ledger.add(Intent::SetGroup(Group::new(group(), tags, Policy::default())));
        ledger.add(submitted_with(deployment(), attempts));
        ledger
    }

    fn add(&mut self, statement: impl Into<Statement>) {
        let at = LedgerTime::from_millis((self.0.index() + 1) * 1_000);
        self.add_at(at, statement);
    }

    fn add_at(&mut self, at: LedgerTime, statement: impl Into<Statement>) {
        let statement = statement.into();
        let index = self.0.index() + 1;
        let author = statement.author().unwrap_or(me());
        let proposal = ProposalId { host: author, incarnation: 1, number: index };
        self.0.apply(index, &Entry { at, proposal, statement }).expect("it is accepted");
    }

    /// Gives the group a health check, or takes it away.
    fn set_check(&mut self, health: Option<HealthCheck>) {
        let group = self.0.groups().values().next().expect("one group").group.clone();
        self.add(Intent::SetGroup(Group { health, ..group }));
    }

    fn join(&mut self, voter: VoterId, incarnation: u64) {
        self.join_as(1, voter, incarnation, WIRE);
    }

    fn join_as(&mut self, number: u8, voter: VoterId, incarnation: u64, wire: u16) {
        self.add(Report::HostJoined(HostRecord {
            host: HostId::from_public_key([number; 32]),
            voter,
            name: format!("web-{number}"),
            tags: BTreeSet::from([Tag::parse("role=web").expect("a tag")]),
            zone: String::new(),
            addresses: Vec::new(),
            incarnation,
            wire,
            replaces: String::new(),
            start: 0,
        }));
    }

    fn current(&self) -> Option<Current> {
        Current::of(&self.0, deployment(), me())
    }
}

/// Returns the newest record in `acts`.
fn written(acts: &[Act]) -> Record {
    match acts {
        [Act::Write(record)] => record.clone(),
        other => panic!("one record is written, not {other:?}"),
    }
}

fn runs(act: Option<Act>) -> (DeploymentId, E) {
    match act {
        Some(Act::Run { deployment, event }) => (deployment, event),
        other => panic!("an event runs, not {other:?}"),
    }
}

fn code(record: &Record) -> Option<(Option<E>, ErrorCode)> {
    match record.outcome.as_ref()? {
        TurnOutcome::Succeeded => None,
        TurnOutcome::Failed(failure) => Some((failure.event, failure.code)),
    }
}

#[test]
fn an_event_runs_only_when_its_record_is_durable() {
    let ledger = Ledger::with_a_turn();
    let mut turns = OwnTurns::default();
    let record = written(&turns.reconcile(me(), &ledger.0));
    assert_eq!((record.done, record.running), (None, Some(E::ApplicationStop)));
    assert!(turns.reconcile(me(), &ledger.0).is_empty(), "a turn is begun once");
    assert_eq!(runs(turns.written(deployment(), ledger.current())).1, E::ApplicationStop);
    assert!(turns.written(deployment(), ledger.current()).is_none(), "an event is run once");
}

#[test]
fn who_serves_and_counts_as_down_says_that_it_is_back_before_it_starts() {
    let mut ledger = Ledger::with_a_lease();
    let turns = OwnTurns::default();
    let start = |deployment| Statement::Report(Report::TurnStarted { deployment, host: me() });
    // The host never had a turn, so it is out of service whether it is Down or not.
    ledger.add(Report::HostDown { host: me(), incarnation: 1 });
    assert_eq!(turns.owed(me(), &ledger.0, &BTreeSet::new(), ledger.0.clock()), [start(deployment())]);
    ledger.join(VoterId(1), 2);
    ledger.add(start(deployment()));
    let outcome = TurnOutcome::Succeeded;
    ledger.add(Report::TurnEnded { deployment: deployment(), host: me(), outcome });
    ledger.add(Finding::Finished { deployment: deployment() });

    let second = DeploymentId::derive(b"another turn");
    ledger.add(submitted(second));
    assert_eq!(turns.owed(me(), &ledger.0, &BTreeSet::new(), ledger.0.clock()), [start(second)]);
    ledger.add(Report::HostDown { host: me(), incarnation: 2 });
    assert!(turns.owed(me(), &ledger.0, &BTreeSet::new(), ledger.0.clock()).is_empty());
    ledger.join(VoterId(1), 3);
    assert_eq!(turns.owed(me(), &ledger.0, &BTreeSet::new(), ledger.0.clock()), [start(second)]);
}

#[test]
fn who_waits_with_its_start_says_so_before_its_time_runs_out_and_again() {
    let mut ledger = Ledger::with_a_mesh_of_three();
    let next = || DeploymentId::derive(b"the next");
    let other = HostId::from_public_key([2; 32]);
    let suspects = BTreeSet::from([other]);
    let turns = OwnTurns::default();
    let leased = ledger.0.clock();
    let owed = |ledger: &Ledger, after| turns.owed(me(), &ledger.0, &suspects, leased + after);
    let timeout = Policy::default().start_timeout;
    let waits = Report::TurnDeferred { deployment: next(), host: me(), suspects: vec![other] }.into();

    assert_eq!(owed(&ledger, DEFERRED_AFTER - Duration::from_millis(1)), []);
    assert_eq!(owed(&ledger, DEFERRED_AFTER), std::slice::from_ref(&waits));
    ledger.add_at(leased + DEFERRED_AFTER, waits.clone());
    assert_eq!(owed(&ledger, DEFERRED_AFTER + timeout / 2 - Duration::from_millis(1)), []);
    assert_eq!(owed(&ledger, DEFERRED_AFTER + timeout / 2), std::slice::from_ref(&waits));
    let none = BTreeSet::new();
    let start = Report::TurnStarted { deployment: next(), host: me() }.into();
    assert_eq!(turns.owed(me(), &ledger.0, &none, leased + timeout), [start]);

    // The start timeout begins again from the deferral, but not forever.
    let has_lease = |ledger: &Ledger| ledger.0.rollout(next()).expect("it runs").may_start(me());
    ledger.add_at(leased + timeout, Finding::Tick);
    assert!(has_lease(&ledger));
    let said = leased + DEFERRED_AFTER;
    let deferral = Deferral { leased, since: said, at: said, suspects: vec![other] };
    assert_eq!(ledger.0.deferral(next(), me()), Some(&deferral));
    ledger.add_at(said + timeout, Finding::Tick);
    assert!(!has_lease(&ledger));
    assert_eq!(ledger.0.deferrals(next()).count(), 0);
}

#[test]
fn nobody_says_that_it_waits_to_an_agent_that_does_not_know_what_that_is() {
    let mut ledger = Ledger::with_a_mesh_of_three();
    ledger.join_as(4, VoterId(4), 1, DEFERRAL_SINCE - 1);
    let suspects = BTreeSet::from([HostId::from_public_key([2; 32])]);
    let later = ledger.0.clock() + DEFERRED_AFTER;
    assert_eq!(OwnTurns::default().owed(me(), &ledger.0, &suspects, later), []);
}

#[test]
fn a_turn_goes_through_all_events_and_owes_its_end() {
    let ledger = Ledger::with_a_turn();
    let mut turns = OwnTurns::default();
    let mut record = written(&turns.reconcile(me(), &ledger.0));
    for event in Course::InPlace.events() {
        let (turn, running) = runs(turns.written(deployment(), ledger.current()));
        assert_eq!(running, event);
        record = written(&turns.done(turn, Ok(()), |_| ledger.current()));
        assert_eq!(record.done, Some(event));
    }
    assert_eq!(record.outcome, Some(TurnOutcome::Succeeded));
    let outcome = TurnOutcome::Succeeded;
    let owed = Report::TurnEnded { deployment: deployment(), host: me(), outcome }.into();
    assert_eq!(turns.owed(me(), &ledger.0, &BTreeSet::new(), ledger.0.clock()), std::slice::from_ref(&owed));

    let mut ledger = ledger;
    ledger.add(owed);
    assert_eq!(turns.reconcile(me(), &ledger.0), [Act::Forget(deployment())]);
    assert!(turns.owed(me(), &ledger.0, &BTreeSet::new(), ledger.0.clock()).is_empty());
}

/// Makes an agent that was killed in the second event, and is back.
fn killed_in_download_bundle(ledger: &Ledger) -> OwnTurns {
    let mut before = OwnTurns::default();
    before.reconcile(me(), &ledger.0);
    let (turn, _) = runs(before.written(deployment(), ledger.current()));
    let record = written(&before.done(turn, Ok(()), |_| ledger.current()));
    OwnTurns::restore(vec![record])
}

#[test]
fn a_turn_that_was_interrupted_begins_anew_once_when_the_ledger_has_it() {
    let mut ledger = Ledger::with_a_turn();
    let mut turns = killed_in_download_bundle(&ledger);
    assert!(turns.reconcile(me(), &ledger.0).is_empty());
    assert!(turns.is_idle(), "nothing runs before it is committed");
    let anew = |attempt| {
        Report::TurnBegunAnew { deployment: deployment(), host: me(), event: E::DownloadBundle, attempt }
            .into()
    };
    assert_eq!(turns.owed(me(), &ledger.0, &BTreeSet::new(), ledger.0.clock()), [anew(2)]);
    ledger.add(anew(2));
    ledger.add(anew(2));
    ledger.add(anew(3));
    let member = &ledger.0.rollout(deployment()).expect("it runs").members()[&me()];
    assert_eq!((member.attempt, member.interrupted), (2, Some(E::DownloadBundle)));

    let record = written(&turns.reconcile(me(), &ledger.0));
    assert_eq!((record.attempt, record.done, record.running), (2, None, Some(E::ApplicationStop)));
    let (turn, event) = runs(turns.written(deployment(), ledger.current()));
    assert_eq!(event, E::ApplicationStop);
    written(&turns.done(turn, Ok(()), |_| ledger.current()));
    runs(turns.written(deployment(), ledger.current()));

    // The agent was killed between the ledger's entry and the journal's record: the
    // attempt has not begun.
    let mut late = killed_in_download_bundle(&ledger);
    assert_eq!(written(&late.reconcile(me(), &ledger.0)).attempt, 2);

    let mut again = OwnTurns::restore(vec![Record { running: Some(E::Install), ..record }]);
    let record = written(&again.reconcile(me(), &ledger.0));
    let Some(TurnOutcome::Failed(failure)) = record.outcome else { panic!("it has failed") };
    assert_eq!(failure.code, ErrorCode::FailedAfterRestart);
    assert_eq!(failure.message, "the agent was killed while Install ran, in attempt 2 of the turn");
}

#[test]
fn an_event_that_the_agent_cut_short_to_end_says_that_the_agent_was_stopped() {
    let cancelled = || Failure::new(Some(E::ApplicationStop), ErrorCode::Stopped, String::new());
    for (attempts, code_then) in [(1, Some(ErrorCode::AgentStopped)), (2, None)] {
        let mut ledger = Ledger::with_attempts(&[1], attempts);
        ledger.add(Report::TurnStarted { deployment: deployment(), host: me() });
        let mut turns = OwnTurns::default();
        turns.reconcile(me(), &ledger.0);
        let (turn, _) = runs(turns.written(deployment(), ledger.current()));
        turns.leave();
        let record = written(&turns.done(turn, Err(cancelled()), |_| ledger.current()));
        assert_eq!(code(&record).map(|(_, code)| code), code_then);
        if let Some(TurnOutcome::Failed(failure)) = &record.outcome {
            assert_eq!(failure.message, "the agent was stopped while ApplicationStop ran");
            continue;
        }
        let mut after = OwnTurns::restore(vec![record]);
        assert!(after.reconcile(me(), &ledger.0).is_empty());
        let owed = after.owed(me(), &ledger.0, &BTreeSet::new(), ledger.0.clock());
        assert!(
            matches!(owed[..], [Statement::Report(Report::TurnBegunAnew { attempt: 2, .. })]),
            "{owed:?}"
        );
    }
}

#[test]
fn an_agent_that_was_killed_in_an_event_says_so() {
    let mut ledger = Ledger::with_attempts(&[1], 1);
    ledger.add(Report::TurnStarted { deployment: deployment(), host: me() });
    let mut before = OwnTurns::default();
    before.reconcile(me(), &ledger.0);
    let (turn, _) = runs(before.written(deployment(), ledger.current()));
    let record = written(&before.done(turn, Ok(()), |_| ledger.current()));

    let mut after = OwnTurns::restore(vec![record]);
    let record = written(&after.reconcile(me(), &ledger.0));
    assert_eq!(code(&record), Some((Some(E::DownloadBundle), ErrorCode::FailedAfterRestart)));
    assert!(after.written(deployment(), ledger.current()).is_none(), "nothing of it runs again");
}

#[test]
fn an_agent_that_left_between_two_events_goes_on_with_the_next() {
    let ledger = Ledger::with_a_turn();
    let mut before = OwnTurns::default();
    before.reconcile(me(), &ledger.0);
    let (turn, _) = runs(before.written(deployment(), ledger.current()));
    before.leave();
    assert!(!before.is_idle(), "what runs is waited for");
    let record = written(&before.done(turn, Ok(()), |_| ledger.current()));
    assert!(before.is_idle());

    let mut after = OwnTurns::restore(vec![record]);
    written(&after.reconcile(me(), &ledger.0));
    assert_eq!(runs(after.written(deployment(), ledger.current())).1, E::DownloadBundle);
}

#[test]
fn an_event_that_was_only_announced_when_the_agent_left_is_run_later() {
    let ledger = Ledger::with_a_turn();
    let mut before = OwnTurns::default();
    before.reconcile(me(), &ledger.0);
    before.leave();
    let act = before.written(deployment(), ledger.current()).expect("the record is corrected");
    let record = written(&[act]);
    assert_eq!((record.done, record.running), (None, None));

    let mut after = OwnTurns::restore(vec![record]);
    written(&after.reconcile(me(), &ledger.0));
    assert_eq!(runs(after.written(deployment(), ledger.current())).1, E::ApplicationStop);
}

#[test]
fn a_turn_that_the_ledger_ended_is_cancelled_and_not_reported() {
    let mut ledger = Ledger::with_a_turn();
    let mut turns = OwnTurns::default();
    turns.reconcile(me(), &ledger.0);
    let (turn, _) = runs(turns.written(deployment(), ledger.current()));
    let outcome = failed(None, ErrorCode::TurnTimedOut, String::new());
    ledger.add(Report::TurnEnded { deployment: deployment(), host: me(), outcome });
    assert_eq!(turns.reconcile(me(), &ledger.0), [Act::Cancel(turn)]);
    assert_eq!(turns.done(turn, Ok(()), |_| ledger.current()), [Act::Forget(deployment())]);
    assert!(turns.owed(me(), &ledger.0, &BTreeSet::new(), ledger.0.clock()).is_empty());
}

#[test]
fn a_stopped_deployment_ends_its_turn_at_the_next_event() {
    let mut ledger = Ledger::with_a_turn();
    let mut turns = OwnTurns::default();
    turns.reconcile(me(), &ledger.0);
    let (turn, _) = runs(turns.written(deployment(), ledger.current()));
    ledger.add(Intent::Stop { deployment: deployment(), rollback: false, now: false, by: String::new() });
    assert!(turns.reconcile(me(), &ledger.0).is_empty(), "what runs comes to its end");
    let record = written(&turns.done(turn, Ok(()), |_| ledger.current()));
    assert_eq!(code(&record), Some((Some(E::DownloadBundle), ErrorCode::Stopped)));
}

#[test]
fn a_deployment_stopped_now_cuts_its_event_short_once() {
    let mut ledger = Ledger::with_a_turn();
    let mut turns = OwnTurns::default();
    turns.reconcile(me(), &ledger.0);
    let (turn, _) = runs(turns.written(deployment(), ledger.current()));
    // A person who stopped the deployment may then want it to stop now.
    ledger.add(Intent::Stop { deployment: deployment(), rollback: false, now: false, by: String::new() });
    assert!(turns.reconcile(me(), &ledger.0).is_empty());
    ledger.add(Intent::Stop { deployment: deployment(), rollback: false, now: true, by: String::new() });
    assert_eq!(turns.reconcile(me(), &ledger.0), [Act::Cancel(turn)]);
    assert!(turns.reconcile(me(), &ledger.0).is_empty(), "it is told once");
    let killed = Failure {
        event: Some(E::ApplicationStop),
        code: ErrorCode::ScriptFailed,
        script: "stop.sh".into(),
        message: "it was ended by signal 15".into(),
        log: "so far".into(),
    };
    let record = written(&turns.done(turn, Err(killed), |_| ledger.current()));
    let Some(TurnOutcome::Failed(failure)) = &record.outcome else { panic!("it has failed") };
    assert_eq!((failure.event, failure.code), (Some(E::ApplicationStop), ErrorCode::Stopped));
    assert_eq!(failure.message, "the deployment was stopped while ApplicationStop ran");
    assert_eq!((failure.script.as_str(), failure.log.as_str()), ("stop.sh", "so far"));
}

#[test]
fn an_event_that_was_only_announced_does_not_begin_after_a_stop() {
    let mut ledger = Ledger::with_a_turn();
    let mut turns = OwnTurns::default();
    turns.reconcile(me(), &ledger.0);
    ledger.add(Intent::Stop { deployment: deployment(), rollback: false, now: false, by: String::new() });
    let act = turns.written(deployment(), ledger.current()).expect("the end is written down");
    assert_eq!(code(&written(&[act])), Some((Some(E::ApplicationStop), ErrorCode::Stopped)));
}

#[test]
fn a_restart_goes_through_its_own_events() {
    let policy = Policy { mode: crate::policy::Mode::Restart, ..Policy::default() };
    let mut ledger = Ledger::with_a_turn();
    // The host was brought to the revision; now it is restarted.
    let mut turns = OwnTurns::default();
    turns.reconcile(me(), &ledger.0);
    ledger.add(Report::TurnEnded { deployment: deployment(), host: me(), outcome: TurnOutcome::Succeeded });
    ledger.add(Finding::Finished { deployment: deployment() });
    let restart = DeploymentId::derive(b"restart");
    let first = ledger.0.rollout(deployment()).expect("kept").submission.clone();
    ledger.add(Intent::Deploy(Box::new(Submission {
        deployment: restart,
        policy,
        creator: Creator::User,
        ..first
    })));
    ledger.add(Report::TurnStarted { deployment: restart, host: me() });
    let mut turns = OwnTurns::default();
    turns.reconcile(me(), &ledger.0);
    let mut ran = Vec::new();
    let current = || Current::of(&ledger.0, restart, me());
    while let Some(Act::Run { deployment: turn, event }) = turns.written(restart, current()) {
        ran.push(event);
        turns.done(turn, Ok(()), |_| current());
    }
    assert_eq!(ran, [E::ApplicationStop, E::ApplicationStart, E::ValidateService]);
}

#[test]
fn a_host_whose_store_is_lost_does_not_run_its_turn_again() {
    let mut ledger = Ledger::with_a_turn();
    ledger.join(VoterId(2), 2);
    let mut turns = OwnTurns::default();
    let record = written(&turns.reconcile(me(), &ledger.0));
    assert_eq!(code(&record), Some((None, ErrorCode::FailedAfterRestart)));
    assert!(turns.written(deployment(), ledger.current()).is_none());
}

#[test]
fn the_journal_waits_until_the_ledger_is_back_where_it_was() {
    let ledger = Ledger::with_a_turn();
    let mut before = OwnTurns::default();
    let record = written(&before.reconcile(me(), &ledger.0));
    let mut after = OwnTurns::restore(vec![record]);
    assert!(after.reconcile(me(), &State::founding()).is_empty(), "nothing is forgotten too early");
    assert!(after.owed(me(), &ledger.0, &BTreeSet::new(), ledger.0.clock()).is_empty());
    after.reconcile(me(), &ledger.0);
    assert_eq!(after.owed(me(), &ledger.0, &BTreeSet::new(), ledger.0.clock()).len(), 1, "it goes on");
}

fn check_of_tcp() -> HealthCheck {
    HealthCheck::new(Probe::Tcp("127.0.0.1:80".into()))
}

/// Makes a turn whose events have all succeeded, in a group with a health check.
fn waiting() -> (Ledger, OwnTurns, Record) {
    let mut ledger = Ledger::with_a_turn();
    ledger.set_check(Some(check_of_tcp()));
    let mut turns = OwnTurns::default();
    let mut record = written(&turns.reconcile(me(), &ledger.0));
    for _ in Course::InPlace.events() {
        let (turn, _) = runs(turns.written(deployment(), ledger.current()));
        record = written(&turns.done(turn, Ok(()), |_| ledger.current()));
    }
    assert_eq!((record.done, &record.outcome), (Some(E::ValidateService), &None));
    (ledger, turns, record)
}

#[test]
fn a_turn_of_a_checked_group_waits_for_its_check() {
    let (ledger, mut turns, _) = waiting();
    assert_eq!(turns.waiting(), BTreeSet::from([deployment()]));
    assert!(turns.reconcile(me(), &ledger.0).is_empty());
    assert!(
        turns.owed(me(), &ledger.0, &BTreeSet::new(), ledger.0.clock()).is_empty(),
        "it has not ended yet"
    );
    assert!(turns.is_idle(), "the agent may leave in the meantime");
    let record = written(turns.waited(deployment(), Ok(())).as_slice());
    assert_eq!(record.outcome, Some(TurnOutcome::Succeeded));
    assert_eq!(turns.owed(me(), &ledger.0, &BTreeSet::new(), ledger.0.clock()).len(), 1);
    assert_eq!(turns.waited(deployment(), Ok(())), None, "it ends once");

    let (_, mut turns, _) = waiting();
    let failed = Err((ErrorCode::HealthCheckFailed, "0 of 2".to_string()));
    let record = written(turns.waited(deployment(), failed).as_slice());
    assert_eq!(code(&record), Some((None, ErrorCode::HealthCheckFailed)));
}

#[test]
fn an_agent_that_was_killed_while_it_waited_waits_on() {
    let (mut ledger, _, record) = waiting();
    let mut turns = OwnTurns::restore(vec![record.clone()]);
    assert!(turns.reconcile(me(), &ledger.0).is_empty(), "it was killed in no event");
    assert_eq!(turns.waiting(), BTreeSet::from([deployment()]));

    ledger.set_check(None);
    let ended = written(&turns.reconcile(me(), &ledger.0));
    assert_eq!(ended.outcome, Some(TurnOutcome::Succeeded), "no host checks it any longer");
    let mut turns = OwnTurns::restore(vec![record]);
    assert_eq!(written(&turns.reconcile(me(), &ledger.0)).outcome, Some(TurnOutcome::Succeeded));
}

#[test]
fn a_wait_that_the_mesh_has_given_up_is_forgotten() {
    let (mut ledger, mut turns, _) = waiting();
    let outcome = failed(None, ErrorCode::TurnTimedOut, "too long".into());
    ledger.add(Report::TurnEnded { deployment: deployment(), host: me(), outcome });
    assert_eq!(turns.reconcile(me(), &ledger.0), [Act::Forget(deployment())]);
    assert!(turns.waiting().is_empty());
}

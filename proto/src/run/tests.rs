use super::*;
use crate::entry::{Creator, Entry, HostRecord, ProposalId, Submission};
use crate::group::{Group, Tag, TagFilter, TagSets};
use crate::id::{Digest, VoterId};
use crate::lifecycle::LifecycleEvent as E;
use crate::policy::Policy;
use crate::revision::Revision;
use crate::time::LedgerTime;

fn me() -> HostId {
    HostId::from_public_key([1; 32])
}

fn deployment() -> DeploymentId {
    DeploymentId::derive(b"a turn")
}

/// A mesh of this one host, whose turn has started; entries can be added.
struct Ledger(State);

impl Ledger {
    fn with_a_turn() -> Ledger {
        let mut ledger = Ledger(State::founding());
        let name: crate::id::GroupName = "hello/prod".parse().expect("a name");
        let tags = TagSets(vec![vec![TagFilter::parse("role=web").expect("a filter")]]);
        ledger.join(VoterId(1), 1);
        ledger.add(Body::GroupSet(Group {
            name: name.clone(),
            tags,
            policy: Policy::default(),
            health: None,
            config: None,
        }));
        ledger.add(Body::Submitted(Box::new(Submission {
            deployment: deployment(),
            group: name,
            revision: Revision { digest: Digest([2; 32]), size: 1, origin: String::new() },
            policy: Policy::default(),
            creator: Creator::User,
            rollback_of: None,
            description: String::new(),
            holders: Vec::new(),
            queue: false,
        })));
        ledger.add(Body::TurnStarted { deployment: deployment(), host: me() });
        ledger
    }

    fn add(&mut self, body: Body) {
        let index = self.0.index() + 1;
        let at = LedgerTime::from_millis(index * 1_000);
        let proposal = ProposalId { host: me(), incarnation: 1, number: index };
        self.0.apply(index, &Entry { at, proposal, body }).expect("it is accepted");
    }

    fn join(&mut self, voter: VoterId, incarnation: u64) {
        self.add(Body::HostJoined(HostRecord {
            host: me(),
            voter,
            name: "web-1".into(),
            tags: BTreeSet::from([Tag::parse("role=web").expect("a tag")]),
            zone: String::new(),
            addresses: Vec::new(),
            incarnation,
            wire: 1,
        }));
    }

    fn current(&self) -> Option<Current> {
        Current::of(&self.0, deployment(), me())
    }
}

/// What the newest record in `acts` says, and what is to run.
fn written(acts: &[Act]) -> Record {
    match acts {
        [Act::Write(record)] => record.clone(),
        other => panic!("one record is written, not {other:?}"),
    }
}

fn runs(act: Option<Act>) -> (EffectId, E) {
    match act {
        Some(Act::Run { effect, event, .. }) => (effect, event),
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
fn a_turn_goes_through_all_events_and_owes_its_end() {
    let ledger = Ledger::with_a_turn();
    let mut turns = OwnTurns::default();
    let mut record = written(&turns.reconcile(me(), &ledger.0));
    for event in Course::InPlace.events() {
        let (effect, running) = runs(turns.written(deployment(), ledger.current()));
        assert_eq!(running, event);
        record = written(&turns.done(effect, Ok(()), |_| ledger.current()));
        assert_eq!(record.done, Some(event));
    }
    assert_eq!(record.outcome, Some(TurnOutcome::Succeeded));
    let outcome = TurnOutcome::Succeeded;
    let owed = Body::TurnEnded { deployment: deployment(), host: me(), outcome };
    assert_eq!(turns.owed(me(), &ledger.0, &BTreeSet::new()), std::slice::from_ref(&owed));

    let mut ledger = ledger;
    ledger.add(owed);
    assert_eq!(turns.reconcile(me(), &ledger.0), [Act::Forget(deployment())]);
    assert!(turns.owed(me(), &ledger.0, &BTreeSet::new()).is_empty());
}

#[test]
fn an_agent_that_was_killed_in_an_event_says_so() {
    let ledger = Ledger::with_a_turn();
    let mut before = OwnTurns::default();
    before.reconcile(me(), &ledger.0);
    let (effect, _) = runs(before.written(deployment(), ledger.current()));
    let record = written(&before.done(effect, Ok(()), |_| ledger.current()));

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
    let (effect, _) = runs(before.written(deployment(), ledger.current()));
    before.leave();
    assert!(!before.is_idle(), "what runs is waited for");
    let record = written(&before.done(effect, Ok(()), |_| ledger.current()));
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
    let (effect, _) = runs(turns.written(deployment(), ledger.current()));
    let outcome = failed(None, ErrorCode::TurnTimedOut, String::new());
    ledger.add(Body::TurnEnded { deployment: deployment(), host: me(), outcome });
    assert_eq!(turns.reconcile(me(), &ledger.0), [Act::Cancel(effect)]);
    assert_eq!(turns.done(effect, Ok(()), |_| ledger.current()), [Act::Forget(deployment())]);
    assert!(turns.owed(me(), &ledger.0, &BTreeSet::new()).is_empty());
}

#[test]
fn a_stopped_deployment_ends_its_turn_at_the_next_event() {
    let mut ledger = Ledger::with_a_turn();
    let mut turns = OwnTurns::default();
    turns.reconcile(me(), &ledger.0);
    let (effect, _) = runs(turns.written(deployment(), ledger.current()));
    ledger.add(Body::StopRequested { deployment: deployment(), rollback: false, now: false });
    assert!(turns.reconcile(me(), &ledger.0).is_empty(), "what runs comes to its end");
    let record = written(&turns.done(effect, Ok(()), |_| ledger.current()));
    assert_eq!(code(&record), Some((Some(E::DownloadBundle), ErrorCode::Stopped)));
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
    written(&after.reconcile(me(), &ledger.0));
}

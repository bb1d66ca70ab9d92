use crate::entry::Submission;
use crate::entry::{ErrorCode, Failure, TurnOutcome};
use crate::io::Refusal;
use crate::lifecycle::LifecycleEvent;
use crate::policy::{Minimum, Policy};
use crate::rollout::Stage;
use crate::state::State;
use crate::state::testing::{Ledger, digest, host};
use crate::statement::{Finding, Intent, Report};

const FAILED: Option<ErrorCode> = Some(ErrorCode::ScriptFailed);

#[test]
fn a_rollback_is_for_those_alone_that_need_it() {
    // The good revision itself is deployed again, and fails on the second host.
    let mut ledger = Ledger::deployed(3, Minimum::OneAtATime);
    let again = ledger.deploy(1);
    ledger.start(again, 0);
    ledger.end(again, 0, None);
    ledger.start(again, 1);
    ledger.end(again, 1, FAILED);
    ledger.do_due();
    let rollback = ledger.rollout(again).rolled_back_by.expect("a rollback");
    assert_eq!(ledger.targets(rollback), [host(1)]);
    assert!(ledger.rollout(rollback).submission.policy.ignore_application_stop_failures);
    // If the rollback itself fails, nothing follows.
    ledger.start(rollback, 1);
    ledger.end(rollback, 1, FAILED);
    assert_eq!(ledger.do_due(), None);
    assert_eq!((ledger.group().owes_rollback_of, ledger.group().running), (None, None));
}

#[test]
fn what_the_failing_script_said_outlives_the_rollback_and_a_snapshot() {
    let mut ledger = Ledger::deployed(3, Minimum::OneAtATime);
    let bad = ledger.deploy(2);
    ledger.start(bad, 0);
    let failure = Failure {
        event: Some(LifecycleEvent::ValidateService),
        code: ErrorCode::ScriptFailed,
        script: "scripts/check.sh".into(),
        message: "it ended with 7".into(),
        log: "curl: (7) Failed to connect\n".into(),
    };
    let outcome = TurnOutcome::Failed(failure.clone());
    ledger.say(Report::TurnEnded { deployment: bad, host: host(0), outcome });
    ledger.do_due();
    let rollback = ledger.rollout(bad).rolled_back_by.expect("a rollback");
    ledger.finish_well(rollback);
    let next = ledger.deploy(3);
    ledger.finish_well(next);

    let state = State::decode(&ledger.state.encode(), ledger.state.index(), crate::form::Version::NEWEST)
        .expect("a state");
    assert_eq!(state, ledger.state);
    let part = state.part(bad, host(0)).expect("it had one");
    let Stage::Ended { outcome: TurnOutcome::Failed(kept), .. } = &*part.stage else { panic!("{part:?}") };
    assert_eq!(*kept, failure);
    assert_eq!(state.part(bad, host(1)).map(|part| part.stage.into_owned()), Some(Stage::Skipped));
}

#[test]
fn what_never_began_says_nothing_of_where_the_group_is() {
    let mut ledger = Ledger::deployed(2, Minimum::OneAtATime);
    let second = ledger.deploy(2);
    let waiting = Submission { queue: true, ..ledger.submission(3) };
    let third = waiting.deployment;
    ledger.say(Intent::Deploy(Box::new(waiting)));
    let newest = |ledger: &Ledger| ledger.state.newest_of(ledger.group()).map(|r| r.submission.deployment);
    assert_eq!(newest(&ledger), Some(second));
    ledger.say(Intent::Stop { deployment: third, rollback: false, now: false, by: String::new() });
    assert_eq!(
        ledger.put(Finding::Finished { deployment: third }),
        Err(Refusal::NotDue),
        "it is over already"
    );
    ledger.finish_well(second);
    assert_eq!(newest(&ledger), Some(second));
}

#[test]
fn a_rollback_by_hand_leads_only_to_a_revision_that_was_good() {
    let mut ledger = Ledger::deployed(2, Minimum::OneAtATime);
    let newest = ledger.state.newest_of(ledger.group()).map(|rollout| rollout.submission.deployment);
    let back = Submission { rollback_of: newest, ..ledger.submission(9) };
    let (digest, group) = (back.revision.digest, back.group.clone());
    assert_eq!(ledger.put(Intent::Deploy(Box::new(back))), Err(Refusal::UnknownRevision(digest, group)));
}

#[test]
fn a_rollback_or_catch_up_with_other_contents_than_the_mesh_works_out_is_not_run() {
    let mut ledger = Ledger::deployed(3, Minimum::OneAtATime);
    let bad = ledger.deploy(2);
    ledger.start(bad, 0);
    ledger.end(bad, 0, FAILED);
    ledger.say(Finding::Finished { deployment: bad });
    check_forged(&mut ledger);
    let rollback = ledger.rollout(bad).rolled_back_by.expect("the true one has begun");
    ledger.finish_well(rollback);
    ledger.join(3);
    check_forged(&mut ledger);
    assert!(ledger.group().catching_up.is_some(), "the true one has begun");
}

/// Folds the due submission with other contents, which has no effect, and then as
/// it is.
fn check_forged(ledger: &mut Ledger) {
    let [Finding::Spelled(due)] = &ledger.state.due()[..] else { panic!("{:?}", ledger.state.due()) };
    let due = (**due).clone();
    let mut revision = due.revision.clone();
    revision.digest = digest(66);
    let minimum = Minimum::AllAtOnce;
    let forged = [
        Submission { revision, ..due.clone() },
        Submission { policy: Policy { minimum, ..due.policy.clone() }, ..due.clone() },
        Submission { holders: vec![host(2)], ..due.clone() },
        Submission { description: "mine".into(), ..due.clone() },
        Submission { queue: true, ..due.clone() },
    ];
    for submission in forged {
        let before = (ledger.group().clone(), ledger.state.rollouts().clone());
        let intent = Intent::Deploy(Box::new(submission.clone()));
        assert_eq!(ledger.put(intent), Err(Refusal::NotDue), "nor as a person's wish");
        let statement = Finding::Spelled(Box::new(submission)).into();
        assert!(ledger.state.is_settled(&statement), "and no leader puts it in order: {statement:?}");
        assert_eq!(ledger.put(statement), Err(Refusal::NotDue));
        assert_eq!(before, (ledger.group().clone(), ledger.state.rollouts().clone()));
    }
    let statement = Finding::Spelled(Box::new(due)).into();
    assert!(!ledger.state.is_settled(&statement));
    ledger.say(statement);
}

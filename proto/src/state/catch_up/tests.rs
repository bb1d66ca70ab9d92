use super::*;
use crate::entry::{ErrorCode, Index};
use crate::group::{Group, TagFilter, TagSets};
use crate::health::{HealthCheck, Probe};
use crate::io::Refusal;
use crate::policy::Minimum;
use crate::rollout::DeploymentStatus;
use crate::state::testing::{Ledger, digest, host, name, record};
use crate::state::{ATTEMPTS_MAX, CatchUp};
use crate::statement::{Finding, Intent, Report, Statement};
use crate::time::LedgerTime;

const FAILED: Option<ErrorCode> = Some(ErrorCode::ScriptFailed);
const LOST: Option<ErrorCode> = Some(ErrorCode::FailedAfterRestart);

#[test]
fn hosts_that_join_get_the_last_good_revision_together() {
    let mut ledger = Ledger::deployed(3, Minimum::AllAtOnce);
    (3..6).for_each(|number| ledger.join(number));
    assert_eq!(ledger.behind(), [3, 4, 5].map(|number| (host(number), CatchUp::Due)));
    let due = ledger.state.due();
    // A host that joins while the proposal is on its way is in it, because the
    // bytes are the same.
    ledger.join(6);
    assert_eq!(ledger.state.due(), due);
    let id = ledger.do_due().expect("a catch-up");
    assert_eq!(ledger.targets(id), [3, 4, 5, 6].map(host));
    let submission = &ledger.rollout(id).submission;
    assert_eq!((submission.kind(), submission.revision.digest), (DeploymentKind::CatchUp, digest(1)));
    ledger.finish_well(id);
    assert_eq!((ledger.behind(), ledger.state.due()), (vec![], vec![]));
    assert!(ledger.group().behind.is_empty(), "{:?}", ledger.group().behind);
    assert_eq!(ledger.group().good.len(), 1);
}

#[test]
fn all_hosts_propose_the_same_and_folding_it_twice_changes_nothing() {
    let mut ledger = Ledger::deployed(2, Minimum::OneAtATime);
    ledger.join(2);
    let [statement] = &ledger.state.due()[..] else { panic!("{:?}", ledger.state.due()) };
    ledger.say(statement.clone());
    let before = (ledger.group().clone(), ledger.state.rollouts().clone());
    assert_eq!(ledger.put(statement.clone()), Err(Refusal::NotDue));
    assert_eq!(before, (ledger.group().clone(), ledger.state.rollouts().clone()));
    // It also changes nothing once the catch-up is over.
    let id = ledger.group().catching_up.expect("it runs");
    ledger.finish_well(id);
    assert_eq!(ledger.put(statement.clone()), Err(Refusal::NotDue));
    assert_eq!((ledger.group().catch_ups, ledger.group().catching_up), (1, None));
}

#[test]
fn a_group_without_a_good_revision_is_not_caught_up() {
    let mut ledger = Ledger::of(2, Minimum::OneAtATime);
    assert_eq!((ledger.do_due(), ledger.behind()[0].1), (None, CatchUp::NoRevision));
    // There is no catch-up while the first deployment runs; it follows afterwards.
    let first = ledger.deploy(1);
    ledger.join(2);
    assert_eq!((ledger.do_due(), ledger.behind()[2]), (None, (host(2), CatchUp::After(first))));
    ledger.finish_well(first);
    let id = ledger.do_due().expect("a catch-up");
    assert_eq!(
        (ledger.targets(id), ledger.rollout(id).submission.revision.digest),
        (vec![host(2)], digest(1))
    );
}

#[test]
fn a_host_that_joins_in_the_middle_gets_the_previous_revision_and_follows() {
    let mut ledger = Ledger::deployed(3, Minimum::OneAtATime);
    let main = ledger.deploy(2);
    ledger.start(main, 0);
    ledger.join(3);
    let beside = ledger.do_due().expect("a catch-up beside it");
    assert_eq!((ledger.group().running, ledger.group().catching_up), (Some(main), Some(beside)));
    assert_eq!(ledger.rollout(beside).members().keys().copied().collect::<Vec<_>>(), [host(3)]);
    assert_eq!(ledger.rollout(beside).submission.revision.digest, digest(1));
    ledger.finish_well(beside);
    assert_eq!((ledger.revision(3), ledger.behind()), (Some(digest(1)), vec![]));
    assert_eq!(ledger.do_due(), None);

    ledger.end(main, 0, None);
    ledger.finish_well(main);
    assert_eq!(ledger.behind(), [(host(3), CatchUp::Due)]);
    let follows = ledger.do_due().expect("it follows");
    assert_eq!((ledger.targets(follows), ledger.leased(follows)), (vec![host(3)], vec![host(3)]));
    ledger.finish_well(follows);
    assert_eq!((ledger.revision(3), ledger.behind()), (Some(digest(2)), vec![]));
}

#[test]
fn a_host_that_joined_stays_where_it_is_if_the_deployment_failed() {
    let mut ledger = Ledger::deployed(3, Minimum::OneAtATime);
    let main = ledger.deploy(2);
    ledger.join(3);
    let beside = ledger.do_due().expect("a catch-up beside it");
    ledger.start(main, 0);
    ledger.end(main, 0, FAILED);
    // The rollback begins at once, beside the catch-up, and leaves its host alone.
    assert_eq!(ledger.do_due(), None);
    let rollback = ledger.rollout(main).rolled_back_by.expect("a rollback");
    assert_eq!((ledger.group().running, ledger.group().catching_up), (Some(rollback), Some(beside)));
    assert_eq!((ledger.rollout(rollback).members().len(), ledger.targets(rollback)), (3, vec![host(0)]));
    ledger.finish_well(beside);
    ledger.finish_well(rollback);
    assert_eq!((ledger.behind(), ledger.do_due()), (vec![], None));
    assert!(ledger.group().behind.is_empty());
}

#[test]
fn a_catch_up_to_what_is_no_longer_good_ends_with_the_turns_under_way() {
    let mut ledger = Ledger::deployed(2, Minimum::OneAtATime);
    let main = ledger.deploy(2);
    (2..4).for_each(|number| ledger.join(number));
    let beside = ledger.do_due().expect("a catch-up beside it");
    ledger.start(beside, 2);
    ledger.finish_well(main);
    assert_eq!(ledger.do_due(), None, "its turn is still under way");
    assert!(!ledger.rollout(beside).ends_turns_early(), "which comes to its end");
    ledger.end(beside, 2, None);
    let follows = ledger.do_due().expect("a second catch-up");
    assert_eq!(ledger.rollout(beside).status(), DeploymentStatus::Stopped);
    assert_eq!(ledger.targets(follows), [host(2), host(3)]);
}

#[test]
fn a_host_that_was_away_when_its_turn_came_is_caught_up_when_it_returns() {
    let mut ledger = Ledger::deployed(4, Minimum::HostCount(2));
    ledger.down(3);
    let main = ledger.deploy(2);
    assert!(!ledger.rollout(main).may_start(host(3)), "hosts that are up go first");
    for number in [0, 1, 2] {
        ledger.start(main, number);
        ledger.end(main, number, None);
    }
    assert!(ledger.rollout(main).may_start(host(3)), "nobody else is left");
    let before = ledger.group().standing[&host(3)];
    ledger.end(main, 3, Some(ErrorCode::HostLost));
    assert_eq!(ledger.group().standing[&host(3)], before, "a turn that never began says nothing of its host");
    ledger.finish_well(main);
    assert_eq!((ledger.behind(), ledger.do_due()), (vec![(host(3), CatchUp::Down)], None));
    ledger.up(3);
    let id = ledger.do_due().expect("a catch-up");
    assert_eq!(ledger.targets(id), [host(3)]);
    ledger.finish_well(id);
    assert_eq!(ledger.revision(3), Some(digest(2)));
}

#[test]
fn a_host_with_a_new_store_is_deployed_to_before_it_counts_as_healthy() {
    let mut ledger = Ledger::deployed(3, Minimum::OneAtATime);
    ledger.say(Report::HostJoined(record(1, 2, "role=web")));
    assert!(!ledger.group().standing.contains_key(&host(1)));
    assert_eq!(ledger.group().behind[&host(1)].cause, Cause::Replaced);
    let id = ledger.do_due().expect("a catch-up");
    assert_eq!((ledger.targets(id), ledger.rollout(id).counts().available), (vec![host(1)], 2));
    ledger.finish_well(id);
}

#[test]
fn a_host_that_enters_the_group_by_its_tags_or_the_groups_is_caught_up() {
    let mut ledger = Ledger::deployed(2, Minimum::OneAtATime);
    ledger.say(Report::HostJoined(record(2, 1, "role=db")));
    assert_eq!(ledger.do_due(), None);
    ledger.say(Report::HostJoined(record(2, 1, "role=web")));
    assert_eq!(ledger.behind(), [(host(2), CatchUp::Due)]);
    ledger.say(Report::HostJoined(record(2, 1, "role=db")));
    assert!(ledger.group().behind.is_empty());
    let sets = [&["role=web", "role=db"][..], &["role=web"]]
        .map(|tags| TagSets(vec![tags.iter().map(|tag| TagFilter::parse(tag).expect("a filter")).collect()]));
    for (tags, behind) in sets.into_iter().zip([1, 0]) {
        ledger.say(Intent::SetGroup(Group { tags, ..ledger.group().group.clone() }));
        assert_eq!(ledger.group().behind.len(), behind);
    }
}

#[test]
fn a_host_that_is_where_it_should_be_is_not_behind_when_it_comes_back_to_the_group() {
    let mut ledger = Ledger::deployed(2, Minimum::OneAtATime);
    let tagged = |tag| Statement::Report(Report::HostJoined(record(1, 1, tag)));
    ledger.say(tagged("role=db"));
    ledger.say(tagged("role=web"));
    assert!(ledger.group().behind.is_empty(), "{:?}", ledger.group().behind);
}

#[test]
fn the_way_back_goes_before_a_catch_up() {
    let mut ledger = Ledger::deployed(3, Minimum::OneAtATime);
    let main = ledger.deploy(2);
    ledger.start(main, 0);
    ledger.end(main, 0, FAILED);
    ledger.join(3);
    ledger.say(Finding::Finished { deployment: main });
    assert_eq!(ledger.group().owes_rollback_of, Some(main));
    let [Finding::Spelled(due)] = &ledger.state.due()[..] else { panic!("{:?}", ledger.state.due()) };
    assert_eq!(due.kind(), DeploymentKind::Rollback);
}

#[test]
fn a_bad_revision_never_loops() {
    let check = |codes: &[Option<ErrorCode>], expected: u8| {
        let mut ledger = Ledger::deployed(2, Minimum::OneAtATime);
        ledger.join(2);
        let mut last = None;
        for code in codes {
            last = ledger.do_due();
            let id = last.expect("another attempt");
            ledger.start(id, 2);
            ledger.end(id, 2, *code);
        }
        assert_eq!(ledger.do_due(), None, "{codes:?}");
        let id = last.expect("an attempt");
        assert_eq!(ledger.rollout(id).status(), DeploymentStatus::Failed);
        let given_up = CatchUp::GivenUp { deployment: id, attempts: expected };
        assert_eq!(ledger.behind(), [(host(2), given_up)], "{codes:?}");
        // Neither a return from Down nor a new group file changes that.
        ledger.down(2);
        ledger.up(2);
        ledger.set_group(Minimum::AllAtOnce);
        assert_eq!((ledger.do_due(), ledger.behind()[0].1), (None, given_up));
        assert!(ledger.group().owes_rollback_of.is_none() && ledger.group().good.len() == 1);
        ledger
    };
    check(&[FAILED], 2);
    check(&[LOST, FAILED], 2);
    let mut ledger = check(&[LOST, LOST], 2);
    // A new store gives new attempts, and so does a person's deployment.
    ledger.say(Report::HostJoined(record(2, 2, "role=web")));
    let id = ledger.do_due().expect("another attempt");
    ledger.start(id, 2);
    ledger.end(id, 2, FAILED);
    assert_eq!(ledger.do_due(), None);
    let again = ledger.deploy(1);
    assert_eq!(ledger.leased(again), [0, 1, 2].map(host));
    ledger.finish_well(again);
    assert_eq!(ledger.behind(), []);
}

#[test]
fn one_failure_keeps_nobody_else_from_catching_up() {
    let mut ledger = Ledger::deployed(3, Minimum::OneAtATime);
    (3..7).for_each(|number| ledger.join(number));
    let id = ledger.do_due().expect("a catch-up");
    for number in 3..7 {
        assert_eq!(ledger.leased(id), [host(number)], "one at a time, as the policy says");
        ledger.start(id, number);
        ledger.end(id, number, (number < 6).then_some(ErrorCode::ScriptFailed));
    }
    ledger.do_due();
    assert_eq!(ledger.rollout(id).status(), DeploymentStatus::Failed);
    assert_eq!((ledger.rollout(id).counts().succeeded, ledger.behind().len()), (1, 3));
}

/// Makes three hosts, deployed to one at a time, and a fourth that joined during
/// that and got the earlier revision.
fn one_serves_with_the_old_revision() -> Ledger {
    let mut ledger = Ledger::deployed(3, Minimum::OneAtATime);
    let main = ledger.deploy(2);
    ledger.join(3);
    let beside = ledger.do_due().expect("a catch-up beside it");
    ledger.finish_well(beside);
    ledger.finish_well(main);
    ledger
}

#[test]
fn a_host_that_serves_is_taken_out_only_if_the_minimum_has_room() {
    let mut ledger = one_serves_with_the_old_revision();
    ledger.down(0);
    let waits = CatchUp::TooFewHealthy { available: 3, minimum: 3, total: 4 };
    assert_eq!((ledger.do_due(), ledger.behind()), (None, vec![(host(3), waits)]));
    ledger.up(0);
    let id = ledger.do_due().expect("there is room");
    assert_eq!(ledger.leased(id), [host(3)]);
}

#[test]
fn an_unwell_host_makes_no_room_for_one_that_serves() {
    let mut ledger = one_serves_with_the_old_revision();
    let health = Some(HealthCheck::new(Probe::Tcp("127.0.0.1:80".into())));
    ledger.say(Intent::SetGroup(Group { health, ..ledger.group().group.clone() }));
    let group = ledger.group().group.name.clone();
    let said = |healthy: bool, as_of: Index| Report::HealthChanged {
        group: group.clone(),
        host: host(0),
        healthy,
        error: String::new(),
        as_of,
    };
    ledger.say(said(false, ledger.state.index()));
    let waits = CatchUp::TooFewHealthy { available: 3, minimum: 3, total: 4 };
    assert_eq!((ledger.do_due(), ledger.behind()), (None, vec![(host(3), waits)]));
    ledger.say(said(true, ledger.state.index()));
    let id = ledger.do_due().expect("there is room");
    assert_eq!(ledger.leased(id), [host(3)]);
}

#[test]
fn a_catch_up_does_not_wait_for_room_that_nobody_makes() {
    let mut ledger = one_serves_with_the_old_revision();
    // A new host goes first and fails. Then 3 of 5 hosts are in service, and 4 must
    // be.
    ledger.join(4);
    ledger.down(0);
    let id = ledger.do_due().expect("a catch-up");
    assert_eq!((ledger.targets(id), ledger.leased(id)), (vec![host(3), host(4)], vec![host(4)]));
    ledger.start(id, 4);
    ledger.end(id, 4, FAILED);
    assert_eq!(ledger.do_due(), None);
    assert_eq!((ledger.rollout(id).status(), ledger.group().catching_up), (DeploymentStatus::Failed, None));
    assert_eq!(ledger.behind()[0], (host(3), CatchUp::TooFewHealthy { available: 3, minimum: 4, total: 5 }));
}

#[test]
fn a_minimum_that_is_impossible_keeps_no_new_host_from_joining() {
    let mut ledger = Ledger::deployed(2, Minimum::HostCount(1));
    ledger.set_group(Minimum::HostCount(9));
    ledger.join(2);
    let id = ledger.do_due().expect("a catch-up");
    ledger.finish_well(id);
}

#[test]
fn what_a_person_wants_goes_before_a_catch_up() {
    let mut ledger = Ledger::deployed(3, Minimum::OneAtATime);
    (3..5).for_each(|number| ledger.join(number));
    let id = ledger.do_due().expect("a catch-up");
    ledger.start(id, 3);
    // The deployment is not refused; it waits for the one turn that is under way.
    let wanted = ledger.deploy(2);
    assert_eq!(ledger.rollout(wanted).status(), DeploymentStatus::Queued);
    assert_eq!(ledger.rollout(id).members()[&host(4)].stage, Stage::Skipped);
    let second = ledger.submission(3);
    let refused = Err(Refusal::AlreadyRunning { group: name(), running: wanted });
    assert_eq!(ledger.put(Intent::Deploy(Box::new(second))), refused);
    ledger.end(id, 3, None);
    ledger.do_due();
    assert_eq!(ledger.rollout(id).status(), DeploymentStatus::Stopped);
    assert_eq!((ledger.group().running, ledger.rollout(wanted).total()), (Some(wanted), 5));
    ledger.finish_well(wanted);
    assert_eq!((ledger.behind(), ledger.do_due()), (vec![], None));

    // A catch-up that has not begun is dropped.
    ledger.join(5);
    let due = ledger.state.due();
    let wanted = ledger.deploy(4);
    due.into_iter().for_each(|finding| assert_eq!(ledger.put(finding), Err(Refusal::NotDue)));
    assert_eq!((ledger.group().running, ledger.group().catching_up), (Some(wanted), None));
    assert!(ledger.rollout(wanted).members().contains_key(&host(5)));
}

#[test]
fn a_catch_up_that_a_person_stops_is_not_begun_again() {
    let mut ledger = Ledger::deployed(2, Minimum::OneAtATime);
    (2..4).for_each(|number| ledger.join(number));
    let id = ledger.do_due().expect("a catch-up");
    ledger.start(id, 2);
    ledger.say(Intent::Stop { deployment: id, rollback: true, now: false, by: String::new() });
    assert!(ledger.rollout(id).ends_turns_early());
    ledger.end(id, 2, Some(ErrorCode::Stopped));
    assert_eq!(ledger.do_due(), None);
    let given_up = CatchUp::GivenUp { deployment: id, attempts: ATTEMPTS_MAX };
    assert_eq!(ledger.behind(), [2, 3].map(|number| (host(number), given_up)));
    assert_eq!(ledger.group().owes_rollback_of, None);
}

#[test]
fn what_a_person_left_where_it_is_stays_there() {
    let mut ledger = Ledger::deployed(3, Minimum::HostCount(1));
    let main = ledger.deploy(2);
    ledger.start(main, 0);
    ledger.start(main, 1);
    ledger.say(Intent::Stop { deployment: main, rollback: false, now: false, by: String::new() });
    ledger.end(main, 0, None);
    ledger.end(main, 1, FAILED);
    assert_eq!(ledger.do_due(), None);
    assert_eq!(
        (ledger.revision(0), ledger.behind()),
        (Some(digest(2)), vec![(host(1), CatchUp::LeftAlone(Some(main)))])
    );
    // A healthy host that returns is left where it is; a broken one is caught up.
    for number in 0..2 {
        ledger.down(number);
        ledger.up(number);
    }
    let id = ledger.do_due().expect("a catch-up");
    assert_eq!(ledger.targets(id), [host(1)]);
}

#[test]
fn a_group_is_not_deleted_under_its_catch_up() {
    let mut ledger = Ledger::deployed(2, Minimum::OneAtATime);
    ledger.join(2);
    let id = ledger.do_due().expect("a catch-up");
    let refused = Err(Refusal::GroupInUse { group: name(), running: id });
    assert_eq!(ledger.put(Intent::DeleteGroup(name())), refused);
    ledger.finish_well(id);
    ledger.say(Intent::DeleteGroup(name()));
}

#[test]
fn a_long_deployment_outlives_any_number_of_catch_ups() {
    let mut ledger = Ledger::deployed(2, Minimum::OneAtATime);
    let main = ledger.deploy(2);
    let kept = u8::try_from(crate::state::DEPLOYMENTS_KEPT).expect("few");
    let catch_up_many = |ledger: &mut Ledger, first: u8| {
        for number in first..first + kept + 5 {
            ledger.join(number);
            let id = ledger.do_due().expect("a catch-up");
            ledger.finish_well(id);
        }
        assert_eq!(ledger.group().deployments.len(), usize::from(kept));
    };
    catch_up_many(&mut ledger, 10);
    ledger.finish_well(main);
    // Catch-ups also do not hide where the group is, which a rollback must know.
    catch_up_many(&mut ledger, 100);
    let newest = ledger.state.newest_of(ledger.group()).expect("it is kept");
    assert_eq!(newest.submission.deployment, main);
}

#[test]
fn a_host_that_fails_after_it_left_the_group_is_not_caught_up() {
    let mut ledger = Ledger::deployed(3, Minimum::HostCount(1));
    let main = ledger.deploy(2);
    ledger.start(main, 0);
    ledger.say(Report::HostJoined(record(0, 1, "role=db")));
    ledger.end(main, 0, LOST);
    ledger.finish_well(main);
    assert_eq!((ledger.do_due(), ledger.behind()), (None, vec![]));
}

#[test]
fn a_host_that_was_taken_out_stays_out_of_what_runs() {
    let mut ledger = Ledger::deployed(3, Minimum::HostCount(1));
    let main = ledger.deploy(2);
    ledger.say(Intent::RemoveHost(host(2)));
    assert!(ledger.rollout(main).members()[&host(2)].down.is_some());
    let back = ledger.put(Report::HostJoined(record(2, 1, "role=web")));
    assert!(matches!(back, Err(Refusal::Removed { .. })), "{back:?}");
    assert!(ledger.rollout(main).members()[&host(2)].down.is_some());
    assert_eq!(ledger.behind(), []);
}

#[test]
fn a_freeze_holds_back_what_has_not_begun_and_lets_go_on_what_has() {
    let mut ledger = Ledger::deployed(2, Minimum::AllAtOnce);
    ledger.join(2);
    let (id, late) = (ledger.do_due().expect("a catch-up"), ledger.state.due());
    ledger.join(3);
    let until = LedgerTime::from_millis(ledger.millis + 60_000);
    ledger.say(Intent::Freeze { group: name(), until, reason: String::new(), by: "ann".into() });
    assert_eq!(late, []);
    ledger.finish_well(id);
    assert_eq!((ledger.revision(2), ledger.do_due()), (Some(digest(1)), None));
    assert_eq!(ledger.behind(), [(host(3), CatchUp::Frozen { until })]);
    ledger.millis += 60_000;
    ledger.say(Finding::Tick);
    assert_eq!(ledger.behind(), [(host(3), CatchUp::Due)]);
    let id = ledger.do_due().expect("a catch-up");
    assert_eq!(ledger.targets(id), [host(3)]);
}

#[test]
fn a_turn_that_a_person_ended_with_its_agent_costs_no_attempt() {
    let mut ledger = Ledger::deployed(3, Minimum::OneAtATime);
    ledger.say(Report::HostJoined(record(1, 2, "role=web")));
    let mut id = ledger.do_due().expect("a catch-up");
    for _ in 0..3 {
        ledger.start(id, 1);
        ledger.end(id, 1, Some(ErrorCode::AgentStopped));
        id = ledger.do_due().expect("another catch-up");
    }
    assert_eq!(ledger.group().behind[&host(1)].tried.map(|tried| tried.attempts), Some(0));
}

//! Tests entries that come when they do not count, and what is recorded besides the
//! rule.

use super::*;

const THREE: [&str; 3] = [""; 3];

fn one_at_a_time() -> Play {
    Play::of(Policy { minimum: Minimum::OneAtATime, ..Policy::default() }, entrants(&THREE, &[]))
}

#[test]
fn a_start_without_a_lease_changes_nothing() {
    let mut play = one_at_a_time();
    let before = play.rollout.clone();
    let at = play.now();
    for number in [1, 2, 9] {
        assert!(!play.rollout.start_turn(host(number), at), "host {number} has none");
        assert_eq!(play.rollout, before);
    }
    assert!(play.rollout.start_turn(host(0), at));
    assert!(!play.rollout.start_turn(host(0), at), "a turn starts once");
}

#[test]
fn an_end_counts_only_in_a_turn_and_once() {
    let mut play = one_at_a_time();
    let at = play.now();
    assert_eq!(play.rollout.end_turn(host(1), TurnOutcome::Succeeded, at), None);
    play.succeeds(0, &[1]);
    let before = play.rollout.clone();
    assert_eq!(play.rollout.end_turn(host(0), failed(), at), None);
    assert_eq!(play.rollout, before);
}

#[test]
fn a_deployment_is_over_only_when_it_is_decided_and_nobody_is_in_a_turn() {
    let mut play = one_at_a_time();
    let at = play.now();
    assert!(!play.rollout.finish(at), "two are still to come");
    play.is(DeploymentStatus::InProgress);
    assert!(play.rollout.start_turn(host(0), at));
    play.rollout.stop(false, false, at);
    assert!(!play.rollout.finish(at), "one is in its turn");
    assert!(play.rollout.end_turn(host(0), TurnOutcome::Succeeded, at).is_some());
    assert!(play.rollout.finish(at));
    play.is(DeploymentStatus::Stopped);
    assert!(!play.rollout.finish(at), "it is over once");
}

#[test]
fn a_person_who_stops_what_is_failing_already_may_ask_for_the_way_back() {
    let never = crate::policy::RollbackOn { failure: false, alarm: false, stop: false };
    let policy = Policy { minimum: Minimum::HostCount(1), rollback: never, ..Policy::default() };
    let mut play = Play::of(policy, entrants(&THREE, &[]));
    let at = play.now();
    assert!(play.rollout.start_turn(host(0), at) && play.rollout.start_turn(host(1), at));
    assert!(play.rollout.end_turn(host(0), failed(), at).is_some());
    play.rollout.time_out();
    assert!(!play.rollout.wants_rollback());
    play.rollout.stop(true, false, at);
    play.ends_as(Some(ReasonCode::Timeout));
    assert!(play.rollout.wants_rollback());
}

#[test]
fn the_fewest_in_service_are_noted() {
    let mut play = Play::of(
        Policy { minimum: Minimum::HostCount(1), ..Policy::default() },
        entrants(&[""; 4], &[(3, Was::Broken)]),
    );
    assert_eq!(play.rollout.lowest_available, 1, "one is broken, two are in their turns");
    let mut play_on = |number, flying: &[u32], lowest| {
        play.succeeds(number, flying);
        assert_eq!(play.rollout.lowest_available, lowest);
    };
    play_on(3, &[0, 1, 2], 1);
    play_on(0, &[1, 2], 1);
    play.down(0, true, &[1, 2]);
    assert_eq!(play.rollout.lowest_available, 1, "what went Down by itself counts as well");
}

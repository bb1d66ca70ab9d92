use super::*;
use crate::view::plan::{SecondsView, WorstView};

fn plan_of(state: &State, minimum: Minimum) -> PlanView {
    let known = state.group(&name()).expect("the group");
    crate::view::plan(state, known, &Policy { minimum, ..Policy::default() }, Digest::of(b"v2"))
}

/// Three hosts that run v1; each turn of it took a second.
fn deployed() -> Vec<Body> {
    let turn = |number| [started(number), ended(number, TurnOutcome::Succeeded)];
    let mut bodies: Vec<Body> = (1..=3).flat_map(turn).collect();
    bodies.push(Body::Finished { deployment: id() });
    bodies
}

fn down(number: u8) -> Body {
    Body::HostDown { host: host(number), incarnation: 1 }
}

#[test]
fn a_plan_is_what_the_fold_would_do() {
    let state = fold(Minimum::OneAtATime, deployed());

    let one = plan_of(&state, Minimum::OneAtATime);
    assert_eq!(one.batches, [["web-1"], ["web-2"], ["web-3"]]);
    assert!(one.is_possible);
    assert_eq!((one.stopped_by_failures, one.last_may_fail), (1, 1));
    assert_eq!(one.worst, Some(WorstView { failed: 1, untouched: 2, in_service: 2 }));

    let all = plan_of(&state, Minimum::AllAtOnce);
    assert_eq!(all.batches, [["web-1", "web-2", "web-3"]]);
    assert_eq!((all.stopped_by_failures, all.last_may_fail), (3, 2));
}

#[test]
fn the_time_it_takes_is_that_of_past_turns() {
    let one = plan_of(&fold(Minimum::OneAtATime, deployed()), Minimum::OneAtATime);
    assert_eq!(one.seconds, Some(SecondsView { typical: 3, slow: 3, turn: 1, past_turns: 3 }));
    let new = plan_of(&fold(Minimum::OneAtATime, vec![]), Minimum::OneAtATime);
    assert_eq!(new.seconds, None, "nothing is known of a group that never had a turn");
}

#[test]
fn a_minimum_that_leaves_no_turn_comes_with_the_smallest_change() {
    let never = plan_of(&fold(Minimum::OneAtATime, deployed()), Minimum::FleetPercent(75));
    assert_eq!((never.minimum, never.total, never.is_possible), (3, 3, false));
    assert!(never.batches.is_empty());
    assert_eq!(never.reason.expect("a reason").code, "HEALTH_CONSTRAINTS_INVALID");
    assert_eq!(
        never.advice,
        [
            "let 2 of 3 stay healthy: --override minimum_healthy=2",
            "add hosts to the group: with 4 it can begin"
        ]
    );
}

#[test]
fn a_dead_host_under_one_at_a_time_is_named_before_anything_begins() {
    let mut bodies = deployed();
    bodies.push(down(2));
    let plan = plan_of(&fold(Minimum::OneAtATime, bodies), Minimum::OneAtATime);
    assert!(!plan.is_possible);
    assert_eq!(plan.down.iter().map(|host| host.name.as_str()).collect::<Vec<_>>(), ["web-2"]);
    assert_eq!(plan.reason.expect("a reason").code, "HEALTH_CONSTRAINTS");
    assert_eq!(
        plan.advice,
        [
            "bring back what is Down (web-2), or take it out of the mesh: skein mesh remove web-2",
            "let 1 of 3 stay healthy: --override minimum_healthy=1"
        ]
    );
}

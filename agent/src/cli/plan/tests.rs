use super::*;
use crate::view::Why;
use crate::view::plan::{DownView, WorstView};

fn possible() -> PlanView {
    PlanView {
        group: "hello/prod".into(),
        config: "HalfAtATime".into(),
        total: 4,
        minimum: 2,
        turns_max: 2,
        is_possible: true,
        reason: None,
        advice: vec![],
        batches: vec![vec!["web-1".into(), "web-2".into()], vec!["web-3".into(), "web-4".into()]],
        waves: vec![],
        down: vec![],
        healthy: 4,
        lowest_in_service: 2,
        stopped_by_failures: 2,
        last_may_fail: 2,
        worst: Some(WorstView { failed: 2, untouched: 2, in_service: 2 }),
        seconds: Some(SecondsView { typical: 84, slow: 130, turn: 42, past_turns: 8 }),
    }
}

#[test]
fn a_plan_says_who_goes_when_what_stops_it_and_how_long_it_takes() {
    let expected = "\
hello/prod: 4 hosts, 4 of them healthy. HalfAtATime: 2 must stay healthy, 2 at a time at most.
    1. web-1, web-2
    2. web-3, web-4
In service at the fewest: 2 of 4.
Takes about 1m 24s, 2m 10s if turns are slow: a turn took 42s or less in half of 8 past ones.
2 failed turns stop it while hosts are still to come; of the last turns 2 may fail.
At worst, if every turn fails: 2 failed, 2 never touched, 2 in service at its end.";
    assert_eq!(words(&possible()), expected);
}

#[test]
fn a_plan_that_cannot_finish_says_why_and_what_would_help() {
    let plan = PlanView {
        is_possible: false,
        healthy: 3,
        down: vec![DownView { name: "web-4".into(), since: "2026-01-01T00:00:00.000Z".into() }],
        reason: Some(Why {
            code: "HEALTH_CONSTRAINTS".into(),
            message: "3 of 4 hosts are healthy and 3 must stay so".into(),
            numbers: std::collections::BTreeMap::new(),
        }),
        advice: vec!["bring back what is Down (web-4)".into()],
        ..possible()
    };
    let expected = "\
hello/prod: 4 hosts, 3 of them healthy. HalfAtATime: 2 must stay healthy, 2 at a time at most.
web-4 is Down since 2026-01-01T00:00:00.000Z: it is tried first.
It cannot finish as things are.
Why: 3 of 4 hosts are healthy and 3 must stay so (HEALTH_CONSTRAINTS)
Any one of these would do, the smallest change first:
  - bring back what is Down (web-4)";
    assert_eq!(words(&plan), expected);
}

#[test]
fn a_plan_for_many_hosts_fits_on_a_screen() {
    let batch: Vec<String> = (0..500).map(|number| format!("web-{number}")).collect();
    let text = words(&PlanView { batches: vec![batch; 100], ..possible() });
    assert!(text.contains(", web-11 and 488 more\n"), "{text}");
    assert!(text.contains("… and 80 batches more"), "{text}");
}

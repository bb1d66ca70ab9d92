use super::*;
use crate::cli::watch::tests::named;
use crate::view::Why;
use crate::view::plan_view::{DownView, StepView, WorstView};

fn possible() -> PlanView {
    PlanView {
        group: "hello/prod".into(),
        config: "HalfAtATime".into(),
        total: 4,
        targets: 4,
        minimum: 2,
        turns_max: 2,
        is_possible: true,
        batches: vec![vec!["web-1".into(), "web-2".into()], vec!["web-3".into(), "web-4".into()]],
        lost_after_seconds: 60,
        healthy: 4,
        lowest_in_service: 2,
        stopped_by_failures: 2,
        last_may_fail: 2,
        turns_after_canary: 4,
        worst: Some(WorstView { failed: 2, untouched: 2, in_service: 2 }),
        rolls_back: true,
        rollback_to: Some("blake3:9f8e7d6c5b4a39281706".into()),
        seconds: Some(SecondsView { typical: 84, slow: 130, turn: 42, past_turns: 8 }),
        ..PlanView::default()
    }
}

fn cause(code: &str, message: &str, passes: bool, advice: &[&str]) -> CauseView {
    let why = Why { code: code.into(), message: message.into(), numbers: Default::default() };
    CauseView { why, passes, advice: advice.iter().map(|advice| (*advice).into()).collect() }
}

#[test]
fn a_plan_says_who_goes_when_what_stops_it_and_how_long_it_takes() {
    let expected = "\
hello/prod: 4 hosts, 4 in service now.
HalfAtATime: 2 must stay in service, at most 2 at a time.
Order        hosts of no service first, then those with an older revision, then those that have this one, equals by name; hosts that are Down last

      1. web-1, web-2
      2. web-3, web-4

In service   2 of 4 at the fewest, if all goes well
Takes        about 1m 24s, or 2m 10s if turns are slow (half of 8 past turns took at most 42s)
Stopped by   2 failed turns while others still wait for theirs; once nobody waits, it takes 3
At worst     every turn fails: 2 failed, 2 never touched, 2 of 4 in service at its end
If it fails  the hosts that were touched are rolled back to 9f8e7d6c5b4a";
    assert_eq!(words(&possible()), expected);
}

#[test]
fn a_plan_that_cannot_finish_says_why_and_what_would_help() {
    let plan = PlanView {
        is_possible: false,
        healthy: 3,
        down: vec![DownView { who: named("web-4"), since: "2026-01-01T00:00:00.000Z".into() }],
        reasons: vec![cause(
            "HEALTH_CONSTRAINTS",
            "3 of 4 hosts are healthy and 3 must stay so",
            false,
            &["bring back what is Down (web-4)"],
        )],
        ..possible()
    };
    let expected = "\
hello/prod: 4 hosts, 3 in service now.
HalfAtATime: 2 must stay in service, at most 2 at a time.
Down         web-4 since 2026-01-01T00:00:00.000Z: its turn comes last, and fails if it is not back within 1m

NOT POSSIBLE as things are.
Why: 3 of 4 hosts are healthy and 3 must stay so (HEALTH_CONSTRAINTS)
This would make it possible:
  - bring back what is Down (web-4)";
    assert_eq!(words(&plan), expected);
}

#[test]
fn a_plan_that_would_be_refused_now_shows_how_it_would_go_later() {
    let plan = PlanView {
        is_possible: false,
        passes: true,
        reasons: vec![cause("FROZEN", "group hello/prod is frozen until Monday by ann", true, &[])],
        ..possible()
    };
    let text = words(&plan);
    let expected = "\
NOT NOW: it would not be accepted.
Why: group hello/prod is frozen until Monday by ann (FROZEN)
Once that is over it would go like this:

      1. web-1, web-2";
    assert!(text.contains(expected), "{text}");
}

#[test]
fn each_cause_is_told_with_what_helps_against_it() {
    let plan = PlanView {
        is_possible: false,
        reasons: vec![
            cause("ALREADY_RUNNING", "d-1 is still running", true, &[]),
            cause("HEALTH_CONSTRAINTS", "it would fail: too few", false, &["bring back web-4", "wait"]),
        ],
        ..possible()
    };
    let expected = "
NOT NOW: it would not be accepted.
Why: d-1 is still running (ALREADY_RUNNING)
And then: it would fail: too few (HEALTH_CONSTRAINTS)
Any one of these would then make it possible, the smallest change first:
  - bring back web-4
  - wait
";
    assert_eq!(refusal(&plan), expected);
}

#[test]
fn hosts_out_of_service_and_canaries_are_told_before_it_begins() {
    let step = |wave: Option<&str>, after| StepView { wave: wave.map(Into::into), after };
    let unwell = UnwellView { who: named("web-1"), why: "unhealthy since noon: it answered 500".into() };
    let plan = PlanView {
        targets: 3,
        healthy: 2,
        unhealthy: vec![unwell],
        never_deployed: 1,
        left_out: vec![UnwellView { who: named("web-4"), why: "its last turn failed".into() }],
        waves: vec![step(Some("the canary"), 0), step(None, 600)],
        stopped_by_failures: 1,
        stopped_after_canary: Some(2),
        last_may_fail: 1,
        rollback_to: None,
        ..possible()
    };
    let text = words(&plan);
    for line in [
        "hello/prod: 4 hosts, 2 in service now, for 3 of them.\n",
        "Unhealthy    web-1, unhealthy since noon: it answered 500: first of those it goes with\n",
        "New          1 host that never had a turn: first of those it goes with\n",
        "Left out     web-4, its last turn failed: out of service, and no part of this deployment\n",
        "1. web-1, web-2 (the canary)\n",
        "2. web-3, web-4 (the others, about 10m after the first turn begins)\n",
        "Stopped by   any failed turn of the canary; then 2 failed turns, whichever hosts they are\n",
        "If it fails  nothing is rolled back: no revision was good here yet",
    ] {
        assert!(text.contains(line), "{line} is not in\n{text}");
    }
}

#[test]
fn a_plan_for_many_hosts_fits_on_a_screen() {
    let batch: Vec<String> = (0..500).map(|number| format!("web-{number}")).collect();
    let since = "2026-01-01T00:00:00.000Z";
    let down = (0..300).map(|number| DownView { who: named(&format!("web-{number}")), since: since.into() });
    let text = words(&PlanView { batches: vec![batch; 100], down: down.collect(), ..possible() });
    assert!(text.contains(", web-7 and 492 more\n"), "{text}");
    assert!(text.contains("… 86 more batches, 500 hosts each (--json shows all)\n"), "{text}");
    assert!(text.contains("; and 295 more (--json shows all): its turn comes last"), "{text}");
    assert!(text.contains("    100. web-0"), "the last ones are shown");
    assert!(text.lines().count() < 30, "{text}");
}

#[test]
fn a_minimum_of_all_hosts_is_not_said_to_let_one_go() {
    let plan =
        PlanView { group: "hello/prod".into(), total: 3, minimum: 3, turns_max: 1, ..PlanView::default() };
    assert!(head(&plan).contains("3 must stay in service, so none at a time.\n"), "{}", head(&plan));
}

#[test]
fn what_stops_it_is_said_without_gluing_two_numbers_together() {
    let check = |(fewest, after_canary, last, turns): (u32, Option<u32>, u32, u32), expected: &str| {
        let plan = PlanView {
            stopped_by_failures: fewest,
            stopped_after_canary: after_canary,
            last_may_fail: last,
            turns_after_canary: turns,
            ..PlanView::default()
        };
        assert_eq!(stops(&plan), expected);
    };
    check((1, None, 1, 5), "1 failed turn; if only the last host fails, it still succeeds");
    check((2, None, 1, 5), "2 failed turns, whichever hosts they are");
    check((1, None, 0, 4), "1 failed turn, whichever host it is");
    check((3, None, 2, 3), "3 failed turns only, which is every one: one that goes well is enough");
    check((1, Some(0), 3, 3), "any failed turn of the canary; then nothing: all the others may fail");
    check(
        (1, Some(2), 2, 4),
        "any failed turn of the canary; then 2 failed turns while others still wait for theirs; once nobody \
         waits, it takes 3",
    );
    let down = vec![DownView { who: named("web-4"), since: String::new() }];
    let plan = PlanView { down, stopped_by_failures: 1, last_may_fail: 1, ..PlanView::default() };
    assert!(stops(&plan).ends_with(" (hosts that stay Down are not counted)"));
    let plan = PlanView { is_zonal: true, stopped_by_failures: 2, last_may_fail: 2, ..PlanView::default() };
    assert_eq!(
        stops(&plan),
        "2 failed turns if they are the first, 3 if they are the last; each zone has its minimum"
    );
}

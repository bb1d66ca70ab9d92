//! Tests the rule without waves: each row of the worked examples in the AWS user
//! guide, and examples that follow from the same rule.

use super::*;

/// Runs a rollout over `total` hosts; the first `unhealthy` of them are unhealthy.
/// `fails` says whether the n-th turn (from 0) fails. Turns end in the order in
/// which they began. Returns its status at the end, the number of turns that
/// succeeded, M, and the most turns in flight at a time among the healthy hosts.
fn run(
    minimum: Minimum,
    total: u32,
    unhealthy: u32,
    fails: &dyn Fn(u32) -> bool,
) -> (&'static str, u32, u32, u32) {
    let at = LedgerTime::from_millis(1);
    let old = Standing { health: Health::Healthy, revision: Some(Digest([1; 32])) };
    let entrants: Vec<Entrant> = (0..total)
        .map(|number| Entrant {
            host: host(number),
            standing: (number >= unhealthy).then_some(old),
            down: None,
            ailing: None,
            target: true,
            zone: String::new(),
        })
        .collect();
    let mut rollout = Rollout::queued(submission(minimum), at);
    let mut flying: std::collections::VecDeque<HostId> = rollout.begin(&entrants, at).into();
    let (mut turns, mut most) = (0, 0);
    loop {
        if turns >= unhealthy {
            most = most.max(u32::try_from(flying.len()).expect("few"));
        }
        let Some(next) = flying.pop_front() else { break };
        assert!(rollout.start_turn(next, at));
        let outcome = if fails(turns) { failed() } else { TurnOutcome::Succeeded };
        turns += 1;
        flying.extend(rollout.end_turn(next, outcome, at).expect("its turn"));
        flying.retain(|host| rollout.members()[host].is_in_flight());
    }
    assert!(rollout.finish(at), "with nobody in a turn it can be over");
    let word = match rollout.verdict.as_ref().expect("a verdict") {
        Verdict::Succeeded => "Succeeded",
        Verdict::Failed(Reason { code: ReasonCode::HealthConstraintsInvalid, .. }) => "FailedInvalid",
        Verdict::Failed(_) => "Failed",
        Verdict::Stopped(_) => "Stopped",
    };
    (word, rollout.counts().succeeded, rollout.bounds.minimum, most)
}

fn check(minimum: Minimum, total: u32, fails: &[u32], expected: (&str, u32, u32, u32)) {
    check_with_unhealthy(minimum, total, 0, fails, expected);
}

fn check_with_unhealthy(
    minimum: Minimum,
    total: u32,
    unhealthy: u32,
    fails: &[u32],
    expected: (&str, u32, u32, u32),
) {
    let got = run(minimum, total, unhealthy, &|turn| fails.contains(&turn));
    assert_eq!(got, expected, "{minimum} of {total}, {unhealthy} unhealthy, failing {fails:?}");
}

use Minimum::{AllAtOnce, FleetPercent, HalfAtATime, HostCount, OneAtATime};

#[test]
fn a_minimum_that_can_never_be_kept_deploys_nothing() {
    check(FleetPercent(95), 10, &[], ("FailedInvalid", 0, 10, 0));
    check(FleetPercent(75), 3, &[], ("FailedInvalid", 0, 3, 0));
    check(FleetPercent(50), 1, &[], ("FailedInvalid", 0, 1, 0));
}

#[test]
fn nine_of_ten_go_one_at_a_time_and_only_the_last_may_fail() {
    check(HostCount(9), 10, &[], ("Succeeded", 10, 9, 1));
    check(HostCount(9), 10, &[0], ("Failed", 0, 9, 1));
    check(HostCount(9), 10, &[9], ("Succeeded", 9, 9, 1));
    check(FleetPercent(85), 10, &[0], ("Failed", 0, 9, 1));
}

#[test]
fn eight_of_ten_go_two_at_a_time_and_two_failures_stop_them() {
    check(HostCount(8), 10, &[], ("Succeeded", 10, 8, 2));
    check(HostCount(8), 10, &[0, 1], ("Failed", 0, 8, 2));
    check(HostCount(8), 10, &[2, 9], ("Succeeded", 8, 8, 2));
    check(FleetPercent(75), 10, &[], ("Succeeded", 10, 8, 2));
}

#[test]
fn a_minimum_of_none_needs_one_success() {
    check(HostCount(0), 10, &[], ("Succeeded", 10, 0, 10));
    check(AllAtOnce, 10, &(0..10).collect::<Vec<_>>(), ("Failed", 0, 0, 10));
    check(AllAtOnce, 10, &(0..9).collect::<Vec<_>>(), ("Succeeded", 1, 0, 10));
}

#[test]
fn nine_hosts_as_in_the_guide() {
    check(HostCount(6), 9, &[], ("Succeeded", 9, 6, 3));
    check(FleetPercent(40), 9, &[], ("Succeeded", 9, 4, 5));
    check(HalfAtATime, 9, &[], ("Succeeded", 9, 5, 4));
    check(OneAtATime, 9, &[8], ("Succeeded", 8, 8, 1));
    check(OneAtATime, 9, &[7], ("Failed", 7, 8, 1));
}

#[test]
fn small_groups() {
    check(OneAtATime, 1, &[], ("Succeeded", 1, 0, 1));
    check(OneAtATime, 1, &[0], ("Failed", 0, 0, 1));
    check(FleetPercent(75), 4, &[], ("Succeeded", 4, 3, 1));
    check(FleetPercent(50), 2, &[], ("Succeeded", 2, 1, 1));
    check(HalfAtATime, 1, &[], ("Succeeded", 1, 0, 1));
}

#[test]
fn unhealthy_hosts_go_first_and_lower_nothing() {
    check_with_unhealthy(HostCount(8), 10, 2, &[0, 1], ("Failed", 0, 8, 0));
    check_with_unhealthy(HostCount(8), 10, 2, &[0], ("Succeeded", 9, 8, 1));
}

#[test]
fn a_brand_new_group_goes_as_slowly_as_a_healthy_one() {
    check_with_unhealthy(OneAtATime, 5, 5, &[], ("Succeeded", 5, 4, 0));
    check_with_unhealthy(HostCount(6), 9, 9, &[], ("Succeeded", 9, 6, 0));
}

#[test]
fn a_brand_new_group_stops_when_its_minimum_is_out_of_reach() {
    check_with_unhealthy(OneAtATime, 5, 5, &[0], ("Succeeded", 4, 4, 0));
    check_with_unhealthy(OneAtATime, 5, 5, &[0, 1], ("Failed", 0, 4, 0));
    check_with_unhealthy(OneAtATime, 5, 5, &[0, 3], ("Failed", 2, 4, 0));
}

/// Checks the reason that is given when these turns fail.
fn check_reason(minimum: Minimum, entrants: Vec<Entrant>, fails: &[u32], sentence: &str) {
    let mut play = Play::of(Policy { minimum, ..Policy::default() }, entrants);
    while let Some(next) = play.flying().first().copied() {
        let at = play.now();
        let outcome = if fails.contains(&next) { failed() } else { TurnOutcome::Succeeded };
        assert!(play.rollout.start_turn(host(next), at));
        play.rollout.end_turn(host(next), outcome, at);
    }
    let Some(Verdict::Failed(reason)) = &play.rollout.verdict else { panic!("{:?}", play.rollout.verdict) };
    assert_eq!(reason.to_string(), sentence);
}

#[test]
fn hosts_to_come_that_are_unwell_are_not_said_to_be_none() {
    let mut unwell = entrants(&[""; 5], &[]);
    for entrant in &mut unwell {
        entrant.ailing = Some(LedgerTime::from_millis(1));
    }
    let capped = Policy { minimum: HostCount(3), turns_max: Some(1), ..Policy::default() };
    let mut play = Play::of(capped, unwell);
    for (number, flying) in [(0, &[1][..]), (1, &[2]), (2, &[])] {
        play.starts(number);
        play.fails(number, flying);
    }
    let Some(Verdict::Failed(reason)) = &play.rollout.verdict else { panic!("{:?}", play.rollout.verdict) };
    assert_eq!(
        reason.to_string(),
        "2 of 5 hosts are healthy and 3 must be; 3 failed, and that is too few even if the 2 still to come go \
         well; 2 unhealthy by the health check"
    );
}

#[test]
fn the_reason_says_which_way_it_failed() {
    check_reason(
        HostCount(2),
        entrants(&[""; 3], &[]),
        &[1],
        "2 of 3 hosts are healthy and 2 must stay so; 1 failed, 1 were still to come: no further host may be \
         taken out of service",
    );
    check_reason(
        AllAtOnce,
        entrants(&[""; 2], &[]),
        &[0, 1],
        "all 2 hosts that had their turn failed, and at least one must succeed (0 of 2 are healthy, 0 must be)",
    );
    let brand_new =
        || entrants(&[""; 4], &[(0, Was::Broken), (1, Was::Broken), (2, Was::Broken), (3, Was::Broken)]);
    check_reason(
        OneAtATime,
        brand_new(),
        &[0, 1],
        "0 of 4 hosts are healthy and 3 must be; 2 failed, and even with the 2 that may still get well that is too few",
    );
    check_reason(
        OneAtATime,
        brand_new(),
        &[1, 3],
        "2 of 4 hosts are healthy and 3 must be; 2 failed, and none is still to come",
    );
}

#[test]
fn a_host_that_is_down_gets_its_turn_first_and_blocks_nobody_for_ever() {
    let at = LedgerTime::from_millis(1);
    let old = Standing { health: Health::Healthy, revision: Some(Digest([1; 32])) };
    let entrants: Vec<Entrant> = (0..5)
        .map(|number| Entrant {
            host: host(number),
            standing: Some(old),
            down: (number == 3).then_some(at),
            ailing: None,
            target: true,
            zone: String::new(),
        })
        .collect();
    let mut rollout = Rollout::queued(submission(OneAtATime), at);
    assert_eq!(rollout.begin(&entrants, at), [host(3)]);
    // The host does not come back in time. That ends its turn and the deployment.
    assert_eq!(rollout.end_turn(host(3), failed(), at), Some(vec![]));
    let Some(Verdict::Failed(reason)) = &rollout.verdict else { panic!("{:?}", rollout.verdict) };
    assert_eq!(reason.code, ReasonCode::HealthConstraints);
    assert_eq!((reason.counts.healthy, reason.counts.down, reason.minimum, reason.total), (4, 1, 4, 5));
}

#[test]
fn a_group_that_falls_to_its_minimum_for_other_reasons_waits() {
    let at = LedgerTime::from_millis(1);
    let old = Standing { health: Health::Healthy, revision: Some(Digest([1; 32])) };
    let entrants: Vec<Entrant> = (0..5)
        .map(|number| Entrant {
            host: host(number),
            standing: Some(old),
            down: None,
            ailing: None,
            target: true,
            zone: String::new(),
        })
        .collect();
    let mut rollout = Rollout::queued(submission(OneAtATime), at);
    assert_eq!(rollout.begin(&entrants, at), [host(0)]);
    rollout.start_turn(host(0), at);
    assert_eq!(rollout.end_turn(host(0), TurnOutcome::Succeeded, at), Some(vec![host(1)]));
    rollout.start_turn(host(1), at);
    // The updated host goes Down, so no other host may go.
    assert!(rollout.set_down(host(0), Some(at), at).is_empty());
    assert_eq!(rollout.end_turn(host(1), TurnOutcome::Succeeded, at), Some(vec![]));
    assert_eq!(
        rollout.turn(),
        Turn::Blocked(vec![Blocker::TooFewHealthy {
            available: 4,
            minimum: 4,
            total: 5,
            down: 1,
            ailing: 0
        }])
    );
    assert_eq!(rollout.set_down(host(0), None, at), [host(2)], "it is back: the next one goes");
}

//! Tests deployments zone by zone: the order, the lesser of two minimums, and what
//! breaks.

use super::*;
use crate::policy::{Share, Zonal};

fn policy(minimum: Minimum, of_zone: Share) -> Policy {
    Policy { minimum, zonal: Some(Zonal { minimum: of_zone, ..Zonal::default() }), ..Policy::default() }
}

const TWO_ZONES: [&str; 6] = ["b", "a", "b", "a", "b", "a"];

#[test]
fn zones_go_one_after_the_other_and_hosts_without_one_last() {
    let zones = ["", "b", "a", "b", "a"];
    let mut play = Play::of(policy(Minimum::AllAtOnce, Share::Percent(0)), entrants(&zones, &[]));
    assert_eq!(play.flying(), [2, 4]);
    play.succeeds(2, &[4]);
    assert_eq!(
        play.rollout.turn(),
        Turn::Blocked(vec![Blocker::WaveEnding { wave: WaveKind::Zone("a".into()), in_flight: 1 }])
    );
    play.succeeds(4, &[1, 3]);
    play.fails(1, &[3]);
    play.succeeds(3, &[0]);
    play.succeeds(0, &[]);
    play.ends_as(None);
}

#[test]
fn an_order_of_zones_comes_before_their_names() {
    let mut policy = policy(Minimum::AllAtOnce, Share::Percent(0));
    policy.zonal.as_mut().expect("zonal").order = vec!["b".into()];
    let play = Play::of(policy, entrants(&TWO_ZONES, &[]));
    assert_eq!(play.flying(), [0, 2, 4]);
}

/// Checks how many hosts go at once in the first of two zones of three.
fn check_at_once(minimum: Minimum, of_zone: Share, cap: Option<u32>, at_once: usize) {
    let policy = Policy { turns_max: cap, ..policy(minimum, of_zone) };
    let play = Play::of(policy, entrants(&TWO_ZONES, &[]));
    assert_eq!(play.flying().len(), at_once, "{minimum}, {of_zone} of each zone, cap {cap:?}");
}

#[test]
fn hosts_at_once_are_the_lesser_of_both_minimums_and_the_cap() {
    check_at_once(Minimum::AllAtOnce, Share::Percent(0), None, 3);
    check_at_once(Minimum::AllAtOnce, Share::Hosts(1), None, 2);
    check_at_once(Minimum::AllAtOnce, Share::Percent(34), None, 1); // 34 % of 3 rounds up to 2
    check_at_once(Minimum::HostCount(4), Share::Percent(0), None, 2);
    check_at_once(Minimum::HostCount(4), Share::Hosts(2), None, 1);
    check_at_once(Minimum::OneAtATime, Share::Percent(0), None, 1);
    check_at_once(Minimum::AllAtOnce, Share::Percent(0), Some(2), 2);
    check_at_once(Minimum::AllAtOnce, Share::Percent(0), Some(9), 3);
}

#[test]
fn a_zone_at_its_minimum_fails_the_whole_deployment() {
    let mut play = Play::of(policy(Minimum::AllAtOnce, Share::Hosts(2)), entrants(&TWO_ZONES, &[]));
    assert_eq!(play.flying(), [1]);
    play.fails(1, &[]);
    play.ends_as(Some(ReasonCode::HealthConstraints));
    let Some(Verdict::Failed(reason)) = &play.rollout.verdict else { panic!("failed") };
    let zone = ZoneReason { name: "a".into(), healthy: 2, minimum: 2, total: 3 };
    assert_eq!(reason.zone, Some(zone));
}

#[test]
fn the_last_host_of_a_zone_may_fail_at_the_zones_minimum() {
    let mut play = Play::of(policy(Minimum::AllAtOnce, Share::Hosts(2)), entrants(&TWO_ZONES, &[]));
    play.succeeds(1, &[3]);
    play.succeeds(3, &[5]);
    play.fails(5, &[0]);
    play.succeeds(0, &[2]);
    play.succeeds(2, &[4]);
    play.fails(4, &[]);
    play.ends_as(None);
}

#[test]
fn the_last_host_of_a_zone_that_is_not_the_last_counts_for_the_group() {
    // With OneAtATime, one failure is too many while any host is still to come.
    let mut play = Play::of(policy(Minimum::OneAtATime, Share::Percent(0)), entrants(&TWO_ZONES, &[]));
    play.succeeds(1, &[3]);
    play.succeeds(3, &[5]);
    play.fails(5, &[]);
    play.ends_as(Some(ReasonCode::HealthConstraints));
    let Some(Verdict::Failed(reason)) = &play.rollout.verdict else { panic!("failed") };
    assert_eq!((reason.zone.clone(), reason.counts.healthy, reason.minimum), (None, 5, 5));
}

#[test]
fn a_zone_of_which_all_must_stay_deploys_nothing() {
    let zones = ["a", "a", "b"];
    let play = Play::of(policy(Minimum::AllAtOnce, Share::Percent(50)), entrants(&zones, &[]));
    play.ends_as(Some(ReasonCode::HealthConstraintsInvalid));
    assert_eq!(play.rollout.counts().skipped, 3);
}

#[test]
fn a_zone_with_nothing_to_do_breaks_nothing() {
    // Zone b is below its minimum, and zone c could never keep one. But neither
    // zone has a target.
    let zones = ["a", "a", "a", "b", "b", "b", "c"];
    let mut entrants = entrants(&zones, &[(3, Was::Broken), (4, Was::Broken)]);
    entrants.iter_mut().skip(3).for_each(|entrant| entrant.target = false);
    let mut play = Play::of(policy(Minimum::AllAtOnce, Share::Hosts(2)), entrants);
    play.succeeds(0, &[1]);
    play.succeeds(1, &[2]);
    play.succeeds(2, &[]);
    play.ends_as(None);
}

#[test]
fn a_zone_that_cannot_reach_its_minimum_any_more_stops_all_zones() {
    // Zone b is brand-new. When two of its three hosts have failed, two can no
    // longer be healthy.
    let mut play = Play::of(
        policy(Minimum::AllAtOnce, Share::Hosts(2)),
        entrants(&["b", "b", "b", "c", "c", "c"], &[(0, Was::Broken), (1, Was::Broken), (2, Was::Broken)]),
    );
    assert_eq!(play.flying(), [0], "as slowly as through a healthy zone");
    play.fails(0, &[1]);
    play.fails(1, &[]);
    play.ends_as(Some(ReasonCode::HealthConstraints));
}

#[test]
fn an_unhealthy_host_of_a_later_zone_goes_ahead_only_if_nobody_else_may() {
    // One host is broken in zone b, and all but one must stay healthy.
    let mut play =
        Play::of(policy(Minimum::OneAtATime, Share::Percent(0)), entrants(&TWO_ZONES, &[(2, Was::Broken)]));
    assert_eq!(play.flying(), [2]);
    play.succeeds(2, &[1]);
    // The host was Down, and is back before it has started, so it waits for its
    // zone.
    let mut play =
        Play::of(policy(Minimum::HostCount(5), Share::Percent(0)), entrants(&TWO_ZONES, &[(2, Was::Down)]));
    assert_eq!(play.flying(), [2]);
    play.down(2, false, &[1]);
    // The host fails again, and then no other host may go.
    let mut play =
        Play::of(policy(Minimum::OneAtATime, Share::Percent(0)), entrants(&TWO_ZONES, &[(2, Was::Broken)]));
    play.fails(2, &[]);
    play.ends_as(Some(ReasonCode::HealthConstraints));
    // With one host to spare, it waits for its zone.
    let play =
        Play::of(policy(Minimum::HostCount(4), Share::Percent(0)), entrants(&TWO_ZONES, &[(2, Was::Broken)]));
    assert_eq!(play.flying(), [1]);
}

#[test]
fn an_unhealthy_host_of_another_zone_cannot_help_a_zone_at_its_minimum() {
    let mut play = Play::of(
        policy(Minimum::AllAtOnce, Share::Hosts(2)),
        entrants(&["a", "a", "a", "b", "b", "b"], &[(5, Was::Broken)]),
    );
    play.succeeds(0, &[1]);
    play.starts(1);
    play.down(0, true, &[1]);
    play.succeeds(1, &[]);
    let blocker = Blocker::ZoneTooFewHealthy {
        zone: "a".into(),
        available: 2,
        minimum: 2,
        total: 3,
        down: 1,
        ailing: 0,
    };
    assert_eq!(play.rollout.turn(), Turn::Blocked(vec![blocker]));
    play.down(0, false, &[2]);
}

#[test]
fn a_zone_that_falls_to_its_minimum_for_other_reasons_waits() {
    let mut play =
        Play::of(policy(Minimum::AllAtOnce, Share::Hosts(1)), entrants(&["a", "a", "a", "b", "b"], &[]));
    assert_eq!(play.flying(), [0, 1]);
    play.succeeds(0, &[1, 2]);
    play.succeeds(1, &[2]);
    // Both updated hosts go Down. The one in its turn takes nothing more out of
    // service.
    play.starts(2);
    play.down(0, true, &[2]);
    play.down(1, true, &[2]);
    play.succeeds(2, &[3]);
    let mut play =
        Play::of(policy(Minimum::AllAtOnce, Share::Hosts(1)), entrants(&["a", "a", "a", "a"], &[]));
    assert_eq!(play.flying(), [0, 1, 2]);
    play.down(3, true, &[0, 1]);
    play.succeeds(0, &[1, 2, 3]);
    let mut play = Play::of(
        Policy { turns_max: Some(1), ..policy(Minimum::AllAtOnce, Share::Hosts(1)) },
        entrants(&["a", "a", "a", "b", "b"], &[]),
    );
    play.succeeds(0, &[1]);
    play.starts(1);
    play.down(0, true, &[1]);
    play.down(2, true, &[1]);
    // The other Down host is still to come. When it is back, it is the last one in
    // service.
    play.succeeds(1, &[2]);
    play.down(1, true, &[2]);
    play.down(2, false, &[]);
    let blocker = Blocker::ZoneTooFewHealthy {
        zone: "a".into(),
        available: 1,
        minimum: 1,
        total: 3,
        down: 2,
        ailing: 0,
    };
    assert_eq!(play.rollout.turn(), Turn::Blocked(vec![blocker]));
    play.down(0, false, &[2]);
}

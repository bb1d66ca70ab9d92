//! Tests bakes: how long, after which wave, and what is noticed during them.

use super::*;
use crate::policy::{Canary, Share, Zonal};
use std::time::Duration;

fn policy(bake: u64, first_bake: Option<u64>) -> Policy {
    let zonal = Zonal {
        bake: Duration::from_secs(bake),
        first_bake: first_bake.map(Duration::from_secs),
        ..Zonal::default()
    };
    Policy { minimum: Minimum::AllAtOnce, zonal: Some(zonal), ..Policy::default() }
}

/// Returns the failure of a host that does not come back.
fn lost() -> Failure {
    let TurnOutcome::Failed(failure) = failed() else { panic!("it failed") };
    Failure { code: ErrorCode::HostLost, ..failure }
}

const THREE_ZONES: [&str; 3] = ["a", "b", "c"];

/// Checks how long each wave is watched, with three zones of one host each.
fn check(policy: Policy, bakes: &[u64]) {
    let play = Play::of(policy, entrants(&THREE_ZONES, &[]));
    let got: Vec<u64> = play.rollout.waves().iter().map(|wave| wave.bake.as_secs()).collect();
    assert_eq!(got, bakes);
}

#[test]
fn the_first_zone_may_bake_longer_and_the_last_never_does() {
    check(policy(60, None), &[60, 60, 0]);
    check(policy(60, Some(300)), &[300, 60, 0]);
    check(policy(0, Some(300)), &[300, 0, 0]);
    check(policy(60, Some(0)), &[0, 60, 0]);
    let canary = Some(Canary { hosts: Share::Hosts(1), bake: Duration::from_secs(10) });
    check(Policy { canary, ..policy(60, Some(300)) }, &[10, 300, 0]);
}

#[test]
fn nobody_starts_in_a_bake() {
    let mut play = Play::of(policy(60, Some(120)), entrants(&THREE_ZONES, &[]));
    play.succeeds(0, &[]);
    play.is(DeploymentStatus::Baking);
    play.later(119, &[]);
    play.later(1, &[1]);
    play.succeeds(1, &[]);
    play.later(60, &[2]);
    play.succeeds(2, &[]);
    play.is(DeploymentStatus::InProgress);
    play.ends_as(None);
}

#[test]
fn a_host_that_goes_down_in_the_bake_is_waited_for() {
    let mut play = Play::of(policy(60, None), entrants(&THREE_ZONES, &[]));
    play.succeeds(0, &[]);
    play.down(0, true, &[]);
    assert!(play.rollout.watches(host(0)));
    play.later(60, &[]);
    assert!(
        matches!(play.rollout.turn(), Turn::Blocked(why) if matches!(why[..], [Blocker::Baking { unsure: 1, .. }]))
    );
    play.down(0, false, &[1]);
}

#[test]
fn one_that_does_not_come_back_counts_as_failed() {
    let at_least_two = Policy { minimum: Minimum::HostCount(2), ..policy(60, None) };
    let mut play = Play::of(at_least_two, entrants(&THREE_ZONES, &[]));
    play.succeeds(0, &[]);
    play.down(0, true, &[]);
    let at = play.now();
    assert!(play.rollout.lose(host(0), lost(), at).is_some());
    play.ends_as(Some(ReasonCode::HealthConstraints));
    assert_eq!((play.rollout.counts().failed, play.rollout.counts().succeeded), (1, 0));
    // With a host to spare, the rollout continues when the bake is over.
    let mut play = Play::of(policy(60, None), entrants(&THREE_ZONES, &[]));
    play.succeeds(0, &[]);
    play.down(0, true, &[]);
    let at = play.now();
    assert_eq!(play.rollout.lose(host(0), lost(), at), Some(vec![]));
    play.later(60, &[1]);
}

#[test]
fn a_canary_that_is_lost_in_its_bake_has_failed() {
    let canary = Some(Canary { hosts: Share::Hosts(1), bake: Duration::from_secs(10) });
    let all_at_once = Policy { minimum: Minimum::AllAtOnce, canary, ..Policy::default() };
    let mut play = Play::of(all_at_once, entrants(&THREE_ZONES, &[]));
    play.succeeds(0, &[]);
    play.down(0, true, &[]);
    let at = play.now();
    play.rollout.lose(host(0), lost(), at);
    play.ends_as(Some(ReasonCode::CanaryFailed));
}

#[test]
fn a_host_is_watched_only_in_the_bake_of_its_own_wave() {
    let mut play = Play::of(policy(60, None), entrants(&THREE_ZONES, &[]));
    play.succeeds(0, &[]);
    play.later(60, &[1]);
    play.down(0, true, &[1]);
    assert!(!play.rollout.watches(host(0)));
    let at = play.now();
    assert_eq!(play.rollout.lose(host(0), lost(), at), None);
    // Nor is it watched without a bake, or once the verdict is decided.
    let mut play = Play::of(policy(0, None), entrants(&THREE_ZONES, &[]));
    play.succeeds(0, &[1]);
    play.down(0, true, &[1]);
    assert!(!play.rollout.watches(host(0)));
    let mut play = Play::of(policy(60, None), entrants(&THREE_ZONES, &[]));
    play.succeeds(0, &[]);
    play.down(0, true, &[]);
    assert!(play.rollout.watches(host(0)));
    play.rollout.stop(false, false, at);
    assert!(!play.rollout.watches(host(0)));
}

#[test]
fn a_stop_ends_a_bake() {
    let mut play = Play::of(policy(60, None), entrants(&THREE_ZONES, &[]));
    play.succeeds(0, &[]);
    let at = play.now();
    play.rollout.stop(false, false, at);
    assert_eq!(play.rollout.bakes_until(), None);
    assert!(play.rollout.is_decided());
    play.later(60, &[]);
}

//! Tests the canary: which hosts are in it, and that all of them must succeed.

use super::*;
use crate::policy::{Canary, Share};
use std::time::Duration;

fn policy(minimum: Minimum, hosts: Share, bake: u64) -> Policy {
    Policy { minimum, canary: Some(Canary { hosts, bake: Duration::from_secs(bake) }), ..Policy::default() }
}

const GROUP: [&str; 5] = [""; 5];

#[test]
fn the_others_follow_the_canary_after_its_bake() {
    let mut play = Play::of(policy(Minimum::AllAtOnce, Share::Hosts(1), 60), entrants(&GROUP, &[]));
    assert_eq!(play.flying(), [0]);
    play.succeeds(0, &[]);
    play.is(DeploymentStatus::Baking);
    let until = LedgerTime::from_millis(61_000);
    assert_eq!(
        play.rollout.turn(),
        Turn::Blocked(vec![Blocker::Baking { wave: WaveKind::Canary, until, unsure: 0, is_last: false }])
    );
    play.later(59, &[]);
    play.later(1, &[1, 2, 3, 4]);
    play.is(DeploymentStatus::InProgress);
    for (number, flying) in [(1, &[2, 3, 4][..]), (2, &[3, 4]), (3, &[4]), (4, &[])] {
        play.succeeds(number, flying);
    }
    play.ends_as(None);
}

#[test]
fn without_a_bake_the_others_follow_at_once() {
    let mut play = Play::of(policy(Minimum::OneAtATime, Share::Hosts(1), 0), entrants(&GROUP, &[]));
    play.succeeds(0, &[1]);
    play.is(DeploymentStatus::InProgress);
}

#[test]
fn one_canary_that_fails_ends_it_whatever_the_minimum() {
    let mut play = Play::of(policy(Minimum::AllAtOnce, Share::Percent(40), 0), entrants(&GROUP, &[]));
    assert_eq!(play.flying(), [0, 1], "40 % of 5");
    play.succeeds(0, &[1]);
    play.fails(1, &[]);
    play.ends_as(Some(ReasonCode::CanaryFailed));
    assert_eq!((play.rollout.counts().succeeded, play.rollout.counts().skipped), (1, 3));
}

#[test]
fn the_last_host_may_fail_as_without_a_canary() {
    let mut play = Play::of(policy(Minimum::OneAtATime, Share::Hosts(1), 0), entrants(&GROUP, &[]));
    for (number, flying) in [(0, [1]), (1, [2]), (2, [3]), (3, [4])] {
        play.succeeds(number, &flying);
    }
    play.fails(4, &[]);
    play.ends_as(None);
}

#[test]
fn a_canary_is_a_host_in_service_if_there_is_one() {
    let others = [(0, Was::Down), (1, Was::Broken)];
    let play = Play::of(policy(Minimum::AllAtOnce, Share::Hosts(1), 60), entrants(&GROUP, &others));
    assert_eq!(play.flying(), [2]);
    // Unhealthy hosts come before those that are Down.
    let others = [(0, Was::Down), (1, Was::Broken), (2, Was::Down), (3, Was::Down), (4, Was::Down)];
    let play = Play::of(policy(Minimum::AllAtOnce, Share::Hosts(1), 60), entrants(&GROUP, &others));
    assert_eq!(play.flying(), [1]);
}

#[test]
fn an_unhealthy_host_goes_ahead_of_the_canary_only_if_nobody_else_may() {
    // Four of five hosts are healthy and four must stay so, so the broken one goes
    // first.
    let mut play =
        Play::of(policy(Minimum::OneAtATime, Share::Hosts(1), 0), entrants(&GROUP, &[(3, Was::Broken)]));
    assert_eq!(play.flying(), [3]);
    play.succeeds(3, &[0]);
    play.succeeds(0, &[1]);
    // With one host to spare, the canary goes first.
    let play =
        Play::of(policy(Minimum::HostCount(3), Share::Hosts(1), 0), entrants(&GROUP, &[(3, Was::Broken)]));
    assert_eq!(play.flying(), [0]);
}

#[test]
fn a_canary_that_nobody_would_follow_is_none() {
    let mut entrants = entrants(&GROUP, &[]);
    entrants.iter_mut().skip(2).for_each(|entrant| entrant.target = false);
    let mut play = Play::of(policy(Minimum::HostCount(1), Share::Hosts(2), 60), entrants);
    assert_eq!(play.rollout.waves().len(), 1);
    play.fails(0, &[1]);
    play.succeeds(1, &[]);
    play.ends_as(None);
}

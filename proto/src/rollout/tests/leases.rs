//! Tests unused leases when another host leaves service.

use std::time::Duration;

use super::*;
use crate::policy::{Share, Zonal};

fn play(minimum: Minimum, hosts: usize) -> Play {
    Play::of(Policy { minimum, ..Policy::default() }, entrants(&vec![""; hosts], &[]))
}

#[test]
fn a_lease_that_would_break_the_minimum_now_is_taken_back_until_there_is_room() {
    let mut play = play(Minimum::OneAtATime, 5);
    play.succeeds(0, &[1]);
    play.unwell(0, true, &[]);
    let blocker = Blocker::TooFewHealthy { available: 4, minimum: 4, total: 5, down: 0, ailing: 1 };
    assert_eq!(play.rollout.turn(), Turn::Blocked(vec![blocker]));
    assert_eq!(play.rollout.lowest_available, 4, "the second went on serving");
    assert!(!play.rollout.start_turn(host(1), play.now()), "a start that comes too late changes nothing");
    play.unwell(0, false, &[1]);
    play.down(0, true, &[]);
    play.down(0, false, &[1]);
    (1..4).for_each(|number| play.succeeds(number, &[number + 1]));
    play.succeeds(4, &[]);
    play.ends_as(None);
}

#[test]
fn a_turn_that_has_begun_goes_on() {
    let mut play = play(Minimum::OneAtATime, 5);
    play.succeeds(0, &[1]);
    play.starts(1);
    play.unwell(0, true, &[1]);
    assert_eq!(play.rollout.counts().available, 3);
}

#[test]
fn only_as_many_leases_are_taken_back_as_the_minimum_lacks_and_the_last_first() {
    let mut play = play(Minimum::HostCount(5), 8);
    play.succeeds(0, &[1, 2, 3]);
    play.starts(3);
    play.down(0, true, &[1, 3]);
    play.down(4, true, &[3]);
    assert_eq!(play.rollout.counts().available, 5, "the second went on serving");
    play.succeeds(3, &[1]);
}

#[test]
fn who_is_of_no_service_keeps_its_lease() {
    let hosts = entrants(&[""; 5], &[(3, Was::Broken)]);
    let mut play = Play::of(Policy::default(), hosts);
    assert_eq!(play.flying(), [3]);
    play.down(0, true, &[3]);
}

#[test]
fn a_zone_takes_its_leases_back_and_leaves_those_of_others() {
    let zonal = Zonal { minimum: Share::Hosts(1), bake: Duration::ZERO, ..Zonal::default() };
    let policy = Policy { minimum: Minimum::AllAtOnce, zonal: Some(zonal), ..Policy::default() };
    let mut play = Play::of(policy, entrants(&["a", "a", "a", "b", "b"], &[]));
    assert_eq!(play.flying(), [0, 1]);
    play.down(3, true, &[0, 1]);
    play.down(2, true, &[0]);
    assert_eq!(play.rollout.zones()[0].counts.available, 1);
}

//! Tests that the record of a rollout that is over tells the same as the rollout
//! did.

use std::collections::BTreeMap;
use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::lifecycle::LifecycleEvent;
use crate::policy::{Canary, Share, Zonal};

fn said(number: u32) -> TurnOutcome {
    TurnOutcome::Failed(Failure {
        event: Some(LifecycleEvent::ValidateService),
        code: ErrorCode::ScriptFailed,
        script: "check.sh".into(),
        message: format!("host {number} ended with 1"),
        log: "no answer".into(),
    })
}

/// Plays the rollout to its end: each turn takes a while, and the end is recorded.
/// If the rollout waits for something that never comes, a person stops it.
fn finish(play: &mut Play, fails: impl Fn(u32) -> bool, goes_down: impl Fn(u32) -> bool) {
    while play.rollout.verdict.is_none() {
        let Some(number) = play.flying().first().copied() else {
            play.at += 60_000;
            let now = play.now();
            let lost = |(host, _): &(&HostId, &Member)| play.rollout.watches(**host);
            let lost: Vec<HostId> = play.rollout.members.iter().filter(lost).map(|(host, _)| *host).collect();
            for host in lost {
                let TurnOutcome::Failed(failure) = said(0) else { continue };
                play.rollout.lose(host, failure, now);
            }
            play.rollout.wake(now);
            if play.flying().is_empty() && play.rollout.bakes_until().is_none() {
                play.rollout.stop(false, false, now);
            }
            continue;
        };
        play.starts(number);
        play.at += 700 + u64::from(number % 7) * 1_000;
        let outcome = if fails(number) { said(number) } else { TurnOutcome::Succeeded };
        let now = play.now();
        play.rollout.end_turn(host(number), outcome, now).expect("its turn");
        if goes_down(number) {
            play.rollout.set_down(host(number), Some(now), now);
        }
    }
    while let Some(number) = play.flying().first().copied() {
        let now = play.now();
        play.rollout.end_turn(host(number), said(number), now).expect("its turn");
    }
    let now = play.now();
    assert!(play.rollout.finish(now));
}

/// Returns what readers ask of a rollout that is over, before and after it is
/// shortened.
fn known(
    rollout: &Rollout,
    roster: &Roster,
) -> (BTreeMap<HostId, Part<'static>>, Vec<HostId>, Vec<Duration>) {
    let parts = rollout.parts(roster).into_iter().map(|(host, part)| {
        let stage = std::borrow::Cow::Owned(part.stage.into_owned());
        // The mesh knows whether a host was Down when the deployment ended.
        (host, Part { stage, wave: None, down: None, ailing: None, interrupted: None })
    });
    let mut touched = rollout.touched(roster);
    touched.sort();
    let mut took = rollout.took();
    took.sort();
    (parts.collect(), touched, took)
}

fn waves(rollout: &Rollout, roster: &Roster) -> Vec<Option<Wave>> {
    rollout.parts(roster).values().map(|part| part.wave.cloned()).collect()
}

fn check(mut rollout: Rollout, roster: &mut Roster) {
    let before = (known(&rollout, roster), waves(&rollout, roster), rollout.total());
    rollout.shorten(roster);
    assert!(rollout.members.is_empty());
    assert_eq!((known(&rollout, roster), waves(&rollout, roster), rollout.total()), before);
    for (host, part) in rollout.parts(roster) {
        assert_eq!(rollout.part(host, roster), Some(part));
    }
    let read: Rollout = crate::form::written_and_read::<crate::rollout::form_v4::Rollout, _>(&rollout);
    assert_eq!(read, rollout);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn nothing_that_is_asked_for_is_lost(
        hosts in 1_usize..25,
        minimum in prop_oneof![Just(Minimum::OneAtATime), Just(Minimum::AllAtOnce), Just(Minimum::FleetPercent(40))],
        canary in any::<bool>(),
        zonal in any::<bool>(),
        fails in prop::collection::vec(prop::bool::weighted(0.15), 25),
        goes_down in prop::collection::vec(prop::bool::weighted(0.1), 25),
        targets in prop::collection::vec(prop::bool::weighted(0.9), 25),
        others in 0_u32..40,
    ) {
        let bake = Duration::from_secs(30);
        let canary = (canary && hosts > 3).then_some(Canary { hosts: Share::Hosts(1), bake });
        let zonal = zonal.then(|| Zonal { bake, ..Zonal::default() });
        let names: Vec<&str> = (0..hosts).map(|at| ["a", "b", "c"][at % 3]).collect();
        let mut entrants = entrants(&names, &[]);
        entrants.iter_mut().zip(&targets).for_each(|(entrant, is_target)| entrant.target = *is_target);
        let mut play = Play::of(Policy { minimum, canary, zonal, ..Policy::default() }, entrants);
        finish(&mut play, |number| fails[number as usize], |number| goes_down[number as usize]);
        // This is not the group's first deployment, so some hosts have their
        // numbers already.
        let mut roster = Roster::default();
        roster.enter((0..others).map(|number| host(3 * number)));
        check(play.rollout, &mut roster);
    }
}

#[test]
fn of_many_failures_the_first_are_kept_in_full() {
    let hosts = FAILURES_TOLD + 10;
    let policy = Policy { minimum: Minimum::AllAtOnce, ..Policy::default() };
    let mut play = Play::of(policy, entrants(&vec![""; hosts as usize], &[]));
    finish(&mut play, |number| number > 0, |_| false);
    let mut roster = Roster::default();
    play.rollout.shorten(&mut roster);
    let failure = |number| {
        let stage = play.rollout.part(host(number), &roster).expect("it has one").stage.into_owned();
        let Stage::Ended { outcome: TurnOutcome::Failed(failure), .. } = stage else { panic!("{stage:?}") };
        failure
    };
    assert_eq!(failure(FAILURES_TOLD).log, "no answer");
    let beyond = failure(FAILURES_TOLD + 1);
    assert_eq!((beyond.event, beyond.code), (Some(LifecycleEvent::ValidateService), ErrorCode::ScriptFailed));
    assert_eq!((beyond.message.as_str(), beyond.log.as_str()), ("", ""));
}

#[test]
fn hosts_of_which_nothing_is_kept_give_their_numbers_back() {
    let over = |numbers: std::ops::Range<u32>| {
        let all = entrants(&[""; 9], &[]).into_iter().skip(numbers.start as usize).take(numbers.len());
        let mut play = Play::of(Policy { minimum: Minimum::AllAtOnce, ..Policy::default() }, all.collect());
        finish(&mut play, |_| false, |_| false);
        play.rollout
    };
    let mut roster = Roster::default();
    let (mut first, mut second, mut third) = (over(0..4), over(2..6), over(6..9));
    first.shorten(&mut roster);
    second.shorten(&mut roster);
    assert_eq!(roster.0.values().copied().collect::<Vec<_>>(), [0, 1, 2, 3, 4, 5]);
    roster.keep([&second].into_iter());
    assert_eq!(roster.0.values().copied().collect::<Vec<_>>(), [2, 3, 4, 5]);
    third.shorten(&mut roster);
    assert_eq!(roster.0.values().copied().collect::<Vec<_>>(), [2, 3, 4, 5, 0, 1, 6]);
    let hosts = |rollout: &Rollout| rollout.parts(&roster).into_keys().collect::<Vec<_>>();
    assert_eq!(hosts(&second), [2, 3, 4, 5].map(host));
    assert_eq!(hosts(&third), [6, 7, 8].map(host));
}

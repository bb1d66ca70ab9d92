//! Tests random groups, policies, and orders of ends and failures.

use proptest::prelude::*;
use proto::entry::TurnOutcome;
use proto::id::{DeploymentId, HostId};
use proto::policy::{Minimum, Policy};
use proto::rollout::{DeploymentStatus, Stage, Verdict};
use proto::statement::Report;

use super::fleet::{Fleet, host};
use super::naive::{self, Naive, Turn};

/// A step that happens next, to one of the hosts to which it can happen.
#[derive(Clone, Copy, Debug)]
enum Step {
    Succeeds(usize),
    Fails(usize),
    Down(usize),
    Up(usize),
}

fn minimums() -> impl Strategy<Value = Minimum> {
    prop_oneof![
        Just(Minimum::OneAtATime),
        Just(Minimum::HalfAtATime),
        Just(Minimum::AllAtOnce),
        (0_u32..40).prop_map(Minimum::HostCount),
        (0_u8..100).prop_map(Minimum::FleetPercent),
    ]
}

fn steps(with_downs: bool) -> impl Strategy<Value = Vec<Step>> {
    let weight = u32::from(with_downs);
    let step = prop_oneof![
        6 => any::<usize>().prop_map(Step::Succeeds),
        2 => any::<usize>().prop_map(Step::Fails),
        weight => any::<usize>().prop_map(Step::Down),
        weight => any::<usize>().prop_map(Step::Up),
    ];
    prop::collection::vec(step, 0..120)
}

/// The timeouts are so long that no timer matters here: timers have tests of their
/// own.
fn policy(minimum: Minimum) -> Policy {
    Policy { minimum, ..Policy::default() }
}

/// Makes a group in which some hosts failed the first deployment, and some are
/// Down.
fn group(hosts: u32, unhealthy: &[bool], down: &[bool]) -> Fleet {
    let mut fleet = Fleet::new(hosts);
    let is = |list: &[bool], number: u32| list.get(number as usize).copied().unwrap_or_default();
    let fails = |id: HostId| (0..hosts).any(|number| host(number) == id && is(unhealthy, number));
    fleet.deploy("first", policy(Minimum::AllAtOnce), fails);
    // The first host stays up, because some host must propose that the others are
    // Down.
    for number in (1..hosts).filter(|number| is(down, *number)) {
        fleet.say(0, Report::HostDown { host: host(number), incarnation: 1 });
    }
    fleet
}

/// Makes the naive model of the deployment that is about to begin.
fn naive(fleet: &Fleet, deployment: DeploymentId, unhealthy: &[bool], down: &[bool]) -> Naive {
    let rollout = fleet.rollout(deployment);
    let host = |number: usize| {
        let healthy = !unhealthy.get(number).copied().unwrap_or_default();
        let down = number > 0 && down.get(number).copied().unwrap_or_default();
        naive::Host { healthy, down, known: healthy, turn: Turn::ToCome }
    };
    let mut naive = Naive {
        hosts: (0..rollout.members().len()).map(host).collect(),
        minimum: rollout.bounds.minimum as usize,
        cap: rollout.bounds.turns_max as usize,
        ends: None,
    };
    naive.go_on();
    naive
}

fn agree(fleet: &Fleet, deployment: DeploymentId, naive: &Naive) -> Result<(), TestCaseError> {
    let rollout = fleet.rollout(deployment);
    for (at, ours) in naive.hosts.iter().enumerate() {
        let part = fleet.state.part(deployment, host(u32::try_from(at).expect("few"))).expect("it has one");
        let turn = match &*part.stage {
            Stage::Pending => Turn::ToCome,
            Stage::Leased { .. } | Stage::Started { .. } => Turn::Now,
            Stage::Ended { outcome, .. } => Turn::Over(*outcome == TurnOutcome::Succeeded),
            Stage::Skipped | Stage::NotTargeted => Turn::Never,
        };
        prop_assert_eq!(ours.turn, turn, "host {}", at);
    }
    prop_assert_eq!(naive.in_service(), rollout.counts().available as usize);
    let ends = rollout.verdict.as_ref().map(|verdict| matches!(verdict, Verdict::Succeeded));
    prop_assert_eq!(naive.ends, ends);
    Ok(())
}

/// Checks the number of turns in flight: H − M, bounded by the cap. That is as many
/// as cannot break the minimum, and no fewer. The formula holds only if no host was
/// ever Down. Such a host gets its turn beside the others, and when it fails, H
/// falls while their turns continue.
fn in_flight_is_the_rules(fleet: &Fleet, deployment: DeploymentId) -> Result<(), TestCaseError> {
    let rollout = fleet.rollout(deployment);
    if rollout.verdict.is_some() {
        return Ok(());
    }
    let counts = rollout.counts();
    // The turn of an unhealthy host takes nothing out of service.
    let healing = rollout
        .members()
        .values()
        .filter(|member| member.is_in_flight() && member.health == proto::rollout::Health::Unhealthy)
        .count();
    let unhealthy_to_come = counts.pending - counts.pending_available;
    let room = counts.healthy.saturating_sub(rollout.bounds.minimum);
    let expected =
        rollout.bounds.turns_max.min(room + u32::try_from(healing).expect("few") + unhealthy_to_come);
    prop_assert_eq!(counts.in_flight, expected.min(counts.in_flight + counts.pending));
    Ok(())
}

/// Takes one step in both models.
fn take(fleet: &mut Fleet, deployment: DeploymentId, naive: &mut Naive, step: Step) {
    let pick = |from: Vec<usize>, number: usize| (!from.is_empty()).then(|| from[number % from.len()]);
    let id = |at: usize| host(u32::try_from(at).expect("few"));
    let before = fleet.rollout(deployment).counts().available;
    match step {
        Step::Succeeds(number) | Step::Fails(number) => {
            let Some(at) = pick(naive.in_turn(), number) else { return };
            let succeeds = matches!(step, Step::Succeeds(_));
            fleet.start(deployment, id(at));
            fleet.end(deployment, id(at), succeeds);
            naive.end(at, succeeds);
        }
        Step::Down(number) => {
            let up = (1..naive.hosts.len()).filter(|at| !naive.hosts[*at].down).collect();
            let Some(at) = pick(up, number) else { return };
            fleet.say(0, Report::HostDown { host: id(at), incarnation: 1 });
            naive.set_down(at, true);
        }
        Step::Up(number) => {
            let down = |at: &usize| naive.hosts[*at].down;
            let Some(at) = pick((0..naive.hosts.len()).filter(down).collect(), number) else { return };
            fleet.say(0, Report::HostUp { host: id(at), incarnation: 1 });
            naive.set_down(at, false);
        }
    }
    // No turn takes a host out of service that the minimum needs.
    let rollout = fleet.rollout(deployment);
    let (after, minimum) = (rollout.counts().available, rollout.bounds.minimum);
    let is_loss = matches!(step, Step::Down(_) | Step::Fails(_));
    assert!(after >= minimum.min(before) || is_loss, "{before} in service, then {after}, at least {minimum}");
    assert!(rollout.counts().in_flight <= rollout.bounds.turns_max);
    // That also holds for leases that are not used yet: a host that may start now
    // can do so without harm.
    let serves = |host: &HostId| !rollout.members()[host].is_of_no_service() && rollout.may_start(*host);
    let may_begin = rollout.in_flight().iter().any(serves);
    assert!(!may_begin || after >= minimum, "{after} in service and a lease unused, at least {minimum}");
}

/// Checks a rollout from any beginning, through any steps, to its end.
fn check(
    hosts: u32,
    minimum: Minimum,
    unhealthy: &[bool],
    down: &[bool],
    steps: &[Step],
) -> Result<(), TestCaseError> {
    let mut fleet = group(hosts, unhealthy, down);
    if !minimum.is_possible(hosts) {
        return Ok(());
    }
    let deployment = fleet.submit("second", policy(minimum));
    let mut naive = naive(&fleet, deployment, unhealthy, down);
    agree(&fleet, deployment, &naive)?;
    let is_any_down = |naive: &Naive| naive.hosts.iter().any(|host| host.down);
    let mut was_any_down = is_any_down(&naive);
    for step in steps.iter().copied().chain(std::iter::repeat_n(Step::Succeeds(0), hosts as usize)) {
        take(&mut fleet, deployment, &mut naive, step);
        agree(&fleet, deployment, &naive)?;
        was_any_down |= is_any_down(&naive);
        if !was_any_down {
            in_flight_is_the_rules(&fleet, deployment)?;
        }
    }
    fleet.do_what_is_due();
    let status = fleet.rollout(deployment).status();
    // Only a host that is Down can keep a rollout from ending.
    let is_over = matches!(status, DeploymentStatus::Succeeded | DeploymentStatus::Failed);
    prop_assert!(is_over || naive.hosts.iter().any(|host| host.down), "{:?}", status);
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_minimum_holds_and_the_turns_are_the_rules_own(
        hosts in 1_u32..30,
        minimum in minimums(),
        steps in steps(false),
    ) {
        check(hosts, minimum, &[], &[], &steps)?;
    }

    #[test]
    fn so_it_does_from_any_beginning_and_with_hosts_that_come_and_go(
        hosts in 1_u32..30,
        minimum in minimums(),
        unhealthy in prop::collection::vec(prop::bool::weighted(0.2), 30),
        down in prop::collection::vec(prop::bool::weighted(0.1), 30),
        steps in steps(true),
    ) {
        check(hosts, minimum, &unhealthy, &down, &steps)?;
    }

    /// Hosts may end in any order: the deployment comes to the same end as batch by
    /// batch, which is how the user guide's examples are worked.
    #[test]
    fn batches_and_a_sliding_window_come_to_the_same_end(
        hosts in 1_u32..30,
        minimum in minimums(),
        fails in prop::collection::vec(prop::bool::weighted(0.2), 30),
    ) {
        prop_assume!(minimum.is_possible(hosts));
        let mut fleet = group(hosts, &[], &[]);
        let deployment = fleet.submit("second", policy(minimum));
        let bounds = fleet.rollout(deployment).bounds;
        let (minimum, cap) = (bounds.minimum as usize, bounds.turns_max as usize);
        while let Some(first) = fleet.rollout(deployment).in_flight().first().copied() {
            let at = (0..hosts).position(|number| host(number) == first).expect("one of them");
            fleet.start(deployment, first);
            fleet.end(deployment, first, !fails[at]);
        }
        let succeeds = matches!(fleet.rollout(deployment).verdict, Some(Verdict::Succeeded));
        prop_assert_eq!(succeeds, by_batches(hosts as usize, minimum, cap, &fails));
    }
}

/// Returns true if a group of healthy hosts succeeds, batch by batch.
fn by_batches(hosts: usize, minimum: usize, cap: usize, fails: &[bool]) -> bool {
    let (mut healthy, mut succeeded, mut next) = (hosts, 0, 0);
    while next < hosts {
        if healthy <= minimum {
            return false;
        }
        let batch = (healthy - minimum).min(cap).min(hosts - next);
        let failed = fails[next..next + batch].iter().filter(|fails| **fails).count();
        (healthy, succeeded, next) = (healthy - failed, succeeded + batch - failed, next + batch);
    }
    healthy >= minimum && succeeded >= 1
}

#[test]
fn hosts_that_are_down_go_in_the_order_of_their_names() {
    let (yes, no) = (true, false);
    let (unhealthy, down) = ([yes, yes, no, yes], [no, no, yes, yes]);
    let steps = [Step::Succeeds(0), Step::Succeeds(0)];
    check(4, Minimum::OneAtATime, &unhealthy, &down, &steps).expect("both models agree");
}

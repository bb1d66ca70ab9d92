//! Tests what a forecast says about the failures that a deployment survives,
//! against every choice of failing hosts.

use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::policy::{Canary, Share, Zonal};
use crate::rollout::forecast::{Forecast, Played, Stops};

const TURN: Duration = Duration::from_secs(1);

/// The state of a host in a small group before the deployment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Before {
    Old,
    Current,
    New,
    Broken,
    Down,
    Unwell,
    /// Healthy, and without a turn in this deployment.
    Apart,
}

fn group(before: &[Before]) -> Vec<Entrant> {
    let standing = |of: Before| {
        let (health, digest) = match of {
            Before::New => return None,
            Before::Broken => (Health::Unhealthy, [1; 32]),
            Before::Current => (Health::Healthy, [2; 32]),
            Before::Old | Before::Down | Before::Unwell | Before::Apart => (Health::Healthy, [1; 32]),
        };
        Some(Standing { health, revision: Some(Digest(digest)) })
    };
    let since = |is_so: bool| is_so.then_some(LedgerTime::from_millis(1));
    let entrant = |(number, of): (u32, &Before)| Entrant {
        host: host(number),
        standing: standing(*of),
        down: since(*of == Before::Down),
        ailing: since(*of == Before::Unwell),
        target: *of != Before::Apart,
        zone: String::new(),
    };
    (0..).zip(before).map(entrant).collect()
}

/// Distributes the same hosts over this many zones.
fn in_zones(of: &Forecast, zones: usize) -> Forecast {
    let moved = |(at, entrant): (usize, &Entrant)| Entrant {
        zone: format!("zone {}", at % zones),
        ..entrant.clone()
    };
    let entrants = of.entrants().iter().enumerate().map(moved).collect();
    let submission = Submission { policy: of.policy().clone(), ..submission(Minimum::OneAtATime) };
    Forecast::new(submission, entrants, TURN)
}

fn forecast(before: &[Before], policy: Policy) -> Forecast {
    let submission = Submission { policy, ..submission(Minimum::OneAtATime) };
    Forecast::new(submission, group(before), TURN)
}

fn canary_of(hosts: u32) -> Option<Canary> {
    Some(Canary { hosts: Share::Hosts(hosts), bake: Duration::ZERO })
}

fn check(before: &[Before], policy: Policy, expected: (u32, Option<u32>, u32)) {
    let Stops { fewest, after_canary, last, .. } = forecast(before, policy).outlook(None).stops;
    assert_eq!((fewest, after_canary, last), expected);
}

#[test]
fn one_failure_stops_hosts_in_service_one_at_a_time_unless_it_is_the_last() {
    check(&[Before::Old; 5], Policy::default(), (1, None, 1));
}

#[test]
fn hosts_that_are_new_may_fail_once_whichever_it_is() {
    for hosts in [2, 3, 5] {
        check(&vec![Before::New; hosts], Policy::default(), (2, None, 1));
    }
}

#[test]
fn one_that_succeeds_is_enough_without_a_minimum() {
    let none = Policy { minimum: Minimum::HostCount(0), ..Policy::default() };
    check(&[Before::New; 3], none.clone(), (3, None, 2));
    // The successful canary is that host.
    check(&[Before::Old; 5], Policy { canary: canary_of(2), ..none }, (1, Some(0), 3));
}

#[test]
fn the_fewest_that_stop_it_are_not_all_that_fail_in_the_same_moment() {
    let two = Policy { minimum: Minimum::HostCount(2), ..Policy::default() };
    let forecast = forecast(&[Before::New; 6], two);
    let outlook = forecast.outlook(None);
    assert_eq!((outlook.stops.fewest, outlook.stops.last), (5, 4));
}

/// Returns the hosts whose bits are set in `choice`.
fn chosen(of: &[HostId], choice: u32) -> Vec<HostId> {
    (0..).zip(of).filter(|(bit, _)| choice >> bit & 1 == 1).map(|(_, host)| *host).collect()
}

/// Returns the turns of hosts that are up; turns that began together are in one
/// list. Hosts that are Down come after them, and no number counts them.
fn turns_of_up_hosts(played: &Played) -> Vec<(Duration, Vec<HostId>)> {
    let is_up = |host: &HostId| played.rollout.members()[host].down.is_none();
    let up = |hosts: &[HostId]| hosts.iter().copied().filter(is_up).collect::<Vec<_>>();
    let batches = played.batches.iter().map(|batch| (batch.after, up(&batch.hosts)));
    batches.filter(|(_, hosts)| !hosts.is_empty()).collect()
}

/// Counts the failing hosts that had already failed when the last turn began.
fn failed_while_others_waited(played: &Played, failing: &[HostId]) -> usize {
    let batches = turns_of_up_hosts(played);
    let last = batches.last().expect("a batch").0;
    let before_it = batches.iter().filter(|(after, _)| *after + TURN <= last);
    before_it.flat_map(|(_, hosts)| hosts).filter(|host| failing.contains(host)).count()
}

/// Checks that everything said about failures is true if these hosts fail.
fn holds_for(forecast: &Forecast, well: &Played, stops: Stops, failing: &[HostId]) {
    let played = forecast.play(|host| failing.contains(&host));
    let is_canary = |host: &&HostId| well.rollout.wave_of(**host).expect("a wave").kind == WaveKind::Canary;
    let of_canary = failing.iter().filter(is_canary).count();
    let failed = u32::try_from(failing.len()).expect("few");
    let told = format!("{stops:?}: {failing:?} of {:?}", forecast.entrants());
    if of_canary > 0 {
        assert!(stops.after_canary.is_some() && !played.ends_well(), "a canary may not fail: {told}");
        return;
    }
    let enough = stops.after_canary.unwrap_or(stops.fewest);
    if (enough, stops.last, failed) == (1, 1, 1) {
        let last = turns_of_up_hosts(well).last().and_then(|(_, hosts)| hosts.last().copied());
        assert_eq!(
            played.ends_well(),
            failing.first().copied() == last,
            "only the last host may fail: {told}"
        );
    }
    if enough == 0 || failed < enough {
        assert!(played.ends_well(), "too few to stop it: {told}");
    } else if failed > stops.last {
        assert!(!played.ends_well(), "enough to stop it, whichever they are: {told}");
    } else if played.ends_well() {
        let early = failed_while_others_waited(&played, failing);
        assert!(early < enough as usize, "enough had failed while others waited: {told}");
    } else {
        assert!(played.rollout.counts().skipped > 0, "no host waited any longer: {told}");
    }
}

fn before() -> impl Strategy<Value = Before> {
    let all = [Before::Old, Before::Current, Before::New, Before::Broken, Before::Down, Before::Unwell];
    prop_oneof![
        4 => Just(Before::Old),
        2 => Just(Before::New),
        2 => proptest::sample::select(all.to_vec()),
        1 => Just(Before::Apart)
    ]
}

fn small_policy() -> impl Strategy<Value = Policy> {
    let minimum = prop_oneof![
        Just(Minimum::OneAtATime),
        Just(Minimum::AllAtOnce),
        (0..6_u32).prop_map(Minimum::HostCount)
    ];
    (minimum, 0..4_u32, proptest::option::of(1..4_u32)).prop_map(|(minimum, canary, turns_max)| Policy {
        minimum,
        turns_max,
        canary: canary_of(canary).filter(|_| canary > 0),
        ..Policy::default()
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    #[test]
    fn what_stops_it_is_true_of_every_choice_of_failing_hosts(
        before in prop_oneof![
            proptest::collection::vec(before(), 1..8),
            (1..8_usize).prop_map(|hosts| vec![Before::Old; hosts]),
            (1..8_usize).prop_map(|hosts| vec![Before::New; hosts]),
        ],
        policy in small_policy(),
    ) {
        let forecast = forecast(&before, policy);
        let outlook = forecast.outlook(None);
        if !outlook.well.ends_well() {
            prop_assert_eq!(outlook.stops, Stops::default());
            return Ok(());
        }
        let up = forecast.entrants().iter().filter(|entrant| entrant.target && entrant.down.is_none());
        let up: Vec<HostId> = up.map(|entrant| entrant.host).collect();
        for choice in 0..1 << up.len() {
            holds_for(&forecast, &outlook.well, outlook.stops, &chosen(&up, choice));
        }
    }

    #[test]
    fn zone_by_zone_it_is_true_of_the_first_and_of_the_last_turns(
        before in proptest::collection::vec(before(), 2..12),
        policy in small_policy(),
        zones in 1..4_usize,
        minimum_of_zone in 0..4_u32,
    ) {
        let minimum = Share::Hosts(minimum_of_zone);
        let zonal = Some(Zonal { minimum, ..Zonal::default() });
        let forecast = in_zones(&forecast(&before, Policy { zonal, ..policy }), zones);
        let outlook = forecast.outlook(None);
        if !outlook.well.ends_well() {
            prop_assert_eq!(outlook.stops, Stops::default());
            return Ok(());
        }
        let is_down = |host: &HostId| outlook.well.rollout.members()[host].down.is_some();
        let others = outlook.well.batches.iter().filter(|batch| batch.wave != WaveKind::Canary);
        let others: Vec<HostId> = others.flat_map(|batch| batch.hosts.iter().copied()).collect();
        let others: Vec<HostId> = others.into_iter().filter(|host| !is_down(host)).collect();
        let ends_well = |failing: &[HostId]| forecast.play(|host| failing.contains(&host)).ends_well();
        let Stops { fewest, after_canary, last, turns } = outlook.stops;
        let enough = after_canary.unwrap_or(fewest) as usize;
        prop_assert_eq!(turns as usize, others.len());
        for failing in 0..=others.len() {
            let (first, late) = (&others[..failing], &others[others.len() - failing..]);
            prop_assert_eq!(ends_well(first), enough == 0 || failing < enough, "{:?}", outlook.stops);
            prop_assert_eq!(ends_well(late), failing <= last as usize, "{:?}", outlook.stops);
        }
    }
}

use super::*;

use std::time::Duration;

fn check(minimum: Minimum, total: u32, bounds: (u32, u32)) {
    let got = minimum.bounds(total);
    assert_eq!((got.minimum, got.turns_max), bounds, "{minimum} of {total}");
}

#[test]
fn bounds_are_those_of_the_user_guide() {
    check(Minimum::OneAtATime, 9, (8, 1));
    check(Minimum::OneAtATime, 1, (0, 1));
    check(Minimum::HalfAtATime, 9, (5, 4));
    check(Minimum::HalfAtATime, 1, (0, 1));
    check(Minimum::AllAtOnce, 9, (0, 9));
    check(Minimum::HostCount(6), 9, (6, 3));
    check(Minimum::FleetPercent(40), 9, (4, 5));
    check(Minimum::FleetPercent(85), 10, (9, 1));
    check(Minimum::FleetPercent(75), 10, (8, 2));
}

#[test]
fn the_traps_are_impossible() {
    assert!(!Minimum::FleetPercent(75).is_possible(3));
    assert!(!Minimum::FleetPercent(95).is_possible(10));
    assert!(!Minimum::FleetPercent(50).is_possible(1));
    assert!(Minimum::FleetPercent(75).is_possible(4));
    assert!(Minimum::OneAtATime.is_possible(1));
    assert!(!Minimum::AllAtOnce.is_possible(0));
}

#[test]
fn a_cap_lowers_how_many_go_and_never_raises_it() {
    let at_once =
        |minimum, turns_max| Policy { minimum, turns_max, ..Policy::default() }.bounds(10).turns_max;
    assert_eq!(at_once(Minimum::AllAtOnce, None), 10);
    assert_eq!(at_once(Minimum::AllAtOnce, Some(3)), 3);
    assert_eq!(at_once(Minimum::HostCount(8), Some(3)), 2);
    assert_eq!(at_once(Minimum::OneAtATime, Some(3)), 1);
}

#[test]
fn shares_round_up() {
    for (share, total, hosts) in [
        (Share::Percent(10), 5, 1),
        (Share::Percent(0), 5, 0),
        (Share::Percent(50), 3, 2),
        (Share::Percent(99), 100, 99),
        (Share::Percent(99), 20_000, 19_800),
        (Share::Hosts(7), 5, 7),
    ] {
        assert_eq!(share.of(total), hosts, "{share} of {total}");
    }
}

fn refused(change: impl FnOnce(&mut Policy), words: &str) {
    let mut policy = Policy::default();
    change(&mut policy);
    let error = policy.validate().expect_err(words).to_string();
    assert!(error.contains(words), "`{error}` does not say `{words}`");
}

#[test]
fn what_no_policy_may_say_is_refused_with_the_bounds() {
    assert_eq!(Policy::default().validate(), Ok(()));
    let canary = |hosts| Some(Canary { hosts, bake: Duration::ZERO });
    let zonal = |minimum| Some(Zonal { minimum, ..Zonal::default() });
    refused(
        |policy| policy.minimum = Minimum::FleetPercent(100),
        "minimum_healthy = 100%: a percentage is 0% to 99%",
    );
    refused(|policy| policy.minimum = Minimum::FleetPercent(255), "minimum_healthy = 255%");
    refused(|policy| policy.canary = canary(Share::Percent(100)), "canary.hosts = 100%");
    refused(|policy| policy.canary = canary(Share::Percent(0)), "canary.hosts = 0: give at least 1%");
    refused(|policy| policy.canary = canary(Share::Hosts(0)), "canary.hosts = 0: give at least 1,");
    refused(|policy| policy.zonal = zonal(Share::Percent(100)), "zones.minimum_healthy = 100%");
    refused(|policy| policy.turns_max = Some(0), "turns_max = 0");
    refused(
        |policy| policy.start_timeout = Duration::from_millis(500),
        "start_timeout = 500 ms: it may be 1s to 1h",
    );
    refused(
        |policy| policy.turn_timeout = Duration::from_secs(90_000),
        "turn_timeout = 25h: it may be 1s to 1d",
    );
    refused(
        |policy| policy.deployment_timeout = Duration::from_secs(31 * 86_400),
        "timeout = 31d: it may be 1s to 30d",
    );
    refused(
        |policy| {
            policy.canary = Some(Canary { hosts: Share::Hosts(1), bake: BAKE_MAX + Duration::from_secs(60) })
        },
        "canary.bake = 2881m: it may be 0s to 2d",
    );
    refused(
        |policy| policy.zonal = Some(Zonal { order: vec!["a".into(), "a".into()], ..Zonal::default() }),
        "names `a` twice",
    );
    refused(
        |policy| (policy.mode, policy.outdated_only) = (Mode::Restart, true),
        "mode = RESTART and outdated_only = true contradict each other",
    );
}

#[test]
fn only_what_an_older_agent_knows_may_be_asked_of_it() {
    assert_eq!(Policy::default().wire(), 1);
    let canary = Some(Canary { hosts: Share::Hosts(1), bake: Duration::ZERO });
    for policy in [
        Policy { turns_max: Some(1), ..Policy::default() },
        Policy { canary, ..Policy::default() },
        Policy { zonal: Some(Zonal::default()), ..Policy::default() },
        Policy { mode: Mode::Restart, ..Policy::default() },
        Policy { outdated_only: true, ..Policy::default() },
    ] {
        assert_eq!(policy.wire(), 2, "{policy:?}");
    }
}

#[test]
fn nothing_is_tried_out_on_the_way_back() {
    let bake = Duration::from_secs(60);
    let zonal = Zonal { bake, first_bake: Some(bake), minimum: Share::Hosts(1), ..Zonal::default() };
    let canary = Some(Canary { hosts: Share::Hosts(1), bake });
    let policy = Policy { canary, zonal: Some(zonal), mode: Mode::Restart, ..Policy::default() };
    let back = policy.of_rollback();
    assert_eq!((back.canary, back.mode), (None, Mode::Standard));
    assert_eq!(back.zonal, Some(Zonal { minimum: Share::Hosts(1), ..Zonal::default() }));
    assert!(back.ignore_application_stop_failures);
}

use super::*;

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

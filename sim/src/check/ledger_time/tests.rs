use super::*;

const HOUR: u64 = 3_600;
const EPOCH: u64 = 1_700_000_000;

fn shows(seconds: u64) -> LedgerTime {
    LedgerTime::from_millis((EPOCH + seconds) * 1_000)
}

fn now(seconds: u64) -> Moment {
    Moment::from_micros(seconds * 1_000_000)
}

/// Returns a clock of three voters with right clocks, which have known the time
/// since second 20.
fn mesh() -> LedgerClock {
    let mut clock = LedgerClock::default();
    (0..3).for_each(|no| clock.host_up(HostNo(no), shows(0), now(0)));
    clock.voters((0..3).map(HostNo).collect());
    fold(&mut clock, 20, 20).expect("it is right");
    clock
}

/// Checks an entry with this stamp, which all hosts that are up then fold.
fn fold(clock: &mut LedgerClock, stamp: u64, at: u64) -> Verdict {
    let verdict = clock.entry(at, shows(stamp), now(at));
    let up: Vec<HostNo> = clock.up.keys().copied().collect();
    up.into_iter().for_each(|host| clock.folded(host, at, now(at)));
    verdict
}

/// Starts a host again, with a clock that is hours ahead.
fn restart(clock: &mut LedgerClock, no: u32, hours: u64, at: u64) {
    clock.host_down(HostNo(no));
    clock.host_up(HostNo(no), shows(at + hours * HOUR), now(at));
}

#[test]
fn time_that_jumps_is_found() {
    let mut clock = mesh();
    assert_eq!(fold(&mut clock, 120, 120), Ok(()));
    let violation = fold(&mut clock, 9_000, 130).expect_err("hours in ten seconds");
    assert_eq!(violation.claim, Claim::LedgerTime);
}

#[test]
fn time_is_taken_from_most_clocks_when_most_voters_have_forgotten_it() {
    let mut clock = mesh();
    restart(&mut clock, 0, 3, 200);
    assert!(fold(&mut clock.clone(), 201 + 3 * HOUR, 201).is_err(), "one clock counts for nothing");
    restart(&mut clock, 1, 2, 200);
    assert_eq!(fold(&mut clock, 190, 201), Ok(()), "stamped before they went down");
    assert!(fold(&mut clock.clone(), 202 + 3 * HOUR, 202).is_err(), "further than most clocks");
    assert_eq!(fold(&mut clock, 202 + 2 * HOUR, 202), Ok(()));
    assert_eq!(fold(&mut clock, 302 + 2 * HOUR, 302), Ok(()));
    assert!(fold(&mut clock, 402 + 3 * HOUR, 402).is_err());
}

#[test]
fn a_jump_to_most_clocks_is_found_if_most_voters_know_the_time() {
    let mut clock = mesh();
    for (no, at) in [(0, 200), (1, 300)] {
        restart(&mut clock, no, 2, at);
        assert_eq!(fold(&mut clock, at + 50, at + 50), Ok(()));
    }
    assert!(fold(&mut clock.clone(), 400 + 2 * HOUR, 400).is_err());
    assert_eq!(fold(&mut clock, 400 + 50, 400), Ok(()), "a tenth of the time, and the slack");
    assert!(fold(&mut clock, 400 + 90, 400).is_err());
}

#[test]
fn who_folds_an_entry_late_does_not_know_the_time_by_it() {
    let mut clock = mesh();
    (0..2).for_each(|no| restart(&mut clock, no, 2, 200));
    (0..2).for_each(|no| clock.folded(HostNo(no), 20, now(250)));
    assert_eq!(fold(&mut clock, 251 + 2 * HOUR, 251), Ok(()));
}

use super::*;
use crate::health::{ANSWER_MARGIN, Probe};

fn second(number: u64) -> Time {
    Time::from_micros(number * 1_000_000)
}

fn check_of(from: Viewpoint) -> HealthCheck {
    HealthCheck { from, ..HealthCheck::new(Probe::Tcp("127.0.0.1:80".into())) }
}

fn monitor() -> Monitor {
    Monitor::new(check_of(Viewpoint::Host), Aim::Turn(DeploymentId::derive(b"a turn")), second(0))
}

fn observer(number: u8) -> HostId {
    HostId::from_public_key([number; 32])
}

/// Checks a monitor after one probe for each letter, 5 s apart: `+` well, `-`
/// unwell, `?` no answer. Then it is well, unwell or neither.
fn check(probes: &str, expected: &str) {
    let mut monitor = monitor();
    let mut now = second(0);
    for (number, letter) in (1..).zip(probes.chars()) {
        assert!(monitor.is_due(now), "a probe is due at {now:?}");
        monitor.begin(ProbeId(number), &[], now);
        let answer = now + Duration::from_millis(10);
        match letter {
            '+' => monitor.answered(Ok(()), answer),
            '-' => monitor.answered(Err("refused".into()), answer),
            '?' => assert!(!monitor.is_due(now + monitor.check.answers_within())),
            _ => panic!("no such letter"),
        }
        now = now + monitor.check.every;
    }
    let is = match (monitor.is_well(Duration::ZERO), monitor.is_unwell()) {
        (true, None) => "well",
        (false, Some(_)) => "unwell",
        (false, None) => "neither",
        (true, Some(_)) => panic!("both well and unwell after {probes}"),
    };
    assert_eq!(is, expected, "after {probes}");
}

#[test]
fn so_many_in_a_row_make_a_host_well_or_unwell() {
    check("", "neither");
    check("+", "neither");
    check("++", "well");
    check("+-+", "neither");
    check("--++", "well");
    check("--", "neither");
    check("---", "unwell");
    check("++--", "neither");
    check("++---", "unwell");
    check("--+--", "neither");
    check("---+", "neither");
}

#[test]
fn a_probe_that_does_not_answer_has_failed() {
    check("???", "unwell");
    check("+?+", "neither");
    let mut monitor = monitor();
    assert!(monitor.is_due(second(0)));
    monitor.begin(ProbeId(1), &[], second(0));
    assert_eq!(monitor.next(), second(2) + ANSWER_MARGIN);
    assert!(!monitor.is_due(second(3)), "it has run out, and the next one is due at 5 s");
    assert_eq!(monitor.next(), second(5));
    assert!(monitor.so_far().contains("did not answer within 2 s"), "{}", monitor.so_far());
    // This is the answer to a probe that was counted already.
    monitor.answered(Ok(()), second(4));
    assert_eq!(monitor.good_in_row, 0);
}

#[test]
fn successes_that_lie_far_apart_are_not_in_a_row() {
    for (second_at, is_well) in [(15, true), (16, false)] {
        let mut monitor = monitor();
        for (number, at) in [(1, second(0)), (2, second(second_at))] {
            assert!(monitor.is_due(at));
            monitor.begin(ProbeId(number), &[], at);
            monitor.answered(Ok(()), at);
        }
        assert_eq!(monitor.is_well(Duration::ZERO), is_well, "after {second_at} s");
    }
}

#[test]
fn a_turn_waits_for_the_rise_and_no_longer_than_the_grace() {
    let mut monitor = monitor();
    for number in 0..12 {
        let now = second(5 * number);
        assert!(monitor.is_due(now));
        assert_eq!(monitor.wait(now), Wait::Goes);
        monitor.begin(ProbeId(number), &[], now);
        let result = if number == 3 { Ok(()) } else { Err("it answered 503".into()) };
        monitor.answered(result, now);
    }
    assert_eq!(monitor.next(), second(60));
    let Wait::Failed(said) = monitor.wait(second(60)) else { panic!("the grace is over") };
    let expected = "the health check did not pass within 60 s of the last event: 0 of 2 successes in a row, 11 \
                    of 12 probes failed; the last failure: it answered 503";
    assert_eq!(said, expected);
}

/// Checks the counts of successes and failures, before and after time runs out.
/// `own` is the result of the host's own probe, and `seen` has the result of each
/// observer; `.` means no answer.
fn observed(own: Result<(), String>, seen: &str, expected: (u32, u32), after: (u32, u32)) {
    let mut monitor = Monitor::new(check_of(Viewpoint::Observers), Aim::Watch, second(0));
    let observers: Vec<HostId> = (0..).map(observer).take(seen.len()).collect();
    assert!(monitor.is_due(second(0)));
    monitor.begin(ProbeId(1), &observers, second(0));
    monitor.answered(own.clone(), second(0));
    for (by, letter) in observers.iter().zip(seen.chars()) {
        match letter {
            '+' => monitor.observed(ProbeId(1), *by, Ok(()), second(1)),
            '-' => monitor.observed(ProbeId(1), *by, Err("unreachable".into()), second(1)),
            _ => {}
        }
    }
    monitor.observed(ProbeId(1), observer(99), Ok(()), second(1));
    assert_eq!((monitor.good_in_row, monitor.failed), expected, "{own:?} {seen}");
    monitor.is_due(second(3));
    assert_eq!((monitor.good_in_row, monitor.failed), after, "{own:?} {seen} in the end");
}

#[test]
fn most_observers_must_confirm_it() {
    observed(Ok(()), "", (1, 0), (1, 0));
    observed(Ok(()), "+", (1, 0), (1, 0));
    observed(Ok(()), "-", (0, 1), (0, 1));
    observed(Ok(()), ".", (0, 0), (0, 1));
    observed(Ok(()), "++.", (1, 0), (1, 0));
    observed(Ok(()), "+-+", (1, 0), (1, 0));
    observed(Ok(()), "+-.", (0, 0), (0, 1));
    observed(Ok(()), "--.", (0, 1), (0, 1));
    observed(Ok(()), "+..", (0, 0), (0, 1));
    observed(Err("refused".into()), "+++", (0, 1), (0, 1));
}

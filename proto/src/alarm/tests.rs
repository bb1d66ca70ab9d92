use super::*;

fn alarm(name: &str) -> Alarm {
    Alarm {
        name: name.into(),
        source: AlarmSource::Manual,
        every: EVERY,
        timeout: TIMEOUT,
        unreadable: OnUnreadable::Stop,
    }
}

fn check(change: impl FnOnce(&mut Alarm), says: Option<&str>) {
    let mut changed = alarm("errors");
    change(&mut changed);
    let result = check_alarms(&[changed]).map_err(|error| error.to_string());
    match says {
        None => assert_eq!(result, Ok(())),
        Some(says) => assert!(result.as_ref().is_err_and(|error| error.contains(says)), "{result:?}"),
    }
}

#[test]
fn an_alarm_keeps_its_limits() {
    check(|_| {}, None);
    check(|alarm| alarm.name = "error-rate_5xx.p99".into(), None);
    check(|alarm| alarm.name = String::new(), Some("invalid name of an alarm"));
    check(|alarm| alarm.name = "two words".into(), Some("invalid name of an alarm"));
    check(|alarm| alarm.name = "x".repeat(101), Some("1 to 100 letters"));
    check(|alarm| alarm.source = AlarmSource::Exec { command: " ".into() }, Some("of exec"));
    check(
        |alarm| alarm.source = AlarmSource::Prometheus { url: "http://p".into(), query: "q".repeat(2_049) },
        Some("more than 2048 bytes, of query"),
    );
    check(
        |alarm| alarm.source = AlarmSource::Exec { command: "a\u{1b}b".into() },
        Some("control characters"),
    );
    check(|alarm| alarm.every = Duration::from_millis(999), Some("every is at least 1 s"));
    check(|alarm| alarm.every = Duration::from_secs(3_601), Some("at most 1 h"));
    check(|alarm| alarm.timeout = Duration::ZERO, Some("at most 60 s"));
    check(|alarm| alarm.timeout = Duration::from_secs(61), Some("at most 60 s"));
}

#[test]
fn a_group_has_at_most_ten_alarms_with_names_of_their_own() {
    let many: Vec<Alarm> = (0..11).map(|number| alarm(&format!("a{number}"))).collect();
    assert_eq!(check_alarms(&many[..10]), Ok(()));
    assert_eq!(check_alarms(&many), Err(InvalidWatch::TooMany(11, "alarm")));
    let twice = [alarm("a"), alarm("a")];
    assert_eq!(check_alarms(&twice), Err(InvalidWatch::Twice("a".into(), "alarm")));
}

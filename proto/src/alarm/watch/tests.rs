use super::*;
use crate::alarm::{AlarmSource, OnUnreadable};
use crate::statement::{Report, Statement};

fn at(seconds: u64) -> Time {
    Time::from_micros(seconds * 1_000_000)
}

fn to_read(place: u32, said: Option<AlarmState>) -> ToRead {
    let deployment = DeploymentId::derive(b"d");
    let watched = Watched { group: "a/b".parse().expect("a name"), deployment, alarm: "errors".into() };
    let alarm = Alarm {
        name: "errors".into(),
        source: AlarmSource::Exec { command: "check".into() },
        every: Duration::from_secs(10),
        timeout: Duration::from_secs(5),
        unreadable: OnUnreadable::Stop,
    };
    let waits = Some(takeover_after(&alarm) * place);
    ToRead { watched, alarm, said, waits }
}

/// Begins the reading that is due, and ends it at once with this state.
fn read(watch: &mut Watch, state: AlarmState, now: Time) {
    let acts = watch.begin(now);
    let [WatchAct::Read(what)] = &acts[..] else { panic!("{acts:?} at {now:?}") };
    watch.done(&what.0, Reading::new(state, "it says"), now);
}

fn says(watch: &Watch) -> Option<AlarmState> {
    let owed = watch.owed();
    let Statement::Report(Report::AlarmRead { state, .. }) = owed.first()? else { panic!("{owed:?}") };
    Some(*state)
}

#[test]
fn the_first_in_line_reads_at_once_and_says_only_what_is_new() {
    let mut watch = Watch::default();
    assert_eq!(watch.set(vec![to_read(0, None)], at(100)), []);
    read(&mut watch, AlarmState::Ok, at(100));
    assert_eq!(says(&watch), Some(AlarmState::Ok));
    watch.set(vec![to_read(0, Some(AlarmState::Ok))], at(101));
    assert_eq!(says(&watch), None);
    assert_eq!(watch.next(), Some(at(110)));
    assert_eq!(watch.begin(at(109)), []);
    read(&mut watch, AlarmState::Active, at(110));
    assert_eq!(says(&watch), Some(AlarmState::Active));
}

#[test]
fn one_failed_reading_says_nothing_and_three_say_unreadable() {
    let mut watch = Watch::default();
    watch.set(vec![to_read(0, None)], at(100));
    read(&mut watch, AlarmState::Unreadable, at(100));
    read(&mut watch, AlarmState::Unreadable, at(102));
    assert_eq!(says(&watch), None);
    read(&mut watch, AlarmState::Unreadable, at(104));
    assert_eq!(says(&watch), Some(AlarmState::Unreadable));
    read(&mut watch, AlarmState::Ok, at(106));
    assert_eq!(says(&watch), Some(AlarmState::Ok));
    read(&mut watch, AlarmState::Unreadable, at(116));
    assert_eq!(says(&watch), Some(AlarmState::Ok), "it counts anew");
}

#[test]
fn the_next_in_line_steps_in_when_the_first_is_gone_or_says_nothing() {
    let mut watch = Watch::default();
    watch.set(vec![to_read(1, None)], at(100));
    assert_eq!(watch.next(), Some(at(131)), "three times 5 + 2 s, and 10 s");
    watch.set(vec![to_read(1, Some(AlarmState::Ok))], at(101));
    assert_eq!(watch.next(), None, "the first does its work");
    watch.set(vec![to_read(0, Some(AlarmState::Ok))], at(120));
    assert_eq!(watch.next(), Some(at(100)), "the first is gone");
}

#[test]
fn a_reading_that_nobody_needs_is_cancelled() {
    let mut watch = Watch::default();
    watch.set(vec![to_read(0, None)], at(100));
    let acts = watch.begin(at(100));
    let [WatchAct::Read(what)] = &acts[..] else { panic!("{acts:?}") };
    assert_eq!(watch.begin(at(101)), [], "one reading at a time");
    assert_eq!(watch.set(Vec::new(), at(102)), [WatchAct::GiveUp(what.0.clone())]);
    watch.done(&what.0, Reading::new(AlarmState::Active, "too late"), at(103));
    assert_eq!(says(&watch), None);
}

#[test]
fn a_reading_of_an_alarm_that_is_defined_anew_is_cancelled() {
    let mut watch = Watch::default();
    watch.set(vec![to_read(0, None)], at(100));
    let acts = watch.begin(at(100));
    let [WatchAct::Read(what)] = &acts[..] else { panic!("{acts:?}") };
    let mut anew = to_read(0, None);
    anew.alarm.source = AlarmSource::Exec { command: "check better".into() };
    assert_eq!(watch.set(vec![anew], at(101)), [WatchAct::GiveUp(what.0.clone())]);
    read(&mut watch, AlarmState::Ok, at(101));
    assert_eq!(says(&watch), Some(AlarmState::Ok));
}

use super::*;
use crate::id::DeploymentId;
use crate::statement::{Report, Statement};
use crate::time::LedgerTime;
use crate::trigger::{Target, TriggerEvent};

fn at(millis: u64) -> Time {
    Time::from_micros(millis * 1_000)
}

fn to_deliver(up_to: u64, newest: u64) -> ToDeliver {
    let happening = |number| Happening {
        number,
        index: number,
        at: LedgerTime::from_millis(number),
        event: TriggerEvent::InstanceSuccess,
        deployment: DeploymentId::derive(b"d"),
        host: None,
    };
    let trigger = Trigger {
        name: "chat".into(),
        on: [TriggerEvent::InstanceSuccess].into(),
        target: Target::Exec { command: "tell".into() },
    };
    let subscription = Subscription { group: "a/b".parse().expect("a name"), trigger: "chat".into() };
    ToDeliver { subscription, trigger, up_to, waiting: (up_to + 1..=newest).map(happening).collect() }
}

/// Tells the happening that is due, and returns its number.
fn tell(deliveries: &mut Deliveries, result: Result<(), String>, now: Time) -> u64 {
    let acts = deliveries.begin(now);
    let [DeliverAct::Notify(what)] = &acts[..] else { panic!("{acts:?} at {now:?}") };
    deliveries.done(&what.0, result, now);
    what.2.number
}

fn owed(deliveries: &mut Deliveries, now: Time) -> Option<(u64, usize)> {
    let owed = deliveries.owed(now).pop()?;
    let Statement::Report(Report::TriggersDelivered { up_to, given_up, .. }) = owed else {
        panic!("{owed:?}")
    };
    Some((up_to, given_up.len()))
}

#[test]
fn happenings_are_told_in_order_and_cost_one_entry_a_second() {
    let mut deliveries = Deliveries::default();
    deliveries.set(vec![to_deliver(0, 3)], at(0));
    assert_eq!(tell(&mut deliveries, Ok(()), at(0)), 1);
    assert_eq!(owed(&mut deliveries, at(0)), Some((1, 0)));
    assert_eq!(tell(&mut deliveries, Ok(()), at(1)), 2);
    assert_eq!(tell(&mut deliveries, Ok(()), at(2)), 3);
    assert_eq!(owed(&mut deliveries, at(999)), None);
    assert_eq!(deliveries.next(), Some(at(1_000)));
    assert_eq!(owed(&mut deliveries, at(1_000)), Some((3, 0)));
    deliveries.set(vec![to_deliver(3, 3)], at(1_100));
    assert_eq!((deliveries.next(), owed(&mut deliveries, at(3_000))), (None, None));
}

#[test]
fn what_fails_is_told_again_after_longer_and_longer_pauses_and_then_given_up() {
    let mut deliveries = Deliveries::default();
    deliveries.set(vec![to_deliver(0, 2)], at(0));
    let mut pauses = Vec::new();
    let mut now = at(0);
    for _ in 1..TRIES_MAX {
        assert_eq!(tell(&mut deliveries, Err("no route".into()), now), 1);
        let next = deliveries.next().expect("another try");
        pauses.push(next.since(now).as_secs());
        now = next;
    }
    assert_eq!(pauses, [1, 2, 4, 8, 16, 32, 64]);
    assert_eq!(owed(&mut deliveries, now), None);
    assert_eq!(tell(&mut deliveries, Err("no route".into()), now), 1);
    assert_eq!(owed(&mut deliveries, now), Some((1, 1)));
    assert_eq!(tell(&mut deliveries, Ok(()), now), 2, "and goes on with the next");
}

#[test]
fn what_fails_is_known_before_it_is_given_up_and_forgotten_when_it_goes_well() {
    let mut deliveries = Deliveries::default();
    let to_deliver = to_deliver(0, 2);
    let subscription = to_deliver.subscription.clone();
    deliveries.set(vec![to_deliver], at(0));
    assert_eq!(deliveries.failing(&subscription), None);
    tell(&mut deliveries, Err("no route".into()), at(5));
    tell(&mut deliveries, Err("refused".into()), at(1_005));
    let failing = Failing { tries: 2, since: at(5), last: at(1_005), why: "refused".into() };
    assert_eq!(deliveries.failing(&subscription), Some(&failing));
    tell(&mut deliveries, Ok(()), at(3_005));
    assert_eq!(deliveries.failing(&subscription), None);
}

#[test]
fn a_duty_that_is_taken_over_begins_where_the_ledger_is() {
    let mut deliveries = Deliveries::default();
    deliveries.set(vec![to_deliver(0, 2)], at(0));
    let acts = deliveries.begin(at(0));
    let [DeliverAct::Notify(what)] = &acts[..] else { panic!("{acts:?}") };
    assert_eq!(deliveries.set(Vec::new(), at(1)), [DeliverAct::GiveUp(what.0.clone())]);
    deliveries.done(&what.0, Ok(()), at(2));
    deliveries.set(vec![to_deliver(0, 2)], at(3));
    assert_eq!(tell(&mut deliveries, Ok(()), at(3)), 1, "twice is better than never");
    // Another host was faster.
    deliveries.set(vec![to_deliver(2, 2)], at(4));
    assert_eq!(deliveries.next(), None);
}

#[test]
fn what_was_told_counts_for_no_other_happening() {
    let mut deliveries = Deliveries::default();
    deliveries.set(vec![to_deliver(0, 3)], at(0));
    let acts = deliveries.begin(at(0));
    let [DeliverAct::Notify(what)] = &acts[..] else { panic!("{acts:?}") };
    // Meanwhile another host has told the first happening, or the group no longer
    // wants it told.
    deliveries.set(vec![to_deliver(1, 3)], at(1));
    deliveries.done(&what.0, Ok(()), at(2));
    assert_eq!(tell(&mut deliveries, Ok(()), at(2)), 2);
    assert_eq!(tell(&mut deliveries, Ok(()), at(2)), 3);
}

#[test]
fn a_try_fails_of_a_happening_that_was_not_wanted_for_a_while() {
    let mut deliveries = Deliveries::default();
    deliveries.set(vec![to_deliver(0, 3)], at(0));
    let acts = deliveries.begin(at(0));
    let [DeliverAct::Notify(what)] = &acts[..] else { panic!("{acts:?}") };
    // The group removes the event from its trigger, and adds it again.
    let mut without = to_deliver(0, 3);
    without.waiting.retain(|happening| happening.number > 1);
    deliveries.set(vec![without], at(1));
    deliveries.set(vec![to_deliver(0, 3)], at(2));
    deliveries.done(&what.0, Err("no route".into()), at(3));
    assert_eq!(deliveries.next(), Some(at(1_003)));
}

use std::time::Duration;

use crate::entry::HostRecord;
use crate::io::Refusal;
use crate::policy::Minimum;
use crate::state::testing::{Ledger, host, record};
use crate::statement::{Finding, Intent, Report};

const AFTER: Duration = Duration::from_secs(3_600);

/// Makes a group of three that gives hosts up, whose third host is Down.
fn with_a_ghost() -> Ledger {
    let mut ledger = Ledger::deployed(3, Minimum::OneAtATime);
    let mut group = ledger.group().group.clone();
    group.policy.forget_down_after = Some(AFTER);
    ledger.say(Intent::SetGroup(group));
    let mut third = record(2, 1, "role=web");
    third.addresses = vec!["/ip4/192.0.2.2/tcp/1".into()];
    ledger.say(Report::HostJoined(third));
    ledger.down(2);
    ledger
}

#[test]
fn a_host_that_is_down_for_too_long_is_taken_out() {
    let mut ledger = with_a_ghost();
    ledger.millis += 3_500_000;
    ledger.say(Finding::Tick);
    assert!(ledger.state.host(host(2)).is_some(), "not yet");
    ledger.millis += 200_000;
    ledger.say(Finding::Tick);
    assert!(ledger.state.host(host(2)).is_none() && ledger.state.removed(host(2)).is_some());
}

#[test]
fn one_that_is_back_stays_and_so_does_one_of_a_group_that_leaves_it_to_people() {
    let mut ledger = with_a_ghost();
    ledger.up(2);
    ledger.millis += 4_000_000;
    ledger.say(Finding::Tick);
    assert!(ledger.state.host(host(2)).is_some());
    ledger.down(2);
    let mut group = ledger.group().group.clone();
    group.policy.forget_down_after = None;
    ledger.say(Intent::SetGroup(group));
    ledger.millis += 4_000_000;
    ledger.say(Finding::Tick);
    assert!(ledger.state.host(host(2)).is_some());
}

#[test]
fn a_newcomer_with_its_name_and_address_takes_its_place_at_once() {
    let mut ledger = with_a_ghost();
    let ghost = ledger.state.host(host(2)).expect("it is there").record.clone();
    let mut elsewhere = record(3, 1, "role=web");
    elsewhere.name = ghost.name.clone();
    elsewhere.addresses = vec!["/ip4/192.0.2.99/tcp/1".into()];
    ledger.say(Report::HostJoined(elsewhere));
    assert!(ledger.state.host(host(2)).is_some(), "another machine with the same name");
    let mut newcomer = record(4, 1, "role=web");
    (newcomer.name, newcomer.addresses) = (ghost.name, ghost.addresses);
    ledger.say(Report::HostJoined(newcomer));
    assert!(ledger.state.host(host(2)).is_none() && ledger.state.host(host(4)).is_some());
}

/// Whatever its groups' setting, and wherever the newcomer stands.
#[test]
fn a_newcomer_takes_the_place_of_the_host_that_it_names_once_that_is_down() {
    let mut ledger = Ledger::deployed(3, Minimum::OneAtATime);
    let ghost = ledger.state.host(host(2)).expect("it is there").record.clone();
    let newcomer = |number, replaces: &str| {
        let replaces = replaces.to_string();
        Report::HostJoined(HostRecord { name: "new".into(), replaces, ..record(number, 1, "role=web") })
    };
    let refused = ledger.put(newcomer(5, &ghost.name));
    assert_eq!(refused, Err(Refusal::StillUp(ghost.name.clone())));
    assert!(ledger.state.host(host(5)).is_none() && ledger.state.host(host(2)).is_some());

    ledger.down(2);
    ledger.say(newcomer(5, &ghost.name));
    assert!(ledger.state.host(host(5)).is_some());
    assert!(ledger.state.host(host(2)).is_none() && ledger.state.removed(host(2)).is_some());
    // Started again with the same flag, and another one of that name has come since.
    ledger.say(Report::HostJoined(HostRecord { name: ghost.name.clone(), ..record(6, 1, "role=web") }));
    ledger.say(newcomer(5, &ghost.name));
    assert!(ledger.state.host(host(6)).is_some(), "it has joined already and replaces nobody");

    // By its id; and who is gone already is in nobody's way.
    ledger.down(1);
    ledger.say(newcomer(7, &host(1).to_string()));
    assert!(ledger.state.host(host(1)).is_none());
    ledger.say(newcomer(8, "web-long-gone"));
    assert!(ledger.state.host(host(8)).is_some());
}

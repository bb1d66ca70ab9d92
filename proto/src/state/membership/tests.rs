use super::super::testing::{Ledger, host, record};
use super::*;
use crate::entry::Body;
use crate::policy::Minimum;
use crate::rollout::Stage;

#[test]
fn who_was_taken_out_does_not_come_back_under_any_start_or_store() {
    let mut ledger = Ledger::of(3, Minimum::OneAtATime);
    ledger.say(Body::HostLeft { host: host(1) });
    let at = ledger.state.removed(host(1)).expect("it is remembered").at;
    for store in [1, 2] {
        let body = Body::HostJoined(record(1, store, "role=web"));
        assert!(ledger.state.is_settled(&body), "and it is not written down again and again");
        assert_eq!(ledger.put(body), Err(Refusal::Removed { at }));
    }
    assert!(ledger.state.host(host(1)).is_none());
    ledger.join(3);
}

#[test]
fn the_last_host_stays() {
    let mut ledger = Ledger::of(2, Minimum::OneAtATime);
    ledger.say(Body::HostLeft { host: host(1) });
    assert_eq!(ledger.put(Body::HostLeft { host: host(1) }), Err(Refusal::UnknownHost(host(1))));
    assert_eq!(ledger.put(Body::HostLeft { host: host(0) }), Err(Refusal::LastHost));
}

#[test]
fn beyond_the_limit_the_one_that_left_first_is_forgotten() {
    let mut ledger = Ledger::of(1, Minimum::OneAtATime);
    let gone = |number: usize| {
        let mut key = [9; 32];
        key[..8].copy_from_slice(&(number as u64).to_be_bytes());
        HostId::from_public_key(key)
    };
    for number in 0..=REMOVED_KEPT {
        let host = gone(number);
        ledger.say(Body::HostJoined(HostRecord { host, ..record(1, 1, "role=db") }));
        ledger.say(Body::HostLeft { host });
    }
    assert_eq!(ledger.state.all_removed().len(), REMOVED_KEPT);
    assert!(ledger.state.removed(gone(0)).is_none() && ledger.state.removed(gone(1)).is_some());
}

#[test]
fn a_turn_to_come_of_a_host_that_was_taken_out_leaves_no_trace_of_it_in_the_group() {
    let mut ledger = Ledger::deployed(3, Minimum::OneAtATime);
    let id = ledger.deploy(2);
    ledger.say(Body::HostLeft { host: host(2) });
    assert_eq!(ledger.rollout(id).bounds.minimum, 1, "of the two that are left");
    for number in [0, 1] {
        ledger.start(id, number);
        ledger.end(id, number, None);
    }
    assert_eq!(ledger.rollout(id).members()[&host(2)].stage, Stage::Skipped);
    assert_eq!(ledger.rollout(id).verdict, Some(crate::rollout::Verdict::Succeeded));
    let group = ledger.group();
    assert!(!group.standing.contains_key(&host(2)) && !group.behind.contains_key(&host(2)));
}

use std::time::Duration;

use super::super::testing::{Ledger, host, record};
use super::*;
use crate::group::TagSets;
use crate::lifecycle::LifecycleEvent;
use crate::policy::{Minimum, Policy};
use crate::rollout::Stage;
use crate::statement::{Intent, Report};

#[test]
fn who_was_taken_out_does_not_come_back_under_any_start_or_store() {
    let mut ledger = Ledger::of(3, Minimum::OneAtATime);
    ledger.say(Intent::RemoveHost(host(1)));
    let at = ledger.state.removed(host(1)).expect("it is remembered").at;
    for store in [1, 2] {
        let statement = Report::HostJoined(record(1, store, "role=web")).into();
        assert!(ledger.state.is_settled(&statement), "and it is not written down again and again");
        assert_eq!(ledger.put(statement), Err(Refusal::Removed { at }));
    }
    assert!(ledger.state.host(host(1)).is_none());
    ledger.join(3);
}

#[test]
fn the_last_host_stays() {
    let mut ledger = Ledger::of(2, Minimum::OneAtATime);
    ledger.say(Intent::RemoveHost(host(1)));
    assert_eq!(ledger.put(Intent::RemoveHost(host(1))), Err(Refusal::UnknownHost(host(1))));
    assert_eq!(ledger.put(Intent::RemoveHost(host(0))), Err(Refusal::LastHost));
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
        ledger.say(Report::HostJoined(HostRecord {
            host,
            voter: VoterId(10_000 + number as u64),
            ..record(1, 1, "role=db")
        }));
        ledger.say(Intent::RemoveHost(host));
    }
    assert_eq!(ledger.state.all_removed().len(), REMOVED_KEPT);
    assert!(ledger.state.removed(gone(0)).is_none() && ledger.state.removed(gone(1)).is_some());
}

#[test]
fn a_turn_to_come_of_a_host_that_was_taken_out_leaves_no_trace_of_it_in_the_group() {
    let mut ledger = Ledger::deployed(3, Minimum::OneAtATime);
    let id = ledger.deploy(2);
    ledger.say(Intent::RemoveHost(host(2)));
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

#[test]
fn a_host_is_not_believed_about_another() {
    let mut ledger = Ledger::deployed(3, Minimum::OneAtATime);
    let deployment = ledger.deploy(2);
    let victim = host(0);
    let outcome = crate::entry::TurnOutcome::Succeeded;
    let group = crate::state::testing::name();
    let error = String::new();
    let said = [
        Report::HostJoined(record(0, 2, "role=mine")),
        Report::TurnStarted { deployment, host: victim },
        Report::TurnEnded { deployment, host: victim, outcome },
        Report::TurnDeferred { deployment, host: victim, suspects: Vec::new() },
        Report::TurnBegunAnew { deployment, host: victim, event: LifecycleEvent::Install, attempt: 2 },
        Report::HealthChanged { group, host: victim, healthy: false, error, as_of: u64::MAX },
    ];
    for statement in said {
        let before = ledger.state.clone();
        let refused = Refusal::NotItsAuthor { of: victim, author: host(1) };
        assert_eq!(ledger.put_by(host(1), statement.clone()), Err(refused), "{statement:?}");
        assert_eq!(ledger.state.rollouts(), before.rollouts(), "{statement:?}");
        assert_eq!(ledger.state.hosts(), before.hosts(), "{statement:?}");
        assert_eq!(ledger.state.groups(), before.groups(), "{statement:?}");
    }
}

#[test]
fn nobody_takes_a_number_that_another_host_has_or_had() {
    let mut ledger = Ledger::of(3, Minimum::OneAtATime);
    let voter = |ledger: &Ledger, number| ledger.state.host(host(number)).expect("a host").record.voter;
    let of_two = voter(&ledger, 2);
    let claim = |voter, incarnation| {
        Report::HostJoined(HostRecord { voter, incarnation, ..record(1, 1, "role=web") })
    };
    assert_eq!(ledger.put(claim(of_two, 2)), Err(Refusal::VoterTaken(of_two)));
    assert_eq!(ledger.put(claim(VoterId(0), 2)), Err(Refusal::VoterTaken(VoterId(0))));
    // The number also stays taken if its host has a new one or is gone, because it
    // may still be among the voters.
    ledger.say(Report::HostJoined(record(2, 2, "role=web")));
    assert_eq!(ledger.put(claim(of_two, 2)), Err(Refusal::VoterTaken(of_two)));
    let of_two = voter(&ledger, 2);
    ledger.say(Intent::RemoveHost(host(2)));
    assert_eq!(ledger.put(claim(of_two, 2)), Err(Refusal::VoterTaken(of_two)));
    let own = voter(&ledger, 1);
    ledger.say(claim(own, 2));
}

/// The fold asks too, because a leader's own entries never were another's proposal.
#[test]
fn an_entry_with_a_value_out_of_its_bounds_changes_nothing() {
    let mut ledger = Ledger::deployed(3, Minimum::OneAtATime);
    let before = ledger.group().group.clone();
    let policy = Policy { turn_timeout: Duration::MAX, ..Policy::default() };
    let refused = ledger.put(Intent::SetGroup(Group { policy, ..before.clone() }));
    assert!(matches!(refused, Err(Refusal::InvalidPolicy(_))), "{refused:?}");
    let refused = ledger.put(Intent::SetGroup(Group { tags: TagSets(vec![]), ..before.clone() }));
    assert!(matches!(refused, Err(Refusal::InvalidEntry(_))), "{refused:?}");
    assert_eq!(ledger.group().group, before);
}

#[test]
fn a_turn_that_an_agent_with_a_copied_disk_took_is_not_ended_by_it_once_the_host_has_spoken() {
    let mut ledger = Ledger::deployed(3, Minimum::OneAtATime);
    let id = ledger.deploy(2);
    let start = |start, incarnation| {
        let voter = VoterId(900 + incarnation);
        Report::HostJoined(HostRecord { start, incarnation, voter, ..record(0, 1, "role=web") })
    };
    let stage = |ledger: &Ledger| ledger.rollout(id).members()[&host(0)].stage.clone();
    ledger.say(start(77, 2));
    ledger.start(id, 0);
    ledger.say(start(0, 3));
    assert!(ledger.state.has_twin(host(0)));
    ledger.end(id, 0, None);
    assert!(matches!(stage(&ledger), Stage::Started { .. }), "the other machine is not this host");
    assert_eq!(ledger.revision(0), None, "nobody knows what this one runs");

    // One of the two is stopped, and the other started again.
    ledger.say(start(1, 4));
    ledger.end(id, 0, None);
    assert!(matches!(stage(&ledger), Stage::Ended { .. }));
}

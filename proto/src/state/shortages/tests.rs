use std::time::Duration;

use super::*;
use crate::entry::{ErrorCode, TurnOutcome};
use crate::policy::Minimum;
use crate::rollout::Stage;
use crate::state::testing::{Ledger, host};
use crate::statement::{Finding, Report};

const MIB: u64 = 1024 * 1024;

fn lack(ledger: &mut Ledger, deployment: DeploymentId, number: u8, free: u64) {
    let shortage = Some(Shortage { needed: 180 * MIB, free });
    ledger.say(Report::RoomReported { deployment, host: host(number), shortage });
}

fn have(ledger: &mut Ledger, deployment: DeploymentId, number: u8) {
    ledger.say(Report::RoomReported { deployment, host: host(number), shortage: None });
}

fn turn(ledger: &mut Ledger, deployment: DeploymentId, number: u8) {
    ledger.start(deployment, number);
    ledger.end(deployment, number, None);
}

#[track_caller]
fn leased(ledger: &Ledger, deployment: DeploymentId, numbers: &[u8]) {
    let rollout = ledger.state.rollout(deployment).expect("it is kept");
    assert_eq!(rollout.in_flight(), numbers.iter().map(|number| host(*number)).collect::<Vec<_>>());
}

/// Lets so much time pass.
fn wait(ledger: &mut Ledger, time: Duration) {
    ledger.millis += u64::try_from(time.as_millis()).expect("a short time");
    ledger.say(Finding::Tick);
}

#[test]
fn a_host_without_room_lets_others_go_first_and_starts_once_it_has_room() {
    let mut ledger = Ledger::deployed(3, Minimum::OneAtATime);
    let deployment = ledger.deploy(2);
    leased(&ledger, deployment, &[0]);
    lack(&mut ledger, deployment, 0, 12 * MIB);
    leased(&ledger, deployment, &[1]);
    assert_eq!(ledger.state.shortages(deployment).map(|(host, _)| host).collect::<Vec<_>>(), [host(0)]);
    turn(&mut ledger, deployment, 1);
    turn(&mut ledger, deployment, 2);
    // Nobody else is left, so its time to start begins.
    leased(&ledger, deployment, &[0]);
    lack(&mut ledger, deployment, 0, 13 * MIB);
    leased(&ledger, deployment, &[0]);
    turn(&mut ledger, deployment, 0);
    assert_eq!(ledger.state.shortages(deployment).count(), 0);
    ledger.do_due();
    let rollout = ledger.state.rollout(deployment).expect("it is kept");
    assert_eq!(rollout.status().name(), "Succeeded");
}

#[test]
fn a_host_that_gets_no_room_in_its_time_fails_with_its_numbers() {
    let mut ledger = Ledger::deployed(2, Minimum::AllAtOnce);
    let deployment = ledger.deploy(2);
    lack(&mut ledger, deployment, 1, 12 * MIB);
    leased(&ledger, deployment, &[0, 1]);
    wait(&mut ledger, Duration::from_secs(290));
    // Newer numbers do not extend its time.
    lack(&mut ledger, deployment, 1, 11 * MIB);
    leased(&ledger, deployment, &[0, 1]);
    turn(&mut ledger, deployment, 0);
    wait(&mut ledger, Duration::from_secs(10));
    let part = ledger.state.part(deployment, host(1)).expect("its part");
    let Stage::Ended { started: None, outcome: TurnOutcome::Failed(failure), .. } = &*part.stage else {
        panic!("its turn is {:?}", part.stage);
    };
    assert_eq!(failure.code, ErrorCode::DidNotStart);
    let words = "disk full on web-1: 11 MiB free, 180 MiB needed. It did not start its turn within 300 s";
    assert!(failure.message.starts_with(words), "{}", failure.message);
    assert_eq!(ledger.state.shortages(deployment).count(), 0);
}

#[test]
fn who_has_room_again_goes_before_who_has_none() {
    let mut ledger = Ledger::deployed(3, Minimum::OneAtATime);
    let deployment = ledger.deploy(2);
    lack(&mut ledger, deployment, 0, 0);
    lack(&mut ledger, deployment, 1, 0);
    // A host may say so before it has a lease.
    lack(&mut ledger, deployment, 2, 0);
    leased(&ledger, deployment, &[0]);
    wait(&mut ledger, Duration::from_secs(299));
    have(&mut ledger, deployment, 2);
    leased(&ledger, deployment, &[2]);
    // The time of the other is not used up.
    wait(&mut ledger, Duration::from_secs(2));
    turn(&mut ledger, deployment, 2);
    leased(&ledger, deployment, &[0]);
    have(&mut ledger, deployment, 0);
    leased(&ledger, deployment, &[0]);
}

#[test]
fn a_report_that_comes_too_late_changes_nothing() {
    let mut ledger = Ledger::deployed(2, Minimum::OneAtATime);
    let deployment = ledger.deploy(2);
    ledger.start(deployment, 0);
    lack(&mut ledger, deployment, 0, 0);
    assert_eq!(ledger.state.shortages(deployment).count(), 0);
    leased(&ledger, deployment, &[0]);
    ledger.end(deployment, 0, None);
    turn(&mut ledger, deployment, 1);
    ledger.do_due();
    lack(&mut ledger, deployment, 1, 0);
    lack(&mut ledger, DeploymentId::derive(b"unknown"), 1, 0);
    assert_eq!(ledger.state.shortages.by_turn.len(), 0);
}

#[test]
fn a_state_without_shortages_has_the_form_of_the_last_release() {
    let mut ledger = Ledger::deployed(2, Minimum::OneAtATime);
    let deployment = ledger.deploy(2);
    let (version, read) = (
        |state: &State| state.encode()[2],
        |state: &State| {
            State::decode(&state.encode(), state.index(), crate::form::Version::NEWEST).expect("a state")
        },
    );
    assert_eq!(version(&ledger.state), 3);
    assert_eq!(read(&ledger.state), ledger.state);
    lack(&mut ledger, deployment, 1, 0);
    assert_eq!(version(&ledger.state), 4);
    assert_eq!(read(&ledger.state), ledger.state);
}

use std::time::Duration;

use proto::group::Group;
use proto::health::{HealthCheck, Probe};
use proto::id::DeploymentId;
use proto::lifecycle::LifecycleEvent;
use proto::statement::{Intent, Report, Statement};

use super::*;
use crate::testing;

const A: HostNo = HostNo(0);

fn check(rise: u32) -> HealthCheck {
    let probe = Probe::Tcp("127.0.0.1:80".into());
    let (every, timeout) = (Duration::from_secs(1), Duration::from_secs(1));
    HealthCheck { every, timeout, rise, ..HealthCheck::new(probe) }
}

/// Three hosts with a check. The first has begun its turn of the first
/// deployment, and the last event of the turn has ended. It has folded `state`.
struct InATurn {
    health: Health,
    model: Model,
    state: State,
    numbers: BTreeMap<HostId, HostNo>,
    deployment: DeploymentId,
    group: Group,
}

fn in_a_turn() -> InATurn {
    let mut entries = testing::deployed_to(3);
    let deployment = DeploymentId::derive(b"one");
    entries
        .push(testing::entry(1_100, Report::TurnStarted { deployment, host: testing::host(0).record.host }));
    let mut groups = Vec::new();
    for entry in &mut entries {
        if let Statement::Intent(Intent::SetGroup(group)) = &mut entry.statement {
            group.health = Some(check(2));
            groups.push(group.clone());
        }
    }
    let group = groups.pop().expect("a group is set");
    let (health, model, state) = (Health::default(), Model::default(), State::default());
    let numbers = (0..3).map(|no| (testing::host(no).record.host, HostNo(no))).collect();
    let mut it = InATurn { health, model, state, numbers, deployment, group };
    entries.iter().for_each(|entry| it.commit(entry));
    it.event_ends();
    it
}

impl InATurn {
    /// Commits an entry, which the first host folds.
    fn commit(&mut self, entry: &Entry) {
        let index = self.state.index() + 1;
        assert_eq!(self.health.entry(index, entry, &self.model, &self.numbers), Ok(()));
        self.model.apply(entry);
        assert_eq!(self.state.apply(index, entry), Ok(()));
        self.health.folded(A, &self.state);
    }

    fn set_check(&mut self, health: Option<HealthCheck>) {
        let group = Group { health, ..self.group.clone() };
        self.commit(&testing::entry(1_200, Intent::SetGroup(group)));
    }

    fn event_ends(&mut self) {
        self.health.event_ends(A, &testing::run(self.deployment, LifecycleEvent::ValidateService));
    }

    /// Runs probes with these results, from beginning to end.
    fn looks(&mut self, results: &[bool]) {
        for is_well in results {
            self.health.probes(A, &self.group.name, TaskId(1));
            self.health.probed(A, &self.group.name, TaskId(1), *is_well);
        }
    }

    /// Returns the claim that is violated if the turn succeeds now.
    fn ended(&mut self) -> Option<Claim> {
        let (deployment, outcome) = (self.deployment, TurnOutcome::Succeeded);
        let statement = Report::TurnEnded { deployment, host: testing::host(0).record.host, outcome };
        let entry = testing::entry(2_000, statement);
        self.health.entry(9, &entry, &self.model, &self.numbers).err().map(|found| found.claim)
    }
}

#[test]
fn a_turn_that_ends_well_before_its_check_has_passed_is_found() {
    let mut turn = in_a_turn();
    assert_eq!(turn.ended(), Some(Claim::Checked), "it was never looked at");
    turn.looks(&[true, false, true]);
    assert_eq!(turn.ended(), Some(Claim::Checked), "twice, but not in a row");
    turn.looks(&[true]);
    assert_eq!(turn.ended(), None);
    turn.event_ends();
    assert_eq!(turn.ended(), Some(Claim::Checked), "what was before an event is no evidence");
}

#[test]
fn a_look_that_never_ends_and_a_start_are_no_success() {
    let mut turn = in_a_turn();
    turn.looks(&[true]);
    turn.health.probes(A, &turn.group.name, TaskId(7));
    turn.looks(&[true]);
    assert_eq!(turn.ended(), Some(Claim::Checked), "the one between them was not answered");
    turn.health.host_down(A);
    turn.looks(&[true]);
    assert_eq!(turn.ended(), Some(Claim::Checked), "an agent that starts counts anew");
    turn.looks(&[true]);
    assert_eq!(turn.ended(), None);
}

#[test]
fn a_group_that_is_set_anew_in_a_turn_is_judged_by_what_its_host_has_folded() {
    let mut turn = in_a_turn();
    turn.looks(&[true]);
    turn.set_check(Some(check(3)));
    turn.looks(&[true, true]);
    assert_eq!(turn.ended(), Some(Claim::Checked), "another check begins anew");
    turn.looks(&[true]);
    assert_eq!(turn.ended(), None);

    let mut turn = in_a_turn();
    turn.set_check(None);
    assert_eq!(turn.ended(), None, "no host checks it any longer");
    turn.set_check(Some(check(1)));
    assert_eq!(turn.ended(), None, "its end may be on its way since then");
    turn.event_ends();
    assert_eq!(turn.ended(), Some(Claim::Checked));
}

#[test]
fn a_storm_of_words_is_found() {
    let InATurn { mut health, mut model, numbers, group, .. } = in_a_turn();
    // The host is not in its turn, and reports more often than damping allows.
    let host = testing::host(1).record.host;
    let said = (0..60_u64).map(|number| {
        let (healthy, error, as_of) = (number % 2 == 1, String::new(), 100 + number);
        let statement = Report::HealthChanged { group: group.name.clone(), host, healthy, error, as_of };
        testing::entry(10_000 + number * 100_000, statement)
    });
    let found = said.into_iter().map(|entry| {
        let verdict = health.entry(50, &entry, &model, &numbers);
        model.apply(&entry);
        verdict.err().map(|found| found.claim)
    });
    let found: Vec<Option<Claim>> = found.collect();
    assert_eq!(found[19], None);
    assert_eq!(found[20], Some(Claim::Damped), "the twenty-first within an hour");
}

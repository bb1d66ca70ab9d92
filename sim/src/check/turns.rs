//! No event runs without a committed start of its turn, twice in one attempt,
//! or out of order; and a host has at most one turn of a group at a time.

use std::collections::{BTreeMap, BTreeSet};

use proto::id::{DeploymentId, GroupName, HostId};
use proto::lifecycle::LifecycleEvent;
use proto::task::Run;

use super::{Claim, Verdict, Violation};
use crate::host::HostNo;
use crate::model::Model;

#[derive(Debug, Default)]
pub struct Turns {
    /// Turns whose start was committed while the host held its lease.
    started: BTreeSet<(DeploymentId, HostNo)>,
    /// The committed attempt of each turn.
    attempts: BTreeMap<(DeploymentId, HostNo), u8>,
    /// Turns of which at least one event began.
    touched: BTreeSet<(DeploymentId, HostNo)>,
    /// The last event that began in the current attempt of each turn.
    begun: BTreeMap<(DeploymentId, HostNo), LifecycleEvent>,
    under_way: BTreeMap<(HostNo, GroupName), (DeploymentId, LifecycleEvent)>,
}

impl Turns {
    /// Notes the turns after a committed entry that the model has folded.
    pub fn entry(&mut self, model: &Model, numbers: &BTreeMap<HostId, HostNo>) -> Verdict {
        for (id, deployment) in model.deployments() {
            for turn in deployment.turns.iter().filter(|turn| turn.was_started) {
                if let Some(host) = numbers.get(&turn.host) {
                    self.started.insert((*id, *host));
                    if self.attempts.insert((*id, *host), turn.attempt).is_some_and(|was| was < turn.attempt)
                    {
                        self.begun.remove(&(*id, *host));
                    }
                }
            }
        }
        Ok(())
    }

    pub fn has_begun(&self, deployment: DeploymentId, host: HostNo) -> bool {
        self.touched.contains(&(deployment, host))
    }

    pub fn event_begins(&mut self, host: HostNo, run: &Run) -> Verdict {
        let (deployment, event) = (run.deployment, run.event);
        if !self.started.contains(&(deployment, host)) {
            let what = format!("{host} runs {event} of {deployment}, whose start is not committed");
            return Err(Violation::new(Claim::CommittedStart, [host], what));
        }
        let place = (host, run.group.clone());
        if let Some((other, during)) = self.under_way.insert(place, (deployment, event)) {
            let what = format!("{host} runs {event} of {deployment} while {during} of {other} is under way");
            return Err(Violation::new(Claim::OneTurn, [host], what));
        }
        self.touched.insert((deployment, host));
        match self.begun.insert((deployment, host), event) {
            Some(before) if before >= event => {
                let what = format!("{host} runs {event} of {deployment} after {before} was begun");
                Err(Violation::new(Claim::Once, [host], what))
            }
            Some(_) | None => Ok(()),
        }
    }

    pub fn event_ends(&mut self, host: HostNo, run: &Run) {
        self.under_way.remove(&(host, run.group.clone()));
    }

    /// Handles that a host went down. Its events are not under way any longer,
    /// but they did begin.
    pub fn host_down(&mut self, host: HostNo) {
        self.under_way.retain(|(at, _), _| *at != host);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing;

    const A: HostNo = HostNo(0);

    fn started() -> (Turns, DeploymentId) {
        let deployment = DeploymentId::derive(b"one");
        (Turns { started: BTreeSet::from([(deployment, A)]), ..Turns::default() }, deployment)
    }

    fn check(turns: &mut Turns, deployment: DeploymentId, event: LifecycleEvent, claim: Option<Claim>) {
        let verdict = turns.event_begins(A, &testing::run(deployment, event));
        assert_eq!(verdict.err().map(|violation| violation.claim), claim, "{event}");
    }

    #[test]
    fn an_event_without_a_committed_start_is_found() {
        check(
            &mut Turns::default(),
            DeploymentId::derive(b"one"),
            LifecycleEvent::Install,
            Some(Claim::CommittedStart),
        );
    }

    #[test]
    fn an_event_that_runs_again_after_a_crash_is_found() {
        let (mut turns, deployment) = started();
        check(&mut turns, deployment, LifecycleEvent::Install, None);
        turns.host_down(A);
        check(&mut turns, deployment, LifecycleEvent::Install, Some(Claim::Once));
    }

    #[test]
    fn an_event_out_of_order_is_found() {
        let (mut turns, deployment) = started();
        check(&mut turns, deployment, LifecycleEvent::Install, None);
        turns.event_ends(A, &testing::run(deployment, LifecycleEvent::Install));
        check(&mut turns, deployment, LifecycleEvent::BeforeInstall, Some(Claim::Once));
    }

    #[test]
    fn two_turns_of_a_group_at_once_are_found() {
        let (mut turns, deployment) = started();
        let other = DeploymentId::derive(b"two");
        turns.started.insert((other, A));
        check(&mut turns, deployment, LifecycleEvent::Install, None);
        check(&mut turns, other, LifecycleEvent::ApplicationStop, Some(Claim::OneTurn));
    }

    #[test]
    fn a_start_counts_only_with_a_lease() {
        let mut model = Model::default();
        let mut turns = Turns::default();
        testing::deployed_to(3).iter().for_each(|entry| model.apply(entry));
        let deployment = model.unfinished()[0];
        let numbers = (0..3).map(|no| (testing::host(no).record.host, HostNo(no))).collect();
        for (no, counts) in [(1, false), (0, true)] {
            let host = testing::host(no).record.host;
            model.apply(&testing::entry(9_000, proto::statement::Report::TurnStarted { deployment, host }));
            assert_eq!(turns.entry(&model, &numbers), Ok(()));
            assert_eq!(turns.started.contains(&(deployment, HostNo(no))), counts);
        }
    }
}

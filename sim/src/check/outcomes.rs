//! The ledger's report of a turn says what really ran on its host.

use std::collections::{BTreeMap, BTreeSet};

use proto::entry::{Entry, ErrorCode, Failure, TurnOutcome};
use proto::id::{DeploymentId, HostId};
use proto::lifecycle::LifecycleEvent;
use proto::statement::{Report, Statement};
use proto::task::Run;

use super::{Claim, Verdict, Violation};
use crate::host::HostNo;
use crate::model::Model;

/// The real end of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    UnderWay,
    Well,
    Failed(ErrorCode),
    /// The host went down during the event.
    Cut,
}

#[derive(Debug, Default)]
pub struct Outcomes {
    /// The last run of each event of each turn.
    ran: BTreeMap<(DeploymentId, HostNo), BTreeMap<LifecycleEvent, End>>,
    /// The hosts that went down at least once.
    were_down: BTreeSet<HostNo>,
    /// The turns whose host went down after their last event had begun.
    were_cut: BTreeSet<(DeploymentId, HostNo)>,
    /// The hosts that lost their disk.
    were_wiped: BTreeSet<HostNo>,
}

impl Outcomes {
    pub fn event_begins(&mut self, host: HostNo, run: &Run) {
        self.were_cut.remove(&(run.deployment, host));
        let ran = self.ran.entry((run.deployment, host)).or_default();
        // An event that begins again belongs to another attempt.
        if ran.range(run.event..).next().is_some() {
            ran.clear();
        }
        ran.insert(run.event, End::UnderWay);
    }

    pub fn event_ends(&mut self, host: HostNo, run: &Run, outcome: &Result<(), Failure>) {
        let end = outcome.as_ref().map_or_else(|failure| End::Failed(failure.code), |()| End::Well);
        self.ran.entry((run.deployment, host)).or_default().insert(run.event, end);
    }

    pub fn host_down(&mut self, host: HostNo) {
        self.were_down.insert(host);
        self.were_cut.extend(self.ran.keys().filter(|(_, at)| *at == host));
        let of_host = self.ran.iter_mut().filter(|((_, at), _)| *at == host);
        for end in of_host.flat_map(|(_, ran)| ran.values_mut()).filter(|end| **end == End::UnderWay) {
            *end = End::Cut;
        }
    }

    pub fn disk_lost(&mut self, host: HostNo) {
        self.were_wiped.insert(host);
    }

    /// Checks a committed entry that the model has folded.
    pub fn entry(&self, entry: &Entry, model: &Model, numbers: &BTreeMap<HostId, HostNo>) -> Verdict {
        let Statement::Report(Report::TurnEnded { deployment, host, outcome }) = &entry.statement else {
            return Ok(());
        };
        let (Some(no), Some(known)) = (numbers.get(host), model.deployment(*deployment)) else {
            return Ok(());
        };
        let policy = &known.submission.policy;
        let course = known.submission.kind().traits().course;
        let none = BTreeMap::new();
        let ran = self.ran.get(&(*deployment, *no)).unwrap_or(&none);
        let went_well = |event: LifecycleEvent| match ran.get(&event) {
            Some(End::Well) => true,
            Some(End::Failed(_)) => event.step().may_be_ignored && policy.ignore_application_stop_failures,
            Some(End::UnderWay | End::Cut) | None => false,
        };
        let is_true = match outcome {
            TurnOutcome::Succeeded => course.events().all(went_well),
            TurnOutcome::Failed(failure) => match failure.code {
                ErrorCode::HealthCheckFailed => course.events().all(went_well),
                ErrorCode::FailedAfterRestart | ErrorCode::AgentStopped => {
                    self.was_interrupted((*deployment, *no), failure, ran)
                }
                // The turn was stopped while it waited for the health check,
                // after all events had ended.
                ErrorCode::Stopped if failure.event.is_none() => course.events().all(went_well),
                ErrorCode::Stopped => self.was_stopped((*deployment, *no), failure, ran),
                // Only the fold itself sets these codes.
                ErrorCode::DidNotStart
                | ErrorCode::HostLost
                | ErrorCode::TurnTimedOut
                | ErrorCode::Success => false,
                ErrorCode::ScriptMissing
                | ErrorCode::ScriptNotExecutable
                | ErrorCode::ScriptTimedOut
                | ErrorCode::ScriptFailed
                | ErrorCode::UnknownError
                | ErrorCode::OutputsLeftOpen => {
                    let end = failure.event.and_then(|event| ran.get(&event));
                    end == Some(&End::Failed(failure.code))
                }
            },
        };
        if is_true {
            return Ok(());
        }
        let what = format!("the ledger says of {deployment} on {no}: {outcome:?}. There ran {ran:?}");
        Err(Violation::new(Claim::Outcomes, [*no], what))
    }

    /// Returns true if the host went down before its journal recorded how the
    /// event ended. The event may not have begun, and it may have ended. A host
    /// that lost its disk does not know which event it was.
    fn was_interrupted(
        &self,
        turn: (DeploymentId, HostNo),
        failure: &Failure,
        ran: &BTreeMap<LifecycleEvent, End>,
    ) -> bool {
        match failure.event {
            None => self.were_wiped.contains(&turn.1),
            Some(event) => match ran.get(&event) {
                None => self.were_down.contains(&turn.1),
                Some(End::UnderWay) => false,
                Some(End::Cut | End::Well | End::Failed(_)) => self.were_cut.contains(&turn),
            },
        }
    }

    /// Returns true if the event was cut short or never began. If it ended well
    /// or was cut off by a crash, that was in an earlier attempt, after which
    /// the host went down.
    fn was_stopped(
        &self,
        turn: (DeploymentId, HostNo),
        failure: &Failure,
        ran: &BTreeMap<LifecycleEvent, End>,
    ) -> bool {
        match failure.event.map(|event| ran.get(&event)) {
            Some(None | Some(End::Failed(_))) => true,
            Some(Some(End::Well | End::Cut)) => self.were_cut.contains(&turn),
            None | Some(Some(End::UnderWay)) => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing;

    const A: HostNo = HostNo(0);

    /// Returns three hosts; the first one has run these events successfully.
    fn ran(events: impl Iterator<Item = LifecycleEvent>) -> (Outcomes, Model, DeploymentId) {
        let mut model = Model::default();
        testing::deployed_to(3).iter().for_each(|entry| model.apply(entry));
        let deployment = model.unfinished()[0];
        let mut outcomes = Outcomes::default();
        for event in events {
            let run = testing::run(deployment, event);
            outcomes.event_begins(A, &run);
            outcomes.event_ends(A, &run, &Ok(()));
        }
        (outcomes, model, deployment)
    }

    fn says(outcomes: &Outcomes, model: &Model, deployment: DeploymentId, outcome: TurnOutcome) -> Verdict {
        let host = testing::host(0).record.host;
        let entry = testing::entry(9_000, Report::TurnEnded { deployment, host, outcome });
        outcomes.entry(&entry, model, &BTreeMap::from([(host, A)]))
    }

    #[test]
    fn a_success_of_which_an_event_never_ran_is_found() {
        let course = proto::lifecycle::Course::InPlace;
        let (outcomes, model, deployment) = ran(course.events());
        assert_eq!(says(&outcomes, &model, deployment, TurnOutcome::Succeeded), Ok(()));
        let (outcomes, model, deployment) = ran(course.events().skip(1));
        let violation = says(&outcomes, &model, deployment, TurnOutcome::Succeeded).expect_err("a lie");
        assert_eq!((violation.claim, violation.hosts), (Claim::Outcomes, vec![A]));
    }

    #[test]
    fn a_failure_that_did_not_happen_is_found() {
        let (mut outcomes, model, deployment) = ran([LifecycleEvent::Install].into_iter());
        let failure = Failure { event: Some(LifecycleEvent::Install), ..testing::failure() };
        let failed = TurnOutcome::Failed(failure.clone());
        assert!(says(&outcomes, &model, deployment, failed.clone()).is_err());
        outcomes.event_ends(A, &testing::run(deployment, LifecycleEvent::Install), &Err(failure));
        assert_eq!(says(&outcomes, &model, deployment, failed), Ok(()));
    }

    #[test]
    fn an_interruption_without_a_crash_is_found() {
        let (mut outcomes, model, deployment) = ran([].into_iter());
        let run = testing::run(deployment, LifecycleEvent::Install);
        outcomes.event_begins(A, &run);
        let code = ErrorCode::FailedAfterRestart;
        let interrupted = TurnOutcome::Failed(Failure { event: Some(run.event), code, ..testing::failure() });
        assert!(says(&outcomes, &model, deployment, interrupted.clone()).is_err());
        outcomes.host_down(A);
        assert_eq!(says(&outcomes, &model, deployment, interrupted), Ok(()));
    }
}

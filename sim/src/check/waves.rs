//! The next wave begins only after the one before it is over and was watched.
//!
//! The check goes by the committed entries alone. Whenever a host in service
//! gets a lease, no turn of an earlier wave is pending or under way, no canary
//! of it has failed, and its last turn ended at least one bake ago. A host that
//! is already out of service may go ahead of its wave, because its turn takes
//! nothing out of service.

use std::collections::{BTreeMap, BTreeSet};

use proto::entry::Index;
use proto::id::{DeploymentId, HostId};

use super::{Claim, Verdict, Violation};
use crate::model::{Deployment, Millis, Model, Stage, Turn};

#[derive(Debug, Default)]
pub struct Waves {
    seen: BTreeMap<DeploymentId, Seen>,
}

/// One deployment as it was after the previous entry.
#[derive(Debug, Default)]
struct Seen {
    in_flight: BTreeSet<HostId>,
    /// The time at which the last turn of each wave ended.
    ended: BTreeMap<usize, Millis>,
}

impl Waves {
    /// Checks a committed entry that the model has folded.
    pub fn entry(&mut self, index: Index, model: &Model) -> Verdict {
        let mut verdict = Ok(());
        for (id, deployment) in model.deployments() {
            if deployment.turns.is_empty() || deployment.status.is_over() {
                self.seen.remove(id);
                continue;
            }
            let seen = self.seen.entry(*id).or_default();
            verdict = verdict.and_then(|()| seen.look(index, *id, deployment, model.clock()));
        }
        verdict
    }
}

impl Seen {
    fn look(&mut self, index: Index, id: DeploymentId, deployment: &Deployment, clock: Millis) -> Verdict {
        let has_ended = |turn: &&Turn| self.in_flight.contains(&turn.host) && !turn.is_in_flight();
        let ended: Vec<usize> = deployment.turns.iter().filter(has_ended).map(|turn| turn.wave).collect();
        self.ended.extend(ended.into_iter().map(|wave| (wave, clock)));
        let is_new = |turn: &&Turn| turn.is_in_flight() && !self.in_flight.contains(&turn.host);
        let fresh = deployment.turns.iter().filter(is_new).filter(|turn| !turn.is_of_no_service());
        let verdict = fresh.map(|turn| self.may_go(index, id, turn, deployment, clock)).find(Result::is_err);
        self.in_flight = deployment.in_flight().into_iter().collect();
        verdict.unwrap_or(Ok(()))
    }

    fn may_go(
        &self,
        index: Index,
        id: DeploymentId,
        turn: &Turn,
        deployment: &Deployment,
        clock: Millis,
    ) -> Verdict {
        let broken = |why: String| {
            let what =
                format!("at {index}: {:?} got a lease of {id} in wave {}, but {why}", turn.host, turn.wave);
            Err(Violation::new(Claim::Waves, [], what))
        };
        for other in deployment.turns.iter().filter(|other| other.wave < turn.wave) {
            let is_canary = deployment.waves[other.wave].is_canary;
            match other.stage {
                Stage::Pending | Stage::Leased { .. } | Stage::Started { .. } => {
                    return broken(format!("{:?} of wave {} is not through", other.host, other.wave));
                }
                Stage::Failed if is_canary => return broken(format!("the canary {:?} failed", other.host)),
                Stage::NotTargeted | Stage::Succeeded | Stage::Failed | Stage::Skipped => {}
            }
        }
        for (wave, ended) in self.ended.range(..turn.wave) {
            let bake = deployment.waves[*wave].bake;
            if clock < ended + bake {
                return broken(format!("wave {wave} ended {} ms ago and bakes {bake} ms", clock - ended));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proto::entry::TurnOutcome;
    use proto::policy::{Canary, Minimum, Share};
    use proto::statement::{Finding, Intent, Report, Statement};

    use super::*;
    use crate::testing;

    /// Returns three hosts with the second revision under way: the canary has
    /// succeeded, and bakes for ten seconds.
    fn in_the_bake() -> (Waves, Model, DeploymentId) {
        let mut entries = testing::redeployed_to(3);
        let last = entries.last_mut().expect("the second deployment");
        let Statement::Intent(Intent::Deploy(second)) = &mut last.statement else {
            panic!("it is submitted")
        };
        second.policy.minimum = Minimum::AllAtOnce;
        second.policy.canary = Some(Canary { hosts: Share::Hosts(1), bake: Duration::from_secs(10) });
        let (deployment, host) = (second.deployment, testing::host(0).record.host);
        let outcome = TurnOutcome::Succeeded;
        entries.push(testing::entry(2_000, Report::TurnStarted { deployment, host }));
        entries.push(testing::entry(3_000, Report::TurnEnded { deployment, host, outcome }));
        let (mut waves, mut model) = (Waves::default(), Model::default());
        for (index, entry) in (1..).zip(&entries) {
            model.apply(entry);
            assert_eq!(waves.entry(index, &model), Ok(()));
        }
        (waves, model, deployment)
    }

    #[test]
    fn the_next_wave_may_go_after_the_bake_and_not_before() {
        let (mut waves, mut model, id) = in_the_bake();
        let seen = waves.seen.get_mut(&id).expect("it runs");
        model.apply(&testing::entry(13_000, Finding::Tick));
        let deployment = model.deployment(id).expect("it runs");
        assert_eq!(deployment.in_flight().len(), 2, "both others go");
        assert!(seen.look(99, id, deployment, 12_999).is_err(), "a moment too early");
        seen.in_flight.clear();
        assert_eq!(seen.look(99, id, deployment, 13_000), Ok(()));
    }

    #[test]
    fn a_wave_beside_another_is_found() {
        let (mut waves, mut model, id) = in_the_bake();
        let seen = waves.seen.get_mut(&id).expect("it runs");
        model.apply(&testing::entry(13_000, Finding::Tick));
        let mut deployment = model.deployment(id).expect("it runs").clone();
        deployment.turns[0].stage = Stage::Started { at: 13_000 };
        assert!(seen.look(99, id, &deployment, 13_000).is_err());
        deployment.turns[0].stage = Stage::Failed;
        seen.in_flight.clear();
        assert!(seen.look(99, id, &deployment, 13_000).is_err(), "nobody follows a canary that failed");
    }
}

//! Hosts that are behind are caught up: never at the cost of a running
//! deployment, never again and again, and in the end all of them.

use std::collections::{BTreeMap, BTreeSet};

use proto::deployment_kind::DeploymentKind;
use proto::entry::Submission;
use proto::id::{DeploymentId, Digest, GroupName, HostId, VoterId};
use proto::rollout::DeploymentStatus;
use proto::state::ATTEMPTS_MAX;

use super::{Claim, Verdict, Violation};
use crate::model::{Deployment, Model, Stage, Turn};

/// A host in a group, until its store is replaced.
type Place = (GroupName, HostId, VoterId);

#[derive(Debug, Default)]
pub struct CatchUps {
    /// The catch-ups that failed at each revision since a person last deployed.
    in_vain: BTreeMap<(Place, Digest), BTreeSet<DeploymentId>>,
    /// Deployments that a person wanted and that have begun.
    wanted: BTreeSet<DeploymentId>,
}

impl CatchUps {
    /// Checks a committed entry that the model has folded.
    pub fn entry(&mut self, model: &Model) -> Verdict {
        // A host that was removed from the mesh and joins again counts as a new
        // one.
        self.in_vain.retain(|((_, host, _), _), _| model.hosts().contains_key(host));
        for (id, deployment) in model.deployments() {
            let kind = deployment.submission.kind();
            if kind == DeploymentKind::CatchUp {
                self.catch_up(*id, deployment, model)?;
            }
            let has_begun = deployment.status != DeploymentStatus::Queued;
            if !kind.is_by_mesh() && has_begun && self.wanted.insert(*id) {
                let group = &deployment.submission.group;
                self.in_vain.retain(|((name, _, _), _), _| name != group);
            }
        }
        Ok(())
    }

    fn catch_up(&mut self, id: DeploymentId, deployment: &Deployment, model: &Model) -> Verdict {
        let Submission { group: name, revision, .. } = &deployment.submission;
        let main = model.groups().get(name).and_then(|group| model.deployment(group.running?));
        for turn in &deployment.turns {
            let runs = turn.is_in_flight() || turn.stage == Stage::Pending;
            if let Some(main) = main.filter(|main| runs && main.turn(turn.host).is_some()) {
                let what = format!(
                    "{id} has a turn for {:?}, which is a member of {} that runs",
                    turn.host, main.submission.deployment
                );
                return Err(Violation::new(Claim::CatchUp, [], what));
            }
            if turn.stage != Stage::Failed {
                continue;
            }
            let Some(host) = model.hosts().get(&turn.host) else { continue };
            // Catch-ups that ended before a person deployed, or under another
            // store, are not counted again.
            let is_under_way = !deployment.status.is_over();
            let place = (name.clone(), turn.host, host.record.voter);
            let tries = self.in_vain.entry((place, revision.digest)).or_default();
            if is_under_way {
                tries.insert(id);
            }
            if tries.len() > usize::from(ATTEMPTS_MAX) {
                let what = format!(
                    "{:?} had {} turns in vain at {:?} without a person asking: {tries:?}",
                    turn.host,
                    tries.len(),
                    revision.digest
                );
                return Err(Violation::new(Claim::CatchUp, [], what));
            }
        }
        Ok(())
    }
}

/// Checks, once all is quiet, that each host that is up either has its group's
/// last good revision, or used all of its attempts, or has another known
/// excuse.
pub(super) fn quiet(model: &Model) -> Verdict {
    for (name, group) in model.groups() {
        let Some((good, _)) = group.good.last() else { continue };
        for host in model.members(&group.group) {
            let id = host.record.host;
            if host.down || group.is_current(id) || is_excused(model, name, id, *good) {
                continue;
            }
            let what = format!(
                "in {name} {id:?} is up, not at the last good revision ({:?}), and nothing was tried",
                group.standing.get(&id)
            );
            return Err(Violation::new(Claim::CatchUp, [], what));
        }
    }
    Ok(())
}

fn is_excused(model: &Model, name: &GroupName, host: HostId, good: Digest) -> bool {
    let group = &model.groups()[name];
    let of_group = |deployment: &&Deployment| deployment.submission.group == *name;
    let mut turns = model
        .deployments()
        .values()
        .filter(of_group)
        .filter_map(|deployment| Some((&deployment.submission, deployment.turn(host)?)));
    // The host failed in a deployment, or a stop kept it from being tried.
    let has_failed = |(_, turn): (&Submission, &Turn)| matches!(turn.stage, Stage::Failed | Stage::Skipped);
    // A person left the host at a revision that never became good, or is not
    // any longer.
    let standing = group.standing.get(&host);
    let is_elsewhere = standing.is_some_and(|known| known.healthy && known.revision != Some(good));
    is_elsewhere || turns.any(has_failed)
}

#[cfg(test)]
mod tests {
    use proto::entry::{Entry, TurnOutcome};
    use proto::id::Digest;
    use proto::statement::{Finding, Intent, Report, Statement};

    use super::*;
    use crate::testing;

    /// Returns a model of three hosts at a good revision; a fourth has joined,
    /// and its catch-up is submitted.
    fn caught_up() -> (Model, DeploymentId) {
        let mut entries = testing::redeployed_to(3);
        entries.pop();
        let mut model = Model::default();
        entries.iter().for_each(|entry| model.apply(entry));
        model.apply(&testing::entry(2_000, Report::HostJoined(testing::host(3).record)));
        assert!(quiet(&model).is_err(), "nothing was tried yet");
        let name = model.groups().keys().next().expect("one group").clone();
        let (id, hosts) = model.catch_up_due(&name).expect("it is due");
        assert_eq!(hosts, [testing::host(3).record.host]);
        let good = model.groups()[&name].good.last().expect("a good revision").0;
        model.apply(&submitted(2_001, id, good));
        (model, id)
    }

    fn submitted(millis: u64, id: DeploymentId, good: Digest) -> Entry {
        let Statement::Intent(Intent::Deploy(mut submission)) = testing::submitted("one") else {
            panic!("a submission")
        };
        submission.deployment = id;
        submission.creator = proto::entry::Creator::Autoscale;
        submission.revision.digest = good;
        submission.policy = submission.policy.of_catch_up();
        testing::entry(millis, Intent::Deploy(submission))
    }

    fn fail(model: &mut Model, id: DeploymentId, no: u32) {
        let host = testing::host(no).record.host;
        model.apply(&testing::entry(3_000, Report::TurnStarted { deployment: id, host }));
        let outcome = TurnOutcome::Failed(testing::failure());
        model.apply(&testing::entry(3_000, Report::TurnEnded { deployment: id, host, outcome }));
    }

    #[test]
    fn a_host_that_failed_is_excused_and_one_that_was_forgotten_is_not() {
        let (mut model, id) = caught_up();
        assert!(quiet(&model).is_err(), "its turn is still to come");
        fail(&mut model, id, 3);
        assert_eq!(quiet(&model), Ok(()));
    }

    #[test]
    fn a_revision_that_is_tried_for_ever_is_found() {
        let (mut model, id) = caught_up();
        fail(&mut model, id, 3);
        let mut catch_ups = CatchUps::default();
        assert_eq!(catch_ups.entry(&model), Ok(()));
        // As if the same had failed in other deployments before.
        let tries = catch_ups.in_vain.values_mut().next().expect("one host");
        tries.extend([b"a", b"b"].map(|name| DeploymentId::derive(name)));
        let violation = catch_ups.entry(&model).expect_err("too many");
        assert_eq!(violation.claim, Claim::CatchUp);
    }

    #[test]
    fn a_turn_for_a_member_of_the_running_deployment_is_found() {
        let (model, id) = caught_up();
        let mut deployment = model.deployment(id).expect("it runs").clone();
        let mut with_main = model.clone();
        let entry = testing::entry(2_500, Finding::Finished { deployment: id });
        with_main.apply(&entry);
        fail(&mut with_main, id, 3);
        with_main.apply(&entry);
        with_main.apply(&testing::entry(2_600, testing::submitted("two")));
        assert_eq!(CatchUps::default().entry(&with_main), Ok(()));
        deployment.turns[0].stage = Stage::Pending;
        let verdict = CatchUps::default().catch_up(id, &deployment, &with_main);
        assert_eq!(verdict.map_err(|violation| violation.claim), Err(Claim::CatchUp));
    }
}

//! After healing, no healthy host has a revision whose deployment failed and
//! had to be rolled back.
//!
//! The check goes by the deployments and by what the hosts have installed, not
//! by which hosts are behind. Each host that the deployment updated, and that
//! could be brought back without breaking the minimum, must have been brought
//! back or tried without success.

use proto::id::{DeploymentId, HostId};
use proto::rollout::DeploymentStatus;
use proto::state::ATTEMPTS_MAX;

use super::{Claim, Verdict, Violation};
use crate::model::{Deployment, GroupState, Model, Stage};

/// Checks the claim once all is quiet.
pub(super) fn quiet(model: &Model) -> Verdict {
    for (name, group) in model.groups() {
        for host in model.members(&group.group) {
            let id = host.record.host;
            let Some((failed, deployment)) = failed_revision_of(model, group, id) else { continue };
            if host.down || !deployment.wants_rollback() || !has_room(model, group) {
                continue;
            }
            if is_excused(model, group, failed, id) {
                continue;
            }
            let what = format!(
                "in {name} {id:?} is up and healthy at the revision of {failed}, which ended as {:?} and was to be \
                 rolled back",
                deployment.status
            );
            return Err(Violation::new(Claim::RolledBack, [], what));
        }
    }
    Ok(())
}

/// Returns the last deployment that touched the host, if it installed what the
/// host has, and if that revision never became good while the group has a good
/// one.
fn failed_revision_of<'m>(
    model: &'m Model,
    group: &GroupState,
    host: HostId,
) -> Option<(DeploymentId, &'m Deployment)> {
    let standing = group.standing.get(&host).filter(|standing| standing.healthy)?;
    let revision = standing.revision?;
    if group.good.is_empty() || group.good.iter().any(|(good, _)| *good == revision) {
        return None;
    }
    let touched =
        |id: &&DeploymentId| model.deployments()[*id].turn(host).is_some_and(|turn| turn.was_started);
    let id = *group.deployments.iter().rev().find(touched)?;
    let deployment = &model.deployments()[&id];
    (deployment.submission.revision.digest == revision).then_some((id, deployment))
}

/// Returns true if one more host may leave service.
fn has_room(model: &Model, group: &GroupState) -> bool {
    let members = model.members(&group.group);
    let serving = members.iter().filter(|host| group.condition(host, false).serves()).count();
    let total = u32::try_from(members.len()).expect("few hosts");
    serving > model.policy_of(&group.group).bounds(total).minimum as usize
}

/// Returns true if a person stopped what would have brought the host back, or
/// if the attempts failed.
fn is_excused(model: &Model, group: &GroupState, failed: DeploymentId, host: HostId) -> bool {
    let since = group.deployments.iter().position(|id| *id == failed).unwrap_or(0);
    let later: Vec<&Deployment> =
        group.deployments[since + 1..].iter().map(|id| &model.deployments()[id]).collect();
    let way_back = || later.iter().filter(|deployment| deployment.submission.kind().is_by_mesh());
    let was_stopped = |deployment: &&&Deployment| {
        deployment.status == DeploymentStatus::Stopped
            && deployment.turn(host).is_some_and(|turn| turn.stage == Stage::Skipped)
    };
    let of_host: Vec<_> = way_back().filter_map(|deployment| deployment.turn(host)).collect();
    let tried = of_host.iter().filter(|turn| turn.stage == Stage::Failed);
    let has_failed = tried.clone().any(|turn| turn.was_started) || tried.count() >= usize::from(ATTEMPTS_MAX);
    has_failed || way_back().any(|deployment| was_stopped(&deployment))
}

#[cfg(test)]
mod tests {
    use proto::entry::TurnOutcome;
    use proto::statement::{Finding, Report, Statement};

    use super::*;
    use crate::testing;

    /// Returns three hosts at a good revision. A second deployment updates the
    /// first host and fails on the second one; its rollback ends before it
    /// begins.
    fn left_in_the_middle() -> Model {
        let mut model = Model::default();
        testing::redeployed_to(3).iter().for_each(|entry| model.apply(entry));
        let second = model.unfinished()[0];
        let mut millis = 2_000;
        let mut say = |model: &mut Model, statement: Statement| {
            millis += 1;
            model.apply(&testing::entry(millis, statement));
        };
        for (no, outcome) in [(0, TurnOutcome::Succeeded), (1, TurnOutcome::Failed(testing::failure()))] {
            let host = testing::host(no).record.host;
            say(&mut model, Report::TurnStarted { deployment: second, host }.into());
            say(&mut model, Report::TurnEnded { deployment: second, host, outcome }.into());
        }
        say(&mut model, Finding::Finished { deployment: second }.into());
        model
    }

    #[test]
    fn a_host_that_is_left_at_a_failed_revision_is_found() {
        let mut model = left_in_the_middle();
        // Only two hosts serve, and two must serve, so the third cannot be
        // brought back.
        assert_eq!(quiet(&model), Ok(()));
        let group = model.groups().values().next().expect("one group");
        assert!(group.owes_rollback_of.is_some(), "it is due");
        model.mend(testing::host(1).record.host);
        let violation = quiet(&model).expect_err("the first host is at the failed revision");
        assert_eq!(violation.claim, Claim::RolledBack);
    }
}

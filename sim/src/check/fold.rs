//! The fold agrees with the naive model, host by host and turn by turn.

use std::collections::BTreeSet;
use std::fmt::Debug;

use proto::entry::TurnOutcome;
use proto::rollout::{Health, Rollout, Stage};
use proto::state::{GroupState, State};

use super::{Claim, Verdict, Violation};
use crate::host::HostNo;
use crate::model::{self, Model};

/// Compares the model after an entry with the state of a host after the same.
pub(super) fn agrees(host: HostNo, model: &Model, state: &State) -> Verdict {
    let what = difference(model, state);
    what.map_or(Ok(()), |what| Err(Violation::new(Claim::Fold, [host], what)))
}

fn difference(model: &Model, state: &State) -> Option<String> {
    differ("the clock", &model.clock(), &state.clock().as_millis())
        .or_else(|| {
            let hosts = |down: bool| state.hosts().values().filter(move |host| host.down.is_some() == down);
            let ours = |down: bool| model.hosts().values().filter(move |host| host.down == down);
            [true, false].into_iter().find_map(|down| {
                let theirs: BTreeSet<_> = hosts(down).map(|host| host.record.host).collect();
                let ours: BTreeSet<_> = ours(down).map(|host| host.record.host).collect();
                differ(if down { "hosts that are Down" } else { "hosts that are up" }, &ours, &theirs)
            })
        })
        .or_else(|| {
            let ours: Vec<_> = model.groups().keys().collect();
            differ("the groups", &ours, &state.groups().keys().collect())
        })
        .or_else(|| {
            let pairs = model.groups().iter().zip(state.groups());
            pairs.into_iter().find_map(|((name, ours), (_, theirs))| {
                group(ours, theirs).map(|what| format!("{name}: {what}"))
            })
        })
        .or_else(|| {
            let ours: Vec<_> = model.deployments().keys().collect();
            differ("the deployments", &ours, &state.rollouts().keys().collect())
        })
        .or_else(|| {
            let pairs = model.deployments().iter().zip(state.rollouts());
            pairs.into_iter().find_map(|((id, ours), (_, theirs))| {
                deployment(ours, theirs).map(|what| format!("{id}: {what}"))
            })
        })
}

fn group(ours: &model::GroupState, theirs: &GroupState) -> Option<String> {
    differ("running", &ours.running, &theirs.running)
        .or_else(|| differ("queued", &ours.queued, &theirs.queued))
        .or_else(|| differ("the rollback owed", &ours.owes_rollback_of, &theirs.owes_rollback_of))
        .or_else(|| {
            let good: Vec<_> = theirs.good.iter().map(|good| good.revision.digest).collect();
            differ("good revisions", &ours.good, &good)
        })
        .or_else(|| {
            let pick = |healthy, revision| model::Standing { healthy, revision };
            let theirs: Vec<_> = theirs
                .standing
                .iter()
                .map(|(host, standing)| (*host, pick(standing.health == Health::Healthy, standing.revision)))
                .collect();
            let ours: Vec<_> = ours.standing.iter().map(|(host, standing)| (*host, *standing)).collect();
            differ("what is known of its hosts", &ours, &theirs)
        })
}

fn deployment(ours: &model::Deployment, theirs: &Rollout) -> Option<String> {
    differ("status", &ours.status, &theirs.status())
        .or_else(|| differ("whether it is decided", &ours.ends_as.is_some(), &theirs.verdict.is_some()))
        .or_else(|| {
            let bounds = (theirs.bounds.minimum, theirs.bounds.turns_max);
            differ("minimum and most turns", &(ours.minimum, ours.turns_max), &bounds)
        })
        .or_else(|| differ("hosts", &ours.turns.len(), &theirs.members().len()))
        .or_else(|| ours.turns.iter().find_map(|turn| member(turn, theirs)))
        .or_else(|| differ("hosts in service", &ours.available(), &theirs.counts().available))
}

fn member(turn: &model::Turn, theirs: &Rollout) -> Option<String> {
    let member = theirs.members().get(&turn.host)?;
    let stage = match &member.stage {
        Stage::NotTargeted => model::Stage::NotTargeted,
        Stage::Pending => model::Stage::Pending,
        Stage::Leased { at } => model::Stage::Leased { at: at.as_millis() },
        Stage::Started { at } => model::Stage::Started { at: at.as_millis() },
        Stage::Ended { outcome: TurnOutcome::Succeeded, .. } => model::Stage::Succeeded,
        Stage::Ended { outcome: TurnOutcome::Failed(_), .. } => model::Stage::Failed,
        Stage::Skipped => model::Stage::Skipped,
    };
    let host = turn.host;
    differ(&format!("the stage of {host:?}"), &turn.stage, &stage)
        .or_else(|| {
            differ(&format!("health of {host:?}"), &turn.healthy, &(member.health == Health::Healthy))
        })
        .or_else(|| differ(&format!("whether {host:?} is Down"), &turn.down, &member.down.is_some()))
}

fn differ<T: PartialEq + Debug>(what: &str, model: &T, fold: &T) -> Option<String> {
    (model != fold).then(|| format!("{what}: the model says {model:?}, the fold {fold:?}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing;

    #[test]
    fn a_fold_that_missed_an_entry_is_found() {
        let mut model = Model::default();
        let mut state = State::default();
        let entries = testing::deployed_to(3);
        for (index, entry) in (1..).zip(&entries) {
            model.apply(entry);
            assert_eq!(state.apply(index, entry), Ok(()));
            assert_eq!(agrees(HostNo(0), &model, &state), Ok(()), "after {:?}", entry.body);
        }
        let host = testing::host(0).record.host;
        let deployment = model.unfinished()[0];
        model.apply(&testing::entry(9_000, proto::entry::Body::TurnStarted { deployment, host }));
        assert!(agrees(HostNo(0), &model, &state).is_err());
    }
}

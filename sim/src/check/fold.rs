//! The fold agrees with the naive model, host by host and turn by turn.

use std::collections::BTreeSet;
use std::fmt::Debug;

use proto::entry::TurnOutcome;
use proto::id::GroupName;
use proto::rollout::{Health, Part, Rollout, Stage};
use proto::state::{Deferral, GroupState, State};

use super::{Claim, Verdict, Violation};
use crate::host::HostNo;
use crate::model::{self, Model};

/// Compares the model with the state of a host after the same entry.
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
            let theirs: BTreeSet<_> = state.all_removed().keys().copied().collect();
            differ("hosts that were taken out", model.removed(), &theirs)
        })
        .or_else(|| differ("the version of the mesh", &model.version(), &state.mesh_version()))
        .or_else(|| differ("the configurations", model.configs(), state.configs()))
        .or_else(|| {
            let ours: Vec<_> = model.groups().keys().collect();
            differ("the groups", &ours, &state.groups().keys().collect())
        })
        .or_else(|| {
            let pairs = model.groups().iter().zip(state.groups());
            pairs.into_iter().find_map(|((name, ours), (_, theirs))| {
                group(ours, theirs, state).map(|what| format!("{name}: {what}"))
            })
        })
        .or_else(|| {
            let ours: Vec<_> = model.deployments().keys().collect();
            differ("the deployments", &ours, &state.rollouts().keys().collect())
        })
        .or_else(|| {
            let pairs = model.deployments().iter().zip(state.rollouts());
            pairs.into_iter().find_map(|((id, ours), (_, theirs))| {
                deployment(ours, theirs, state).map(|what| format!("{id}: {what}"))
            })
        })
}

fn group(ours: &model::GroupState, theirs: &GroupState, state: &State) -> Option<String> {
    differ("its definition", &ours.group, &theirs.group)
        .or_else(|| differ("running", &ours.running, &theirs.running))
        .or_else(|| differ("queued", &ours.queued, &theirs.queued))
        .or_else(|| watches(&ours.watches, &theirs.group.name, state))
        .or_else(|| differ("the rollback owed", &ours.owes_rollback_of, &theirs.owes_rollback_of))
        .or_else(|| {
            let good: Vec<_> =
                theirs.good.iter().map(|good| (good.revision.digest, good.deployment)).collect();
            differ("good revisions", &ours.good, &good)
        })
        .or_else(|| {
            let checks = state.checks().of(&theirs.group.name).iter();
            let theirs =
                checks.filter_map(|(host, checked)| Some((host, checked.ailing.as_ref()?.since.as_millis())));
            differ("hosts that are unwell", &ours.ailing, &theirs.collect())
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
        .or_else(|| differ("the catch-up", &ours.catching_up, &theirs.catching_up))
        .or_else(|| {
            let tried = |behind: &proto::state::Behind| behind.tried.map(|t| (t.revision, t.attempts));
            let pick =
                |behind: &proto::state::Behind| model::Behind { cause: behind.cause, tried: tried(behind) };
            let theirs: Vec<_> = theirs.behind.iter().map(|(host, behind)| (*host, pick(behind))).collect();
            let ours: Vec<_> = ours.behind.iter().map(|(host, behind)| (*host, *behind)).collect();
            differ("the hosts that are behind", &ours, &theirs)
        })
}

fn watches(ours: &model::Watches, group: &GroupName, state: &State) -> Option<String> {
    let alarms = state.alarms().of(group);
    let known = alarms.map(|(name, known)| (name.into(), (known.state, known.read_in)));
    let until = state.freezes().of(group).map(|freeze| freeze.until.as_millis());
    differ("alarms", &ours.alarms, &known.collect())
        .or_else(|| differ("the freeze", &ours.frozen_until, &until))
}

fn deployment(ours: &model::Deployment, theirs: &Rollout, state: &State) -> Option<String> {
    differ("status", &ours.status, &theirs.status())
        .or_else(|| differ("whether it is decided", &ours.ends_as.is_some(), &theirs.verdict.is_some()))
        .or_else(|| {
            let bounds = (theirs.bounds.minimum, theirs.bounds.turns_max);
            differ("minimum and most turns", &(ours.minimum, ours.turns_max), &bounds)
        })
        .or_else(|| differ("wave", &ours.wave, &theirs.wave()))
        .or_else(|| {
            let until = theirs.bakes_until().map(proto::time::LedgerTime::as_millis);
            differ("end of the bake", &ours.bake_until, &until)
        })
        .or_else(|| differ("hosts", &ours.turns.len(), &(theirs.total() as usize)))
        .or_else(|| {
            let parts = state.parts(theirs.submission.deployment);
            ours.turns.iter().find_map(|turn| match parts.get(&turn.host) {
                Some(known) => part(turn, known, state.deferral(theirs.submission.deployment, turn.host)),
                None => Some(format!("{:?} has no part in it", turn.host)),
            })
        })
        .or_else(|| {
            let waits =
                |turn: &&model::Turn| matches!(turn.stage, model::Stage::Leased { deferred_at: Some(_), .. });
            let (ours, theirs) = (
                ours.turns.iter().filter(waits).count(),
                state.deferrals(theirs.submission.deployment).count(),
            );
            differ("hosts that wait with their start", &ours, &theirs)
        })
        .or_else(|| {
            let is_to_begin = |turn: &&model::Turn| {
                matches!(turn.stage, model::Stage::Pending | model::Stage::Leased { .. }) && turn.is_short
            };
            let ours: BTreeSet<_> = ours.turns.iter().filter(is_to_begin).map(|turn| turn.host).collect();
            let theirs: BTreeSet<_> =
                state.shortages(theirs.submission.deployment).map(|(host, _)| host).collect();
            differ("hosts that lack disk space", &ours, &theirs)
        })
        .or_else(|| ours.turns.iter().find_map(|turn| member(turn, theirs)))
        .or_else(|| differ("hosts in service", &ours.available(), &theirs.counts().available))
        .or_else(|| differ("fewest in service", &ours.lowest, &theirs.lowest_available))
}

/// Compares what is known of a host as long as its deployment is kept.
fn part(turn: &model::Turn, part: &Part<'_>, deferral: Option<&Deferral>) -> Option<String> {
    let deferred_at = deferral.map(|deferral| deferral.at.as_millis());
    let stage = match &*part.stage {
        Stage::NotTargeted => model::Stage::NotTargeted,
        Stage::Pending => model::Stage::Pending,
        Stage::Leased { at } => model::Stage::Leased { at: at.as_millis(), deferred_at },
        Stage::Started { at } => model::Stage::Started { at: at.as_millis() },
        Stage::Ended { outcome: TurnOutcome::Succeeded, .. } => model::Stage::Succeeded,
        Stage::Ended { outcome: TurnOutcome::Failed(_), .. } => model::Stage::Failed,
        Stage::Skipped => model::Stage::Skipped,
    };
    differ("stage", &turn.stage, &stage).map(|what| format!("{:?}: {what}", turn.host))
}

/// Compares what is known of a host only while its deployment runs.
fn member(turn: &model::Turn, theirs: &Rollout) -> Option<String> {
    let member = theirs.members().get(&turn.host)?;
    differ("healthy", &turn.healthy, &(member.health == Health::Healthy))
        .or_else(|| differ("Down", &turn.down, &member.down.is_some()))
        .or_else(|| differ("unwell", &turn.ailing, &member.ailing.is_some()))
        .map(|what| format!("{:?}: {what}", turn.host))
}

fn differ<T: PartialEq + Debug>(what: &str, model: &T, fold: &T) -> Option<String> {
    (model != fold).then(|| format!("{what}: the model says {model:?}, the fold {fold:?}"))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proto::entry::Entry;
    use proto::id::{DeploymentId, HostId};
    use proto::policy::Minimum;
    use proto::statement::{Finding, Intent, Report, Statement};

    use super::*;
    use crate::testing;

    /// Folds the entries with both, and checks that they agree after each.
    fn folded(entries: &[Entry]) -> (Model, State) {
        let mut model = Model::default();
        let mut state = State::default();
        for (index, entry) in (1..).zip(entries) {
            model.apply(entry);
            assert_eq!(state.apply(index, entry), Ok(()));
            assert_eq!(agrees(HostNo(0), &model, &state), Ok(()), "after {:?}", entry.statement);
        }
        (model, state)
    }

    #[test]
    fn a_fold_that_missed_an_entry_is_found() {
        let (mut model, state) = folded(&testing::deployed_to(3));
        let host = testing::host(0).record.host;
        let deployment = model.unfinished()[0];
        model.apply(&testing::entry(9_000, Report::TurnStarted { deployment, host }));
        assert!(agrees(HostNo(0), &model, &state).is_err());
    }

    /// Returns three hosts, to be deployed to one at a time. The hosts `downs`
    /// were Down when the second deployment began, and the last one got its
    /// lease because of that.
    fn begun_with(downs: &[u32]) -> (Vec<Entry>, DeploymentId) {
        let mut entries = testing::redeployed_to(3);
        let second = entries.pop().expect("the second deployment");
        let down = |no: &u32| Report::HostDown { host: testing::host(*no).record.host, incarnation: 1 };
        entries.extend(downs.iter().map(|no| testing::entry(1_100, down(no))));
        entries.push(testing::entry(1_101, second.statement));
        let (model, _) = folded(&entries);
        (entries, model.unfinished()[0])
    }

    /// Returns the hosts whose turns are under way once the host `back` is up
    /// again.
    fn in_flight_after(mut entries: Vec<Entry>, id: DeploymentId, back: u32) -> Vec<HostId> {
        let host = testing::host(back).record.host;
        entries.push(testing::entry(1_102, Report::HostUp { host, incarnation: 1 }));
        let (model, state) = folded(&entries);
        assert_eq!(state.rollout(id).expect("it runs").in_flight(), model.deployments()[&id].in_flight());
        model.deployments()[&id].in_flight()
    }

    #[test]
    fn a_host_that_is_back_before_it_started_keeps_its_turn_if_it_can_be_spared() {
        let (entries, id) = begun_with(&[2]);
        assert_eq!(in_flight_after(entries, id, 2), [testing::host(2).record.host]);
        // Two hosts were Down. With one of them back, two are in service, and
        // two must stay in service.
        let (entries, id) = begun_with(&[1, 2]);
        let (model, _) = folded(&entries);
        assert_eq!(model.deployments()[&id].in_flight(), [testing::host(1).record.host]);
        assert_eq!(in_flight_after(entries, id, 1), [testing::host(2).record.host]);
    }

    #[test]
    fn who_is_counted_out_counts_nobody_out() {
        let mut entries = testing::redeployed_to(3);
        let down = |by: u32, of: u32| {
            let statement = Report::HostDown { host: testing::host(of).record.host, incarnation: 1 };
            let mut entry = testing::entry(2_000, statement);
            entry.proposal.host = testing::host(by).record.host;
            entry
        };
        entries.extend([down(0, 2), down(2, 0), down(2, 1)]);
        let (_, state) = folded(&entries);
        let downs: Vec<_> = state.hosts().values().filter(|host| host.down.is_some()).collect();
        assert_eq!(downs.len(), 1);
        assert_eq!(downs[0].record.host, testing::host(2).record.host);
    }

    #[test]
    fn a_deployment_that_times_out_leaves_hosts_alone_that_it_never_touched() {
        let mut entries = testing::redeployed_to(3);
        let Some(Entry { statement: Statement::Intent(Intent::Deploy(mut second)), .. }) = entries.pop()
        else {
            panic!("the last entry submits the second deployment");
        };
        second.policy.minimum = Minimum::AllAtOnce;
        second.policy.deployment_timeout = Duration::from_secs(10);
        entries.push(testing::entry(2_000, Intent::Deploy(second)));
        entries.push(testing::entry(12_000, Finding::Tick));
        let (model, _) = folded(&entries);
        let group = model.groups().values().next().expect("one group");
        let first = model.deployments()[&DeploymentId::derive(b"one")].submission.revision.digest;
        let standing = model::Standing { healthy: true, revision: Some(first) };
        assert!(group.standing.values().all(|known| *known == standing), "{:?}", group.standing);
        assert_eq!(group.standing.len(), 3);
    }
}

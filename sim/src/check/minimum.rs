//! A turn never takes a host out of service that the minimum needs.
//!
//! There are two checks. The first goes by the committed entries: as long as a host
//! in service holds a lease that it has not used, at least the minimum of other
//! hosts is in service (in the group and, where zones matter, in the host's zone),
//! and no more turns are under way than the cap allows. The second goes by the
//! truth: when the first script of a turn begins, it counts the hosts on which the
//! application really runs. A host that went down for another reason does not count
//! as a violation, because no turn took it out.

use std::collections::{BTreeMap, BTreeSet};

use proto::entry::Index;
use proto::id::{DeploymentId, GroupName, HostId};
use proto::lifecycle::LifecycleEvent;
use proto::task::Run;

use super::{Claim, Verdict, Violation};
use crate::host::HostNo;
use crate::model::{Deployment, Model, Stage, Turn};

#[derive(Debug, Default)]
pub struct Minimum {
    /// The hosts on which a group's application really runs: the last turn
    /// succeeded, and no other turn has begun.
    in_service: BTreeMap<GroupName, BTreeSet<HostNo>>,
    /// The hosts whose turns were under way after the previous entry.
    before: BTreeMap<DeploymentId, BTreeSet<HostId>>,
}

impl Minimum {
    /// Checks a committed entry that the model has folded.
    pub fn entry(&mut self, index: Index, model: &Model) -> Verdict {
        let mut verdict = Ok(());
        for (id, deployment) in model.deployments() {
            if deployment.turns.is_empty() || deployment.status.is_over() {
                self.before.remove(id);
                continue;
            }
            let before = self.before.get(id);
            verdict = verdict.and_then(|()| leases(index, *id, deployment, before));
            self.before.insert(*id, deployment.in_flight().into_iter().collect());
        }
        verdict
    }

    /// Checks the first event of a turn.
    pub fn turn_begins(
        &mut self,
        host: HostNo,
        run: &Run,
        model: &Model,
        numbers: &BTreeMap<HostId, HostNo>,
    ) -> Verdict {
        let in_service = self.in_service.entry(run.group.clone()).or_default();
        let was_in_service = in_service.remove(&host);
        let Some(deployment) = model.deployment(run.deployment) else { return Ok(()) };
        let number = |turn: &&Turn| numbers.get(&turn.host).copied();
        let Some(own) = deployment.turns.iter().find(|turn| number(turn) == Some(host)) else {
            return Ok(());
        };
        // A host that the mesh already counts as out of service does not serve
        // it, even if its application runs. Its turn may be what the group
        // needs.
        if !was_in_service || !own.healthy || own.down || own.was_ailing {
            return Ok(());
        }
        let members: Vec<HostNo> = deployment.turns.iter().filter_map(|turn| number(&turn)).collect();
        let left = members.iter().filter(|member| in_service.contains(member)).count();
        if left >= deployment.minimum as usize {
            return Ok(());
        }
        let what = format!(
            "{} begins its turn of {}: {left} of {} are truly in service then, {} must be",
            host,
            run.deployment,
            members.len(),
            deployment.minimum
        );
        Err(Violation::new(Claim::Minimum, [host], what))
    }

    pub fn event_ends(&mut self, host: HostNo, run: &Run, succeeded: bool) {
        if run.event == LAST_EVENT && succeeded {
            self.in_service.entry(run.group.clone()).or_default().insert(host);
        }
    }

    /// Returns the number of hosts on which the group's application really runs.
    pub fn in_service(&self, group: &GroupName) -> usize {
        self.in_service.get(group).map_or(0, BTreeSet::len)
    }
}

/// The event that completes a turn.
const LAST_EVENT: LifecycleEvent = LifecycleEvent::ValidateService;

fn leases(
    index: Index,
    id: DeploymentId,
    deployment: &Deployment,
    before: Option<&BTreeSet<HostId>>,
) -> Verdict {
    let in_flight = deployment.in_flight();
    if in_flight.len() > deployment.turns_max as usize {
        let what = format!("at {index}: {} turns of {id}, at most {}", in_flight.len(), deployment.turns_max);
        return Err(Violation::new(Claim::Minimum, [], what));
    }
    let may_begin = |turn: &&Turn| {
        let is_new = turn.is_in_flight() && before.is_some_and(|before| !before.contains(&turn.host));
        is_new || matches!(turn.stage, Stage::Leased { .. })
    };
    // A turn takes no host out of service that is already unhealthy or Down.
    let taken = || deployment.turns.iter().filter(may_begin).filter(|turn| !turn.is_of_no_service());
    for turn in taken() {
        let Some(minimum) = deployment.zone_minimum(&turn.zone) else { continue };
        let is_left = |other: &&Turn| other.zone == turn.zone && other.is_available();
        let left = deployment.turns.iter().filter(is_left).count();
        if left < minimum as usize {
            let what = format!(
                "at {index}: {:?} has a lease of {id}, which leaves {left} in service in zone {}, {minimum} must be",
                turn.host, turn.zone
            );
            return Err(Violation::new(Claim::Minimum, [], what));
        }
    }
    match taken().next() {
        Some(turn) if deployment.available() < deployment.minimum => {
            let what = format!(
                "at {index}: {:?} has a lease of {id}, which leaves {} in service, {} must be",
                turn.host,
                deployment.available(),
                deployment.minimum
            );
            Err(Violation::new(Claim::Minimum, [], what))
        }
        Some(_) | None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing;

    /// Returns three hosts with the first revision really in service, and a
    /// second deployment, one host at a time.
    fn in_service() -> (Minimum, Model, BTreeMap<HostId, HostNo>, DeploymentId) {
        let mut model = Model::default();
        let mut minimum = Minimum::default();
        let entries = testing::redeployed_to(3);
        for (index, entry) in (1..).zip(&entries) {
            model.apply(entry);
            assert_eq!(minimum.entry(index, &model), Ok(()));
        }
        let numbers = (0..3).map(|no| (testing::host(no).record.host, HostNo(no))).collect();
        let second = model.unfinished()[0];
        (0..3).for_each(|no| {
            minimum.event_ends(HostNo(no), &testing::run(second, LifecycleEvent::ValidateService), true);
        });
        (minimum, model, numbers, second)
    }

    #[test]
    fn a_second_host_out_of_service_is_found() {
        let (mut minimum, model, numbers, second) = in_service();
        let run = testing::run(second, LifecycleEvent::ApplicationStop);
        assert_eq!(minimum.turn_begins(HostNo(0), &run, &model, &numbers), Ok(()));
        let violation = minimum.turn_begins(HostNo(1), &run, &model, &numbers).expect_err("one too many");
        assert_eq!((violation.claim, violation.hosts), (Claim::Minimum, vec![HostNo(1)]));
    }

    #[test]
    fn a_host_that_is_back_in_service_makes_room() {
        let (mut minimum, model, numbers, second) = in_service();
        let run = testing::run(second, LifecycleEvent::ApplicationStop);
        assert_eq!(minimum.turn_begins(HostNo(0), &run, &model, &numbers), Ok(()));
        minimum.event_ends(HostNo(0), &testing::run(second, LifecycleEvent::ValidateService), true);
        assert_eq!(minimum.turn_begins(HostNo(1), &run, &model, &numbers), Ok(()));
    }

    #[test]
    fn a_lease_too_many_is_found_in_the_entries() {
        let (_, model, _, second) = in_service();
        let mut deployment = model.deployment(second).expect("it runs").clone();
        let before = BTreeSet::new();
        deployment.turns_max = 2;
        assert_eq!(leases(9, second, &deployment, Some(&before)), Ok(()));
        for turn in &mut deployment.turns {
            turn.stage = Stage::Leased { at: 0, deferred_at: None };
        }
        assert!(leases(9, second, &deployment, Some(&before)).is_err(), "beyond the cap");
        deployment.turns_max = 3;
        deployment.minimum = 0;
        assert_eq!(leases(9, second, &deployment, Some(&before)), Ok(()));
        let zonal = proto::policy::Zonal { minimum: proto::policy::Share::Hosts(1), ..Default::default() };
        deployment.submission.policy.zonal = Some(zonal);
        assert!(leases(9, second, &deployment, Some(&before)).is_err(), "below the zone's minimum");
        deployment.submission.policy.zonal = None;
        deployment.minimum = 2;
        assert!(leases(9, second, &deployment, Some(&before)).is_err(), "below the minimum");
    }
}

//! Decides whether a deployment may be submitted. A deployment that could never
//! succeed is refused here, with numbers and the smallest change that makes it
//! possible.

use std::collections::BTreeMap;
use std::time::Duration;

use super::{GroupState, Host, State};
use crate::deployment_kind::Targets;
use crate::entry::Submission;
use crate::id::{DeploymentId, GroupName};
use crate::io::{First, Refusal};
use crate::policy::{Policy, Share, Zonal};
use crate::rollout::Rollout;

/// The longest description from an operator, in characters (CodeDeploy's quota).
pub(super) const DESCRIPTION_MAX: usize = 256;
/// The most hosts that a refusal names.
const NAMED_MAX: usize = 5;

impl State {
    pub(super) fn check_submission(&self, submission: &Submission) -> Result<(), Refusal> {
        let name = &submission.group;
        let group = self.known(name)?;
        if submission.description.chars().count() > DESCRIPTION_MAX {
            let what = "characters of a description".into();
            return Err(Refusal::Limit { what, limit: DESCRIPTION_MAX as u64 });
        }
        let kind = submission.kind();
        if kind.is_by_mesh() {
            // Such a deployment is a finding, which every host works out by itself.
            return Err(Refusal::NotDue);
        }
        if self.rollouts.contains(submission.deployment) {
            // A retry has submitted it twice. Folding it again changes nothing.
            return Ok(());
        }
        let digest = submission.revision.digest;
        if kind.traits().goes_back && group.good.iter().all(|good| good.revision.digest != digest) {
            // A way back passes freezes, so it must not lead to a revision that was
            // never good here.
            return Err(Refusal::UnknownRevision(digest, name.clone()));
        }
        self.freezes.check_submission(submission)?;
        self.alarms.check_submission(&group.group, submission)?;
        self.check_policy(name, &submission.policy)?;
        // A deployment that waits for a freeze to end is not in the way of a
        // rollback.
        let is_free =
            group.running.is_none() && group.owes_rollback_of.is_none() && group.catching_up.is_none();
        let busy_with = group.busy_with().filter(|_| self.freezes.of(name).is_none() || !is_free);
        // This comes before the check of the targets, because a host in its turn
        // counts as what it was until the turn is over.
        if let Some(running) = busy_with.filter(|_| !submission.queue) {
            return Err(self.busy(group, submission, running));
        }
        self.check_targets(group, submission)?;
        match (busy_with, group.queued) {
            (Some(_), Some(queued)) => Err(Refusal::QueueFull { group: name.clone(), queued }),
            (Some(_), None) | (None, _) => Ok(()),
        }
    }

    fn busy(&self, group: &GroupState, submission: &Submission, busy: DeploymentId) -> Refusal {
        let name = submission.group.clone();
        if !submission.kind().traits().goes_back {
            return Refusal::AlreadyRunning { group: name, running: busy };
        }
        let running = group.running.and_then(|id| self.rollouts.get(id)).map(Rollout::traits);
        let is_wanted =
            group.good.last().is_some_and(|good| good.revision.digest == submission.revision.digest);
        let first = match running {
            Some(running) if running.goes_back => First::GoesBack,
            Some(running) if is_wanted && running.makes_good => First::StopAndGoBack,
            Some(_) => First::Stop,
            None if group.owes_rollback_of.is_some() => First::GoesBack,
            None => First::StopQueued,
        };
        Refusal::StopFirst { group: name, busy, first }
    }

    /// Checks whether a deployment of the group under this policy can succeed.
    /// # Errors
    /// The reason why it cannot, in numbers, with the smallest change that helps.
    pub fn check_policy(&self, name: &GroupName, policy: &Policy) -> Result<(), Refusal> {
        let group = self.known(name)?;
        policy.validate().map_err(Refusal::InvalidPolicy)?;
        let members = self.members_of(&group.group);
        let total = count(members.len());
        if total == 0 {
            return Err(Refusal::NoHosts(name.clone()));
        }
        self.check_age(policy)?;
        check_shape(name, policy, &zones(&members))
    }

    /// Checks that all hosts of the mesh know what the policy asks for, because
    /// every host folds every deployment.
    fn check_age(&self, policy: &Policy) -> Result<(), Refusal> {
        let needs = policy.wire();
        if needs <= self.mesh_version() {
            return Ok(());
        }
        let older = self.hosts.all().values().filter(|host| host.record.wire < needs);
        let names: Vec<String> = older.map(|host| host.record.name.clone()).collect();
        let older = count(names.len());
        Err(Refusal::TooOld { hosts: names.into_iter().take(NAMED_MAX).collect(), older, needs })
    }

    /// Checks that there is a host to deploy to.
    fn check_targets(&self, group: &GroupState, submission: &Submission) -> Result<(), Refusal> {
        let name = &group.group.name;
        let digest = submission.revision.digest;
        let kind = submission.kind();
        if !kind.installs() && group.good.last().is_none_or(|good| good.revision.digest != digest) {
            return Err(Refusal::RestartOutrun { group: name.clone(), digest });
        }
        if !self.targets(submission).is_some_and(|targets| targets.is_empty()) {
            return Ok(());
        }
        Err(match kind.traits().targets {
            Targets::HaveIt => Refusal::NothingToRestart(name.clone()),
            Targets::NotWell | Targets::Touched => Refusal::AlreadyBack { group: name.clone(), digest },
            Targets::All | Targets::Behind => {
                let hosts = count(self.members_of(&group.group).len());
                Refusal::NothingOutdated { group: name.clone(), hosts, digest }
            }
        })
    }
}

/// Checks whether a policy leaves room for a turn in a group. `zones` has the
/// number of hosts in each zone; hosts without a zone are under an empty name.
/// # Errors
/// The reason why it does not, in numbers, with the smallest change that helps.
pub fn check_shape(name: &GroupName, policy: &Policy, zones: &BTreeMap<&str, u32>) -> Result<(), Refusal> {
    let total = zones.values().sum();
    let minimum = policy.minimum;
    if !minimum.is_possible(total) {
        let spared = total.saturating_sub(1);
        return Err(Refusal::ImpossibleMinimum {
            config: minimum.to_string(),
            total,
            minimum: minimum.bounds(total).minimum,
            advice: format!(
                "let at most {spared} stay healthy (minimum_healthy = {spared}), use OneAtATime, or add hosts"
            ),
        });
    }
    if let Some(canary) = policy.canary.filter(|canary| canary.hosts.of(total) >= total) {
        let (config, canary) = (canary.hosts.to_string(), canary.hosts.of(total));
        return Err(Refusal::ImpossibleCanary { group: name.clone(), config, canary, total });
    }
    if let Some(zonal) = &policy.zonal {
        check_zones(name, zonal, zones)?;
    }
    check_bakes(policy, zones.len())
}

fn count(length: usize) -> u32 {
    u32::try_from(length).unwrap_or(u32::MAX)
}

/// Counts the hosts by zone; hosts without a zone are under an empty name.
fn zones<'a>(members: &[&'a Host]) -> BTreeMap<&'a str, u32> {
    let mut zones = BTreeMap::new();
    for host in members {
        *zones.entry(host.record.zone.as_str()).or_insert(0) += 1;
    }
    zones
}

fn check_zones(group: &GroupName, zonal: &Zonal, zones: &BTreeMap<&str, u32>) -> Result<(), Refusal> {
    if zones.keys().all(|zone| zone.is_empty()) {
        return Err(Refusal::NoZones { group: group.clone(), hosts: zones.values().sum() });
    }
    let unknown: Vec<String> =
        zonal.order.iter().filter(|zone| !zones.contains_key(zone.as_str())).cloned().collect();
    if !unknown.is_empty() {
        let known = zones.keys().filter(|zone| !zone.is_empty()).map(|zone| (*zone).to_string()).collect();
        return Err(Refusal::UnknownZones { group: group.clone(), unknown, known });
    }
    let impossible = zones.iter().find(|(_, total)| zonal.bounds(**total).minimum >= **total);
    let Some((zone, total)) = impossible else { return Ok(()) };
    // A change that helps only this zone would be refused for the next one.
    let smallest = zones.values().min().unwrap_or(total);
    let spared = smallest - 1;
    Err(Refusal::ImpossibleZoneMinimum {
        config: zonal.minimum.to_string(),
        zone: (*zone).into(),
        total: *total,
        minimum: zonal.bounds(*total).minimum,
        advice: match zonal.minimum {
            Share::Hosts(_) => {
                format!("let at most {spared} of each zone stay healthy (zones.minimum_healthy = {spared})")
            }
            // This is the largest share that, rounded up, leaves one host to take
            // out.
            Share::Percent(_) => format!(
                "let fewer of each zone stay healthy (zones.minimum_healthy = \"{}%\"), or add hosts to each zone \
                 that is too small",
                100 * u64::from(spared) / u64::from(*smallest)
            ),
        },
    })
}

/// Checks that all bakes together leave some of the deployment's time.
fn check_bakes(policy: &Policy, zones: usize) -> Result<(), Refusal> {
    let canary = policy.canary.map_or(Duration::ZERO, |canary| canary.bake);
    let of_zones: Duration = policy
        .zonal
        .iter()
        .flat_map(|zonal| (0..zones.saturating_sub(1)).map(|nth| zonal.bake_after(nth)))
        .fold(Duration::ZERO, Duration::saturating_add);
    let bakes = canary.saturating_add(of_zones).saturating_add(policy.bake);
    if bakes < policy.deployment_timeout {
        return Ok(());
    }
    Err(Refusal::BakesTooLong { bakes: bakes.as_secs(), timeout: policy.deployment_timeout.as_secs() })
}

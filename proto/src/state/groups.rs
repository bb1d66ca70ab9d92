//! Groups: their definitions, their deployments in line, and what is known of their hosts
//! between deployments.

mod behind;

use std::collections::BTreeMap;

use super::react::Happened;
use super::rollback::rollback_id;
use crate::alarm::ALARMS_MAX;
use crate::deployment_kind::Slot;
use crate::group::Group;
use crate::id::{DeploymentId, GroupName, HostId};
use crate::io::Refusal;
use crate::revision::Revision;
use crate::rollout::{Health, Standing};
use crate::time::LedgerTime;
use crate::trigger::TRIGGERS_MAX;

pub use behind::{ATTEMPTS_MAX, Behind, Cause, Tried};

/// The number of deployments that a group keeps. Older ones are dropped from the
/// state (their entries may still be in the ledger). A deployment that is over
/// costs about seven bytes for each host, and the messages of its first failures.
pub const DEPLOYMENTS_KEPT: usize = 50;
/// The number of good revisions of a group that can be rolled back to.
pub const GOOD_KEPT: usize = 10;
/// The most groups that a mesh may have.
pub const GROUPS_MAX: usize = 5_000;

/// A revision that a deployment brought a group to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Good {
    /// The revision.
    pub revision: Revision,
    /// The deployment that brought it.
    pub deployment: DeploymentId,
    /// The time at which that deployment succeeded.
    pub at: LedgerTime,
}

/// One group and its current situation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupState {
    /// The definition of the group.
    pub group: Group,
    /// The standing of its hosts between deployments.
    pub standing: BTreeMap<HostId, Standing>,
    /// The deployment that runs now.
    pub running: Option<DeploymentId>,
    /// The deployment that waits behind it.
    pub queued: Option<DeploymentId>,
    /// The failed deployment that must be rolled back before anything else may run.
    pub owes_rollback_of: Option<DeploymentId>,
    /// The revisions that it was brought to, the newest last.
    pub good: Vec<Good>,
    /// Its deployments, the newest last.
    pub deployments: Vec<DeploymentId>,
    /// The deployment that now brings hosts which were behind to the last good
    /// revision. It may run beside another.
    pub catching_up: Option<DeploymentId>,
    /// The number of such deployments so far.
    pub catch_ups: u64,
    /// Hosts that may have to be brought to the last good revision.
    pub behind: BTreeMap<HostId, Behind>,
}

impl GroupState {
    /// Makes a group to which nothing was deployed yet.
    fn new(group: Group) -> Self {
        GroupState {
            group,
            standing: BTreeMap::new(),
            running: None,
            queued: None,
            owes_rollback_of: None,
            good: Vec::new(),
            deployments: Vec::new(),
            catching_up: None,
            catch_ups: 0,
            behind: BTreeMap::new(),
        }
    }

    /// Returns the deployments that have begun and are not over. There are at most
    /// two: a person's or its rollback, and a catch-up beside it.
    pub(crate) fn under_way(&self) -> Vec<DeploymentId> {
        self.running.into_iter().chain(self.catching_up).collect()
    }
}

/// The groups of the mesh.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub(super) struct Groups {
    by_name: BTreeMap<GroupName, GroupState>,
}

/// What a deployment of a group that is over leaves behind.
#[derive(Clone, Debug)]
pub(super) struct Outcome {
    pub(super) deployment: DeploymentId,
    pub(super) group: GroupName,
    pub(super) slot: Slot,
    pub(super) succeeded: bool,
    /// The revision that may be rolled back to from now on.
    pub(super) good: Option<Good>,
    /// True if the mesh is to undo it, if that is possible.
    pub(super) rolls_back: bool,
    /// The hosts whose application it touched.
    pub(super) touched: Vec<HostId>,
    /// The hosts that it did not reach and that fall behind by that.
    pub(super) not_reached: Vec<HostId>,
}

impl GroupState {
    /// Returns the deployment that keeps the group from taking another one now.
    pub(super) fn busy_with(&self) -> Option<DeploymentId> {
        self.running.or_else(|| self.owes_rollback_of.map(rollback_id)).or(self.queued)
    }

    /// Returns the group's hosts of a deployment that touched these, without those that are
    /// at the last good revision. They may be there already, because the deployment that
    /// failed may have been of that very revision.
    pub(super) fn to_roll_back<'a>(&'a self, touched: &'a [HostId]) -> impl Iterator<Item = HostId> + 'a {
        touched.iter().copied().filter(|host| !self.is_current(*host))
    }

    fn note_good(&mut self, good: Good) {
        self.good.retain(|known| known.revision.digest != good.revision.digest);
        self.good.push(good);
        while self.good.len() > GOOD_KEPT {
            self.good.remove(0);
        }
    }
}

impl Groups {
    /// Puts back what a snapshot holds of a group.
    pub(super) fn restore(&mut self, name: GroupName, known: GroupState) {
        self.by_name.insert(name, known);
    }

    pub(super) fn all(&self) -> &BTreeMap<GroupName, GroupState> {
        &self.by_name
    }

    pub(super) fn get(&self, name: &GroupName) -> Option<&GroupState> {
        self.by_name.get(name)
    }

    pub(super) fn values(&self) -> impl Iterator<Item = &GroupState> {
        self.by_name.values()
    }

    /// Checks whether a group may be defined so.
    pub(super) fn check_set(&self, group: &Group) -> Result<(), Refusal> {
        if self.by_name.len() >= GROUPS_MAX && !self.by_name.contains_key(&group.name) {
            return Err(Refusal::Limit { what: "groups in one mesh".into(), limit: GROUPS_MAX as u64 });
        }
        let parts = [
            ("alarms in one group", group.alarms.len(), ALARMS_MAX),
            ("triggers in one group", group.triggers.len(), TRIGGERS_MAX),
        ];
        if let Some((what, _, limit)) = parts.into_iter().find(|(_, has, limit)| has > limit) {
            return Err(Refusal::Limit { what: what.into(), limit: limit as u64 });
        }
        if let Some(check) = &group.health {
            check.validate()?;
        }
        Ok(())
    }

    /// Defines a group, or changes its definition.
    pub(super) fn set(&mut self, group: &Group) -> Vec<Happened> {
        let name = group.name.clone();
        let before = match self.by_name.get_mut(&name) {
            Some(known) => Some(Box::new(std::mem::replace(&mut known.group, group.clone()))),
            None => {
                self.by_name.insert(name.clone(), GroupState::new(group.clone()));
                None
            }
        };
        vec![Happened::GroupDefined { group: name, before }]
    }

    /// Deletes a group.
    pub(super) fn delete(&mut self, name: &GroupName) -> Vec<Happened> {
        let Some(GroupState { deployments, .. }) = self.by_name.remove(name) else { return Vec::new() };
        vec![Happened::GroupDeleted { group: name.clone(), deployments }]
    }

    /// Puts a new deployment in line.
    pub(super) fn submit(&mut self, name: &GroupName, id: DeploymentId, slot: Slot) -> Vec<Happened> {
        let Some(group) = self.by_name.get_mut(name) else { return Vec::new() };
        let catching_up = match slot {
            Slot::Reserved => {
                group.owes_rollback_of = None;
                None
            }
            Slot::Beside | Slot::InLine => group.catching_up,
        };
        group.deployments.push(id);
        let is_busy = group.running.is_some() || group.owes_rollback_of.is_some();
        if !is_busy && catching_up.is_none() {
            return vec![Happened::MayBegin(id)];
        }
        group.queued = Some(id);
        let outrun = catching_up.filter(|_| !is_busy);
        outrun.map(Happened::CatchUpOutrun).into_iter().collect()
    }

    /// Notes that a deployment begins.
    pub(super) fn begin(&mut self, name: &GroupName, id: DeploymentId) {
        if let Some(group) = self.by_name.get_mut(name) {
            group.running = Some(id);
            group.queued = group.queued.filter(|queued| *queued != id);
        }
    }

    /// Notes that a catch-up begins, beside any other deployment.
    pub(super) fn begin_catch_up(&mut self, name: &GroupName, id: DeploymentId) {
        if let Some(group) = self.by_name.get_mut(name) {
            group.catching_up = Some(id);
            group.catch_ups += 1;
            group.deployments.push(id);
        }
    }

    /// Notes that the deployment in line was stopped.
    pub(super) fn empty_queue(&mut self, name: &GroupName) {
        if let Some(group) = self.by_name.get_mut(name) {
            group.queued = None;
        }
    }

    /// Notes the end of a deployment. The group may owe its rollback now.
    pub(super) fn end(&mut self, outcome: &Outcome) {
        let Some(group) = self.by_name.get_mut(&outcome.group) else { return };
        group.running = None;
        let needs_it = group.to_roll_back(&outcome.touched).next().is_some();
        if let Some(good) = &outcome.good {
            group.note_good(good.clone());
        } else if outcome.rolls_back && needs_it && !group.good.is_empty() {
            group.owes_rollback_of = Some(outcome.deployment);
        }
    }

    /// Notes the end of a catch-up: the group may go on.
    pub(super) fn end_catch_up(&mut self, name: &GroupName) {
        if let Some(group) = self.by_name.get_mut(name) {
            group.catching_up = None;
            group.forget_current();
        }
    }

    /// Forgets the hosts that are behind no longer, after a deployment has ended.
    pub(super) fn forget_current(&mut self, name: &GroupName) {
        if let Some(group) = self.by_name.get_mut(name) {
            group.forget_current();
        }
    }

    /// Forgets the oldest deployments that may go, if there are too many. Returns them.
    pub(super) fn forget_oldest(
        &mut self,
        name: &GroupName,
        may_go: impl Fn(&DeploymentId) -> bool,
    ) -> Vec<DeploymentId> {
        let mut gone = Vec::new();
        let Some(group) = self.by_name.get_mut(name) else { return gone };
        while group.deployments.len() > DEPLOYMENTS_KEPT
            && let Some(oldest) = group.deployments.iter().position(&may_go)
        {
            gone.push(group.deployments.remove(oldest));
        }
        gone
    }

    /// Records what is known of a host after its turn.
    pub(super) fn set_standing(&mut self, name: &GroupName, host: HostId, standing: Standing) {
        if let Some(group) = self.by_name.get_mut(name) {
            group.standing.insert(host, standing);
        }
    }

    /// Notes that a host counts as unhealthy after all.
    pub(super) fn mark_unhealthy(&mut self, name: &GroupName, host: HostId) {
        let group = self.by_name.get_mut(name);
        if let Some(standing) = group.and_then(|group| group.standing.get_mut(&host)) {
            standing.health = Health::Unhealthy;
        }
    }

    /// Forgets a host that was taken out of the mesh.
    pub(super) fn forget_host(&mut self, host: HostId) {
        for group in self.by_name.values_mut() {
            group.standing.remove(&host);
            group.behind.remove(&host);
        }
    }
}

#[cfg(test)]
impl Groups {
    pub(super) fn any_mut(&mut self) -> &mut GroupState {
        self.by_name.values_mut().next().expect("a group")
    }
}

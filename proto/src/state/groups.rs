//! Folds which groups are defined.

use super::react::Happened;
use super::{GROUPS_MAX, GroupState, State};
use crate::alarm::ALARMS_MAX;
use crate::group::Group;
use crate::id::{DeploymentId, GroupName};
use crate::io::Refusal;
use crate::trigger::TRIGGERS_MAX;

impl State {
    pub(super) fn check_group(&self, group: &Group) -> Result<(), Refusal> {
        if self.groups.len() >= GROUPS_MAX && !self.groups.contains_key(&group.name) {
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
        self.policy_of(group)?.validate().map_err(Refusal::InvalidPolicy)
    }

    pub(super) fn check_delete(&self, name: &GroupName) -> Result<(), Refusal> {
        let group = self.groups.get(name).ok_or_else(|| Refusal::UnknownGroup(name.clone()))?;
        match self.busy_with(group).or(group.catching_up) {
            Some(running) => Err(Refusal::GroupInUse { group: name.clone(), running }),
            None => Ok(()),
        }
    }

    /// Returns the deployment that keeps a group from taking another one now.
    pub(super) fn busy_with(&self, group: &GroupState) -> Option<DeploymentId> {
        group.running.or_else(|| group.owes_rollback_of.map(super::rollback::rollback_id)).or(group.queued)
    }

    pub(super) fn delete_group(&mut self, name: &GroupName) -> Vec<Happened> {
        let Some(group) = self.groups.remove(name) else { return Vec::new() };
        group.deployments.iter().for_each(|deployment| {
            self.rollouts.remove(deployment);
        });
        vec![Happened::GroupDeleted(name.clone())]
    }

    pub(super) fn set_group(&mut self, group: &Group) -> Vec<Happened> {
        let name = group.name.clone();
        let before = match self.groups.get_mut(&name) {
            Some(known) => Some(Box::new(std::mem::replace(&mut known.group, group.clone()))),
            None => {
                self.groups.insert(name.clone(), GroupState::new(group.clone()));
                None
            }
        };
        vec![Happened::GroupDefined { group: name, before }]
    }
}

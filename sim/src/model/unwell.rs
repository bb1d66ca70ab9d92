//! Folds the health that hosts report of their applications, as naively as the
//! rest.

use proto::entry::Index;
use proto::id::{DeploymentId, GroupName, HostId};

use super::{Millis, Model, Stage};

impl Model {
    /// Returns true if the host's report would change anything.
    pub fn is_news(&self, name: &GroupName, host: HostId, healthy: bool, as_of: Index) -> bool {
        let Some(group) = self.groups.get(name) else { return false };
        let is_in_turn = [group.running, group.catching_up].into_iter().flatten().any(|deployment| {
            let turn = self.deployments.get(&deployment).and_then(|deployment| deployment.turn(host));
            turn.is_some_and(|turn| matches!(turn.stage, Stage::Started { .. }))
        });
        group.group.health.is_some()
            && self.hosts.contains_key(&host)
            && !is_in_turn
            && group.ailing.contains_key(&host) == healthy
            && group.spoken.get(&host).is_none_or(|spoken| as_of >= *spoken)
    }

    pub(super) fn change_health(&mut self, name: &GroupName, host: HostId, healthy: bool, as_of: Index) {
        if !self.is_news(name, host, healthy, as_of) {
            return;
        }
        let (index, clock) = (self.index, self.clock);
        let group = self.groups.get_mut(name).expect("it is news");
        group.spoken.insert(host, index);
        match healthy {
            true => group.ailing.remove(&host),
            false => group.ailing.insert(host, clock),
        };
        let check = group.group.health.as_ref().expect("it is news");
        let fails_at = clock + u64::try_from(check.grace.as_millis()).expect("a short grace");
        for deployment in [group.running, group.catching_up].into_iter().flatten() {
            self.set_ailing(deployment, host, !healthy, fails_at);
        }
    }

    fn set_ailing(&mut self, id: DeploymentId, host: HostId, ailing: bool, fails_at: Millis) {
        let clock = self.clock;
        let Some(deployment) = self.deployments.get_mut(&id) else { return };
        let Some(turn) = deployment.turn_mut(host) else { return };
        turn.ailing = ailing;
        let has_relapsed = ailing && turn.stage == Stage::Succeeded;
        turn.relapse_fails_at = has_relapsed.then_some(fails_at);
        if !ailing {
            deployment.reconsider(host);
        }
        deployment.take_back();
        deployment.advance(clock);
    }

    pub(super) fn note_checked_turn(&mut self, id: DeploymentId, host: HostId) {
        let index = self.index;
        let Some(name) = self.deployments.get(&id).map(|it| it.submission.group.clone()) else { return };
        let Some(group) = self.groups.get_mut(&name) else { return };
        if group.group.health.is_some() {
            group.spoken.insert(host, index);
            group.ailing.remove(&host);
        }
    }

    /// Fails an updated host that was unwell for too long.
    pub(super) fn fail_relapsed(&mut self, id: DeploymentId, host: HostId) {
        let clock = self.clock;
        let deployment = self.deployments.get_mut(&id).expect("it came due");
        let is_decided = deployment.ends_as.is_some();
        let turn = deployment.turn_mut(host).expect("its turn came due");
        turn.relapse_fails_at = None;
        if !is_decided {
            turn.stage = Stage::Failed;
            turn.healthy = false;
            deployment.advance(clock);
        }
    }

    /// Forgets the health of hosts that are no longer checked.
    pub(super) fn forget_health(&mut self, name: &GroupName, of: impl Fn(HostId) -> bool) {
        let Some(group) = self.groups.get_mut(name) else { return };
        let under_way = [group.running, group.catching_up];
        group.spoken.retain(|host, _| !of(*host));
        let gone: Vec<HostId> = group.ailing.keys().copied().filter(|host| of(*host)).collect();
        group.ailing.retain(|host, _| !of(*host));
        for host in gone {
            for deployment in under_way.into_iter().flatten() {
                self.set_ailing(deployment, host, false, 0);
            }
        }
    }
}

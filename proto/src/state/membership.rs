//! Folds which hosts are in the mesh, and which of them are Down.
//!
//! # Decisions
//!
//! - A host that is counted Down cannot accuse others. Behind a network partition
//!   each side loses the other. When the reports of the smaller side are committed at
//!   last, they are stale.
//! - A removed host never comes back under its key. Agents join by themselves at
//!   every start, so only the memory of the removed keys ([`REMOVED_KEPT`]) keeps
//!   them out.

use std::collections::{BTreeMap, VecDeque};

use super::{GROUPS_MAX, GroupState, HOSTS_MAX, Host, REMOVED_KEPT, Removed, STARTS_KEPT, State};
use crate::alarm::ALARMS_MAX;
use crate::entry::{ErrorCode, HostRecord};
use crate::group::Group;
use crate::id::{DeploymentId, GroupName, HostId, VoterId};
use crate::io::Refusal;
use crate::rollout::Stage;
use crate::time::LedgerTime;
use crate::trigger::TRIGGERS_MAX;

/// Another agent with a host's key. Neither may act for the host until one of them
/// has been stopped and the other was started again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Twin {
    /// The addresses at which the other agent can be dialled. The host's record has
    /// those of the agent that spoke last.
    pub addresses: Vec<String>,
    /// The time at which both were first known to run.
    pub since: LedgerTime,
}

impl Host {
    /// Notes the start of the agent that announces itself. Returns true if another
    /// start had already followed this one: then two agents run.
    fn note_start(&mut self, record: &HostRecord, now: LedgerTime) -> bool {
        if self.record.start == record.start {
            return false;
        }
        let speaks_again = self.starts.contains(&record.start);
        let addresses = self.record.addresses.clone();
        self.twin = speaks_again.then_some(Twin { addresses, since: now });
        self.starts.retain(|start| *start != record.start);
        self.starts.push(self.record.start);
        if self.starts.len() > STARTS_KEPT {
            self.starts.remove(0);
        }
        speaks_again
    }
}

/// The number of dropped voter numbers that are remembered. A dropped number
/// matters only while it is among the voters. There are at most fourteen voters, in
/// the middle of a change, and the leader replaces a dropped one within a second.
/// Fewer hosts than this can lose their disks in that time.
const RETIRED_KEPT: usize = 1_024;

/// The numbers in consensus: which host has which, and which ones hosts have
/// dropped. A host that claimed another host's number would vote in its place.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub(super) struct Taken {
    pub(super) by: BTreeMap<VoterId, HostId>,
    /// The dropped numbers and the hosts that had them, the last one at the end. If
    /// two agents run with the same key, each announces its own number again and
    /// again.
    pub(super) retired: VecDeque<(VoterId, HostId)>,
}

impl Taken {
    fn check(&self, record: &HostRecord) -> Result<(), Refusal> {
        let is_anothers = |host: &HostId| *host != record.host;
        let was_anothers =
            self.retired.iter().any(|(voter, host)| *voter == record.voter && is_anothers(host));
        if record.voter.0 == 0 || was_anothers || self.by.get(&record.voter).is_some_and(is_anothers) {
            return Err(Refusal::VoterTaken(record.voter));
        }
        Ok(())
    }

    pub(super) fn take(&mut self, record: &HostRecord, before: Option<VoterId>) {
        if let Some(before) = before.filter(|before| *before != record.voter) {
            self.retire(before, record.host);
        }
        self.by.insert(record.voter, record.host);
    }

    fn retire(&mut self, voter: VoterId, host: HostId) {
        self.by.remove(&voter);
        self.retired.retain(|(retired, _)| *retired != voter);
        self.retired.push_back((voter, host));
        if self.retired.len() > RETIRED_KEPT {
            self.retired.pop_front();
        }
    }

    /// Returns true if the numbers match the records of these hosts.
    pub(super) fn is_of(&self, hosts: &BTreeMap<HostId, Host>) -> bool {
        let is_known = |host: &Host| self.by.get(&host.record.voter) == Some(&host.record.host);
        self.by.len() == hosts.len() && hosts.values().all(is_known)
    }
}

impl State {
    /// Checks whether a host may join. A host comes back by itself with its next
    /// start, but not if it was taken out.
    pub(super) fn check_join(&self, record: &HostRecord) -> Result<(), Refusal> {
        if let Some(removed) = self.removed.get(&record.host) {
            return Err(Refusal::Removed { at: removed.at });
        }
        self.check_version(record.wire)?;
        self.taken.check(record)?;
        self.check_replaces(record)?;
        if self.hosts.len() >= HOSTS_MAX && !self.hosts.contains_key(&record.host) {
            return Err(Refusal::Limit { what: "hosts in one mesh".into(), limit: HOSTS_MAX as u64 });
        }
        Ok(())
    }

    pub(super) fn check_leave(&self, host: HostId) -> Result<(), Refusal> {
        match self.hosts.len() {
            _ if !self.hosts.contains_key(&host) => Err(Refusal::UnknownHost(host)),
            1 => Err(Refusal::LastHost),
            _ => Ok(()),
        }
    }

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

    pub(super) fn join(&mut self, record: &HostRecord) {
        self.hosts_changed_at = self.index;
        let is_renumbered = self.is_renumbered(self.hosts.get(&record.host), record.voter);
        match self.hosts.get_mut(&record.host) {
            // An older start of the same agent: its words came late.
            Some(known) if known.record.incarnation > record.incarnation => {}
            Some(known) => {
                // The agent has spoken, so the host is up.
                let is_back = known.down.is_some() && record.incarnation > known.record.incarnation;
                let is_replaced = known.record.voter != record.voter && !is_renumbered;
                let is_twin = known.note_start(record, self.clock);
                if is_replaced {
                    known.store_since = self.clock;
                }
                let before = std::mem::replace(&mut known.record, record.clone());
                self.taken.take(record, Some(before.voter));
                self.note_tags(record.host, Some(&before.tags));
                self.set_forget_timer(record.host);
                if is_replaced {
                    self.note_replaced(record.host);
                }
                if is_twin {
                    self.change_down(record.host, true);
                } else if is_back && !self.has_twin(record.host) {
                    self.change_down(record.host, false);
                }
            }
            None => {
                let (joined_at, store_since) = (self.clock, self.clock);
                let (record, starts) = (record.clone(), Vec::new());
                let joined = Host { record, down: None, joined_at, store_since, starts, twin: None };
                let host = joined.record.host;
                self.taken.take(&joined.record, None);
                self.hosts.insert(host, joined);
                self.note_tags(host, None);
                // The host may have been taken out in the middle of a deployment,
                // which has counted it Down since.
                self.change_down(host, false);
                self.replace_by(host);
            }
        }
    }

    /// Returns true if two agents run with the host's key.
    pub(crate) fn has_twin(&self, host: HostId) -> bool {
        self.hosts.get(&host).is_some_and(|known| known.twin.is_some())
    }

    pub(super) fn leave(&mut self, host: HostId) {
        self.hosts_changed_at = self.index;
        self.leave_rollouts(host);
        // A host that is Down already gets no more time to come back by being taken
        // out.
        if self.hosts.get(&host).is_some_and(|known| known.down.is_none()) {
            self.change_down(host, true);
        }
        let groups: Vec<GroupName> = self.groups.keys().cloned().collect();
        groups.iter().for_each(|group| self.forget_checks(group, |of| of == host));
        if let Some(Host { record, .. }) = self.hosts.remove(&host) {
            let HostRecord { name, voter, addresses, .. } = record;
            self.taken.retire(voter, host);
            self.removed.insert(host, Removed { name, at: self.clock, voter, addresses });
        }
        self.set_forget_timer(host);
        self.forget_first_removed();
        for group in self.groups.values_mut() {
            group.standing.remove(&host);
            group.behind.remove(&host);
        }
    }

    /// Takes the host out of the running rollouts. A turn under way fails, and
    /// counts as any other failure. Apart from that the rollouts go on as if the
    /// group had never had the host.
    fn leave_rollouts(&mut self, host: HostId) {
        let running: Vec<DeploymentId> =
            self.running().map(|rollout| rollout.submission.deployment).collect();
        for deployment in running {
            let at = self.clock;
            let member = self.rollouts.get(&deployment).and_then(|rollout| rollout.members().get(&host));
            if matches!(member.map(|member| &member.stage), Some(Stage::Started { .. })) {
                let message = "the host was taken out of the mesh".to_string();
                self.fail_turn(deployment, host, ErrorCode::HostLost, message);
            }
            let Some(rollout) = self.rollouts.get_mut(&deployment) else { continue };
            let changed = rollout.leave(host, at);
            self.clear_timers_if_idle(deployment, host);
            self.set_timers(deployment, &changed);
        }
    }

    fn forget_first_removed(&mut self) {
        while self.removed.len() > REMOVED_KEPT {
            let first = self.removed.iter().min_by_key(|(host, removed)| (removed.at, **host));
            let Some(first) = first.map(|(host, _)| *host) else { return };
            self.removed.remove(&first);
        }
    }

    /// Returns true if the mesh does not count on the host now. Then the host's
    /// claims about others do not count either.
    pub(crate) fn is_counted_out(&self, host: HostId) -> bool {
        self.hosts.get(&host).is_none_or(|known| known.down.is_some())
    }

    pub(super) fn set_down(&mut self, host: HostId, incarnation: u64, down: bool) {
        let Some(known) = self.hosts.get(&host) else { return };
        // A claim counts only if it is about the newest start, and says something new.
        let is_news = known.record.incarnation == incarnation && known.down.is_some() != down;
        // A host with a twin is up, but nobody can tell which of the two agents it
        // is.
        if is_news && (down || known.twin.is_none()) {
            self.change_down(host, down);
        }
    }

    pub(super) fn change_down(&mut self, host: HostId, down: bool) {
        self.hosts_changed_at = self.index;
        let since = down.then_some(self.clock);
        if let Some(known) = self.hosts.get_mut(&host) {
            known.down = since;
        }
        self.set_forget_timer(host);
        if !down {
            self.note_return(host);
        }
        let running: Vec<DeploymentId> =
            self.running().map(|rollout| rollout.submission.deployment).collect();
        for deployment in running {
            let at = self.clock;
            let Some(rollout) = self.rollouts.get_mut(&deployment) else { continue };
            let changed = rollout.set_down(host, since, at);
            self.clear_timers_if_idle(deployment, host);
            self.set_lost_timer(deployment, host);
            self.set_timers(deployment, &changed);
        }
    }

    pub(super) fn delete_group(&mut self, name: &GroupName) {
        if let Some(group) = self.groups.remove(name) {
            group.deployments.iter().for_each(|deployment| {
                self.rollouts.remove(deployment);
            });
            self.set_thaw_timer();
            self.set_forget_timers();
        }
    }

    pub(super) fn set_group(&mut self, group: &Group) {
        let mut before = None;
        match self.groups.get_mut(&group.name) {
            Some(known) => {
                known.forget_changed_alarms(group);
                known.keep_cursors(group);
                before = Some(std::mem::replace(&mut known.group, group.clone()).tags);
                if group.health.is_none() {
                    self.forget_checks(&group.name, |_| true);
                }
            }
            None => {
                let mut fresh = GroupState::new(group.clone());
                fresh.keep_cursors(group);
                self.groups.insert(group.name.clone(), fresh);
            }
        }
        self.note_members(&group.name, before.as_ref());
        self.set_forget_timers();
        self.heed_alarms(&group.name);
    }
}

#[cfg(test)]
mod tests;

//! A second, naive fold of the ledger. It is slow, and as obvious as it can be.
//!
//! This is the only place in which the simulator repeats what `proto` decides.
//! The model keeps no sums, no queues and no timers: for every entry, it counts
//! what it needs again from the list of turns. If the model and the fold
//! differ, one of them is wrong.

mod behind;
mod deployment;
mod due;
mod membership;
mod outside;
mod repeats;
mod submission;
mod turn;
mod unwell;

use std::collections::{BTreeMap, BTreeSet};

use proto::entry::{Creator, Entry, ErrorCode, HostRecord, Index, TurnOutcome};
use proto::group::Group;
use proto::id::{ConfigName, DeploymentId, Digest, GroupName, HostId};
use proto::policy::{DeploymentConfig, Mode, Policy};
use proto::rollout::DeploymentStatus;
use proto::state::{Cause, GOOD_KEPT};
use proto::statement::{Finding, Intent, Report, Statement};

pub use behind::Behind;
pub use deployment::Deployment;
pub use outside::{Happening, Watches};
pub use turn::{Stage, Turn};

#[derive(Clone, Debug)]
pub struct Host {
    pub record: HostRecord,
    pub down: bool,
    /// The time at which the host last went Down.
    pub down_at: Millis,
}

/// The known state of a host between deployments.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Standing {
    pub healthy: bool,
    pub revision: Option<Digest>,
}

#[derive(Clone, Debug)]
pub struct GroupState {
    pub group: Group,
    pub standing: BTreeMap<HostId, Standing>,
    pub running: Option<DeploymentId>,
    pub queued: Option<DeploymentId>,
    pub owes_rollback_of: Option<DeploymentId>,
    /// The last good revisions, each with the deployment that installed it.
    pub good: Vec<(Digest, DeploymentId)>,
    pub deployments: Vec<DeploymentId>,
    pub catching_up: Option<DeploymentId>,
    pub catch_ups: u64,
    pub behind: BTreeMap<HostId, Behind>,
    /// The hosts that are unwell by the group's check, and since when.
    pub ailing: BTreeMap<HostId, Millis>,
    /// For each host, the index of the last entry about its health or its turn.
    spoken: BTreeMap<HostId, Index>,
    pub watches: Watches,
}

/// Milliseconds of the ledger's clock.
pub type Millis = u64;

#[derive(Clone, Debug, Default)]
pub struct Model {
    index: Index,
    clock: Millis,
    hosts: BTreeMap<HostId, Host>,
    groups: BTreeMap<GroupName, GroupState>,
    deployments: BTreeMap<DeploymentId, Deployment>,
    /// The events that came due, for the story to tell.
    came_due: Vec<Due>,
    configs: BTreeMap<ConfigName, DeploymentConfig>,
    /// Hosts that were removed for good. The real fold forgets the oldest of
    /// very many; no run removes that many.
    removed: BTreeSet<HostId>,
    proposed: repeats::Proposed,
    /// The number of recoveries of the mesh.
    recoveries: Vec<proto::recovery::SignedRecovery>,
    /// The version that the ledger says the mesh has; 0 before version 6.
    version: u16,
}

/// An event that comes due by the ledger's clock. Events are handled in the
/// order of the variants.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Due {
    DidNotStart(DeploymentId, HostId),
    Lost(DeploymentId, HostId),
    TurnTooLong(DeploymentId, HostId),
    DeploymentTooLong(DeploymentId),
    Relapsed(DeploymentId, HostId),
    BakeOver(DeploymentId),
    Thaw,
    Forget(HostId),
}

impl Model {
    pub fn hosts(&self) -> &BTreeMap<HostId, Host> {
        &self.hosts
    }

    pub fn removed(&self) -> &BTreeSet<HostId> {
        &self.removed
    }

    pub fn groups(&self) -> &BTreeMap<GroupName, GroupState> {
        &self.groups
    }

    pub fn configs(&self) -> &BTreeMap<ConfigName, DeploymentConfig> {
        &self.configs
    }

    pub fn deployments(&self) -> &BTreeMap<DeploymentId, Deployment> {
        &self.deployments
    }

    pub fn deployment(&self, id: DeploymentId) -> Option<&Deployment> {
        self.deployments.get(&id)
    }

    pub fn clock(&self) -> Millis {
        self.clock
    }

    pub fn unfinished(&self) -> Vec<DeploymentId> {
        let unfinished = self.deployments.iter().filter(|(_, deployment)| !deployment.status.is_over());
        let owed = self.groups.values().filter_map(|group| group.owes_rollback_of);
        let due = self.groups.keys().filter_map(|name| Some(self.catch_up_due(name)?.0));
        unfinished.map(|(id, _)| *id).chain(owed).chain(due).collect()
    }

    /// Takes the events that came due since the last call.
    pub fn take_came_due(&mut self) -> Vec<Due> {
        std::mem::take(&mut self.came_due)
    }

    /// Folds the next entry.
    pub fn apply(&mut self, entry: &Entry) {
        self.apply_at(self.index + 1, entry);
    }

    /// Folds an entry at `index`. Entries of which the model needs nothing may
    /// lie between.
    pub fn apply_at(&mut self, index: Index, entry: &Entry) {
        self.index = index;
        let mut before = self.before();
        self.clock = self.clock.max(entry.at.as_millis());
        let came_due = self.came_due.len();
        while let Some(due) = self.due() {
            self.come_due(due);
        }
        if self.came_due.len() > came_due {
            // The happenings are noted before the entry itself, which may
            // change the triggers.
            self.note_happenings(&before);
            before = self.before();
        }
        if self.proposed.is_first(entry) {
            self.apply_statement(&entry.statement, entry.proposal.host);
        }
        self.note_happenings(&before);
    }

    fn apply_statement(&mut self, statement: &Statement, proposer: HostId) {
        match statement {
            Statement::Intent(intent) => self.apply_intent(intent),
            Statement::Report(report) => self.apply_report(report, proposer),
            Statement::Finding(Finding::Tick) => {}
            Statement::Finding(Finding::Finished { deployment }) => self.finish(*deployment),
            Statement::Finding(Finding::Spelled(submission)) => self.submit(submission),
            Statement::Finding(Finding::MeshVersion(version)) => self.move_to(*version),
        }
    }

    fn apply_intent(&mut self, intent: &Intent) {
        match intent {
            Intent::SetGroup(group) => self.set_group(group),
            Intent::DeleteGroup(name) => self.delete_group(name),
            Intent::Deploy(submission) => self.submit(submission),
            Intent::Stop { deployment, rollback, now: _, by: _ } => self.stop(*deployment, *rollback),
            Intent::RemoveHost(host) => self.leave(*host),
            Intent::SetConfig(config) => {
                if config.validate().is_ok() {
                    self.configs.insert(config.name.clone(), config.clone());
                }
            }
            Intent::DeleteConfig(name) => {
                if !self.groups.values().any(|group| group.group.config.as_ref() == Some(name)) {
                    self.configs.remove(name);
                }
            }
            Intent::SetAlarm { group, alarm, active, .. } => self.alarm_set(group, alarm, *active),
            Intent::Freeze { group, until, .. } => self.freeze(group, until.as_millis()),
            Intent::Unfreeze(group) => self.thaw(group),
            Intent::Recover(signed) => self.recover(signed),
        }
    }

    fn apply_report(&mut self, report: &Report, proposer: HostId) {
        match report {
            Report::HostJoined(record) => self.join(record),
            Report::HostDown { host, incarnation } => {
                // A host that counts as Down cannot report others as down.
                let accuser = self.hosts.get(&proposer);
                if accuser.is_some_and(|accuser| !accuser.down) {
                    self.see(*host, *incarnation, true);
                }
            }
            Report::HostUp { host, incarnation } => self.see(*host, *incarnation, false),
            Report::TurnStarted { deployment, host } => self.start(*deployment, *host),
            Report::TurnDeferred { deployment, host, suspects: _ } => self.defer(*deployment, *host),
            Report::RoomReported { deployment, host, shortage } => {
                self.report_room(*deployment, *host, shortage.is_some());
            }
            Report::TurnBegunAnew { deployment, host, event: _, attempt } => {
                let deployment = self.deployments.get_mut(deployment);
                let most = deployment.as_ref().map_or(0, |deployment| deployment.submission.policy.attempts);
                if let Some(turn) = deployment.and_then(|deployment| deployment.turn_mut(*host))
                    && matches!(turn.stage, Stage::Started { .. })
                    && *attempt == turn.attempt + 1
                    && *attempt <= most
                {
                    turn.attempt = *attempt;
                }
            }
            Report::TurnEnded { deployment, host, outcome } => {
                let failed = match outcome {
                    TurnOutcome::Succeeded => None,
                    TurnOutcome::Failed(failure) => Some(failure.code),
                };
                self.end(*deployment, *host, failed);
            }
            Report::AlarmRead { group, deployment, alarm, state, .. } => {
                self.alarm_read(group, *deployment, alarm, *state);
            }
            Report::TriggersDelivered { group, trigger, given_up, .. } => self.told(group, trigger, given_up),
            Report::HealthChanged { group, host, healthy, error: _, as_of } => {
                self.change_health(group, *host, *healthy, *as_of);
            }
        }
    }

    /// Returns the hosts of a group, in the order of their names.
    pub fn members(&self, group: &Group) -> Vec<&Host> {
        let mut members: Vec<&Host> =
            self.hosts.values().filter(|host| group.tags.matches(&host.record.tags)).collect();
        members.sort_by_key(|host| (host.record.name.clone(), host.record.host));
        members
    }

    /// Returns the running deployments, in the order of their groups' names.
    fn running(&self) -> Vec<DeploymentId> {
        self.groups.values().flat_map(|group| [group.running, group.catching_up]).flatten().collect()
    }

    /// Returns the group's policy, with the named configuration that it refers to.
    pub fn policy_of(&self, group: &Group) -> Policy {
        let mut policy = group.policy.clone();
        if let Some(config) = group.config.as_ref().and_then(|name| self.configs.get(name)) {
            config.put_on(&mut policy);
        }
        policy
    }

    fn set_group(&mut self, group: &Group) {
        let is_known = group.config.as_ref().is_none_or(|name| self.configs.contains_key(name));
        if !is_known || self.policy_of(group).validate().is_err() {
            return;
        }
        if let Some(known) = self.groups.get_mut(&group.name) {
            known.watch_as(group, self.clock);
            let before = std::mem::replace(&mut known.group, group.clone());
            self.note_members(&group.name, Some(&before.tags));
            if group.health.is_none() {
                self.forget_health(&group.name, |_| true);
            }
            self.heed_alarms(&group.name);
            return;
        }
        let watches = Watches { set_at: self.clock, ..Watches::default() };
        let fresh = GroupState {
            group: group.clone(),
            standing: BTreeMap::new(),
            running: None,
            queued: None,
            owes_rollback_of: None,
            good: Vec::new(),
            deployments: Vec::new(),
            catching_up: None,
            catch_ups: 0,
            behind: BTreeMap::new(),
            ailing: BTreeMap::new(),
            spoken: BTreeMap::new(),
            watches,
        };
        self.groups.insert(group.name.clone(), fresh);
        self.note_members(&group.name, None);
    }

    fn delete_group(&mut self, name: &GroupName) {
        let Some(group) = self.groups.get(name) else { return };
        if group.running.is_some()
            || group.queued.is_some()
            || group.owes_rollback_of.is_some()
            || group.catching_up.is_some()
        {
            return;
        }
        let group = self.groups.remove(name).expect("looked up above");
        group.deployments.iter().for_each(|id| {
            self.deployments.remove(id);
        });
    }

    fn begin_next(&mut self, name: &GroupName) {
        let group = &self.groups[name];
        let Some(next) = group.queued else { return };
        if group.is_frozen_for(&self.deployments[&next].submission) {
            return;
        }
        match (group.running, group.owes_rollback_of, group.catching_up) {
            (None, None, None) => self.begin(next),
            (None, None, Some(catching_up)) => self.supersede(catching_up),
            (Some(_), _, _) | (None, Some(_), _) => {}
        }
    }

    fn begin(&mut self, id: DeploymentId) {
        let submission = self.deployments[&id].submission.clone();
        if submission.creator == Creator::User {
            self.forget_attempts(&submission.group);
        }
        let group = self.groups.get_mut(&submission.group).expect("its group is there");
        group.running = Some(id);
        if group.queued == Some(id) {
            group.queued = None;
        }
        let group = &self.groups[&submission.group];
        let turns = self
            .members(&group.group)
            .into_iter()
            .filter(|host| group.catching_up.is_none_or(|id| !self.has_turn_to_come(id, host.record.host)))
            .map(|host| {
                let host_id = host.record.host;
                let standing = group.standing.get(&host_id).copied();
                let is_target = self.is_target(&submission, group, host_id);
                let (digest, zone) = (submission.revision.digest, &host.record.zone);
                let turn = Turn::new(host_id, standing, host.down, is_target, digest, zone);
                Turn { ailing: group.ailing.contains_key(&host_id), ..turn }
            })
            .collect();
        self.hold(id);
        let clock = self.clock;
        self.deployments.get_mut(&id).expect("looked up above").begin(turns, clock);
        self.heed_alarms(&submission.group);
    }

    fn start(&mut self, id: DeploymentId, host: HostId) {
        let clock = self.clock;
        let Some(turn) = self.deployments.get_mut(&id).and_then(|deployment| deployment.turn_mut(host))
        else {
            return;
        };
        if let Stage::Leased { .. } = turn.stage {
            turn.stage = Stage::Started { at: clock };
            turn.was_started = true;
            turn.was_ailing = std::mem::take(&mut turn.ailing);
            self.note_checked_turn(id, host);
        }
    }

    fn defer(&mut self, id: DeploymentId, host: HostId) {
        let clock = self.clock;
        let turn = self.deployments.get_mut(&id).and_then(|deployment| deployment.turn_mut(host));
        if let Some(Stage::Leased { deferred_at, .. }) = turn.map(|turn| &mut turn.stage) {
            *deferred_at = Some(clock);
        }
    }

    /// Folds a host's report about its disk. Without room, a host whose turn has not begun goes
    /// last; with room again, it goes before those without.
    fn report_room(&mut self, id: DeploymentId, host: HostId, is_short: bool) {
        let clock = self.clock;
        let may_start = |turn: &Turn| matches!(turn.stage, Stage::Leased { .. });
        let Some(deployment) = self.deployments.get_mut(&id) else { return };
        let Some(turn) = deployment.turn_mut(host) else { return };
        if turn.is_short == is_short || !(turn.stage == Stage::Pending || may_start(turn)) {
            return;
        }
        turn.is_short = is_short;
        if is_short {
            turn.stage = Stage::Pending;
        } else if turn.stage == Stage::Pending {
            let give_way = deployment.turns.iter_mut().filter(|turn| turn.is_short && may_start(turn));
            give_way.for_each(|turn| turn.stage = Stage::Pending);
        }
        deployment.advance(clock);
    }

    fn end(&mut self, id: DeploymentId, host: HostId, failed: Option<ErrorCode>) {
        let succeeded = failed.is_none();
        let clock = self.clock;
        let Some(deployment) = self.deployments.get_mut(&id) else { return };
        let Some(started) = deployment.end(host, succeeded) else { return };
        deployment.advance(clock);
        let digest = deployment.submission.revision.digest;
        let Some(group) = self.groups.get_mut(&deployment.submission.group) else { return };
        // A turn that never began has not touched its host.
        if started && self.hosts.contains_key(&host) {
            let revision = succeeded.then_some(digest);
            group.standing.insert(host, Standing { healthy: succeeded, revision });
        }
        self.note_turn(id, host, failed);
        if started {
            self.note_checked_turn(id, host);
        }
    }

    fn stop(&mut self, id: DeploymentId, rollback: bool) {
        self.give_up_on(id);
        let Some(deployment) = self.deployments.get_mut(&id) else { return };
        match deployment.status {
            DeploymentStatus::Queued => {
                deployment.rollback_asked |= rollback;
                deployment.conclude(DeploymentStatus::Stopped);
                deployment.status = DeploymentStatus::Stopped;
                let name = deployment.submission.group.clone();
                if let Some(group) = self.groups.get_mut(&name) {
                    group.queued = None;
                }
            }
            DeploymentStatus::InProgress | DeploymentStatus::Baking | DeploymentStatus::Created => {
                deployment.rollback_asked |= rollback;
                deployment.conclude(DeploymentStatus::Stopped);
            }
            DeploymentStatus::Succeeded | DeploymentStatus::Failed | DeploymentStatus::Stopped => {}
        }
    }

    fn finish(&mut self, id: DeploymentId) {
        let Some(deployment) = self.deployments.get_mut(&id) else { return };
        if !deployment.finish() {
            return;
        }
        let wants_rollback = deployment.wants_rollback();
        let name = deployment.submission.group.clone();
        if deployment.submission.creator == Creator::Autoscale {
            return self.end_catch_up(&name);
        }
        let succeeded = deployment.status == DeploymentStatus::Succeeded;
        let is_restart = deployment.submission.policy.mode == Mode::Restart;
        let digest = deployment.submission.revision.digest;
        let touched = deployment.touched();
        let is_way_back = deployment.submission.creator == Creator::Rollback;
        let left_out: Vec<HostId> = deployment
            .turns
            .iter()
            .filter(|turn| turn.stage == Stage::Skipped && self.hosts.contains_key(&turn.host))
            .map(|turn| turn.host)
            .filter(|_| is_way_back && deployment.status == DeploymentStatus::Failed)
            .collect();
        let Some(group) = self.groups.get_mut(&name) else { return };
        group.running = None;
        if succeeded && is_restart {
            // A restart installed nothing: the deployment that installed the
            // revision stays recorded.
        } else if succeeded {
            group.good.retain(|(good, _)| *good != digest);
            group.good.push((digest, id));
            if group.good.len() > GOOD_KEPT {
                group.good.remove(0);
            }
        } else if wants_rollback
            && !group.good.is_empty()
            && touched.iter().any(|host| !group.is_current(*host))
        {
            group.owes_rollback_of = Some(id);
        }
        for host in left_out {
            let group = self.groups.get_mut(&name).expect("looked up above");
            group.fall_behind(host, Cause::NotRolledBack);
        }
        self.settle_behind(&name, succeeded);
        self.begin_next(&name);
    }
}

#[cfg(test)]
impl Model {
    /// Marks a host as healthy without an entry, for tests of the checkers.
    pub fn mend(&mut self, host: HostId) {
        let group = self.groups.values_mut().next().expect("a group");
        group.standing.get_mut(&host).expect("it had a turn").healthy = true;
    }

    /// Marks a turn as started, even against the rules, for tests of the checkers.
    pub fn start_anew(&mut self, id: DeploymentId, host: HostId) {
        let turn = self.deployments.get_mut(&id).and_then(|deployment| deployment.turn_mut(host));
        turn.expect("it has a turn").stage = Stage::Started { at: self.clock };
    }
}

#[cfg(test)]
mod tests;

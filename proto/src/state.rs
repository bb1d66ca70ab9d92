//! Everything that is folded from the ledger: hosts, groups and rollouts.
//!
//! The state is a pure function of the entries. Two hosts that folded the same
//! entries have identical states. [`State::due`] tells each of them what the ledger
//! still lacks, so that any host can propose it.

mod admission;
mod alarms;
mod catch_up;
mod configs;
mod deferrals;
mod deployments;
mod encoded;
mod flat;
mod fold;
mod forgetting;
#[path = "form/v4/folded.rs"]
pub(crate) mod form_v4;
#[path = "form/v5/folded.rs"]
pub(crate) mod form_v5;
#[path = "form/v6/folded.rs"]
pub(crate) mod form_v6;
mod freezes;
mod groups;
mod health_reports;
mod hosts;
mod in_service;
mod mesh_version;
mod notifications;
mod payload;
mod react;
mod repeats;
mod rollback;
mod rollouts;
mod shortages;
#[cfg(test)]
mod testing;
mod timers;

use std::collections::BTreeMap;

use crate::deadlines::Deadlines;
use crate::entry::{Entry, Index};
use crate::group::Group;
use crate::id::{ConfigName, DeploymentId, GroupName, HostId};
use crate::io::Refusal;
use crate::policy::{DeploymentConfig, Policy};
use crate::recovery::SignedRecovery;
use crate::rollout::Rollout;
use crate::time::LedgerTime;

pub use admission::check_shape;
use deferrals::Deferrals;
pub(crate) use encoded::NotAState;
use groups::Groups;
use hosts::Hosts;
use repeats::Proposers;
use rollouts::Rollouts;
use shortages::Shortages;

pub use alarms::Alarms;
pub use configs::Configs;
pub use freezes::{FREEZE_MAX, Freeze, Freezes};

pub use catch_up::CatchUp;
pub use deferrals::Deferral;
pub use groups::{
    ATTEMPTS_MAX, Behind, Cause, DEPLOYMENTS_KEPT, GOOD_KEPT, GROUPS_MAX, Good, GroupState, Tried,
};
pub use health_reports::{Ailing, Checked, Checks, ChecksOf};
pub use hosts::{HOSTS_MAX, Host, REMOVED_KEPT, Recovered, Removed, STARTS_KEPT, Twin};
pub use in_service::InService;
pub use notifications::Notifications;
pub use repeats::{NUMBERS_KEPT, PROPOSERS_KEPT};
pub use shortages::Short;

/// A reason for which the fold waits for the ledger's clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Timer {
    /// A host with a lease must start.
    Start(DeploymentId, HostId),
    /// A host that is Down in its turn must come back.
    Lost(DeploymentId, HostId),
    /// A turn must end.
    Turn(DeploymentId, HostId),
    /// The whole deployment must end.
    Deployment(DeploymentId),
    /// An updated host that is unwell must become well again.
    Relapsed(DeploymentId, HostId),
    /// A bake ends.
    Bake(DeploymentId),
    /// The first of the freezes ends.
    Thaw,
    /// A host that is Down must come back, or it is taken out of the mesh.
    Forget(HostId),
}

/// The index and the time of an entry that is folded.
#[derive(Clone, Copy, Debug)]
struct Moment {
    index: Index,
    clock: LedgerTime,
}

/// Everything that the ledger says, folded.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct State {
    index: Index,
    clock: LedgerTime,
    hosts: Hosts,
    groups: Groups,
    rollouts: Rollouts,
    timers: Deadlines<Timer, LedgerTime>,
    configs: Configs,
    checks: Checks,
    alarms: Alarms,
    freezes: Freezes,
    notifications: Notifications,
    /// The proposals of each host that could undo other entries, as far as they are
    /// remembered.
    proposers: Proposers,
    /// Hosts with a lease that defer their start.
    deferrals: Deferrals,
    /// Hosts whose disk lacks room for their turn to come.
    shortages: Shortages,
    /// The version that the ledger says the mesh has moved to; 0 before version 6: see
    /// `mesh_version.rs`.
    version: u16,
}

impl State {
    /// Makes the state of a new mesh.
    pub(crate) fn founding() -> Self {
        State { index: 1, ..State::default() }
    }

    /// Skips an entry that consensus made for itself, which changes nothing here.
    pub(crate) fn skip(&mut self, index: Index) {
        assert!(index > self.index, "entries are folded in order: {index} after {}", self.index);
        self.index = index;
    }

    /// Returns the index of the last entry that was folded; 0 before the first.
    pub fn index(&self) -> Index {
        self.index
    }

    /// Returns the time on the ledger's clock: the latest stamp of an entry so far.
    pub fn clock(&self) -> LedgerTime {
        self.clock
    }

    /// Returns the index of the last entry that changed what is known of a host.
    pub fn hosts_changed_at(&self) -> Index {
        self.hosts.changed_at()
    }

    /// Returns the mesh's hosts.
    pub fn hosts(&self) -> &BTreeMap<HostId, Host> {
        self.hosts.all()
    }

    /// Returns one host, if it is in the mesh.
    pub fn host(&self, host: HostId) -> Option<&Host> {
        self.hosts.get(host)
    }

    /// Returns what is remembered of a host that was taken out of the mesh.
    pub fn removed(&self, host: HostId) -> Option<&Removed> {
        self.hosts.removed().get(&host)
    }

    /// Returns the hosts that were taken out of the mesh.
    pub fn all_removed(&self) -> &BTreeMap<HostId, Removed> {
        self.hosts.removed()
    }

    /// Returns the recoveries of this mesh, the newest last.
    pub fn recoveries(&self) -> impl DoubleEndedIterator<Item = &Recovered> {
        self.hosts.recoveries().iter()
    }

    /// Returns true if two agents run with the host's key.
    pub(crate) fn has_twin(&self, host: HostId) -> bool {
        self.hosts.has_twin(host)
    }

    /// Returns true if the mesh does not count on the host now. Then the host's
    /// claims about others do not count either.
    pub(crate) fn is_counted_out(&self, host: HostId) -> bool {
        self.hosts.is_counted_out(host)
    }

    /// Returns the groups.
    pub fn groups(&self) -> &BTreeMap<GroupName, GroupState> {
        self.groups.all()
    }

    /// Returns one group.
    pub fn group(&self, name: &GroupName) -> Option<&GroupState> {
        self.groups.get(name)
    }

    /// Returns the mesh's own named configurations.
    pub fn configs(&self) -> &BTreeMap<ConfigName, DeploymentConfig> {
        self.configs.all()
    }

    /// Returns the mesh's own configuration with this name.
    /// # Errors
    /// [`Refusal::UnknownConfig`] with the names that exist.
    pub fn config(&self, name: &ConfigName) -> Result<&DeploymentConfig, Refusal> {
        self.configs.get(name)
    }

    /// Returns the policy of a deployment to the group if it is submitted now.
    /// # Errors
    /// [`Refusal::UnknownConfig`] if the configuration does not exist.
    pub fn policy_of(&self, group: &Group) -> Result<Policy, Refusal> {
        self.configs.policy_of(group)
    }

    /// Returns the results of the groups' health checks.
    pub fn checks(&self) -> &Checks {
        &self.checks
    }

    /// Returns what is known of the groups' alarms.
    pub fn alarms(&self) -> &Alarms {
        &self.alarms
    }

    /// Returns the freezes of the groups.
    pub fn freezes(&self) -> &Freezes {
        &self.freezes
    }

    /// Returns the progress of the groups' triggers.
    pub fn notifications(&self) -> &Notifications {
        &self.notifications
    }

    /// Returns the index and the time of the entry that is folded now.
    fn now(&self) -> Moment {
        Moment { index: self.index, clock: self.clock }
    }

    /// Returns all deployments that are kept.
    pub fn rollouts(&self) -> &BTreeMap<DeploymentId, Rollout> {
        self.rollouts.all()
    }

    /// Returns one deployment, if it is kept.
    pub fn rollout(&self, deployment: DeploymentId) -> Option<&Rollout> {
        self.rollouts.get(deployment)
    }

    /// Returns the deployments that run now, including catch-ups.
    pub fn running(&self) -> impl Iterator<Item = &Rollout> {
        let both = |group: &GroupState| [group.running, group.catching_up];
        self.groups.values().flat_map(both).filter_map(|id| self.rollouts.get(id?))
    }

    /// Returns the hosts of a group, in the order of their names.
    pub fn members_of(&self, group: &Group) -> Vec<&Host> {
        let mut members: Vec<&Host> = self.hosts.of(group).collect();
        members.sort_by(|a, b| (&a.record.name, a.record.host).cmp(&(&b.record.name, b.record.host)));
        members
    }

    /// Returns the time of the ledger's clock at which the next timer fires.
    pub fn next_timer(&self) -> Option<LedgerTime> {
        self.timers.next()
    }

    /// Folds one entry. The result is for the proposer. A refused entry stays in
    /// the ledger, and changes nothing but the clock. The same holds for one that
    /// [is repeated](Self::is_repeated).
    ///
    /// # Errors
    /// The reason why the entry is refused.
    ///
    /// # Panics
    /// If `index` does not follow the last one.
    pub fn apply(&mut self, index: Index, entry: &Entry) -> Result<(), Refusal> {
        self.go_to(index, entry.at);
        let folded = self.fold(entry);
        self.forget_used();
        folded
    }

    /// Folds a recovery. The caller has verified it and its place in the ledger.
    ///
    /// # Panics
    /// If `index` does not follow the last one.
    pub fn recover(&mut self, index: Index, signed: &SignedRecovery) {
        self.go_to(index, signed.recovery().at);
        let happened = self.hosts.recover(self.now(), signed);
        self.react_to(happened);
        self.forget_used();
    }

    /// Forgets what hosts said before their turns began. This runs after every entry,
    /// because a turn can begin or end in many ways.
    fn forget_used(&mut self) {
        self.deferrals.forget(&self.rollouts);
        self.shortages.forget(&self.rollouts);
    }

    /// Goes to the next entry, and fires the timers that are due by its time.
    fn go_to(&mut self, index: Index, at: LedgerTime) {
        self.skip(index);
        self.clock = self.clock.max(at);
        self.fire_timers();
    }
}

#[cfg(test)]
mod tests;

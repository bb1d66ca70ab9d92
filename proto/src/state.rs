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
mod fold;
mod forgetting;
#[path = "form/v4/folded.rs"]
pub(crate) mod form_v4;
#[path = "form/v5/folded.rs"]
pub(crate) mod form_v5;
#[path = "form/v6/folded.rs"]
pub(crate) mod form_v6;
mod freeze;
mod health;
mod membership;
mod mesh_version;
mod recovered;
mod repeats;
mod rollback;
mod shortages;
#[cfg(test)]
mod testing;
mod triggers;

use std::collections::{BTreeMap, VecDeque};

use crate::alarm::AlarmStanding;
use crate::deadlines::Deadlines;
use crate::entry::{Entry, HostRecord, Index};
use crate::group::Group;
use crate::id::{ConfigName, DeploymentId, GroupName, HostId, VoterId};
use crate::io::Refusal;
use crate::policy::DeploymentConfig;
use crate::revision::Revision;
use crate::rollout::{Rollout, Roster, Standing};
use crate::time::LedgerTime;
use crate::trigger::{Cursor, Happening};

pub use admission::check_shape;
pub(crate) use encoded::NotAState;
pub use freeze::{FREEZE_MAX, Freeze};

pub use catch_up::{ATTEMPTS_MAX, Behind, CatchUp, Cause, Tried};
pub use deferrals::Deferral;
pub use health::{Ailing, Checked};
pub use membership::Twin;
pub use recovered::Recovered;
pub use repeats::{NUMBERS_KEPT, PROPOSERS_KEPT};
pub use shortages::Short;

/// The number of deployments that a group keeps. Older ones are dropped from the
/// state (their entries may still be in the ledger). A deployment that is over
/// costs about seven bytes for each host, and the messages of its first failures.
pub const DEPLOYMENTS_KEPT: usize = 50;
/// The number of good revisions of a group that can be rolled back to.
pub const GOOD_KEPT: usize = 10;
/// The most hosts that a mesh may have: it was designed and simulated for this
/// many.
pub const HOSTS_MAX: usize = 20_000;
/// The number of removed hosts that are remembered: far more than a mesh loses in a
/// year of repairs. Beyond that, the host that left first is forgotten, and could
/// join again if it came back.
pub const REMOVED_KEPT: usize = 4_096;
/// The number of starts of one host's agent that are remembered. Agents that run
/// with the same key announce themselves in turn, so even with this many of them at
/// least one is recognised when it speaks again.
pub const STARTS_KEPT: usize = 4;
/// The most groups that a mesh may have.
pub const GROUPS_MAX: usize = 5_000;

/// Everything that the mesh knows of one host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Host {
    /// The facts that the host gives about itself.
    pub record: HostRecord,
    /// The time at which the mesh counted it Down; `None` if it is up.
    pub down: Option<LedgerTime>,
    /// The time at which it first joined.
    pub joined_at: LedgerTime,
    /// The time at which its store was created. The host knows nothing of what it
    /// did before.
    pub store_since: LedgerTime,
    /// Random numbers of its agent's earlier starts, the newest last: see
    /// [`HostRecord::start`].
    pub starts: Vec<u64>,
    /// The other agent, while two of them run with this host's key.
    pub twin: Option<Twin>,
}

/// A host that was taken out of the mesh. It can never come back under its key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Removed {
    /// The host's name for people.
    pub name: String,
    /// The time at which it was taken out.
    pub at: LedgerTime,
    /// Its number in consensus. It takes part there until it is replaced.
    pub(crate) voter: VoterId,
    /// The addresses at which it can be dialled until then.
    pub(crate) addresses: Vec<String>,
}

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
    /// The findings of its health check. Holds only hosts on which the check has
    /// said something, or whose turn it has seen.
    pub checks: BTreeMap<HostId, Checked>,
    /// The state of its alarms, by name.
    pub alarms: BTreeMap<String, AlarmStanding>,
    /// The freeze, if there is one: no new deployment begins.
    pub freeze: Option<Freeze>,
    /// The progress of its triggers, by name.
    pub cursors: BTreeMap<String, Cursor>,
    /// The hosts that its past deployments refer to.
    roster: Roster,
    /// The happenings that some trigger has still to tell, the oldest first.
    happenings: VecDeque<Happening>,
    /// The number of the newest happening.
    last_happening: u64,
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
            checks: BTreeMap::new(),
            alarms: BTreeMap::new(),
            freeze: None,
            cursors: BTreeMap::new(),
            roster: Roster::default(),
            happenings: VecDeque::new(),
            last_happening: 0,
        }
    }

    /// Returns the deployments that have begun and are not over. There are at most
    /// two: a person's or its rollback, and a catch-up beside it.
    pub(crate) fn under_way(&self) -> Vec<DeploymentId> {
        self.running.into_iter().chain(self.catching_up).collect()
    }
}

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

/// Everything that the ledger says, folded.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct State {
    index: Index,
    clock: LedgerTime,
    hosts: BTreeMap<HostId, Host>,
    groups: BTreeMap<GroupName, GroupState>,
    rollouts: BTreeMap<DeploymentId, Rollout>,
    timers: Deadlines<Timer, LedgerTime>,
    /// The last entry that changed a host's record, or whether it is Down.
    hosts_changed_at: Index,
    configs: BTreeMap<ConfigName, DeploymentConfig>,
    /// Hosts that were taken out for good.
    removed: BTreeMap<HostId, Removed>,
    /// The proposals of each host that could undo other entries, as far as they are
    /// remembered.
    proposers: BTreeMap<HostId, repeats::Proposer>,
    /// Hosts with a lease that defer their start.
    deferrals: BTreeMap<(DeploymentId, HostId), Deferral>,
    /// Numbers in consensus that no host may take: see `membership.rs`.
    taken: membership::Taken,
    /// How often the mesh was recovered, and by whom.
    recoveries: VecDeque<Recovered>,
    /// Hosts whose disk lacks room for their turn to come.
    shortages: BTreeMap<(DeploymentId, HostId), Short>,
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
        self.hosts_changed_at
    }

    /// Returns the mesh's hosts.
    pub fn hosts(&self) -> &BTreeMap<HostId, Host> {
        &self.hosts
    }

    /// Returns one host, if it is in the mesh.
    pub fn host(&self, host: HostId) -> Option<&Host> {
        self.hosts.get(&host)
    }

    /// Returns what is remembered of a host that was taken out of the mesh.
    pub fn removed(&self, host: HostId) -> Option<&Removed> {
        self.removed.get(&host)
    }

    /// Returns the hosts that were taken out of the mesh.
    pub fn all_removed(&self) -> &BTreeMap<HostId, Removed> {
        &self.removed
    }

    /// Returns the groups.
    pub fn groups(&self) -> &BTreeMap<GroupName, GroupState> {
        &self.groups
    }

    /// Returns one group.
    pub fn group(&self, name: &GroupName) -> Option<&GroupState> {
        self.groups.get(name)
    }

    /// Returns the mesh's own named configurations.
    pub fn configs(&self) -> &BTreeMap<ConfigName, DeploymentConfig> {
        &self.configs
    }

    /// Returns all deployments that are kept.
    pub fn rollouts(&self) -> &BTreeMap<DeploymentId, Rollout> {
        &self.rollouts
    }

    /// Returns one deployment, if it is kept.
    pub fn rollout(&self, deployment: DeploymentId) -> Option<&Rollout> {
        self.rollouts.get(&deployment)
    }

    /// Returns the deployments that run now, including catch-ups.
    pub fn running(&self) -> impl Iterator<Item = &Rollout> {
        let both = |group: &GroupState| [group.running, group.catching_up];
        self.groups.values().flat_map(both).filter_map(|id| self.rollouts.get(&id?))
    }

    /// Returns the hosts of a group, in the order of their names.
    pub fn members_of(&self, group: &Group) -> Vec<&Host> {
        let mut members: Vec<&Host> =
            self.hosts.values().filter(|host| group.tags.matches(&host.record.tags)).collect();
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
        assert!(index > self.index, "entries are folded in order: {index} after {}", self.index);
        self.index = index;
        self.clock = self.clock.max(entry.at);
        self.fire_timers();
        let folded = self.fold(entry);
        self.forget_deferrals();
        self.forget_shortages();
        folded
    }
}

#[cfg(test)]
mod tests;

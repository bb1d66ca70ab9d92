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
mod forgetting;
mod freeze;
mod health;
mod membership;
mod recovered;
mod repeats;
mod rollback;
mod shortages;
#[cfg(test)]
mod testing;
mod triggers;

use std::collections::{BTreeMap, VecDeque};

use serde::{Deserialize, Serialize};

use crate::alarm::AlarmStanding;
use crate::deadlines::Deadlines;
use crate::entry::{Body, Entry, HostRecord, Index, Submission};
use crate::group::Group;
use crate::id::{ConfigName, DeploymentId, GroupName, HostId, VoterId};
use crate::io::Refusal;
use crate::policy::DeploymentConfig;
use crate::revision::Revision;
use crate::rollout::{Rollout, Roster, Stage, Standing};
use crate::time::LedgerTime;
use crate::trigger::{Cursor, Happening};

pub use admission::check_shape;
pub(crate) use encoded::{NotAState, VERSION};
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
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
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
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
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
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Good {
    /// The revision.
    pub revision: Revision,
    /// The deployment that brought it.
    pub deployment: DeploymentId,
    /// The time at which that deployment succeeded.
    pub at: LedgerTime,
}

/// One group and its current situation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
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
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
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
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, Default)]
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
    /// Hosts whose disk lacks room for their turn to come. This is the last field,
    /// because the form before it ends here: see `encoded.rs`.
    shortages: BTreeMap<(DeploymentId, HostId), Short>,
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

    fn fold(&mut self, entry: &Entry) -> Result<(), Refusal> {
        if self.is_repeated(entry) {
            return Ok(());
        }
        check_author(entry.proposal.host, &entry.body)?;
        self.note_proposal(entry);
        if self.speaks_for_two(&entry.body) {
            return Ok(());
        }
        // The proposer made the same check. Another entry may have come between
        // then and now.
        self.check(&entry.body)?;
        match &entry.body {
            Body::Tick => {}
            Body::HostJoined(record) => self.join(record),
            Body::HostLeft { host } => self.leave(*host),
            // During a network partition each side loses the other. The accusations
            // of the side that was counted out arrive after the partition: they are
            // stale.
            Body::HostDown { .. } if self.is_counted_out(entry.proposal.host) => {}
            Body::HostDown { host, incarnation } => self.set_down(*host, *incarnation, true),
            Body::HostUp { host, incarnation } => self.set_down(*host, *incarnation, false),
            Body::GroupSet(group) => self.set_group(group),
            Body::GroupDeleted(name) => self.delete_group(name),
            Body::Submitted(submission) => self.submit(submission),
            Body::TurnStarted { deployment, host } => self.start_turn(*deployment, *host),
            Body::TurnEnded { deployment, host, outcome } => {
                self.end_turn(*deployment, *host, outcome.clone().fitted())
            }
            Body::StopRequested { deployment, rollback, now, by } => {
                self.stop(*deployment, *rollback, *now, by);
            }
            Body::Finished { deployment } => self.finish(*deployment),
            Body::HealthChanged { group, host, healthy, error, as_of } => {
                self.change_health(group, *host, *healthy, error, *as_of);
            }
            Body::ConfigSet(config) => self.set_config(config),
            Body::ConfigDeleted(name) => self.delete_config(name),
            Body::AlarmRead { group, deployment, alarm, state, detail } => {
                self.alarm_read(group, *deployment, alarm, *state, detail);
            }
            Body::AlarmSet { group, alarm, active, reason } => {
                self.alarm_set(group, alarm, *active, reason);
            }
            Body::TriggersDelivered { group, trigger, up_to, given_up } => {
                self.triggers_delivered(group, trigger, *up_to, given_up);
            }
            Body::Frozen { group, until, reason, by } => self.freeze(group, *until, reason, by),
            Body::Unfrozen { group } => self.unfreeze(group),
            Body::TurnDeferred { deployment, host, suspects } => {
                self.defer_turn(*deployment, *host, suspects);
            }
            Body::RoomReported { deployment, host, shortage } => {
                self.report_room(*deployment, *host, *shortage);
            }
            Body::MeshRecovered(_) => {}
            Body::TurnBegunAnew { deployment, host, event, attempt } => {
                if let Some(rollout) = self.rollouts.get_mut(deployment) {
                    rollout.begin_anew(*host, *event, *attempt);
                }
            }
        }
        Ok(())
    }

    /// Returns true if this is a report of a host about itself while two agents run
    /// with its key, as from a cloned disk: what one of them did, it may have done on
    /// another machine. Only the start of an agent counts, which ends that.
    fn speaks_for_two(&self, body: &Body) -> bool {
        !matches!(body, Body::HostJoined(_)) && body.author().is_some_and(|host| self.has_twin(host))
    }

    /// Checks whether an entry with this body would be refused now. Entries of
    /// hosts about themselves are never refused here: if they come too late they
    /// change nothing.
    /// # Errors
    /// The reason why the entry would be refused.
    pub fn check(&self, body: &Body) -> Result<(), Refusal> {
        body.check_values()?;
        match body {
            Body::HostJoined(record) => self.check_join(record),
            Body::HostLeft { host } => self.check_leave(*host),
            Body::GroupSet(group) => self.check_group(group),
            Body::GroupDeleted(name) => self.check_delete(name),
            Body::Submitted(submission) => self.check_submission(submission),
            Body::StopRequested { deployment, .. } => self.check_stop(*deployment),
            Body::ConfigSet(config) => self.check_config(config),
            Body::ConfigDeleted(name) => self.check_delete_config(name),
            Body::AlarmSet { group, alarm, .. } => self.check_alarm_set(group, alarm),
            Body::Frozen { group, until, .. } => self.check_freeze(group, *until),
            Body::Unfrozen { group } => self.check_unfreeze(group),
            Body::MeshRecovered(_) => Err(Refusal::NotProposed),
            Body::Tick
            | Body::HostDown { .. }
            | Body::HostUp { .. }
            | Body::TurnStarted { .. }
            | Body::TurnEnded { .. }
            | Body::Finished { .. }
            | Body::AlarmRead { .. }
            | Body::TriggersDelivered { .. }
            | Body::TurnDeferred { .. }
            | Body::TurnBegunAnew { .. }
            | Body::RoomReported { .. }
            | Body::HealthChanged { .. } => Ok(()),
        }
    }

    /// Returns true if an entry with this body would change nothing, because the
    /// ledger says it already. Meant only for what hosts repeat until the ledger
    /// has it.
    pub(crate) fn is_settled(&self, body: &Body) -> bool {
        let stage = |deployment: &DeploymentId, host: &HostId| {
            self.part(*deployment, *host).map(|part| part.stage.into_owned())
        };
        // An accusation of an older start changes as little as a repeated one.
        let is_said = |host, incarnation, down| match self.hosts.get(host) {
            Some(known) => known.record.incarnation != incarnation || known.down.is_some() == down,
            None => true,
        };
        match body {
            Body::Tick => self.next_timer().is_none(),
            Body::MeshRecovered(_) => true,
            // A host that was taken out, or has another host's number, is refused
            // anyway.
            Body::HostJoined(record) => {
                self.hosts.get(&record.host).is_some_and(|host| host.record == *record)
                    || self.check_join(record).is_err()
            }
            Body::HostDown { host, incarnation } => is_said(host, *incarnation, true),
            Body::HostUp { host, incarnation } => is_said(host, *incarnation, false) || self.has_twin(*host),
            Body::TurnStarted { deployment, host } => {
                matches!(stage(deployment, host), Some(Stage::Started { .. } | Stage::Ended { .. }))
            }
            Body::TurnDeferred { deployment, host, .. } => {
                !matches!(stage(deployment, host), Some(Stage::Leased { .. }))
            }
            Body::RoomReported { deployment, host, shortage } => {
                self.is_room_settled(*deployment, *host, *shortage)
            }
            Body::TurnBegunAnew { deployment, host, event: _, attempt } => {
                let member = self.rollouts.get(deployment).and_then(|rollout| rollout.members().get(host));
                member.is_none_or(|member| !member.may_begin_anew(*attempt))
            }
            Body::TurnEnded { deployment, host, .. } => {
                matches!(stage(deployment, host), Some(Stage::Ended { .. }))
            }
            Body::Finished { deployment } => {
                self.rollouts.get(deployment).is_some_and(|rollout| rollout.status().is_over())
            }
            Body::AlarmRead { group, deployment, alarm, state, .. } => {
                self.is_alarm_settled(group, *deployment, alarm, *state)
            }
            Body::TriggersDelivered { group, trigger, up_to, .. } => {
                self.is_delivery_settled(group, trigger, *up_to)
            }
            Body::HealthChanged { group, host, healthy, error: _, as_of } => {
                !self.is_news(group, *host, *healthy, *as_of)
            }
            Body::Submitted(submission) => submission.kind().is_by_mesh() && !self.is_owed(submission),
            Body::HostLeft { .. }
            | Body::GroupSet(_)
            | Body::GroupDeleted(_)
            | Body::StopRequested { .. }
            | Body::AlarmSet { .. }
            | Body::Frozen { .. }
            | Body::Unfrozen { .. }
            | Body::ConfigSet(_)
            | Body::ConfigDeleted(_) => false,
        }
    }

    /// Returns what the ledger lacks. Any host may propose it, and all hosts would
    /// propose the same.
    pub fn due(&self) -> Vec<Body> {
        let mut due = Vec::new();
        for rollout in self.running().filter(|rollout| rollout.is_decided()) {
            due.push(Body::Finished { deployment: rollout.submission.deployment });
        }
        let owed = self.groups.values().flat_map(|group| self.owed_to(group));
        due.extend(owed.map(|submission| Body::Submitted(Box::new(submission))));
        due
    }

    /// Returns the deployments that the mesh itself submits to a group now.
    fn owed_to(&self, group: &GroupState) -> impl Iterator<Item = Submission> {
        let rollback = group.owes_rollback_of.and_then(|failed| self.rollback_of(group, failed));
        rollback.into_iter().chain(self.catch_up_due(group))
    }

    /// Returns true if this is, byte for byte, a deployment that the mesh itself
    /// submits now. The proposer is not trusted: it could have put in another
    /// revision, or a policy without a minimum.
    fn is_owed(&self, submission: &Submission) -> bool {
        let group = self.groups.get(&submission.group);
        group.is_some_and(|group| self.owed_to(group).any(|owed| owed == *submission))
    }
}

/// Checks that the host may propose this: only a host itself may speak of itself.
/// # Errors
/// [`Refusal::NotItsAuthor`] if the body is about another host.
pub(crate) fn check_author(author: HostId, body: &Body) -> Result<(), Refusal> {
    match body.author() {
        Some(of) if of != author => Err(Refusal::NotItsAuthor { of, author }),
        Some(_) | None => Ok(()),
    }
}

#[cfg(test)]
mod tests;

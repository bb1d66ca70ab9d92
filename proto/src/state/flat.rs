//! The folded state as the stored forms have it: flat, and all that is known of a group in
//! one place.
//!
//! The forms are frozen, and the parts of the state are not. This is the one place where
//! they meet. Writing borrows the parts; reading shares them out.

use std::borrow::Cow;
use std::collections::{BTreeMap, VecDeque};

use super::deferrals::Deferrals;
use super::groups::Groups;
use super::hosts::{Hosts, StoredHosts, Taken};
use super::notifications::Deliveries;
use super::repeats::{Proposer, Proposers};
use super::rollouts::Rollouts;
use super::shortages::Shortages;
use super::{
    Alarms, Behind, Checked, Checks, Configs, Deferral, Freeze, Freezes, Good, GroupState, Host,
    Notifications, Recovered, Removed, Short, State, Timer,
};
use crate::alarm::AlarmStanding;
use crate::deadlines::Deadlines;
use crate::entry::Index;
use crate::form::written::Formed;
use crate::group::Group;
use crate::id::{ConfigName, DeploymentId, GroupName, HostId};
use crate::policy::DeploymentConfig;
use crate::rollout::{Rollout, Roster, Standing};
use crate::time::LedgerTime;
use crate::trigger::{Cursor, Happening};

type Map<'a, K, V> = Cow<'a, BTreeMap<K, V>>;

/// The whole state.
pub(crate) struct FlatState<'a> {
    pub(super) index: Index,
    pub(super) clock: LedgerTime,
    pub(super) hosts: Map<'a, HostId, Host>,
    pub(super) groups: BTreeMap<Cow<'a, GroupName>, FlatGroup<'a>>,
    pub(super) rollouts: Map<'a, DeploymentId, Rollout>,
    pub(super) timers: Cow<'a, Deadlines<Timer, LedgerTime>>,
    pub(super) hosts_changed_at: Index,
    pub(super) configs: Map<'a, ConfigName, DeploymentConfig>,
    pub(super) removed: Map<'a, HostId, Removed>,
    pub(super) proposers: Map<'a, HostId, Proposer>,
    pub(super) deferrals: Map<'a, (DeploymentId, HostId), Deferral>,
    pub(super) taken: Cow<'a, Taken>,
    pub(super) recoveries: Cow<'a, VecDeque<Recovered>>,
    pub(super) shortages: Map<'a, (DeploymentId, HostId), Short>,
    pub(super) version: u16,
}

/// Everything that the parts of the state know of one group.
#[allow(clippy::owned_cow, reason = "a form is of the list itself")]
pub(crate) struct FlatGroup<'a> {
    pub(super) group: Cow<'a, Group>,
    pub(super) standing: Map<'a, HostId, Standing>,
    pub(super) running: Option<DeploymentId>,
    pub(super) queued: Option<DeploymentId>,
    pub(super) owes_rollback_of: Option<DeploymentId>,
    pub(super) good: Cow<'a, Vec<Good>>,
    pub(super) deployments: Cow<'a, Vec<DeploymentId>>,
    pub(super) catching_up: Option<DeploymentId>,
    pub(super) catch_ups: u64,
    pub(super) behind: Map<'a, HostId, Behind>,
    pub(super) checks: Map<'a, HostId, Checked>,
    pub(super) alarms: Map<'a, String, AlarmStanding>,
    pub(super) freeze: Option<Cow<'a, Freeze>>,
    pub(super) cursors: Map<'a, String, Cursor>,
    pub(super) roster: Cow<'a, Roster>,
    pub(super) happenings: Cow<'a, VecDeque<Happening>>,
    pub(super) last_happening: u64,
}

impl<F> Formed<F> for State
where
    for<'a> FlatState<'a>: Formed<F>,
{
    fn write<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        FlatState::of(self).write(to)
    }

    fn read(form: F) -> Self {
        FlatState::read(form).into_state()
    }
}

impl<'a> FlatState<'a> {
    fn of(state: &'a State) -> Self {
        let hosts = state.hosts.stored();
        let group = |(name, known)| (Cow::Borrowed(name), FlatGroup::of(state, name, known));
        FlatState {
            index: state.index,
            clock: state.clock,
            hosts: hosts.by_id,
            groups: state.groups.all().iter().map(group).collect(),
            rollouts: Cow::Borrowed(state.rollouts.all()),
            timers: Cow::Borrowed(&state.timers),
            hosts_changed_at: hosts.changed_at,
            configs: Cow::Borrowed(state.configs.all()),
            removed: hosts.removed,
            proposers: Cow::Borrowed(state.proposers.all()),
            deferrals: Cow::Borrowed(state.deferrals.all()),
            taken: hosts.taken,
            recoveries: hosts.recoveries,
            shortages: Cow::Borrowed(state.shortages.all()),
            version: state.version,
        }
    }

    fn into_state(self) -> State {
        let mut state = State {
            index: self.index,
            clock: self.clock,
            hosts: Hosts::restore(StoredHosts {
                by_id: self.hosts,
                changed_at: self.hosts_changed_at,
                removed: self.removed,
                taken: self.taken,
                recoveries: self.recoveries,
            }),
            groups: Groups::default(),
            rollouts: Rollouts::restore(self.rollouts.into_owned()),
            timers: self.timers.into_owned(),
            configs: Configs::restore(self.configs.into_owned()),
            proposers: Proposers::restore(self.proposers.into_owned()),
            deferrals: Deferrals::restore(self.deferrals.into_owned()),
            shortages: Shortages::restore(self.shortages.into_owned()),
            version: self.version,
            checks: Checks::default(),
            alarms: Alarms::default(),
            freezes: Freezes::default(),
            notifications: Notifications::default(),
        };
        for (name, group) in self.groups {
            group.into_parts(name.into_owned(), &mut state);
        }
        state
    }
}

impl<'a> FlatGroup<'a> {
    fn of(state: &'a State, name: &GroupName, known: &'a GroupState) -> Self {
        let deliveries = state.notifications.all_of(name);
        FlatGroup {
            group: Cow::Borrowed(&known.group),
            standing: Cow::Borrowed(&known.standing),
            running: known.running,
            queued: known.queued,
            owes_rollback_of: known.owes_rollback_of,
            good: Cow::Borrowed(&known.good),
            deployments: Cow::Borrowed(&known.deployments),
            catching_up: known.catching_up,
            catch_ups: known.catch_ups,
            behind: Cow::Borrowed(&known.behind),
            checks: borrowed(state.checks.of(name).all()),
            alarms: borrowed(state.alarms.all_of(name)),
            freeze: state.freezes.of(name).map(Cow::Borrowed),
            cursors: borrowed(deliveries.map(|deliveries| &deliveries.cursors)),
            roster: borrowed(state.rollouts.roster(name)),
            happenings: borrowed(deliveries.map(|deliveries| &deliveries.waiting)),
            last_happening: deliveries.map_or(0, |deliveries| deliveries.last),
        }
    }

    fn into_parts(self, group: GroupName, state: &mut State) {
        let name = &group;
        state.checks.restore(name, self.checks.into_owned());
        state.alarms.restore(name, self.alarms.into_owned());
        if let Some(freeze) = self.freeze {
            state.freezes.restore(name, freeze.into_owned());
        }
        let (cursors, waiting) = (self.cursors.into_owned(), self.happenings.into_owned());
        state.notifications.restore(name, Deliveries { cursors, waiting, last: self.last_happening });
        let known = GroupState {
            group: self.group.into_owned(),
            standing: self.standing.into_owned(),
            running: self.running,
            queued: self.queued,
            owes_rollback_of: self.owes_rollback_of,
            good: self.good.into_owned(),
            deployments: self.deployments.into_owned(),
            catching_up: self.catching_up,
            catch_ups: self.catch_ups,
            behind: self.behind.into_owned(),
        };
        state.rollouts.restore_roster(name, self.roster.into_owned());
        state.groups.restore(group, known);
    }
}

fn borrowed<T: Clone + Default>(part: Option<&T>) -> Cow<'_, T> {
    part.map_or_else(|| Cow::Owned(T::default()), Cow::Borrowed)
}

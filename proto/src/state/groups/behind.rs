//! The hosts of a group that may have to be brought to its last good revision.

use std::collections::BTreeSet;

use super::{Good, GroupState, Groups};
use crate::deployment_kind::DeploymentKind;
use crate::entry::{ErrorCode, HostRecord, Submission};
use crate::group::{Tag, TagSets};
use crate::id::{DeploymentId, Digest, GroupName, HostId};
use crate::rollout::Health;
use crate::time::LedgerTime;

/// The most turns at one good revision that a host gets without a person. It gets a
/// second turn only if it was lost in the first: a revision that fails by itself
/// would fail again.
pub const ATTEMPTS_MAX: u8 = 2;

/// A host that may have to be brought to its group's last good revision.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Behind {
    /// The reason why the host fell behind.
    pub cause: Cause,
    /// The time at which it fell behind.
    pub since: LedgerTime,
    /// The failed attempts since a person last deployed.
    pub tried: Option<Tried>,
}

/// The reason why a host fell behind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// The host is new to the group.
    Joined,
    /// The host was Down, and came back with an old or unknown revision.
    Returned,
    /// The host has a new store, so nobody knows what runs there.
    Replaced,
    /// The host was lost when it had its turn, or during it.
    Missed,
    /// Its turn failed for reasons of its own. People must act, or the host must
    /// return from being Down.
    Failed,
    /// A deployment that failed had updated the host, and the rollback failed
    /// before it reached it.
    NotRolledBack,
}

/// Failed attempts to bring a host up to date.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tried {
    /// The revision that was tried.
    pub revision: Digest,
    /// The number of [`ATTEMPTS_MAX`] attempts that are used. A failure that is the
    /// revision's own uses all of them.
    pub attempts: u8,
    /// The deployment of the last attempt.
    pub deployment: DeploymentId,
}

impl GroupState {
    /// Returns true if the host is known to be well at the group's last good
    /// revision.
    pub fn is_current(&self, host: HostId) -> bool {
        self.good.last().is_some_and(|good| self.is_well_at(host, good.revision.digest))
    }

    /// Returns true if the host's last turn succeeded, with this revision.
    pub(in crate::state) fn is_well_at(&self, host: HostId, digest: Digest) -> bool {
        self.standing
            .get(&host)
            .is_some_and(|standing| standing.health == Health::Healthy && standing.revision == Some(digest))
    }

    fn is_healthy(&self, host: HostId) -> bool {
        self.standing.get(&host).is_some_and(|standing| standing.health == Health::Healthy)
    }

    /// Returns true if a person left the host at a revision that never became good.
    fn is_elsewhere(&self, host: HostId) -> bool {
        let revision = self.standing.get(&host).and_then(|standing| standing.revision);
        let was_good = |digest| self.good.iter().any(|good| good.revision.digest == digest);
        self.is_healthy(host) && !revision.is_some_and(was_good)
    }

    fn fall_behind(&mut self, host: HostId, cause: Cause, since: LedgerTime) {
        if self.running.is_none() && self.is_current(host) {
            return;
        }
        let behind = self.behind.entry(host).or_insert(Behind { cause, since, tried: None });
        match behind.cause {
            // A host that never had a turn stays new, however often it returns.
            Cause::Joined | Cause::Replaced | Cause::Returned | Cause::NotRolledBack => {}
            Cause::Missed | Cause::Failed => (behind.cause, behind.since) = (cause, since),
        }
    }

    /// Removes hosts that are where they should be, if no deployment runs.
    pub(super) fn forget_current(&mut self) {
        if self.running.is_none() {
            let mut behind = std::mem::take(&mut self.behind);
            behind.retain(|host, _| !self.is_current(*host));
            self.behind = behind;
        }
    }
}

impl Behind {
    /// Returns the attempts, if the host has used all that it has at this revision.
    pub(in crate::state) fn used_up(&self, good: &Good) -> Option<Tried> {
        self.tried.filter(|tried| tried.revision == good.revision.digest && tried.attempts >= ATTEMPTS_MAX)
    }
}

impl Groups {
    /// Gives up the hosts of a catch-up that a person stopped: the mesh does not try them
    /// again.
    pub(in crate::state) fn give_up_on(&mut self, name: &GroupName, hosts: &[HostId], tried: Tried) {
        let Some(group) = self.by_name.get_mut(name) else { return };
        for host in hosts {
            if let Some(behind) = group.behind.get_mut(host) {
                behind.tried = Some(tried);
            }
        }
    }

    /// Notes the end of a turn: whether its host is behind now, and which attempts
    /// it has used.
    pub(in crate::state) fn note_turn(
        &mut self,
        submission: &Submission,
        host: HostId,
        failed: Option<ErrorCode>,
        since: LedgerTime,
    ) {
        let revision = submission.revision.digest;
        let is_catch_up = submission.kind() == DeploymentKind::CatchUp;
        let Some(group) = self.by_name.get_mut(&submission.group) else { return };
        let Some(code) = failed else {
            // A host that was caught up beside a running deployment must still
            // follow that one.
            if !is_catch_up || group.running.is_none() && group.is_current(host) {
                group.behind.remove(&host);
            }
            return;
        };
        let cause = if code.was_lost() { Cause::Missed } else { Cause::Failed };
        let behind = group.behind.entry(host).or_insert(Behind { cause, since, tried: None });
        if !is_catch_up {
            (behind.cause, behind.since) = (cause, since);
        }
        let before =
            behind.tried.filter(|tried| tried.revision == revision).map_or(0, |tried| tried.attempts);
        let attempts = if code == ErrorCode::AgentStopped {
            // A person stopped the agent, which says nothing about the host.
            before
        } else if code.was_lost() {
            before.saturating_add(1)
        } else {
            ATTEMPTS_MAX
        };
        let deployment = submission.deployment;
        behind.tried = Some(Tried { revision, attempts: attempts.min(ATTEMPTS_MAX), deployment });
    }

    /// Gives every host all its attempts again, because a person deploys.
    pub(in crate::state) fn forget_attempts(&mut self, name: &GroupName) {
        if let Some(group) = self.by_name.get_mut(name) {
            group.behind.values_mut().for_each(|behind| behind.tried = None);
        }
    }

    /// Notes the hosts that a failed rollback did not reach. Each is brought back
    /// as soon as the group has room for it.
    pub(in crate::state) fn leave_behind(
        &mut self,
        name: &GroupName,
        hosts: impl Iterator<Item = HostId>,
        since: LedgerTime,
    ) {
        if let Some(group) = self.by_name.get_mut(name) {
            hosts.for_each(|host| group.fall_behind(host, Cause::NotRolledBack, since));
        }
    }

    /// Notes that a host has joined the mesh, or has other tags than before.
    pub(in crate::state) fn note_tags(
        &mut self,
        record: &HostRecord,
        before: Option<&BTreeSet<Tag>>,
        since: LedgerTime,
    ) {
        let host = record.host;
        for group in self.by_name.values_mut() {
            let was_in = before.is_some_and(|before| group.group.tags.matches(before));
            match (was_in, group.group.tags.matches(&record.tags)) {
                (false, true) => group.fall_behind(host, Cause::Joined, since),
                (true, false) => {
                    group.behind.remove(&host);
                }
                (true, true) | (false, false) => {}
            }
        }
    }

    /// Notes that a group was defined. `before` are its earlier tags, if it was
    /// known.
    pub(in crate::state) fn note_members<'a>(
        &mut self,
        name: &GroupName,
        before: Option<&TagSets>,
        hosts: impl Iterator<Item = &'a HostRecord>,
        since: LedgerTime,
    ) {
        let Some(group) = self.by_name.get_mut(name) else { return };
        for record in hosts {
            let was_in = before.is_some_and(|before| before.matches(&record.tags));
            match (was_in, group.group.tags.matches(&record.tags)) {
                (false, true) => group.fall_behind(record.host, Cause::Joined, since),
                (true, false) => {
                    group.behind.remove(&record.host);
                }
                (true, true) | (false, false) => {}
            }
        }
    }

    /// Notes that a host is up again.
    pub(in crate::state) fn note_return(&mut self, record: &HostRecord, since: LedgerTime) {
        let host = record.host;
        for group in self.of_host(record) {
            if !group.is_current(host) && !group.is_elsewhere(host) {
                group.fall_behind(host, Cause::Returned, since);
            }
        }
    }

    /// Notes that a host has a new store: nothing is known of its application.
    pub(in crate::state) fn note_replaced(&mut self, record: &HostRecord, since: LedgerTime) {
        for group in self.of_host(record) {
            group.standing.remove(&record.host);
            group.behind.insert(record.host, Behind { cause: Cause::Replaced, since, tried: None });
        }
    }

    fn of_host(&mut self, record: &HostRecord) -> impl Iterator<Item = &mut GroupState> {
        self.by_name.values_mut().filter(|group| group.group.tags.matches(&record.tags))
    }
}

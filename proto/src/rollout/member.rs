//! One host as seen by one deployment, and the sums over all hosts.

use crate::entry::TurnOutcome;
use crate::id::Digest;
use crate::lifecycle::LifecycleEvent;
use crate::service::{Condition, Health};
use crate::time::LedgerTime;

/// The revision on a host, compared with that of one deployment. (CodeDeploy orders
/// hosts by it.)
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Installed {
    /// Not known, because the host had no turn yet or a turn failed on it.
    Unknown,
    /// It has another revision than the deployment's.
    Old,
    /// The revision that is being deployed.
    Current,
}

/// The standing of one host in one group, between deployments.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Standing {
    /// The health by the outcome of its last turn.
    pub health: Health,
    /// The revision that it has; `None` if a turn failed on it.
    pub revision: Option<Digest>,
}

/// The stage of one host in a deployment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stage {
    /// The host counts for the minimum, but is not a target.
    NotTargeted,
    /// Its turn is still to come.
    Pending,
    /// The host has a lease: it counts as out of service from now on.
    Leased {
        /// The time at which it got the lease.
        at: LedgerTime,
    },
    /// Its turn is under way.
    Started {
        /// The time at which it started.
        at: LedgerTime,
    },
    /// Its turn is over.
    Ended {
        /// The time at which the turn started; `None` if it never did.
        started: Option<LedgerTime>,
        /// The time at which the turn ended.
        at: LedgerTime,
        /// The outcome of the turn.
        outcome: TurnOutcome,
    },
    /// The deployment ended before its turn, or the host was taken out of the mesh.
    Skipped,
}

/// One host of the group, as seen by one deployment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// The stage of its turn.
    pub stage: Stage,
    /// The health of its application, by its last turn.
    pub health: Health,
    /// The revision that it ran when the deployment began, compared with the new
    /// one.
    pub installed: Installed,
    /// The time at which the mesh counted it Down; `None` if it is up.
    pub down: Option<LedgerTime>,
    /// The order of the hosts' names, which decides among equals. A host that lacks
    /// disk space is behind all others: its position has [`LAST`] added.
    pub(super) position: u32,
    /// The time at which the group's check found it unwell; `None` if it is well.
    pub ailing: Option<LedgerTime>,
    /// The place of its wave, from 0.
    pub(super) wave: u32,
    /// The place of its zone, if the rollout goes zone by zone.
    pub(super) zone: u32,
    /// The attempt that its turn is in, counted from 1.
    pub attempt: u8,
    /// The event in which the previous attempt was interrupted.
    pub interrupted: Option<LifecycleEvent>,
    /// True if it was taken out of the mesh since, and is no longer one of the N
    /// hosts.
    pub(super) gone: bool,
}

/// Added to the position of a host that goes last. No group has so many hosts.
const LAST: u32 = 1 << 31;

/// Sums over the members, kept up to date so that an entry costs O(log hosts).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Counts {
    /// Hosts in service now: healthy by their last turn and their check, up, and
    /// not in a turn.
    pub available: u32,
    /// H: hosts that are healthy by their last turn, including those in a turn.
    pub healthy: u32,
    /// Unhealthy hosts with a turn to come or under way, which may heal them.
    pub hopeful: u32,
    /// Hosts with a lease or in a turn.
    pub in_flight: u32,
    /// Hosts that the mesh counts Down.
    pub down: u32,
    /// Hosts in service whose turn is still to come. Each turn takes one of them
    /// out of service.
    pub pending_available: u32,
    /// All hosts whose turn is still to come.
    pub pending: u32,
    /// Hosts whose turn succeeded.
    pub succeeded: u32,
    /// Hosts whose turn failed.
    pub failed: u32,
    /// Hosts whose turn will not come.
    pub skipped: u32,
    /// Hosts that are unwell by the group's health check.
    pub ailing: u32,
    /// Those of them whose turn had succeeded.
    pub relapsed: u32,
    /// Hosts that were taken out of the mesh since the deployment began.
    pub gone: u32,
}

impl Member {
    /// Returns true if the host has a lease or is in its turn, and so is out of
    /// service.
    pub fn is_in_flight(&self) -> bool {
        matches!(self.stage, Stage::Leased { .. } | Stage::Started { .. })
    }

    /// Returns true if its turn is under way and `attempt` is its next one.
    pub(crate) fn may_begin_anew(&self, attempt: u8) -> bool {
        matches!(self.stage, Stage::Started { .. }) && self.attempt.checked_add(1) == Some(attempt)
    }

    /// Returns true if it has a lease that it has not used yet.
    pub(super) fn may_start(&self) -> bool {
        matches!(self.stage, Stage::Leased { .. })
    }

    /// Returns true if its turn is still to come, or is now.
    pub(super) fn is_ahead(&self) -> bool {
        self.stage == Stage::Pending || self.is_in_flight()
    }

    /// Returns what decides whether the host is in service.
    pub fn condition(&self) -> Condition {
        Condition {
            last_turn: Some(self.health),
            fails_check: self.ailing.is_some(),
            is_down: self.down.is_some() || self.gone,
            is_in_turn: self.is_in_flight(),
        }
    }

    /// Returns true if the host is in service.
    pub fn is_available(&self) -> bool {
        self.condition().serves()
    }

    /// Returns true if the host is out of service for another reason than its turn. A
    /// turn then takes nothing out of service.
    pub fn is_of_no_service(&self) -> bool {
        !self.condition().serves_but_for_turn()
    }

    /// Returns true if its turn succeeded, but its check has found it unwell since.
    pub(super) fn has_relapsed(&self) -> bool {
        self.ailing.is_some() && matches!(&self.stage, Stage::Ended { outcome: TurnOutcome::Succeeded, .. })
    }

    /// Lets the host go after all others of its wave that are up, or ends that.
    pub(super) fn put_last(&mut self, is_last: bool) {
        self.position = if is_last { self.place() | LAST } else { self.place() };
    }

    /// Returns the place of its name in the order of all hosts' names.
    pub(super) fn place(&self) -> u32 {
        self.position & !LAST
    }

    /// Returns the rank by which hosts are ordered, the lowest first. Unhealthy
    /// hosts go first, because a turn takes nothing out of service there. The next
    /// ranks depend on what is installed. Hosts that are Down go last, and before
    /// them those that lack disk space: such a host would use up its time to start
    /// while another could be updated.
    pub(super) fn rank(&self) -> u8 {
        if self.down.is_some() {
            return 4;
        }
        if self.position != self.place() {
            return 3;
        }
        if self.is_of_no_service() {
            return 0;
        }
        match self.installed {
            Installed::Unknown => 1,
            Installed::Old => 2,
            Installed::Current => 3,
        }
    }
}

impl Counts {
    pub(super) fn add(&mut self, member: &Member) {
        self.each(member, |sum| *sum += 1);
    }

    pub(super) fn remove(&mut self, member: &Member) {
        self.each(member, |sum| *sum -= 1);
    }

    fn each(&mut self, member: &Member, mut count: impl FnMut(&mut u32)) {
        let healthy = member.health == Health::Healthy && !member.gone;
        let pending = member.stage == Stage::Pending;
        let mut count_if = |holds: bool, sum: &mut u32| {
            if holds {
                count(sum);
            }
        };
        count_if(member.is_available(), &mut self.available);
        count_if(healthy, &mut self.healthy);
        count_if(!healthy && member.is_ahead() && !member.gone, &mut self.hopeful);
        count_if(member.is_in_flight(), &mut self.in_flight);
        count_if(member.down.is_some(), &mut self.down);
        count_if(pending && !member.is_of_no_service(), &mut self.pending_available);
        count_if(pending, &mut self.pending);
        count_if(member.ailing.is_some(), &mut self.ailing);
        count_if(member.has_relapsed(), &mut self.relapsed);
        count_if(member.gone, &mut self.gone);
        match &member.stage {
            Stage::Ended { outcome: TurnOutcome::Succeeded, .. } => count_if(true, &mut self.succeeded),
            Stage::Ended { outcome: TurnOutcome::Failed(_), .. } => count_if(true, &mut self.failed),
            Stage::Skipped => count_if(true, &mut self.skipped),
            Stage::NotTargeted | Stage::Pending | Stage::Leased { .. } | Stage::Started { .. } => {}
        }
    }
}

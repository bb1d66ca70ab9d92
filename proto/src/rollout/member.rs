//! One host, seen from one deployment, and the sums over all of them.

use serde::{Deserialize, Serialize};

use crate::entry::TurnOutcome;
use crate::id::Digest;
use crate::lifecycle::LifecycleEvent;
use crate::time::LedgerTime;

/// Whether the application on a host is known to be well: how its last turn
/// ended. A host that never had one is not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Health {
    /// Its last turn succeeded.
    Healthy,
    /// Its last turn failed, or it never had one.
    Unhealthy,
}

/// What a host runs, seen from one deployment (CodeDeploy's order of hosts).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Installed {
    /// A turn failed on it, so nobody knows.
    Unknown,
    /// Another revision.
    Old,
    /// The one that is being deployed.
    Current,
}

/// What is known of one host in one group, between deployments.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Standing {
    /// How its last turn ended.
    pub health: Health,
    /// Which revision it has; none if a turn failed on it.
    pub revision: Option<Digest>,
}

/// Where one host is in a deployment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Stage {
    /// Counted in the minimum, but not to be deployed to.
    NotTargeted,
    /// Its turn is to come.
    Pending,
    /// Its turn is now: it counts as out of service from here on.
    Leased {
        /// Since when.
        at: LedgerTime,
    },
    /// Its turn is under way.
    Started {
        /// Since when.
        at: LedgerTime,
    },
    /// Its turn is over.
    Ended {
        /// When it started; none if it never did.
        started: Option<LedgerTime>,
        /// When it ended.
        at: LedgerTime,
        /// How.
        outcome: TurnOutcome,
    },
    /// The deployment ended before its turn.
    Skipped,
}

/// One host of the group, seen from one deployment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Member {
    /// Where its turn is.
    pub stage: Stage,
    /// How its application is.
    pub health: Health,
    /// What it ran when the deployment began.
    pub installed: Installed,
    /// Since when the mesh has counted it Down; none if it is up.
    pub down: Option<LedgerTime>,
    /// Its place among equals: the order of the hosts' names.
    pub(super) position: u32,
    /// Since when the group's check has found it unwell; none if it has not.
    pub ailing: Option<LedgerTime>,
    /// With whom it goes.
    pub(super) wave: u32,
    /// Its place among the zones, if the rollout goes zone by zone.
    pub(super) zone: u32,
    /// Which attempt its turn is in, counted from 1.
    pub attempt: u8,
    /// The event in which the attempt before was interrupted.
    pub interrupted: Option<LifecycleEvent>,
    /// Taken out of the mesh since: not one of the N hosts any longer.
    pub(super) gone: bool,
}

/// Sums over the members, kept up to date so that an entry costs O(log hosts).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Counts {
    /// Healthy by their last turn and their check, up, and not in a turn: in
    /// service now.
    pub available: u32,
    /// H: healthy by their last turn, those in a turn included.
    pub healthy: u32,
    /// Unhealthy, but with a turn to come or under way that may heal them.
    pub hopeful: u32,
    /// With a lease or in a turn.
    pub in_flight: u32,
    /// Counted Down by the mesh.
    pub down: u32,
    /// In service, and their turn is to come: what a turn takes away.
    pub pending_available: u32,
    /// All whose turn is to come.
    pub pending: u32,
    /// Whose turn succeeded.
    pub succeeded: u32,
    /// Whose turn failed.
    pub failed: u32,
    /// Whose turn will not come.
    pub skipped: u32,
    /// Unwell by the group's health check.
    pub ailing: u32,
    /// Of those, the ones whose turn had succeeded.
    pub relapsed: u32,
    /// Taken out of the mesh since it began.
    pub gone: u32,
}

impl Member {
    /// With a lease or in its turn: out of service.
    pub fn is_in_flight(&self) -> bool {
        matches!(self.stage, Stage::Leased { .. } | Stage::Started { .. })
    }

    /// Whether its turn is under way and this is its next attempt.
    pub(crate) fn may_begin_anew(&self, attempt: u8) -> bool {
        matches!(self.stage, Stage::Started { .. }) && self.attempt.checked_add(1) == Some(attempt)
    }

    /// With a lease that it has not used yet.
    pub(super) fn may_start(&self) -> bool {
        matches!(self.stage, Stage::Leased { .. })
    }

    /// Its turn is to come, or is now.
    pub(super) fn is_ahead(&self) -> bool {
        self.stage == Stage::Pending || self.is_in_flight()
    }

    /// Healthy by its last turn and by its check, up, and not in a turn.
    pub fn is_available(&self) -> bool {
        !self.is_of_no_service() && !self.is_in_flight()
    }

    /// Unhealthy by its last turn or by its check, or Down: a turn takes
    /// nothing away.
    pub fn is_of_no_service(&self) -> bool {
        self.gone || self.health == Health::Unhealthy || self.down.is_some() || self.ailing.is_some()
    }

    /// Updated well, and unwell since.
    pub(super) fn has_relapsed(&self) -> bool {
        self.ailing.is_some() && matches!(&self.stage, Stage::Ended { outcome: TurnOutcome::Succeeded, .. })
    }

    /// Unhealthy hosts first, because a turn takes nothing away from them; then by
    /// what is installed. Hosts that are Down come last: one of them would use up
    /// its time to start while another could be updated.
    pub(super) fn rank(&self) -> u8 {
        if self.down.is_some() {
            return 4;
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

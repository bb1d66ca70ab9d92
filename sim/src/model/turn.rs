//! One host's turn in a deployment.

use proto::id::{Digest, HostId};
use proto::service::{Condition, Health};

use super::{Millis, Standing};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    NotTargeted,
    Pending,
    /// `deferred_at` is when the holder last reported that it waits with its start.
    Leased {
        at: Millis,
        deferred_at: Option<Millis>,
    },
    Started {
        at: Millis,
    },
    Succeeded,
    Failed,
    Skipped,
}

#[derive(Clone, Debug)]
pub struct Turn {
    pub host: HostId,
    pub stage: Stage,
    pub healthy: bool,
    pub down: bool,
    /// 1 if the installed revision is unknown, 2 if it is another one, 3 if it is the one being deployed.
    pub installed: u8,
    /// The time since which the host has been Down during its turn.
    pub lost_since: Option<Millis>,
    /// True if the start was committed while the host held its lease.
    pub was_started: bool,
    /// True if the host is unwell by the group's check now.
    pub ailing: bool,
    /// True if the host was unwell when its turn was to begin.
    pub was_ailing: bool,
    /// The time at which the turn counts as failed after all; set if it succeeded and the
    /// host is now unwell.
    pub relapse_fails_at: Option<Millis>,
    pub zone: String,
    /// The index of its wave.
    pub wave: usize,
    /// True if the host was removed from the mesh since the deployment began.
    pub gone: bool,
    /// The number of times the turn has begun.
    pub attempt: u8,
    /// True if the host reported that its disk lacks room for the turn.
    pub is_short: bool,
}

impl Turn {
    pub fn new(
        host: HostId,
        standing: Option<Standing>,
        down: bool,
        is_target: bool,
        digest: Digest,
        zone: &str,
    ) -> Self {
        let installed = match standing.and_then(|standing| standing.revision) {
            None => 1,
            Some(revision) if revision != digest => 2,
            Some(_) => 3,
        };
        Turn {
            host,
            stage: if is_target { Stage::Pending } else { Stage::NotTargeted },
            healthy: standing.is_some_and(|standing| standing.healthy),
            down,
            installed,
            lost_since: None,
            was_started: false,
            ailing: false,
            was_ailing: false,
            relapse_fails_at: None,
            zone: zone.into(),
            wave: 0,
            gone: false,
            attempt: 1,
            is_short: false,
        }
    }

    pub fn is_in_flight(&self) -> bool {
        matches!(self.stage, Stage::Leased { .. } | Stage::Started { .. })
    }

    fn condition(&self) -> Condition {
        Condition {
            last_turn: Some(if self.healthy { Health::Healthy } else { Health::Unhealthy }),
            fails_check: self.ailing,
            is_down: self.down || self.gone,
            is_in_turn: self.is_in_flight(),
        }
    }

    pub fn is_available(&self) -> bool {
        self.condition().serves()
    }

    /// Returns true if a turn of this host takes nothing out of service.
    pub fn is_of_no_service(&self) -> bool {
        !self.condition().serves_but_for_turn()
    }

    /// Returns true if the host counts for H, the number of healthy hosts.
    pub(super) fn is_well(&self) -> bool {
        self.healthy && !self.gone
    }

    /// Returns the place in the order: broken hosts go first, hosts without room and hosts that are
    /// Down go last.
    pub(super) fn rank(&self) -> u8 {
        match (self.down, self.is_of_no_service()) {
            (true, _) => u8::MAX,
            (false, _) if self.is_short => 3,
            (false, true) => 0,
            (false, false) => self.installed,
        }
    }

    /// Returns true if the turn succeeded, but the host is Down or unwell now.
    pub(super) fn is_unsure(&self) -> bool {
        self.stage == Stage::Succeeded && self.healthy && (self.down || self.ailing)
    }
}

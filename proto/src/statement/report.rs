//! Reports: the statements of a host about itself, or about what it saw.

use super::Row;
use super::bounds::InvalidEntry;
use crate::alarm::AlarmState;
use crate::entry::{HostRecord, Index, Shortage, TurnOutcome};
use crate::id::{DeploymentId, GroupName, HostId};
use crate::lifecycle::LifecycleEvent;
use crate::trigger::GivenUp;

/// The most suspects that a host names when it defers its start.
pub const SUSPECTS_NAMED_MAX: usize = 5;

/// A report of a host about itself, or about what it saw.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Report {
    /// A host joined, came back with different facts, or raised its incarnation.
    HostJoined(HostRecord),
    /// Enough observers lost the host, so it counts as out of service.
    HostDown {
        /// The host that was lost.
        host: HostId,
        /// The incarnation that the observers lost. A newer one makes the entry void.
        incarnation: u64,
    },
    /// The observers of a host see it again.
    HostUp {
        /// The host that is back.
        host: HostId,
        /// The incarnation that the observers see.
        incarnation: u64,
    },
    /// The host starts its turn. It touches its application only once this entry is
    /// committed and its lease is still valid.
    TurnStarted {
        /// The deployment that the turn belongs to.
        deployment: DeploymentId,
        /// The host whose turn it is.
        host: HostId,
    },
    /// The turn of a host has ended.
    TurnEnded {
        /// The deployment that the turn belongs to.
        deployment: DeploymentId,
        /// The host whose turn it was.
        host: HostId,
        /// The outcome of the turn.
        outcome: TurnOutcome,
    },
    /// A host with a lease waits before it starts its turn, because other hosts are
    /// suspect. Its start timeout begins again at this entry.
    TurnDeferred {
        /// The deployment that the turn belongs to.
        deployment: DeploymentId,
        /// The host whose turn it is.
        host: HostId,
        /// The hosts that are suspect, at most [`SUSPECTS_NAMED_MAX`] of them.
        suspects: Vec<HostId>,
    },
    /// A host whose turn is still to begin says that its disk lacks room for the
    /// deployment, or has room again: see `state/shortages.rs`.
    RoomReported {
        /// The deployment that the turn belongs to.
        deployment: DeploymentId,
        /// The host that speaks.
        host: HostId,
        /// The shortage; `None` once there is room again.
        shortage: Option<Shortage>,
    },
    /// The agent of a host in its turn was killed or stopped while an event ran, and is
    /// back. The turn begins again with its first event. No event of it runs before
    /// this entry is committed.
    TurnBegunAnew {
        /// The deployment that the turn belongs to.
        deployment: DeploymentId,
        /// The host whose turn it is.
        host: HostId,
        /// The event that was interrupted.
        event: LifecycleEvent,
        /// The attempt that begins, counted from 1. The entry changes nothing unless this
        /// is the next attempt.
        attempt: u8,
    },
    /// A host says that its application has become well or unwell by the group's health
    /// check. These entries are damped: see [`crate::health`]. A host says nothing during
    /// its turn, because the turn succeeds only if the check passes.
    HealthChanged {
        /// The group that has the check.
        group: GroupName,
        /// The host that speaks.
        host: HostId,
        /// True if the application is well now.
        healthy: bool,
        /// The reason why the last probe failed; empty if the application is well.
        error: String,
        /// The index that the host had folded when it said this. The entry changes
        /// nothing if the fold has learned of something newer about the host since then.
        as_of: Index,
    },
    /// An alarm was read, and its state differs from what the ledger said.
    AlarmRead {
        /// The group that has the alarm.
        group: GroupName,
        /// The deployment that ran when the alarm was read. The reading counts for this
        /// deployment only.
        deployment: DeploymentId,
        /// The name of the alarm.
        alarm: String,
        /// The state that was read.
        state: AlarmState,
        /// One line for people.
        detail: String,
    },
    /// A trigger has told its receiver of happenings, or has given them up.
    TriggersDelivered {
        /// The group that has the trigger.
        group: GroupName,
        /// The name of the trigger.
        trigger: String,
        /// The number of the last happening that this covers; all earlier ones are
        /// covered too.
        up_to: u64,
        /// The happenings among them that were given up.
        given_up: Vec<GivenUp>,
    },
}

impl Report {
    pub(super) fn row(&self) -> Row<'_> {
        let of_turn = |kind, deployment: &DeploymentId, host: &HostId| {
            Row::new(kind).deployment(*deployment).by_host(*host)
        };
        match self {
            Report::HostJoined(record) => Row::new("HostJoined").by_host(record.host),
            Report::HostDown { host, .. } => Row::new("HostDown").host(*host).undoes(),
            Report::HostUp { host, .. } => Row::new("HostUp").host(*host).undoes(),
            Report::TurnStarted { deployment, host } => of_turn("TurnStarted", deployment, host),
            Report::TurnEnded { deployment, host, .. } => of_turn("TurnEnded", deployment, host),
            Report::TurnDeferred { deployment, host, .. } => of_turn("TurnDeferred", deployment, host),
            Report::RoomReported { deployment, host, .. } => {
                of_turn("RoomReported", deployment, host).undoes()
            }
            Report::TurnBegunAnew { deployment, host, .. } => of_turn("TurnBegunAnew", deployment, host),
            Report::HealthChanged { group, host, .. } => {
                Row::new("HealthChanged").group(group).by_host(*host)
            }
            Report::AlarmRead { group, deployment, .. } => {
                Row::new("AlarmRead").group(group).deployment(*deployment).undoes()
            }
            Report::TriggersDelivered { group, .. } => Row::new("TriggersDelivered").group(group),
        }
    }

    /// Checks the values that are refused rather than cut. What a host says of its own
    /// turn, health or alarms is cut to size when it is folded, or the deployment would
    /// wait for it.
    /// # Errors
    /// The first value that is out of its bounds.
    pub fn check_values(&self) -> Result<(), InvalidEntry> {
        match self {
            Report::HostJoined(record) => record.check_values(),
            Report::HostDown { .. }
            | Report::HostUp { .. }
            | Report::TurnStarted { .. }
            | Report::TurnEnded { .. }
            | Report::TurnDeferred { .. }
            | Report::RoomReported { .. }
            | Report::TurnBegunAnew { .. }
            | Report::HealthChanged { .. }
            | Report::AlarmRead { .. }
            | Report::TriggersDelivered { .. } => Ok(()),
        }
    }
}

//! What a rollout knows of its group's alarms: enough to hold its turns back,
//! and to stop.

use serde::{Deserialize, Serialize};

use super::{Blocker, ReasonCode, Rollout, Verdict};
use crate::alarm::StoppedBy;
use crate::id::HostId;
use crate::time::LedgerTime;

/// Whether alarms let turns begin. Open if there are none, or none counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct AlarmGate {
    /// Alarms that were not read yet since the deployment began.
    pub unread: u32,
    /// Alarms that are to be read.
    pub total: u32,
    /// Whether one is active: the deployment is about to be stopped.
    pub is_active: bool,
}

impl AlarmGate {
    /// What it holds turns back for.
    pub(super) fn blocker(self) -> Option<Blocker> {
        let AlarmGate { unread, total, is_active } = self;
        (unread > 0 || is_active).then_some(Blocker::AlarmUnread { unread, total })
    }
}

impl Rollout {
    /// Folds what is known of the alarms now. Returns which hosts got a lease
    /// by it.
    pub(crate) fn set_alarm_gate(&mut self, gate: AlarmGate, at: LedgerTime) -> Vec<HostId> {
        self.alarms = gate;
        self.advance(at)
    }

    /// Folds that an alarm says stop. Turns under way end at their next event.
    pub(crate) fn stop_on_alarm(&mut self, stopped_by: StoppedBy) {
        if self.verdict.is_none() {
            self.stopped_by = Some(stopped_by);
            self.conclude(Verdict::Stopped(self.reason(ReasonCode::AlarmActive)));
        }
    }
}

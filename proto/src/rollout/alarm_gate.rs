//! The group's alarms, as far as a rollout knows them: enough to hold back turns,
//! and to stop.

use super::{Blocker, ReasonCode, Rollout, Verdict};
use crate::alarm::StoppedBy;
use crate::id::HostId;
use crate::time::LedgerTime;

/// The state of the alarms that decides whether turns may begin. The gate is open
/// if there are no alarms, or none of them counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct AlarmGate {
    /// The number of alarms that were not read since the deployment began.
    pub unread: u32,
    /// The number of alarms that must be read.
    pub total: u32,
    /// True if an alarm is active: the deployment is about to be stopped.
    pub is_active: bool,
}

impl AlarmGate {
    /// Returns the reason to hold back turns, if there is one.
    pub(super) fn blocker(self) -> Option<Blocker> {
        let AlarmGate { unread, total, is_active } = self;
        (unread > 0 || is_active).then_some(Blocker::AlarmUnread { unread, total })
    }
}

impl Rollout {
    /// Folds what is known of the alarms now. Returns the hosts that got a lease
    /// because of it.
    pub(crate) fn set_alarm_gate(&mut self, gate: AlarmGate, at: LedgerTime) -> Vec<HostId> {
        self.alarms = gate;
        self.advance(at)
    }

    /// Folds that an alarm stops the deployment. Turns under way end before their
    /// next event.
    pub(crate) fn stop_on_alarm(&mut self, stopped_by: StoppedBy) {
        if self.verdict.is_none() {
            self.stopped_by = Some(stopped_by);
            self.conclude(Verdict::Stopped(self.reason(ReasonCode::AlarmActive)));
        }
    }
}

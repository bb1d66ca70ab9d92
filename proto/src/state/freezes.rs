//! Freezes: for a while, no new deployment begins in a group.
//!
//! A running deployment goes on. It was admitted before, and a rollout that is left
//! in the middle is worse than one that ends. Stops and rollbacks are always
//! possible.

use std::collections::BTreeMap;
use std::time::Duration;

use super::react::Happened;
use crate::entry::Submission;
use crate::id::GroupName;
use crate::io::Refusal;
use crate::time::LedgerTime;

/// The longest freeze: a mistyped year should not freeze a group forever.
pub const FREEZE_MAX: Duration = Duration::from_secs(FREEZE_MAX_DAYS * 24 * 3_600);
const FREEZE_MAX_DAYS: u64 = 366;

/// A freeze of a group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Freeze {
    /// The end of the freeze.
    pub until: LedgerTime,
    /// The beginning of the freeze.
    pub since: LedgerTime,
    /// The reason; may be empty.
    pub reason: String,
    /// The person who froze the group, by the name that they gave.
    pub by: String,
}

/// The freezes that have not ended.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Freezes {
    by_group: BTreeMap<GroupName, Freeze>,
}

impl Freezes {
    /// Puts back the freeze that a snapshot holds.
    pub(super) fn restore(&mut self, group: &GroupName, freeze: Freeze) {
        self.by_group.insert(group.clone(), freeze);
    }

    /// Returns the group's freeze.
    pub fn of(&self, group: &GroupName) -> Option<&Freeze> {
        self.by_group.get(group)
    }

    /// Returns the freeze that holds the deployment back now.
    pub fn holding(&self, submission: &Submission) -> Option<&Freeze> {
        self.of(&submission.group).filter(|_| submission.heeds_freeze())
    }

    /// Returns the earliest end of a freeze.
    pub(super) fn first_end(&self) -> Option<LedgerTime> {
        self.by_group.values().map(|freeze| freeze.until).min()
    }

    /// Checks whether a group may be frozen until then.
    pub(super) fn check_until(now: LedgerTime, until: LedgerTime) -> Result<(), Refusal> {
        if until <= now || until > now + FREEZE_MAX {
            return Err(Refusal::NotAFreeze { until, now, max_days: FREEZE_MAX_DAYS });
        }
        Ok(())
    }

    /// Refuses a deployment of a frozen group.
    pub(super) fn check_submission(&self, submission: &Submission) -> Result<(), Refusal> {
        match self.holding(submission).cloned() {
            None => Ok(()),
            Some(Freeze { until, reason, by, .. }) => {
                Err(Refusal::Frozen { group: submission.group.clone(), until, by, reason })
            }
        }
    }

    /// Freezes a group. A group that is frozen already stays so since the same time.
    pub(super) fn freeze(
        &mut self,
        now: LedgerTime,
        group: &GroupName,
        until: LedgerTime,
        reason: &str,
        by: &str,
    ) -> Vec<Happened> {
        let since = self.of(group).map_or(now, |known| known.since);
        self.restore(group, Freeze { until, since, reason: reason.into(), by: by.into() });
        vec![Happened::FreezesChanged]
    }

    /// Ends the group's freeze.
    pub(super) fn unfreeze(&mut self, group: &GroupName) -> Vec<Happened> {
        let was_frozen = self.by_group.remove(group).is_some();
        let ended = was_frozen.then(|| Happened::FreezeEnded(group.clone()));
        ended.into_iter().chain([Happened::FreezesChanged]).collect()
    }

    /// Ends every freeze whose time has come.
    pub(super) fn end_due(&mut self, now: LedgerTime) -> Vec<Happened> {
        let ended = self.by_group.extract_if(.., |_, freeze| freeze.until <= now);
        let ended = ended.map(|(group, _)| Happened::FreezeEnded(group));
        ended.chain([Happened::FreezesChanged]).collect()
    }

    /// Forgets a group that was deleted.
    pub(super) fn forget_group(&mut self, group: &GroupName) -> Vec<Happened> {
        self.by_group.remove(group);
        vec![Happened::FreezesChanged]
    }
}

//! Folds freezes: for a while, no new deployment begins in a group.
//!
//! A running deployment goes on. It was admitted before, and a rollout that is left
//! in the middle is worse than one that ends. Stops and rollbacks are always
//! possible.

use std::time::Duration;

use super::{State, Timer};
use crate::entry::Submission;
use crate::id::GroupName;
use crate::io::Refusal;
use crate::state::GroupState;
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

impl GroupState {
    /// Returns the freeze that holds the deployment back now.
    pub fn freeze_of(&self, submission: &Submission) -> Option<&Freeze> {
        self.freeze.as_ref().filter(|_| submission.heeds_freeze())
    }
}

impl State {
    pub(super) fn check_freeze(&self, name: &GroupName, until: LedgerTime) -> Result<(), Refusal> {
        if !self.groups.contains_key(name) {
            return Err(Refusal::UnknownGroup(name.clone()));
        }
        let now = self.clock;
        if until <= now || until > now + FREEZE_MAX {
            return Err(Refusal::NotAFreeze { until, now, max_days: FREEZE_MAX_DAYS });
        }
        Ok(())
    }

    pub(super) fn check_unfreeze(&self, name: &GroupName) -> Result<(), Refusal> {
        match self.groups.contains_key(name) {
            true => Ok(()),
            false => Err(Refusal::UnknownGroup(name.clone())),
        }
    }

    pub(super) fn check_frozen(&self, submission: &Submission) -> Result<(), Refusal> {
        let freeze = self.groups.get(&submission.group).and_then(|group| group.freeze_of(submission));
        match freeze.cloned() {
            None => Ok(()),
            Some(Freeze { until, reason, by, .. }) => {
                Err(Refusal::Frozen { group: submission.group.clone(), until, by, reason })
            }
        }
    }

    pub(super) fn freeze(&mut self, name: &GroupName, until: LedgerTime, reason: &str, by: &str) {
        let since = self.clock;
        let Some(group) = self.groups.get_mut(name) else { return };
        let since = group.freeze.as_ref().map_or(since, |known| known.since);
        group.freeze = Some(Freeze { until, since, reason: reason.into(), by: by.into() });
        self.set_thaw_timer();
    }

    pub(super) fn unfreeze(&mut self, name: &GroupName) {
        let Some(group) = self.groups.get_mut(name) else { return };
        if group.freeze.take().is_some() {
            self.begin_next(name);
        }
        self.set_thaw_timer();
    }

    /// Ends every freeze whose time has come.
    pub(super) fn thaw(&mut self) {
        let is_over = |group: &GroupState| group.freeze.as_ref().is_some_and(|it| it.until <= self.clock);
        let over: Vec<GroupName> =
            self.groups.iter().filter(|(_, group)| is_over(group)).map(|(name, _)| name.clone()).collect();
        over.iter().for_each(|name| self.unfreeze(name));
        self.set_thaw_timer();
    }

    /// Sets the one timer for all groups to the earliest end of a freeze.
    pub(super) fn set_thaw_timer(&mut self) {
        self.timers.clear(Timer::Thaw);
        let first = self.groups.values().filter_map(|group| group.freeze.as_ref()).map(|it| it.until).min();
        if let Some(first) = first {
            self.timers.set(Timer::Thaw, first);
        }
    }
}

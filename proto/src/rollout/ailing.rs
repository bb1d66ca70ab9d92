//! Hosts whose application the group's check has found unwell.
//!
//! Like a host that is Down, such a host is out of service. It goes first, because
//! its turn takes nothing out of service.
//!
//! # Decisions
//!
//! - A host that is unwell is treated like one that is Down, not like one that
//!   failed. H counts how turns ended, so an illness that passes pauses a rollout and
//!   fails none.
//! - To the rule, pending hosts that are Down or unwell are what unhealthy instances
//!   are to AWS: their turns take nothing away. Otherwise the fix for an unwell fleet
//!   would be stopped for the sake of hosts that serve no requests.
//! - Both marks are kept apart: good news takes back only what bad news of the same
//!   kind brought.
//! - When H is down to M, good news ends a deployment: a pending host that serves
//!   again may not leave service, and no other host can raise H for it.
//! - A relapse is the exception that fails a turn: a host that this deployment
//!   updated, and that stays unwell for the check's `grace`. The deployment does not
//!   conclude before that is decided. So a revision that breaks after a minute is
//!   rolled back, and an application that restarts is not.

use super::Rollout;
use crate::entry::Failure;
use crate::id::HostId;
use crate::time::LedgerTime;

impl Rollout {
    /// Folds that a host became unwell by its check, or well again. Returns the
    /// hosts that got or lost a lease because of it.
    pub fn set_ailing(&mut self, host: HostId, ailing: Option<LedgerTime>, at: LedgerTime) -> Vec<HostId> {
        if !self.members.contains_key(&host) || self.status.is_over() {
            return Vec::new();
        }
        self.change(host, |member| member.ailing = ailing);
        if ailing.is_none() {
            self.reconsider_lease(host);
        }
        self.go_on(at)
    }

    /// Returns true if the host's turn succeeded and it is unwell now.
    pub fn has_relapsed(&self, host: HostId) -> bool {
        self.members.get(&host).is_some_and(super::Member::has_relapsed)
    }

    /// Folds that an updated host was unwell for too long. Returns the hosts that
    /// got a lease because of it.
    pub(crate) fn fail_relapsed(&mut self, host: HostId, failure: Failure, at: LedgerTime) -> Vec<HostId> {
        if self.verdict.is_some() || !self.has_relapsed(host) {
            return Vec::new();
        }
        self.fail_after_all(host, failure);
        self.advance(at)
    }
}

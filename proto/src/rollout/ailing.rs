//! Hosts whose application the group's check has found unwell.
//!
//! Such a host is not in service, like one that is Down, and goes first: its turn
//! takes nothing away. Being unwell may pass, so it stops nothing for good: H
//! counts how turns ended. But a host that was *updated* and is unwell longer than
//! the check's grace has failed its turn after all.

use super::Rollout;
use crate::entry::Failure;
use crate::id::HostId;
use crate::time::LedgerTime;

impl Rollout {
    /// Folds that a host became unwell by its check, or well again. Returns
    /// which hosts got or lost a lease by it.
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

    /// Whether its turn went well, and it is unwell now.
    pub fn has_relapsed(&self, host: HostId) -> bool {
        self.members.get(&host).is_some_and(super::Member::has_relapsed)
    }

    /// Folds that an updated host was unwell for too long. Returns which hosts
    /// got a lease by it.
    pub(crate) fn fail_relapsed(&mut self, host: HostId, failure: Failure, at: LedgerTime) -> Vec<HostId> {
        if self.verdict.is_some() || !self.has_relapsed(host) {
            return Vec::new();
        }
        self.fail_after_all(host, failure);
        self.advance(at)
    }
}

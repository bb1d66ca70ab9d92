//! Hosts whose application the group's check has found unwell.
//!
//! Like a host that is Down, such a host is out of service. It goes first, because
//! its turn takes nothing out of service. Being unwell may pass, so it does not
//! fail a deployment by itself: H counts the outcomes of turns. But if a host that
//! was *updated* is unwell for longer than the check's grace, its turn has failed
//! after all.

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

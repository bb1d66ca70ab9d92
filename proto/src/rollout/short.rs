//! Hosts that lack disk space for the deployment: the others of their wave go first.

use super::{Rollout, Stage};
use crate::id::HostId;
use crate::time::LedgerTime;

impl Rollout {
    /// Folds that a host lacks room before its turn has begun. It gives up its lease
    /// and goes to the end of its wave. If no other host goes before it, it gets a
    /// lease again. Returns the hosts that got or lost a lease because of it.
    pub(crate) fn lack_room(&mut self, host: HostId, at: LedgerTime) -> Vec<HostId> {
        self.change(host, |member| {
            member.put_last(true);
            member.stage = Stage::Pending;
        });
        let mut changed = vec![host];
        changed.extend(self.advance(at));
        changed
    }

    /// Folds that a host has room again before its turn has begun. It goes before
    /// `others` that still lack room, even if they have a lease. Otherwise the end of
    /// their wait could end the deployment before its turn. Returns the hosts that got
    /// or lost a lease because of it.
    pub(crate) fn have_room(&mut self, host: HostId, others: &[HostId], at: LedgerTime) -> Vec<HostId> {
        self.change(host, |member| member.put_last(false));
        if self.may_start(host) {
            return Vec::new();
        }
        let gives_way = |other: &&HostId| **other != host && self.may_start(**other);
        let mut changed: Vec<HostId> = others.iter().filter(gives_way).copied().collect();
        for other in &changed {
            self.change(*other, |member| member.stage = Stage::Pending);
        }
        changed.extend(self.advance(at));
        changed
    }
}

//! Folds recoveries of the mesh.

use super::{Happened, Host, Hosts, Moment};
use crate::entry::Index;
use crate::id::{HostId, VoterId};
use crate::recovery::{RECOVERIES_MAX, Recovery, SignedRecovery, renumbered};
use crate::time::LedgerTime;

/// One recovery, as the ledger has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recovered {
    /// The number of this recovery, counted from 1.
    pub epoch: u64,
    /// The index of its entry.
    pub index: Index,
    /// The time.
    pub at: LedgerTime,
    /// The person who decided it.
    pub by: String,
    /// The host from whose ledger the mesh continued.
    pub host: HostId,
    /// The voters' hosts that were given up.
    pub gone: Vec<HostId>,
    pub(in crate::state) id: [u8; 32],
}

impl Hosts {
    /// Folds a recovery: its host goes on with another number.
    pub(in crate::state) fn recover(&mut self, now: Moment, signed: &SignedRecovery) -> Vec<Happened> {
        let Recovery { epoch, host, voter, gone, at, by, .. } = signed.recovery().clone();
        let (index, id) = (now.index, signed.id());
        self.changed_at = index;
        self.recoveries.push_back(Recovered { epoch, index, at, by, host, gone, id });
        if self.recoveries.len() > RECOVERIES_MAX {
            self.recoveries.pop_front();
        }
        let Some(known) = self.by_id.get_mut(&host) else { return Vec::new() };
        let before = std::mem::replace(&mut known.record.voter, voter);
        let is_back = known.down.is_some() && known.twin.is_none();
        self.taken.take(&known.record, Some(before));
        // The mesh could not continue from it if it were Down.
        if is_back { self.change_down(now, host, false) } else { Vec::new() }
    }

    /// Returns true if a host took this number because of recoveries, and so has lost
    /// nothing.
    pub(super) fn is_renumbered(&self, known: &Host, voter: VoterId) -> bool {
        (0..self.recoveries.len()).any(|first| {
            let mut number = known.record.voter;
            self.recoveries.iter().skip(first).any(|recovered| {
                number = renumbered(&recovered.id, number);
                number == voter
            })
        })
    }
}

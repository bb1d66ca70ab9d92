//! Folds recoveries of the mesh.

use super::{Host, State};
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
    pub(super) id: [u8; 32],
}

impl State {
    /// Returns the recoveries of this mesh, the newest last.
    pub fn recoveries(&self) -> impl DoubleEndedIterator<Item = &Recovered> {
        self.recoveries.iter()
    }

    /// Folds a recovery. The caller has verified it and its place in the ledger.
    ///
    /// # Panics
    /// If `index` does not follow the last one.
    pub fn recover(&mut self, index: Index, signed: &SignedRecovery) {
        assert!(index > self.index, "entries are folded in order: {index} after {}", self.index);
        let Recovery { epoch, host, voter, gone, at, by, .. } = signed.recovery().clone();
        self.index = index;
        self.clock = self.clock.max(at);
        self.fire_timers();
        self.hosts_changed_at = index;
        if let Some(known) = self.hosts.get_mut(&host) {
            let before = std::mem::replace(&mut known.record.voter, voter);
            let is_back = known.down.is_some() && known.twin.is_none();
            let record = known.record.clone();
            self.taken.take(&record, Some(before));
            if is_back {
                // The mesh could not continue from it if it were Down.
                self.change_down(host, false);
            }
        }
        self.recoveries.push_back(Recovered { epoch, index, at, by, host, gone, id: signed.id() });
        if self.recoveries.len() > RECOVERIES_MAX {
            self.recoveries.pop_front();
        }
        self.forget_deferrals();
        self.forget_shortages();
    }

    /// Returns true if a host took this number because of recoveries, and so has lost
    /// nothing.
    pub(super) fn is_renumbered(&self, known: Option<&Host>, voter: VoterId) -> bool {
        let Some(known) = known else { return false };
        (0..self.recoveries.len()).any(|first| {
            let mut number = known.record.voter;
            self.recoveries.iter().skip(first).any(|recovered| {
                number = renumbered(&recovered.id, number);
                number == voter
            })
        })
    }
}

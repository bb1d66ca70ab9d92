//! The last beacon of each host that this one hears.

use std::collections::BTreeMap;

use crate::entry::Index;
use crate::id::{HostId, VoterId};
use crate::ledger::Seal;
use crate::time::{LedgerTime, Time};

/// What a host said of itself in its last beacon.
#[derive(Clone, Debug)]
pub(crate) struct HostReport {
    pub(crate) incarnation: u64,
    pub(crate) index: Index,
    pub(crate) leader: Option<VoterId>,
    pub(crate) checkpoint: Option<(Index, Seal)>,
    pub(crate) clock: ClockReport,
    /// Term and index of its last entry.
    pub(crate) last: (u64, Index),
}

/// The clocks of a host, as its beacon told them.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ClockReport {
    /// The time on its wall clock.
    pub(crate) wall: LedgerTime,
    /// The ledger's time, if it has counted it without a break.
    pub(crate) counted: Option<LedgerTime>,
    /// The time at which the beacon arrived.
    pub(crate) at: Time,
    /// The lead of its wall clock over the ledger's at that time, in milliseconds.
    pub(crate) ahead: i64,
}

/// The last report of each host.
pub(crate) type Reports = BTreeMap<HostId, HostReport>;

//! Requests to remove a host that wait until the host no longer votes.

use crate::id::HostId;
use crate::io::RequestId;
use crate::time::Time;

/// A removal that is committed and not yet answered.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Departure {
    pub(crate) request: RequestId,
    pub(crate) host: HostId,
    pub(crate) since: Time,
}

/// The removals that are not answered yet.
#[derive(Clone, Debug, Default)]
pub(crate) struct Departures {
    pending: Vec<Departure>,
}

impl Departures {
    pub(crate) fn add(&mut self, departure: Departure) {
        self.pending.push(departure);
    }

    /// Takes all of them, to put back those that must still wait.
    pub(crate) fn take(&mut self) -> Vec<Departure> {
        std::mem::take(&mut self.pending)
    }

    /// Returns the time of the oldest request.
    pub(crate) fn oldest(&self) -> Option<Time> {
        self.pending.iter().map(|departure| departure.since).min()
    }

    pub(crate) fn len(&self) -> usize {
        self.pending.len()
    }
}

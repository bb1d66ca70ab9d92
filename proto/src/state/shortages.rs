//! Hosts whose disk lacks room for their turn to come.
//!
//! A disk that turns out to be full in the middle of a turn fails that turn, and under
//! OneAtATime the whole release. So a host looks for room before its turn, and says in
//! the ledger if it lacks some. It does not begin its turn then. It gives up its lease,
//! and the others of its wave go first, as they go before a host that is Down. When its
//! turn comes again, it keeps its lease: it starts as soon as there is room, or fails
//! after the policy's `start_timeout` with the numbers that it gave. A shorter wait
//! would fail a release that one deleted file can save. A longer one would hide the
//! full disk behind a release that does not end.
//!
//! Deferrals (`deferrals.rs`) are similar, but they extend the start timeout: a host
//! whose neighbours are suspect cannot help itself, and suspicion is soon over.

use std::collections::BTreeMap;

use super::react::Happened;
use super::rollouts::Rollouts;
use super::{DeploymentId, HostId, LedgerTime, State};
use crate::entry::Shortage;

/// A host that lacks disk space for a deployment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Short {
    /// The time at which the host first said so.
    pub since: LedgerTime,
    /// The time at which it gave these numbers.
    pub at: LedgerTime,
    /// The numbers.
    pub shortage: Shortage,
}

/// The shortages of hosts whose turn is to come.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub(super) struct Shortages {
    by_turn: BTreeMap<(DeploymentId, HostId), Short>,
}

/// The change that a host's report about its disk makes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Change {
    Began,
    Ended,
}

impl Shortages {
    /// Puts back what a snapshot holds.
    pub(super) fn restore(by_turn: BTreeMap<(DeploymentId, HostId), Short>) -> Self {
        Shortages { by_turn }
    }

    pub(super) fn all(&self) -> &BTreeMap<(DeploymentId, HostId), Short> {
        &self.by_turn
    }

    /// Notes a report. Returns what has begun or ended by it.
    fn note(
        &mut self,
        of: (DeploymentId, HostId),
        shortage: Option<Shortage>,
        at: LedgerTime,
    ) -> Option<Change> {
        match (shortage, self.by_turn.get(&of).copied()) {
            (Some(shortage), Some(before)) => {
                self.by_turn.insert(of, Short { at, shortage, ..before });
                None
            }
            (Some(shortage), None) => {
                self.by_turn.insert(of, Short { since: at, at, shortage });
                Some(Change::Began)
            }
            (None, Some(_)) => {
                self.by_turn.remove(&of);
                Some(Change::Ended)
            }
            (None, None) => None,
        }
    }

    /// Forgets shortages of hosts whose turn has begun or will not come. This runs
    /// after every entry, because a turn can end in many ways and shortages are
    /// rare.
    pub(super) fn forget(&mut self, rollouts: &Rollouts) {
        self.by_turn.retain(|(deployment, host), _| rollouts.is_to_begin(*deployment, *host));
    }
}

impl State {
    /// Returns true if any host lacks disk space for its turn to come.
    pub(crate) fn has_shortages(&self) -> bool {
        !self.shortages.all().is_empty()
    }

    /// Returns the host's shortage, if it lacks disk space for its turn to come in
    /// this deployment.
    pub fn shortage(&self, deployment: DeploymentId, host: HostId) -> Option<&Short> {
        self.shortages.all().get(&(deployment, host))
    }

    /// Returns the hosts that lack disk space for this deployment.
    pub fn shortages(&self, deployment: DeploymentId) -> impl Iterator<Item = (HostId, &Short)> {
        let of_it = self.shortages.all().iter().filter(move |((of, _), _)| *of == deployment);
        of_it.map(|((_, host), short)| (*host, short))
    }

    /// Folds a host's report about its disk.
    pub(super) fn report_room(
        &mut self,
        deployment: DeploymentId,
        host: HostId,
        shortage: Option<Shortage>,
    ) -> Vec<Happened> {
        if !self.rollouts.is_to_begin(deployment, host) {
            return Vec::new();
        }
        let at = self.clock;
        // With the host itself, if it was among them.
        let others: Vec<HostId> = self.shortages(deployment).map(|(other, _)| other).collect();
        let hosts = match self.shortages.note((deployment, host), shortage, at) {
            Some(Change::Began) => self.rollouts.lack_room(deployment, host, at),
            Some(Change::Ended) => self.rollouts.have_room(deployment, host, &others, at),
            None => return Vec::new(),
        };
        vec![Happened::LeasesChanged { deployment, hosts }]
    }

    /// Returns true if this report would change nothing.
    pub(super) fn is_room_settled(
        &self,
        deployment: DeploymentId,
        host: HostId,
        shortage: Option<Shortage>,
    ) -> bool {
        !self.rollouts.is_to_begin(deployment, host)
            || self.shortage(deployment, host).map(|short| short.shortage) == shortage
    }
}

#[cfg(test)]
mod tests;

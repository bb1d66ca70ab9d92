//! The numbers that hosts have in consensus.

use std::collections::{BTreeMap, VecDeque};

use super::Host;
use crate::entry::HostRecord;
use crate::id::{HostId, VoterId};
use crate::io::Refusal;

/// The number of dropped voter numbers that are remembered. A dropped number
/// matters only while it is among the voters. There are at most fourteen voters, in
/// the middle of a change, and the leader replaces a dropped one within a second.
/// Fewer hosts than this can lose their disks in that time.
const RETIRED_KEPT: usize = 1_024;

/// The numbers in consensus: which host has which, and which ones hosts have
/// dropped. A host that claimed another host's number would vote in its place.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub(in crate::state) struct Taken {
    pub(in crate::state) by: BTreeMap<VoterId, HostId>,
    /// The dropped numbers and the hosts that had them, the last one at the end. If
    /// two agents run with the same key, each announces its own number again and
    /// again.
    pub(in crate::state) retired: VecDeque<(VoterId, HostId)>,
}

impl Taken {
    pub(super) fn check(&self, record: &HostRecord) -> Result<(), Refusal> {
        let is_anothers = |host: &HostId| *host != record.host;
        let was_anothers =
            self.retired.iter().any(|(voter, host)| *voter == record.voter && is_anothers(host));
        if record.voter.0 == 0 || was_anothers || self.by.get(&record.voter).is_some_and(is_anothers) {
            return Err(Refusal::VoterTaken(record.voter));
        }
        Ok(())
    }

    pub(super) fn take(&mut self, record: &HostRecord, before: Option<VoterId>) {
        if let Some(before) = before.filter(|before| *before != record.voter) {
            self.retire(before, record.host);
        }
        self.by.insert(record.voter, record.host);
    }

    pub(super) fn retire(&mut self, voter: VoterId, host: HostId) {
        self.by.remove(&voter);
        self.retired.retain(|(retired, _)| *retired != voter);
        self.retired.push_back((voter, host));
        if self.retired.len() > RETIRED_KEPT {
            self.retired.pop_front();
        }
    }

    /// Returns true if the numbers match the records of these hosts.
    pub(super) fn is_of(&self, hosts: &BTreeMap<HostId, Host>) -> bool {
        let is_known = |host: &Host| self.by.get(&host.record.voter) == Some(&host.record.host);
        self.by.len() == hosts.len() && hosts.values().all(is_known)
    }
}

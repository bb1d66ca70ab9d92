//! Entries that are in the ledger twice.
//!
//! A proposer that does not know whether its proposal was lost sends it again, and
//! a network may duplicate it. So one proposal can be committed twice, with another
//! in between. Most statements change nothing the second time. Those that could undo
//! what came in between are folded once: for each proposer the state remembers
//! which of its last proposals it has seen.

use std::collections::{BTreeMap, VecDeque};

use super::State;
use crate::entry::{Entry, Index, ProposalId};
use crate::id::HostId;
use crate::statement::Statement;

/// The number of proposers that are remembered. Operators use a few hosts, and
/// hashes choose the hosts that propose Down and Up. Beyond this number, the
/// proposer that has been silent longest is forgotten, and a repeated proposal of
/// it is folded again.
pub const PROPOSERS_KEPT: usize = 1_024;
/// The number of starts of one agent that are remembered: the running one, and the
/// one before, whose frames may still be on their way.
const STARTS_KEPT: usize = 2;
/// The number of a start's proposals that are remembered, counted back from the
/// newest. It is half the number of requests that a host may have open. An older
/// proposal counts as seen, and its proposer proposes it again under a new number.
pub const NUMBERS_KEPT: u32 = u128::BITS;

/// The memory of one proposer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Proposer {
    /// Its last entry that could undo others.
    pub(super) last: Index,
    /// Its starts; the one that spoke last is at the end.
    pub(super) starts: VecDeque<Start>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Start {
    /// The name of the start: the incarnation, and a number drawn at random.
    pub(super) name: (u64, u32),
    pub(super) newest: u32,
    /// A bit set: bit n is set if the proposal n before the newest was seen.
    pub(super) seen: u128,
}

/// Splits a proposal id into its start, and its number within that start.
fn parts(proposal: ProposalId) -> ((u64, u32), u32) {
    let low = |number: u64| u32::try_from(number & u64::from(u32::MAX)).unwrap_or(u32::MAX);
    ((proposal.incarnation, low(proposal.number >> 32)), low(proposal.number))
}

impl Start {
    fn has_seen(&self, number: u32) -> bool {
        let before = self.newest.checked_sub(number);
        before.is_some_and(|before| self.seen.checked_shr(before).is_none_or(|seen| seen & 1 == 1))
    }

    fn see(&mut self, number: u32) {
        let ahead = number.saturating_sub(self.newest);
        self.newest = self.newest.max(number);
        self.seen =
            self.seen.checked_shl(ahead).unwrap_or(0) | 1_u128.checked_shl(self.newest - number).unwrap_or(0);
    }
}

/// The proposals of each host that could undo other entries, as far as they are
/// remembered.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub(super) struct Proposers {
    by_host: BTreeMap<HostId, Proposer>,
}

impl Proposers {
    /// Puts back what a snapshot holds.
    pub(super) fn restore(by_host: BTreeMap<HostId, Proposer>) -> Self {
        Proposers { by_host }
    }

    pub(super) fn all(&self) -> &BTreeMap<HostId, Proposer> {
        &self.by_host
    }

    fn has_seen(&self, proposal: ProposalId) -> bool {
        let (name, number) = parts(proposal);
        let starts = self.by_host.get(&proposal.host).map(|proposer| &proposer.starts);
        starts.is_some_and(|starts| starts.iter().any(|start| start.name == name && start.has_seen(number)))
    }

    /// Notes the proposal of an entry that could undo others.
    pub(super) fn note(&mut self, proposal: ProposalId, index: Index) {
        let (name, number) = parts(proposal);
        let fresh = || Proposer { last: 0, starts: VecDeque::new() };
        let proposer = self.by_host.entry(proposal.host).or_insert_with(fresh);
        proposer.last = index;
        let known = proposer.starts.iter().position(|start| start.name == name);
        let known = known.and_then(|at| proposer.starts.remove(at));
        let mut start = known.unwrap_or(Start { name, newest: number, seen: 0 });
        start.see(number);
        proposer.starts.push_back(start);
        if proposer.starts.len() > STARTS_KEPT {
            proposer.starts.pop_front();
        }
        if self.by_host.len() > PROPOSERS_KEPT {
            let silent = self.by_host.iter().min_by_key(|(_, proposer)| proposer.last);
            if let Some(silent) = silent.map(|(host, _)| *host) {
                self.by_host.remove(&silent);
            }
        }
    }
}

impl State {
    /// Returns true if the entry was folded before, or is so old that nobody could
    /// tell. Then it changes nothing.
    pub fn is_repeated(&self, entry: &Entry) -> bool {
        self.has_seen(entry.proposal, &entry.statement)
    }

    pub(crate) fn has_seen(&self, proposal: ProposalId, statement: &Statement) -> bool {
        statement.may_undo() && self.proposers.has_seen(proposal)
    }
}

#[cfg(test)]
mod tests;

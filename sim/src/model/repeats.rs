//! Finds proposals that are already in the ledger, with a list of all of them.

use std::collections::{BTreeMap, BTreeSet};

use proto::entry::Entry;
use proto::id::HostId;
use proto::state::NUMBERS_KEPT;
use proto::statement::{Intent, Report, Statement};

/// One start of an agent: its incarnation, and the upper half of its proposal
/// numbers.
type Start = (u64, u64);

#[derive(Clone, Debug, Default)]
pub(super) struct Proposed {
    /// For each host, the numbers of its proposals by start. The start that
    /// proposed last is the last one. (The real fold forgets the oldest of very
    /// many hosts; no run has that many.)
    by_host: BTreeMap<HostId, Vec<(Start, BTreeSet<u64>)>>,
}

/// Returns true if the entry states how something is, not that something has
/// happened. Such an entry would be wrong if it were repeated later.
fn says_how_it_is(statement: &Statement) -> bool {
    match statement {
        Statement::Intent(intent) => matches!(
            intent,
            Intent::SetGroup(_)
                | Intent::DeleteGroup(_)
                | Intent::SetConfig(_)
                | Intent::DeleteConfig(_)
                | Intent::SetAlarm { .. }
                | Intent::Freeze { .. }
                | Intent::Unfreeze(_)
        ),
        Statement::Report(report) => {
            matches!(report, Report::HostDown { .. } | Report::HostUp { .. })
                || matches!(report, Report::AlarmRead { .. } | Report::RoomReported { .. })
        }
        Statement::Finding(_) => false,
    }
}

impl Proposed {
    /// Notes the proposal, and returns true if the entry must be folded: its
    /// proposal is in the ledger for the first time, as far as the list can
    /// tell.
    pub(super) fn is_first(&mut self, entry: &Entry) -> bool {
        if !says_how_it_is(&entry.statement) {
            return true;
        }
        let number = entry.proposal.number;
        let start = (entry.proposal.incarnation, number >> 32);
        let starts = self.by_host.entry(entry.proposal.host).or_default();
        let mut numbers = BTreeSet::new();
        if let Some(at) = starts.iter().position(|(known, _)| *known == start) {
            if starts[at].1.contains(&number)
                || starts[at].1.last() >= Some(&(number + u64::from(NUMBERS_KEPT)))
            {
                return false;
            }
            numbers = starts.remove(at).1;
        }
        numbers.insert(number);
        starts.push((start, numbers));
        if starts.len() == 3 {
            starts.remove(0);
        }
        true
    }
}

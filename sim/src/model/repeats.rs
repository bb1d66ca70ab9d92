//! Which proposals are in the ledger already: a list of all of them.

use std::collections::{BTreeMap, BTreeSet};

use proto::entry::{Body, Entry};
use proto::id::HostId;
use proto::state::NUMBERS_KEPT;

/// One start of an agent: its incarnation, and the upper half of its numbers.
type Start = (u64, u64);

#[derive(Clone, Debug, Default)]
pub(super) struct Proposed {
    /// Of each host the numbers by start, and the start that spoke last as the
    /// last. (So many hosts that one is forgotten are in no run.)
    by_host: BTreeMap<HostId, Vec<(Start, BTreeSet<u64>)>>,
}

/// What says how something is, not that something has happened: said late, it
/// would be wrong.
fn says_how_it_is(body: &Body) -> bool {
    matches!(body, Body::HostDown { .. } | Body::HostUp { .. } | Body::GroupSet(_) | Body::GroupDeleted(_))
        || matches!(body, Body::ConfigSet(_) | Body::ConfigDeleted(_))
        || matches!(body, Body::AlarmRead { .. } | Body::AlarmSet { .. })
        || matches!(body, Body::Frozen { .. } | Body::Unfrozen { .. })
}

impl Proposed {
    /// Whether it is to be folded: it stands there for the first time, as far as
    /// can be told. Takes note of it.
    pub(super) fn is_first(&mut self, entry: &Entry) -> bool {
        if !says_how_it_is(&entry.body) {
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

//! The voters after each entry: a second record, which is kept from the
//! committed changes alone.

use std::collections::{BTreeMap, BTreeSet};

use proto::entry::Index;
use proto::id::VoterId;
use proto::node::Node;
use proto::promise::{Change, Electorate, Place};

#[derive(Debug, Default)]
pub(super) struct Electorates {
    /// Each electorate, by the entry from which on it votes.
    since: BTreeMap<Index, Electorate>,
    last: Index,
}

impl Electorates {
    /// Notes the founding of the mesh, which begins with one voter. If that
    /// voter loses power before anything is durable, it founds the mesh again.
    pub(super) fn founds(&mut self, node: &Node) -> bool {
        let index = node.state().index();
        let is_first = self.since.len() <= 1 && (self.last == 0 || self.last == index);
        if !is_first || index != FOUNDING || node.electorate().is_none() {
            return false;
        }
        let voters = BTreeSet::from([node.voter()]);
        self.since.insert(index, Electorate { voters, outgoing: BTreeSet::new() });
        self.last = index;
        true
    }

    #[cfg(test)]
    pub(super) fn begin(&mut self, electorate: Electorate) {
        self.since.insert(FOUNDING, electorate);
    }

    pub(super) fn last(&self) -> Index {
        self.last
    }

    pub(super) fn follow(&mut self, place: &Place) {
        if place.index <= self.last {
            return;
        }
        self.last = place.index;
        if let Some(voter) = place.recovered_by {
            let voters = BTreeSet::from([voter]);
            self.since.insert(place.index, Electorate { voters, outgoing: BTreeSet::new() });
            return;
        }
        let current = self.since.last_key_value().map(|(_, electorate)| electorate.clone());
        if let (Some(change), Some(current)) = (&place.change, current)
            && let Some(changed) = changed(&current, change)
        {
            self.since.insert(place.index, changed);
        }
    }

    pub(super) fn at(&self, index: Index) -> Option<&Electorate> {
        self.since.range(..=index).next_back().map(|(_, electorate)| electorate)
    }

    pub(super) fn latest(&self) -> Option<&Electorate> {
        self.since.last_key_value().map(|(_, electorate)| electorate)
    }

    /// Returns the index of the last change up to `index`; 0 if there was none
    /// since the founding.
    pub(super) fn changed_at(&self, index: Index) -> Index {
        let changes = self.since.range(..=index).next_back().map(|(index, _)| *index);
        changes.filter(|index| *index > FOUNDING).unwrap_or(0)
    }

    /// Returns true if `holds` is true for an electorate that voted while a
    /// host folded the entries between `from` and `to`.
    pub(super) fn any_between(&self, from: Index, to: Index, holds: impl Fn(&Electorate) -> bool) -> bool {
        let first = self.since.range(..=from).next_back().map_or(from, |(index, _)| *index);
        self.since.range(first..=to.max(first)).any(|(_, electorate)| holds(electorate))
    }

    /// Returns true if `holds` is true for the latest electorate or the one
    /// before it. When an entry is committed, the leader counts by what it has
    /// folded, which may be less.
    pub(super) fn any_latest(&self, holds: impl Fn(&Electorate) -> bool) -> bool {
        self.since.is_empty() || self.since.values().rev().take(2).any(holds)
    }
}

/// The index of the snapshot with which every mesh begins.
const FOUNDING: Index = 1;

/// Applies a change; returns None if consensus does not accept it.
fn changed(current: &Electorate, change: &Change) -> Option<Electorate> {
    let named: Vec<VoterId> =
        [&change.add, &change.learn, &change.remove].into_iter().flatten().copied().collect();
    let is_handing_over = !current.outgoing.is_empty();
    if named.is_empty() {
        return is_handing_over.then(|| Electorate { outgoing: BTreeSet::new(), ..current.clone() });
    }
    let distinct: BTreeSet<VoterId> = named.iter().copied().collect();
    if is_handing_over || distinct.len() != named.len() || distinct.contains(&VoterId(0)) {
        return None;
    }
    let mut voters = current.voters.clone();
    voters.extend(&change.add);
    voters.retain(|voter| !change.remove.contains(voter) && !change.learn.contains(voter));
    let outgoing = if named.len() > 1 { current.voters.clone() } else { BTreeSet::new() };
    (!voters.is_empty()).then_some(Electorate { voters, outgoing })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_of_two_keeps_the_old_voters_until_it_is_complete() {
        let voters = |list: &[u64]| list.iter().copied().map(VoterId).collect::<BTreeSet<_>>();
        let first = Electorate { voters: voters(&[1, 2, 3]), outgoing: BTreeSet::new() };
        let change = Change { add: vec![VoterId(4)], learn: Vec::new(), remove: vec![VoterId(1)] };
        let joint = changed(&first, &change).expect("a change");
        assert_eq!((&joint.voters, &joint.outgoing), (&voters(&[2, 3, 4]), &voters(&[1, 2, 3])));
        assert_eq!(changed(&joint, &change), None, "one at a time");
        let complete = changed(&joint, &Change::default()).expect("a change");
        assert_eq!((complete.voters, complete.outgoing), (voters(&[2, 3, 4]), BTreeSet::new()));
    }
}

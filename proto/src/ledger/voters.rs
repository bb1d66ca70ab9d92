//! The voters: the configuration of consensus as our own value, and how the mesh
//! chooses it.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::id::VoterId;

/// The time that a voter must be Down before it is replaced. Suspicion alone never
/// replaces one.
pub(crate) const REPLACE_AFTER: Duration = Duration::from_secs(60);

/// The number that means no voter in raft-rs.
const NOBODY: VoterId = VoterId(0);

/// The voters, the outgoing voters while a change is under way, and the learners,
/// which get the log before they may vote.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub(crate) struct Voters {
    pub(crate) voters: BTreeSet<VoterId>,
    /// Not empty while a joint change is under way: then both sets must agree.
    pub(crate) outgoing: BTreeSet<VoterId>,
    pub(crate) learners: BTreeSet<VoterId>,
}

/// A change of the voters. An empty one completes the joint change under way.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub(crate) struct VoterChange {
    pub(crate) add: Vec<VoterId>,
    pub(crate) learn: Vec<VoterId>,
    pub(crate) remove: Vec<VoterId>,
}

impl VoterChange {
    /// Returns true if the change needs a joint configuration, because it changes
    /// more than one voter.
    pub(crate) fn is_joint(&self) -> bool {
        self.add.len() + self.learn.len() + self.remove.len() > 1
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.add.is_empty() && self.learn.is_empty() && self.remove.is_empty()
    }

    /// Returns true if the change names each voter once, and none of them is
    /// [`NOBODY`].
    fn is_sound(&self) -> bool {
        let named: Vec<&VoterId> = self.add.iter().chain(&self.learn).chain(&self.remove).collect();
        let distinct: BTreeSet<&VoterId> = named.iter().copied().collect();
        distinct.len() == named.len() && !distinct.contains(&NOBODY)
    }
}

impl Voters {
    pub(crate) fn only(voter: VoterId) -> Self {
        Voters { voters: BTreeSet::from([voter]), ..Voters::default() }
    }

    /// Returns true if the voter takes part in consensus in any way.
    pub(crate) fn has(&self, voter: VoterId) -> bool {
        self.voters.contains(&voter) || self.outgoing.contains(&voter) || self.learners.contains(&voter)
    }

    pub(crate) fn all(&self) -> BTreeSet<VoterId> {
        self.voters.iter().chain(&self.outgoing).chain(&self.learners).copied().collect()
    }

    /// Returns true if such a configuration is possible: raft-rs panics on others.
    pub(crate) fn is_sound(&self) -> bool {
        !self.voters.is_empty()
            && !self.all().contains(&NOBODY)
            && self.learners.is_disjoint(&self.voters)
            && self.learners.is_disjoint(&self.outgoing)
    }

    /// Applies a committed change, as consensus does. Returns true if anything
    /// changed: a change that our leaders would not propose has no effect, here or
    /// in consensus.
    pub(crate) fn apply(&mut self, change: &VoterChange) -> bool {
        match self.changed_by(change) {
            Some(changed) => {
                *self = changed;
                true
            }
            None => false,
        }
    }

    fn changed_by(&self, change: &VoterChange) -> Option<Voters> {
        let mut changed = self.clone();
        if change.is_empty() {
            changed.outgoing.clear();
            return (changed != *self).then_some(changed);
        }
        // Consensus refuses a second change before the first is complete.
        if !self.outgoing.is_empty() || !change.is_sound() {
            return None;
        }
        if change.is_joint() {
            changed.outgoing = self.voters.clone();
        }
        for voter in &change.add {
            changed.learners.remove(voter);
            changed.voters.insert(*voter);
        }
        changed.learners.extend(&change.learn);
        for voter in &change.remove {
            changed.learners.remove(voter);
            changed.voters.remove(voter);
        }
        changed.is_sound().then_some(changed)
    }
}

/// A host that votes or could vote, as the leader sees it.
#[derive(Clone, Debug)]
pub(crate) struct Candidate {
    pub(crate) voter: VoterId,
    pub(crate) zone: String,
    /// The time since the mesh counted it Down; `None` if it is up.
    pub(crate) down_for: Option<Duration>,
    /// True if its log reaches nearly as far as the leader's.
    pub(crate) is_caught_up: bool,
}

/// Returns the number of voters that a mesh of `hosts` should have.
pub(crate) fn voters_wanted(hosts: usize, voters_max: usize) -> usize {
    let wanted = match hosts {
        0..=2 => 1,
        3..=4 => 3,
        5.. => 5.max(voters_max),
    };
    // At most seven, but never more than the mesh has hosts.
    let wanted = wanted.min(voters_max.max(1));
    if wanted > hosts { (hosts.max(1) - 1) / 2 * 2 + 1 } else { wanted }
}

/// Returns the next change to make, one at a time: first learners are added, and
/// then one (joint) change lets them vote and removes the voters that they replace.
///
/// A voter is given up only if its host left, came back under another number, or is
/// Down for [`REPLACE_AFTER`]. A voter that is only Down is given up only if
/// another takes its place, so failures never shrink the set. A leader that has
/// itself left only brings in its replacement; the next leader lets it go.
pub(crate) fn next_change(
    voters: &Voters,
    me: VoterId,
    candidates: &[Candidate],
    voters_max: usize,
) -> Option<VoterChange> {
    if !voters.outgoing.is_empty() {
        return None;
    }
    let known: BTreeMap<VoterId, &Candidate> = candidates.iter().map(|c| (c.voter, c)).collect();
    let is_gone = |voter: &VoterId| !known.contains_key(voter);
    let is_dead = |voter: &VoterId| {
        known.get(voter).is_some_and(|c| c.down_for.is_some_and(|down| down >= REPLACE_AFTER))
    };
    if let Some(dead) = voters.learners.iter().find(|l| is_gone(l) || known[l].down_for.is_some()) {
        return Some(VoterChange { remove: vec![*dead], ..VoterChange::default() });
    }

    let wanted = voters_wanted(candidates.len(), voters_max);
    let given_up: Vec<VoterId> =
        voters.voters.iter().filter(|v| **v != me && (is_gone(v) || is_dead(v))).copied().collect();
    let leaves_itself = is_gone(&me);
    let staying = voters.voters.len() - given_up.len() - usize::from(leaves_itself);
    let lacking = wanted.saturating_sub(staying);

    if !voters.learners.is_empty() {
        if (staying + voters.learners.len()).is_multiple_of(2) {
            return Some(make_odd(voters, candidates, lacking));
        }
        let ready = voters.learners.iter().all(|learner| known[learner].is_caught_up);
        return ready.then(|| promote(voters, &given_up));
    }
    let fresh = choose(voters, candidates, lacking);
    if !fresh.is_empty() && (staying + fresh.len()) % 2 == 1 {
        return Some(VoterChange { learn: fresh, ..VoterChange::default() });
    }
    if leaves_itself {
        return None;
    }
    shrink(voters, me, &known, wanted)
}

/// Makes the number of voters odd: another host learns too, or one learner is let
/// go. With the present learners it would be even, because a learner was lost or a
/// voter that was given up is back. Two voters tolerate no loss, as one does.
fn make_odd(voters: &Voters, candidates: &[Candidate], lacking: usize) -> VoterChange {
    let is_one_lacking = lacking > voters.learners.len();
    let another = if is_one_lacking { choose(voters, candidates, 1) } else { Vec::new() };
    let remove = if another.is_empty() { voters.learners.last().copied() } else { None };
    VoterChange { add: Vec::new(), learn: another, remove: remove.into_iter().collect() }
}

/// Lets the learners vote, in place of the voters that are given up.
fn promote(voters: &Voters, given_up: &[VoterId]) -> VoterChange {
    VoterChange {
        add: voters.learners.iter().copied().collect(),
        learn: Vec::new(),
        remove: given_up.to_vec(),
    }
}

/// Returns hosts that are up and do not vote, first from zones with the fewest
/// voters.
fn choose(voters: &Voters, candidates: &[Candidate], lacking: usize) -> Vec<VoterId> {
    let mut zones: BTreeMap<&str, usize> = BTreeMap::new();
    for candidate in candidates.iter().filter(|c| voters.voters.contains(&c.voter)) {
        *zones.entry(&candidate.zone).or_default() += 1;
    }
    let mut free: Vec<&Candidate> =
        candidates.iter().filter(|c| !voters.has(c.voter) && c.down_for.is_none()).collect();
    let mut chosen = Vec::new();
    while chosen.len() < lacking && !free.is_empty() {
        let at = (0..free.len())
            .min_by_key(|at| (zones.get(free[*at].zone.as_str()).copied().unwrap_or(0), free[*at].voter))
            .expect("there is one free");
        let candidate = free.remove(at);
        *zones.entry(&candidate.zone).or_default() += 1;
        chosen.push(candidate.voter);
    }
    chosen
}

/// Removes voters whose host is gone for good, and voters that a smaller mesh no
/// longer needs, those that are Down first. Leaves an odd number of voters.
fn shrink(
    voters: &Voters,
    me: VoterId,
    known: &BTreeMap<VoterId, &Candidate>,
    wanted: usize,
) -> Option<VoterChange> {
    let (here, mut remove): (Vec<VoterId>, Vec<VoterId>) =
        voters.voters.iter().filter(|voter| **voter != me).partition(|voter| known.contains_key(voter));
    if remove.is_empty() && voters.voters.len() <= wanted {
        return None;
    }
    let mut spare = here;
    spare.sort_by_key(|voter| (known[voter].down_for, *voter));
    while voters.voters.len() - remove.len() > wanted
        || (voters.voters.len() - remove.len()).is_multiple_of(2)
    {
        match spare.pop() {
            Some(voter) => remove.push(voter),
            None => break,
        }
    }
    (!remove.is_empty()).then(|| VoterChange { remove, ..VoterChange::default() })
}

#[cfg(test)]
mod tests;

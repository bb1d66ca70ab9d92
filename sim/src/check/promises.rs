//! Checks each promise against the disk of the host that makes it, at the
//! moment it is made: a host must not promise what a power loss could take
//! away.
//!
//! The checker reads the frames that hosts send and the synced contents of
//! their disks. It also keeps its own record of the voters, and counts votes
//! and entries on disks: a leader was elected by most voters, and an entry that
//! any host has folded is on most voters' disks.

mod electorates;

use std::collections::BTreeMap;

use proto::entry::Index;
use proto::id::{MeshId, VoterId};
use proto::node::Node;
use proto::promise::{Electorate, Held, Place, Promise};
use proto::task::Run;

use super::{Claim, Verdict, Violation};
use crate::disk::Contents;
use crate::host::{HostNo, SimHost};

use electorates::Electorates;

#[derive(Debug, Default)]
pub struct Promises {
    electorates: Electorates,
    /// The host whose disk holds each voter's promises.
    disks: BTreeMap<VoterId, HostNo>,
    /// The contents of disks that were lost.
    lost: BTreeMap<VoterId, Contents>,
    /// All votes that were sent, by voter and term.
    votes: BTreeMap<(VoterId, u64), VoterId>,
    /// The votes that were on a disk, by term and voter.
    durable: BTreeMap<(u64, VoterId), VoterId>,
    leaders: BTreeMap<u64, VoterId>,
    /// The term of each entry in a leader's log, by the leader's term and the
    /// index.
    places: BTreeMap<(u64, Index), u64>,
    /// The newest change of the voters that each host surely has on its disk.
    surely_known: BTreeMap<HostNo, Index>,
    /// The last frame and its sender. The same frame is sent to many hosts.
    last_frame: Option<(HostNo, Vec<u8>)>,
}

impl Promises {
    /// Notes what a disk holds after a sync, or after a crash is settled.
    pub fn synced(&mut self, host: HostNo, synced: &Contents) {
        let held = Held(synced);
        let Some(voter) = held.voter() else { return };
        self.disks.insert(voter, host);
        if let Some((term, Some(to))) = held.vote() {
            self.durable.insert((term, voter), to);
        }
        self.last_frame = None;
    }

    /// Notes the loss of a disk, with all that was promised on it.
    pub fn lost(&mut self, host: HostNo, synced: &Contents) {
        if let Some(voter) = Held(synced).voter() {
            self.lost.insert(voter, synced.clone());
        }
        self.surely_known.remove(&host);
    }

    /// Checks a frame that a host sends.
    pub fn sent(&mut self, host: &SimHost, mesh: MeshId, frame: &[u8]) -> Verdict {
        if self.last_frame.as_ref().is_some_and(|(no, last)| *no == host.no && last == frame) {
            return Ok(());
        }
        self.last_frame = Some((host.no, frame.to_vec()));
        match Promise::of(mesh, frame) {
            None => Ok(()),
            Some(Promise::Term { by, term }) => is_on_disk(host, by, term).map(drop),
            Some(Promise::Vote { by, term, to, leads, places }) => {
                self.votes(host, by, term, to)?;
                if leads {
                    self.leads(host, by, term, places)?;
                }
                Ok(())
            }
            Some(Promise::Log { by, term, index }) => self.has_log(host, by, term, index),
            Some(Promise::Head { index }) => self.has_folded(host, index),
        }
    }

    fn votes(&mut self, host: &SimHost, by: VoterId, term: u64, to: VoterId) -> Verdict {
        let told = *self.votes.entry((by, term)).or_insert(to);
        if told != to {
            return violated(host.no, format!("{by:?} votes for {told:?} and for {to:?} in term {term}"));
        }
        match is_on_disk(host, by, term)? {
            Some(vote) if vote != Some(to) => {
                violated(host.no, format!("{by:?} votes for {to:?} in term {term}; its disk says {vote:?}"))
            }
            Some(_) | None => Ok(()),
        }
    }

    fn leads(&mut self, host: &SimHost, by: VoterId, term: u64, places: Vec<(Index, u64)>) -> Verdict {
        self.places.extend(places.into_iter().map(|(index, of)| ((term, index), of)));
        match self.leaders.insert(term, by) {
            Some(leader) if leader != by => {
                return violated(host.no, format!("{leader:?} and {by:?} both lead in term {term}"));
            }
            Some(_) => return Ok(()),
            None => {}
        }
        let folded = host.node().map_or(0, |node| node.state().index());
        let agrees = |voter: &VoterId| self.durable.get(&(term, *voter)) == Some(&by);
        if self.electorates.any_between(host.looked_at, folded, |electorate| most(electorate, agrees)) {
            return Ok(());
        }
        violated(host.no, format!("{by:?} leads in term {term}, and most voters' disks do not say so"))
    }

    fn has_log(&self, host: &SimHost, by: VoterId, term: u64, index: Index) -> Verdict {
        if is_on_disk(host, by, term)?.is_none() {
            return Ok(());
        }
        let held = Held(host.disk.synced());
        let leader = self.places.get(&(term, index));
        let differs = held.term_at(index).is_some_and(|own| leader.is_some_and(|leader| own != *leader));
        if differs || !held.reaches(index) {
            let what = format!("{by:?} has the log of term {term} up to {index}; its disk does not have it");
            return violated(host.no, what);
        }
        Ok(())
    }

    fn has_folded(&mut self, host: &SimHost, index: Index) -> Verdict {
        let changed_at = self.electorates.changed_at(index);
        let is_sure = self.surely_known.get(&host.no).is_some_and(|known| *known >= changed_at);
        if changed_at == 0 || is_sure {
            return Ok(());
        }
        let held = Held(host.disk.synced());
        if held.committed() < changed_at || !held.reaches(changed_at) {
            let what = format!(
                "it tells of entry {index}; its disk does not know that the voters changed at {changed_at}"
            );
            return violated(host.no, what);
        }
        self.surely_known.insert(host.no, changed_at);
        Ok(())
    }

    /// Checks the entries that a host is the first to fold.
    pub fn folded(&mut self, host: &SimHost, hosts: &[SimHost]) -> Verdict {
        let Some(node) = host.node() else { return Ok(()) };
        if self.electorates.founds(node) {
            return Ok(());
        }
        let index = node.state().index();
        let mut places = node.places_after(self.electorates.last());
        places.retain(|place| place.index <= index);
        // What a recovery keeps, most voters need not have: `check/recovery.rs` sees to it.
        let recovered = places.iter().rposition(|place| place.recovered_by.is_some());
        for (at, place) in places.into_iter().enumerate() {
            if recovered.is_none_or(|recovered| at > recovered) {
                self.committed(host.no, &place, hosts)?;
            }
            self.electorates.follow(&place);
        }
        Ok(())
    }

    /// Checks that a folded entry is on the disks of most voters.
    fn committed(&self, first: HostNo, place: &Place, hosts: &[SimHost]) -> Verdict {
        let has_it = |voter: &VoterId| {
            let has = |contents: &Contents| {
                let held = Held(contents);
                match held.term_at(place.index) {
                    Some(term) => term == place.term,
                    None => held.reaches(place.index),
                }
            };
            let disk = self.disks.get(voter).map(|host| hosts[host.index()].disk.synced());
            let disk = disk.filter(|disk| Held(disk).voter() == Some(*voter));
            disk.is_some_and(has) || self.lost.get(voter).is_some_and(has)
        };
        if self.electorates.any_latest(|electorate| most(electorate, has_it)) {
            return Ok(());
        }
        let what = format!(
            "it has folded entry {} of term {}, which is not on the disks of most voters",
            place.index, place.term
        );
        violated(first, what)
    }

    /// Checks that the consensus of a host that has folded further counts the
    /// voters on which the mesh agreed.
    pub fn counts(&self, host: HostNo, node: &Node) -> Verdict {
        let (Some(counted), Some(agreed)) = (node.electorate(), self.electorates.at(node.state().index()))
        else {
            return Ok(());
        };
        if counted == *agreed {
            return Ok(());
        }
        violated(host, format!("its consensus counts {counted:?}; by the entries it is {agreed:?}"))
    }

    /// Returns the voters, by this host's record, whose disks are lost.
    pub fn lost_voters(&self, node: &Node) -> Vec<VoterId> {
        let electorate = self.electorates.at(node.state().index());
        let voters = electorate.into_iter().flat_map(|e| e.voters.iter().chain(&e.outgoing));
        voters.filter(|voter| self.lost.contains_key(voter)).copied().collect()
    }

    /// Returns true if most voters, and most outgoing voters, keep their disks when
    /// this host loses its own. Without them a ledger needs a person's help.
    pub fn can_lose(&self, host: HostNo) -> bool {
        let keeps = |voter: &VoterId| !self.lost.contains_key(voter) && self.disks.get(voter) != Some(&host);
        self.electorates.latest().is_some_and(|electorate| most(electorate, keeps))
    }

    /// Checks an acknowledged removal: after a power loss, most of the current
    /// voters must still know that the host does not vote.
    pub fn removal_told(&self, host: HostNo, node: &Node, hosts: &[SimHost]) -> Verdict {
        let index = node.state().index();
        let (changed_at, Some(electorate)) = (self.electorates.changed_at(index), self.electorates.at(index))
        else {
            return Ok(());
        };
        let knows = |voter: &VoterId| {
            let disk = self.disks.get(voter).map(|host| Held(hosts[host.index()].disk.synced()));
            let is_known = |held: Held<'_>| held.committed() >= changed_at && held.reaches(changed_at);
            disk.is_some_and(is_known) || self.lost.contains_key(voter)
        };
        if most(electorate, knows) {
            return Ok(());
        }
        let what = format!("it answers a removal; most voters' disks do not know of entry {changed_at}");
        violated(host, what)
    }

    /// Checks that the synced journal records the event that begins.
    pub fn event_begins(host: &SimHost, run: &Run) -> Verdict {
        if Held(host.disk.synced()).running(run.deployment) == Some(run.event) {
            return Ok(());
        }
        violated(host.no, format!("it begins {}; the journal on its disk does not say so", run.event))
    }
}

/// Returns true if `does` holds for most voters and, during a change, for most
/// of the outgoing ones.
fn most(electorate: &Electorate, does: impl Fn(&VoterId) -> bool) -> bool {
    [&electorate.voters, &electorate.outgoing].into_iter().all(|voters| {
        voters.is_empty() || voters.iter().filter(|voter| does(voter)).count() > voters.len() / 2
    })
}

/// Checks that the disk of a voter knows its number and the term in which it
/// speaks. Returns its vote in that term, or None if the disk knows a later
/// term.
fn is_on_disk(host: &SimHost, by: VoterId, term: u64) -> Result<Option<Option<VoterId>>, Violation> {
    let held = Held(host.disk.synced());
    let (known, vote) = held.vote().unwrap_or_default();
    let voter = held.voter();
    if voter != Some(by) || known < term {
        let what = format!("{by:?} speaks in term {term}; its disk knows {voter:?} and term {known}");
        return Err(Violation::new(Claim::Promises, [host.no], what));
    }
    Ok((known == term).then_some(vote))
}

fn violated(host: HostNo, what: String) -> Verdict {
    Err(Violation::new(Claim::Promises, [host], what))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn electorate(voters: &[u64], outgoing: &[u64]) -> Electorate {
        let numbers = |list: &[u64]| list.iter().copied().map(VoterId).collect();
        Electorate { voters: numbers(voters), outgoing: numbers(outgoing) }
    }

    #[test]
    fn most_means_most_of_both_while_voters_hand_over() {
        let agree = |yes: &'static [u64]| move |voter: &VoterId| yes.contains(&voter.0);
        assert!(most(&electorate(&[1, 2, 3], &[]), agree(&[1, 3])));
        assert!(!most(&electorate(&[1, 2, 3, 4], &[]), agree(&[1, 3])));
        assert!(!most(&electorate(&[1, 4, 5], &[1, 2, 3]), agree(&[4, 5, 1])));
        assert!(most(&electorate(&[1, 4, 5], &[1, 2, 3]), agree(&[4, 1, 2])));
    }

    #[test]
    fn a_disk_may_be_lost_if_most_of_both_sets_of_voters_are_left() {
        let check = |voters: &[u64], outgoing: &[u64], lost: &[u64], can_lose: &[u32]| {
            let mut promises = Promises::default();
            promises.electorates.begin(electorate(voters, outgoing));
            promises.disks = (1..=5).map(|no| (VoterId(u64::from(no)), HostNo(no))).collect();
            promises.lost = lost.iter().map(|voter| (VoterId(*voter), Contents::new())).collect();
            let found: Vec<u32> = (1..=5).filter(|no| promises.can_lose(HostNo(*no))).collect();
            assert_eq!(found, can_lose);
        };
        check(&[1], &[], &[], &[2, 3, 4, 5]);
        check(&[1, 2], &[], &[], &[3, 4, 5]);
        check(&[1, 2, 3], &[], &[], &[1, 2, 3, 4, 5]);
        check(&[1, 2, 3], &[], &[3], &[3, 4, 5]);
        check(&[1, 2, 3, 4, 5], &[], &[3], &[1, 2, 3, 4, 5]);
        check(&[1, 2, 3, 4, 5], &[1, 2], &[], &[3, 4, 5]);
    }

    #[test]
    fn two_votes_in_one_term_are_found() {
        let host = SimHost::new(HostNo(0), crate::host::Profile::default());
        let mut promises = Promises::default();
        promises.votes.insert((VoterId(1), 3), VoterId(2));
        let violation = promises.votes(&host, VoterId(1), 3, VoterId(4)).expect_err("it voted for another");
        assert!(violation.what.contains("votes for"), "{}", violation.what);
    }

    #[test]
    fn a_promise_that_no_disk_holds_is_found() {
        let host = SimHost::new(HostNo(0), crate::host::Profile::default());
        let violation = is_on_disk(&host, VoterId(1), 1).expect_err("the disk is empty");
        assert_eq!((violation.claim, violation.hosts), (Claim::Promises, vec![HostNo(0)]));
    }
}

//! Which hosts are in the mesh, and which of them are Down.
//!
//! # Decisions
//!
//! - A host that is counted Down cannot accuse others. Behind a network partition
//!   each side loses the other. When the reports of the smaller side are committed at
//!   last, they are stale.
//! - A removed host never comes back under its key. Agents join by themselves at
//!   every start, so only the memory of the removed keys ([`REMOVED_KEPT`]) keeps
//!   them out.

mod recovered;
mod voter_numbers;

use std::borrow::Cow;
use std::collections::{BTreeMap, VecDeque};

use super::Moment;
use super::react::Happened;
use crate::entry::{HostRecord, Index};
use crate::group::Group;
use crate::id::{HostId, VoterId};
use crate::io::Refusal;
use crate::time::LedgerTime;

pub use recovered::Recovered;
pub(super) use voter_numbers::Taken;

/// The most hosts that a mesh may have: it was designed and simulated for this
/// many.
pub const HOSTS_MAX: usize = 20_000;
/// The number of removed hosts that are remembered: far more than a mesh loses in a
/// year of repairs. Beyond that, the host that left first is forgotten, and could
/// join again if it came back.
pub const REMOVED_KEPT: usize = 4_096;
/// The number of starts of one host's agent that are remembered. Agents that run
/// with the same key announce themselves in turn, so even with this many of them at
/// least one is recognised when it speaks again.
pub const STARTS_KEPT: usize = 4;

/// Everything that the mesh knows of one host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Host {
    /// The facts that the host gives about itself.
    pub record: HostRecord,
    /// The time at which the mesh counted it Down; `None` if it is up.
    pub down: Option<LedgerTime>,
    /// The time at which it first joined.
    pub joined_at: LedgerTime,
    /// The time at which its store was created. The host knows nothing of what it
    /// did before.
    pub store_since: LedgerTime,
    /// Random numbers of its agent's earlier starts, the newest last: see
    /// [`HostRecord::start`].
    pub starts: Vec<u64>,
    /// The other agent, while two of them run with this host's key.
    pub twin: Option<Twin>,
}

/// Another agent with a host's key. Neither may act for the host until one of them
/// has been stopped and the other was started again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Twin {
    /// The addresses at which the other agent can be dialled. The host's record has
    /// those of the agent that spoke last.
    pub addresses: Vec<String>,
    /// The time at which both were first known to run.
    pub since: LedgerTime,
}

/// A host that was taken out of the mesh. It can never come back under its key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Removed {
    /// The host's name for people.
    pub name: String,
    /// The time at which it was taken out.
    pub at: LedgerTime,
    /// Its number in consensus. It takes part there until it is replaced.
    pub(crate) voter: VoterId,
    /// The addresses at which it can be dialled until then.
    pub(crate) addresses: Vec<String>,
}

/// The hosts of the mesh, and those that were taken out.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub(super) struct Hosts {
    by_id: BTreeMap<HostId, Host>,
    /// The last entry that changed a host's record, or whether it is Down.
    changed_at: Index,
    /// Hosts that were taken out for good.
    removed: BTreeMap<HostId, Removed>,
    /// Numbers in consensus that no host may take.
    taken: Taken,
    /// How often the mesh was recovered, and by whom.
    recoveries: VecDeque<Recovered>,
}

/// The hosts as the stored forms have them.
pub(super) struct StoredHosts<'a> {
    pub(super) by_id: Cow<'a, BTreeMap<HostId, Host>>,
    pub(super) changed_at: Index,
    pub(super) removed: Cow<'a, BTreeMap<HostId, Removed>>,
    pub(super) taken: Cow<'a, Taken>,
    pub(super) recoveries: Cow<'a, VecDeque<Recovered>>,
}

impl Host {
    /// Notes the start of the agent that announces itself. Returns true if another
    /// start had already followed this one: then two agents run.
    fn note_start(&mut self, record: &HostRecord, now: LedgerTime) -> bool {
        if self.record.start == record.start {
            return false;
        }
        let speaks_again = self.starts.contains(&record.start);
        let addresses = self.record.addresses.clone();
        self.twin = speaks_again.then_some(Twin { addresses, since: now });
        self.starts.retain(|start| *start != record.start);
        self.starts.push(self.record.start);
        if self.starts.len() > STARTS_KEPT {
            self.starts.remove(0);
        }
        speaks_again
    }
}

impl Hosts {
    pub(super) fn stored(&self) -> StoredHosts<'_> {
        StoredHosts {
            by_id: Cow::Borrowed(&self.by_id),
            changed_at: self.changed_at,
            removed: Cow::Borrowed(&self.removed),
            taken: Cow::Borrowed(&self.taken),
            recoveries: Cow::Borrowed(&self.recoveries),
        }
    }

    pub(super) fn restore(stored: StoredHosts<'_>) -> Self {
        Hosts {
            by_id: stored.by_id.into_owned(),
            changed_at: stored.changed_at,
            removed: stored.removed.into_owned(),
            taken: stored.taken.into_owned(),
            recoveries: stored.recoveries.into_owned(),
        }
    }

    /// Returns true if what a snapshot holds can be folded further.
    pub(super) fn is_consistent(&self) -> bool {
        let is_host =
            |(id, host): (&HostId, &Host)| *id == host.record.host && host.record.check_values().is_ok();
        self.by_id.iter().all(is_host) && self.taken.is_of(&self.by_id)
    }

    pub(super) fn all(&self) -> &BTreeMap<HostId, Host> {
        &self.by_id
    }

    pub(super) fn removed(&self) -> &BTreeMap<HostId, Removed> {
        &self.removed
    }

    pub(super) fn changed_at(&self) -> Index {
        self.changed_at
    }

    pub(super) fn recoveries(&self) -> &VecDeque<Recovered> {
        &self.recoveries
    }

    pub(super) fn get(&self, host: HostId) -> Option<&Host> {
        self.by_id.get(&host)
    }

    pub(super) fn contains(&self, host: HostId) -> bool {
        self.by_id.contains_key(&host)
    }

    /// Returns the hosts of a group, in the order of their ids.
    pub(super) fn of<'a>(&'a self, group: &Group) -> impl Iterator<Item = &'a Host> {
        self.by_id.values().filter(|host| group.tags.matches(&host.record.tags))
    }

    /// Returns true if two agents run with the host's key.
    pub(super) fn has_twin(&self, host: HostId) -> bool {
        self.get(host).is_some_and(|known| known.twin.is_some())
    }

    /// Returns true if the mesh does not count on the host now. Then the host's
    /// claims about others do not count either.
    pub(super) fn is_counted_out(&self, host: HostId) -> bool {
        self.get(host).is_none_or(|known| known.down.is_some())
    }

    /// Returns true if a claim that the host is Down, or up, says nothing new, or is about
    /// an older start.
    pub(super) fn is_said(&self, host: HostId, incarnation: u64, down: bool) -> bool {
        let is_news = |known: &Host| known.record.incarnation == incarnation && known.down.is_some() != down;
        !self.get(host).is_some_and(is_news)
    }

    /// Refuses a host that was taken out.
    pub(super) fn check_not_removed(&self, host: HostId) -> Result<(), Refusal> {
        self.removed.get(&host).map_or(Ok(()), |removed| Err(Refusal::Removed { at: removed.at }))
    }

    /// Checks whether a host that was not taken out may join, or come back.
    pub(super) fn check_join(&self, record: &HostRecord) -> Result<(), Refusal> {
        self.taken.check(record)?;
        self.check_replaces(record)?;
        if self.by_id.len() >= HOSTS_MAX && !self.contains(record.host) {
            return Err(Refusal::Limit { what: "hosts in one mesh".into(), limit: HOSTS_MAX as u64 });
        }
        Ok(())
    }

    pub(super) fn check_leave(&self, host: HostId) -> Result<(), Refusal> {
        match self.by_id.len() {
            _ if !self.contains(host) => Err(Refusal::UnknownHost(host)),
            1 => Err(Refusal::LastHost),
            _ => Ok(()),
        }
    }

    /// Returns the hosts that the newcomer says it replaces: one, unless others have its
    /// name.
    pub(super) fn replaced_by<'a>(&'a self, record: &'a HostRecord) -> impl Iterator<Item = &'a Host> {
        let is_meant = |known: &&Host| {
            let HostRecord { host, name, .. } = &known.record;
            *host != record.host && (*name == record.replaces || host.to_string() == record.replaces)
        };
        let names_one = !record.replaces.is_empty();
        self.by_id.values().filter(move |known| names_one && is_meant(known))
    }

    /// Refuses to replace a host that is up: two hosts would do the work of one, or the
    /// wrong name was typed. A host that has joined already, or whose predecessor is gone,
    /// has nothing left to replace.
    fn check_replaces(&self, record: &HostRecord) -> Result<(), Refusal> {
        if self.contains(record.host) {
            return Ok(());
        }
        let mut replaced = self.replaced_by(record).peekable();
        let Some(first) = replaced.peek().map(|known| known.record.name.clone()) else { return Ok(()) };
        if replaced.all(|known| known.down.is_none()) { Err(Refusal::StillUp(first)) } else { Ok(()) }
    }

    /// Folds that a host announces itself.
    pub(super) fn join(&mut self, now: Moment, record: &HostRecord) -> Vec<Happened> {
        self.changed_at = now.index;
        match self.by_id.get(&record.host) {
            // An older start of the same agent: its words came late.
            Some(known) if known.record.incarnation > record.incarnation => Vec::new(),
            Some(known) => {
                let is_replaced =
                    known.record.voter != record.voter && !self.is_renumbered(known, record.voter);
                self.rejoin(now, record, is_replaced)
            }
            None => {
                let (joined_at, store_since) = (now.clock, now.clock);
                let (record, starts) = (record.clone(), Vec::new());
                let host = record.host;
                self.taken.take(&record, None);
                let joined = Host { record, down: None, joined_at, store_since, starts, twin: None };
                self.by_id.insert(host, joined);
                vec![Happened::HostJoined(host)]
            }
        }
    }

    /// Folds that a known host announces itself. `is_replaced` is true if it has a new
    /// store.
    fn rejoin(&mut self, now: Moment, record: &HostRecord, is_replaced: bool) -> Vec<Happened> {
        let host = record.host;
        let Some(known) = self.by_id.get_mut(&host) else { return Vec::new() };
        // The agent has spoken, so the host is up.
        let is_back = known.down.is_some() && record.incarnation > known.record.incarnation;
        let is_twin = known.note_start(record, now.clock);
        let has_twin = known.twin.is_some();
        if is_replaced {
            known.store_since = now.clock;
        }
        let before = std::mem::replace(&mut known.record, record.clone());
        self.taken.take(record, Some(before.voter));
        let mut happened = vec![Happened::HostRejoined { host, tags_before: before.tags }];
        if is_replaced {
            happened.push(Happened::StoreReplaced(host));
        }
        if is_twin {
            happened.extend(self.change_down(now, host, true));
        } else if is_back && !has_twin {
            happened.extend(self.change_down(now, host, false));
        }
        happened
    }

    /// Takes a host out of the mesh.
    pub(super) fn leave(&mut self, now: Moment, host: HostId) -> Vec<Happened> {
        self.changed_at = now.index;
        let Some(Host { record, down, .. }) = self.by_id.remove(&host) else { return Vec::new() };
        let HostRecord { name, voter, addresses, .. } = record;
        self.taken.retire(voter, host);
        self.removed.insert(host, Removed { name, at: now.clock, voter, addresses });
        while self.removed.len() > REMOVED_KEPT {
            let first = self.removed.iter().min_by_key(|(host, removed)| (removed.at, **host));
            let Some(first) = first.map(|(host, _)| *host) else { break };
            self.removed.remove(&first);
        }
        vec![Happened::HostLeft { host, was_up: down.is_none() }]
    }

    /// Folds a claim that a host is Down, or up. It counts only if it is about the newest
    /// start, and says something new.
    pub(super) fn set_down(
        &mut self,
        now: Moment,
        host: HostId,
        incarnation: u64,
        down: bool,
    ) -> Vec<Happened> {
        // A host with a twin is up, but nobody can tell which of the two agents it
        // is.
        if self.is_said(host, incarnation, down) || (!down && self.has_twin(host)) {
            return Vec::new();
        }
        self.change_down(now, host, down)
    }

    fn change_down(&mut self, now: Moment, host: HostId, down: bool) -> Vec<Happened> {
        self.changed_at = now.index;
        let Some(known) = self.by_id.get_mut(&host) else { return Vec::new() };
        known.down = down.then_some(now.clock);
        vec![if down { Happened::HostDown(host) } else { Happened::HostUp(host) }]
    }
}

#[cfg(test)]
impl Hosts {
    pub(super) fn any_mut(&mut self) -> &mut Host {
        self.by_id.values_mut().next().expect("a host")
    }

    /// Makes the hosts differ, as a bug in the fold would.
    pub(super) fn corrupt(&mut self) {
        self.changed_at += 1;
    }
}

#[cfg(test)]
mod tests;

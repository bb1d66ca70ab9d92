//! The mesh as one host sees it: the hosts that are in it, those that this host is
//! connected to, those that are lost, and how far each has come.
//!
//! [`Mesh::handle`] takes what happened, and [`Mesh::poll_output`] returns the connections
//! to make and to end. Code outside asks three different questions: `Node::is_alive` (may the
//! mesh count on the host?), [`Mesh::is_neighbour`] (is there a connection to it?)
//! and [`Mesh::route`] (by which neighbour does a frame to it go?). [`overlay`] says which hosts
//! are connected.
//!
//! A change of one member costs O(log N): the maps are changed in place, and only after a
//! snapshot, or when the ledger itself forgets a host, are all members compared.

pub(crate) mod departures;
pub(crate) mod envelope;
pub(crate) mod fetch;
pub(crate) mod liveness;
pub(crate) mod moves;
mod observers;
pub(crate) mod overlay;
pub(crate) mod reports;
mod routes;
pub(crate) mod turn_progress;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use crate::entry::Index;
use crate::form::Unreadable;
use crate::id::{HostId, VoterId};
use crate::time::Time;

use departures::Departures;
use fetch::Fetch;
use liveness::{Judgement, Liveness};
use moves::Whereabouts;
use overlay::{Overlay, Rings};
use reports::{HostReport, Reports};
use routes::Routes;
use turn_progress::TurnProgress;

/// The longest silence of a host whose frames are relayed: beacons come every second, and
/// a way around a host that fell silent is found after three.
const RELAYED_SILENCE_MAX: Duration = Duration::from_secs(6);

/// A host as the ledger has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Contact {
    pub(crate) voter: VoterId,
    pub(crate) addresses: Vec<String>,
    /// False if the host was removed, and consensus still needs its vote.
    pub(crate) is_member: bool,
}

/// An event that the mesh must hear of.
#[derive(Clone, Debug)]
pub(crate) enum MeshInput {
    /// There is a connection to the host.
    Connected(HostId),
    /// The last connection to the host is gone.
    Disconnected(HostId),
    /// A frame came from the host.
    Heard(HostId),
    /// A frame of the author came by way of a neighbour.
    Relayed { author: HostId, by: HostId },
    /// The host, which has folded up to this index, has lost these hosts.
    Lost { observer: HostId, index: Index, lost: BTreeSet<HostId> },
    /// The host announced a new start with the entry at this index.
    Announced { host: HostId, index: Index },
    /// By the ledger, these hosts are now known like this; `None` if the host is gone.
    Hosts(BTreeMap<HostId, Option<Contact>>),
    /// A host learned of better addresses of another host.
    Moved { host: HostId, addresses: Vec<String> },
    /// It is time to look for hosts that fell silent.
    SilenceDue,
    /// It is time for a beacon.
    BeaconDue,
    /// This host was taken out of the mesh, and is no longer needed.
    Retired,
}

/// An action that the mesh asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum MeshOutput {
    Connect {
        host: HostId,
        addresses: Vec<String>,
    },
    Disconnect {
        host: HostId,
    },
    /// The other hosts must hear at once which hosts this one hears.
    Beacon,
}

/// The mesh as one host sees it.
#[derive(Clone, Debug)]
pub(crate) struct Mesh {
    me: HostId,
    /// The mesh's hosts, including this one.
    members: BTreeSet<HostId>,
    voters: BTreeMap<VoterId, HostId>,
    contacts: BTreeMap<HostId, Contact>,
    /// The removed hosts among the contacts.
    former: BTreeSet<HostId>,
    /// The hosts that entries were about since the ledger was last read; `None` if it must be
    /// read as a whole.
    changed: Option<BTreeSet<HostId>>,
    /// The versions of hosts and voters at which the ledger was last read.
    read_at: Option<(Index, Index)>,
    /// The addresses at which hosts are dialled. These are the hosts to stay connected with:
    /// the members, and removed hosts that still vote.
    dialled: BTreeMap<HostId, Vec<String>>,
    overlay: Overlay,
    rings: Rings,
    /// Counts the changes of the rings.
    rings_version: u64,
    routes: Routes,
    /// The time at which a relayed frame of each host came.
    relayed_at: BTreeMap<HostId, Time>,
    /// The time of the node's last input.
    now: Time,
    liveness: Liveness,
    reports: Reports,
    /// The judgements of the observers together, and the version of liveness that
    /// they are derived from.
    judged: (u64, BTreeMap<HostId, Judgement>),
    outputs: VecDeque<MeshOutput>,
    is_retired: bool,
    /// Hosts that have sent what this agent does not read, and the reason.
    newer: BTreeMap<HostId, Unreadable>,
    /// Hosts that held another state than this host.
    contradicted_by: BTreeSet<HostId>,
    /// The number of heartbeats that claimed more of this host's log than there is.
    beyond_log: u64,
    pub(crate) fetch: Fetch,
    pub(crate) whereabouts: Whereabouts,
    pub(crate) departures: Departures,
    pub(crate) progress: TurnProgress,
}

impl Mesh {
    pub(crate) fn new(me: HostId, overlay: Overlay, now: Time) -> Self {
        let rings = match overlay {
            Overlay::Full => Rings::default(),
            Overlay::Bounded { degree } => Rings::new(degree),
        };
        Mesh {
            me,
            overlay,
            rings,
            rings_version: 0,
            routes: Routes::default(),
            relayed_at: BTreeMap::new(),
            now,
            members: BTreeSet::new(),
            voters: BTreeMap::new(),
            contacts: BTreeMap::new(),
            former: BTreeSet::new(),
            changed: None,
            read_at: None,
            dialled: BTreeMap::new(),
            liveness: Liveness::default(),
            reports: BTreeMap::new(),
            judged: (0, BTreeMap::new()),
            outputs: VecDeque::new(),
            is_retired: false,
            newer: BTreeMap::new(),
            contradicted_by: BTreeSet::new(),
            beyond_log: 0,
            fetch: Fetch::default(),
            whereabouts: Whereabouts::default(),
            departures: Departures::default(),
            progress: TurnProgress::default(),
        }
    }

    /// Tells the mesh what happened.
    pub(crate) fn handle(&mut self, input: MeshInput, now: Time) {
        match input {
            MeshInput::Connected(host) => {
                self.liveness.connected(host, now);
            }
            MeshInput::Disconnected(host) => {
                self.liveness.disconnected(host, now);
                if self.is_bounded() && !self.dialled.contains_key(&host) {
                    self.liveness.unobserve(host);
                }
            }
            MeshInput::Heard(host) => {
                if self.liveness.heard(host, now) {
                    self.outputs.push_back(MeshOutput::Beacon);
                }
            }
            MeshInput::Relayed { author, by } => {
                if self.contacts.contains_key(&author) {
                    self.relayed_at.insert(author, now);
                }
                self.routes.note_way_back(author, by, now);
            }
            MeshInput::Lost { observer, index, lost } => self.liveness.told(observer, index, lost),
            MeshInput::Announced { host, index } => self.liveness.renewed(host, index, now),
            MeshInput::Hosts(hosts) => self.update_hosts(hosts, now),
            MeshInput::Moved { host, addresses } => self.dial(host, addresses),
            MeshInput::SilenceDue => {
                if self.liveness.expire(now) {
                    self.outputs.push_back(MeshOutput::Beacon);
                }
            }
            MeshInput::BeaconDue => self.forget_old_losses(),
            MeshInput::Retired => self.retire(),
        }
        if self.judged.0 != self.version() {
            self.judged = (self.version(), self.judge());
        }
    }

    /// Takes the next action that the mesh asks for.
    pub(crate) fn poll_output(&mut self) -> Option<MeshOutput> {
        self.outputs.pop_front()
    }

    /// Changes only what these hosts change: hosts that are gone first, and then the others.
    fn update_hosts(&mut self, hosts: BTreeMap<HostId, Option<Contact>>, now: Time) {
        let changed: BTreeSet<HostId> = hosts.keys().copied().collect();
        let (known, gone): (Vec<_>, Vec<_>) = hosts.into_iter().partition(|(_, contact)| contact.is_some());
        for (host, _) in gone {
            self.remove(host);
        }
        for (host, contact) in known {
            if let Some(contact) = contact {
                self.insert(host, contact, now);
            }
        }
        if self.is_bounded() {
            self.follow_rings(&changed, now);
        }
    }

    /// Connects with the neighbours in the rings, and with no others.
    fn follow_rings(&mut self, changed: &BTreeSet<HostId>, now: Time) {
        let wanted = if self.is_retired { BTreeSet::new() } else { self.rings.neighbours(self.me) };
        let surplus: Vec<HostId> =
            self.dialled.keys().filter(|host| !wanted.contains(host)).copied().collect();
        for host in surplus {
            self.dialled.remove(&host);
            self.liveness.unobserve(host);
            self.outputs.push_back(MeshOutput::Disconnect { host });
        }
        for host in wanted {
            let Some(contact) = self.contacts.get(&host).cloned() else { continue };
            if contact.is_member {
                self.liveness.add_member(host, now);
            }
            if changed.contains(&host) || !self.dialled.contains_key(&host) {
                self.dial(host, contact.addresses);
            }
        }
    }

    fn remove(&mut self, host: HostId) {
        if let Some(before) = self.contacts.remove(&host) {
            self.forget_voter(host, before.voter);
        }
        self.members.remove(&host);
        self.former.remove(&host);
        self.relayed_at.remove(&host);
        self.rings.remove(host);
        self.rings_version += 1;
        self.liveness.remove_member(host);
        self.reports.remove(&host);
        if self.dialled.remove(&host).is_some() {
            self.outputs.push_back(MeshOutput::Disconnect { host });
        }
    }

    fn insert(&mut self, host: HostId, contact: Contact, now: Time) {
        if self.contacts.get(&host) == Some(&contact) {
            return;
        }
        let before = self.contacts.insert(host, contact.clone());
        if let Some(before) = before.filter(|before| before.voter != contact.voter) {
            self.forget_voter(host, before.voter);
        }
        self.voters.insert(contact.voter, host);
        self.rings.insert(host);
        self.rings_version += 1;
        let is_full = !self.is_bounded();
        if contact.is_member {
            self.former.remove(&host);
            if self.members.insert(host) && is_full && host != self.me && !self.is_retired {
                self.liveness.add_member(host, now);
            }
        } else {
            self.former.insert(host);
            self.members.remove(&host);
            self.liveness.remove_member(host);
        }
        if is_full && host != self.me && !self.is_retired {
            self.dial(host, contact.addresses);
        }
    }

    fn forget_voter(&mut self, host: HostId, voter: VoterId) {
        if self.voters.get(&voter) == Some(&host) {
            self.voters.remove(&voter);
        }
    }

    fn dial(&mut self, host: HostId, addresses: Vec<String>) {
        if self.dialled.get(&host) != Some(&addresses) {
            self.dialled.insert(host, addresses.clone());
            self.outputs.push_back(MeshOutput::Connect { host, addresses });
        }
    }

    fn retire(&mut self) {
        self.is_retired = true;
        for host in std::mem::take(&mut self.dialled).into_keys() {
            self.reports.remove(&host);
            self.liveness.remove_member(host);
            self.outputs.push_back(MeshOutput::Disconnect { host });
        }
        let connections = self.liveness.connections().into_iter();
        self.outputs.extend(connections.map(|host| MeshOutput::Disconnect { host }));
    }

    /// Returns the mesh's hosts, including this one.
    pub(crate) fn members(&self) -> &BTreeSet<HostId> {
        &self.members
    }

    /// Returns the host of each number in consensus.
    pub(crate) fn voter_hosts(&self) -> &BTreeMap<VoterId, HostId> {
        &self.voters
    }

    /// Returns the hosts that are known by the ledger, members or not.
    pub(crate) fn known(&self) -> impl Iterator<Item = HostId> {
        self.contacts.keys().copied()
    }

    /// Returns the removed hosts that are still known because they voted.
    pub(crate) fn former_members(&self) -> &BTreeSet<HostId> {
        &self.former
    }

    /// Notes that an entry was about this host.
    pub(crate) fn note_changed(&mut self, host: HostId) {
        if let Some(changed) = &mut self.changed {
            changed.insert(host);
        }
    }

    /// Notes that any host may have changed, as with a snapshot.
    pub(crate) fn note_all_changed(&mut self) {
        (self.changed, self.read_at) = (None, None);
    }

    /// Returns true if the ledger was never read, or must be read as a whole.
    pub(crate) fn is_unread(&self) -> bool {
        self.read_at.is_none()
    }

    /// Notes that the ledger is read at these versions of its hosts and voters. Returns true
    /// if it was not read at these before.
    pub(crate) fn read_ledger(&mut self, at: (Index, Index)) -> bool {
        self.read_at.replace(at) != Some(at)
    }

    /// Takes the hosts that may have changed; `None` if these may be all.
    pub(crate) fn take_changed(&mut self) -> Option<BTreeSet<HostId>> {
        self.changed.replace(BTreeSet::new())
    }

    /// Returns true if there is a connection to the host.
    pub(crate) fn is_neighbour(&self, host: HostId) -> bool {
        self.liveness.is_connected(host)
    }

    /// Returns the hosts to which there is a connection.
    pub(crate) fn neighbours(&self) -> BTreeSet<HostId> {
        self.liveness.connections()
    }

    /// Returns true if the host was not silent for too long: on its connection, or by way of
    /// others.
    pub(crate) fn hears(&self, host: HostId) -> bool {
        let is_recent = |at: &Time| self.now.since(*at) < RELAYED_SILENCE_MAX;
        self.liveness.is_heard(host) || self.relayed_at.get(&host).is_some_and(is_recent)
    }

    /// Returns all hosts that are connected and were not silent for too long.
    pub(crate) fn all_heard(&self) -> BTreeSet<HostId> {
        self.liveness.all_heard()
    }

    /// Returns the hosts that this one has lost.
    pub(crate) fn lost(&self) -> &BTreeSet<HostId> {
        self.liveness.lost()
    }

    /// Returns when the host was last heard; `None` if it was not since this start.
    pub(crate) fn last_heard(&self, host: HostId) -> Option<Time> {
        self.liveness.last_heard(host).max(self.relayed_at.get(&host).copied())
    }

    /// Returns the hosts that neither this host hears nor any host that it hears.
    pub(crate) fn unheard(&self) -> BTreeSet<HostId> {
        self.liveness.unheard(self.me)
    }

    /// Returns a number that changes with every change of who is lost or connected.
    pub(crate) fn version(&self) -> u64 {
        self.liveness.version() + self.rings_version
    }

    /// Returns when the next host would be lost.
    pub(crate) fn next_silence(&self) -> Option<Time> {
        self.liveness.next_silence()
    }

    /// Returns the judgement of the host's observers together.
    pub(crate) fn judgement(&self, host: HostId) -> Judgement {
        self.judged.1.get(&host).copied().unwrap_or(Judgement::Up)
    }

    /// Returns the hosts that enough observers have lost.
    pub(crate) fn suspects(&self) -> impl Iterator<Item = HostId> {
        let judged = self.judged.1.iter().filter(|(_, judgement)| **judgement >= Judgement::Suspect);
        judged.map(|(host, _)| *host)
    }

    /// Returns the last beacon of each host.
    pub(crate) fn reports(&self) -> &Reports {
        &self.reports
    }

    /// Notes a beacon, and returns the one before it.
    pub(crate) fn note_report(&mut self, from: HostId, report: HostReport) -> Option<HostReport> {
        self.reports.insert(from, report)
    }

    pub(crate) fn forget_report(&mut self, host: HostId) {
        self.reports.remove(&host);
    }

    pub(crate) fn forget_reports(&mut self) {
        self.reports.clear();
    }

    pub(crate) fn is_retired(&self) -> bool {
        self.is_retired
    }

    /// Notes that the host's agent is newer. Returns true if that is new.
    pub(crate) fn note_newer(&mut self, host: HostId, cause: Unreadable) -> bool {
        self.newer.insert(host, cause).is_none()
    }

    /// Returns the reason why this agent cannot read what some host sent.
    pub(crate) fn newer(&self) -> Option<Unreadable> {
        self.newer.values().next().copied()
    }

    /// Notes that the host held another state. Returns true if that is new.
    pub(crate) fn note_contradiction(&mut self, host: HostId) -> bool {
        self.contradicted_by.insert(host)
    }

    /// Counts a claim that this host's log is longer than it is, and returns their number.
    pub(crate) fn count_beyond_log(&mut self) -> u64 {
        self.beyond_log = self.beyond_log.saturating_add(1);
        self.beyond_log
    }

    pub(crate) fn beyond_log(&self) -> u64 {
        self.beyond_log
    }

    /// Forgets the addresses that hosts told which are not members now.
    pub(crate) fn forget_moves_of_strangers(&mut self) {
        let members = &self.members;
        self.whereabouts.retain(|host| members.contains(&host));
    }

    /// Notes the time of the node's input.
    pub(crate) fn pass(&mut self, now: Time) {
        self.now = now;
    }

    /// Returns true if not all hosts are connected to each other.
    pub(crate) fn is_bounded(&self) -> bool {
        self.overlay != Overlay::Full
    }

    /// Returns true if this host is connected to one that is no neighbour in the overlay, as
    /// after it joined by way of that one.
    pub(crate) fn is_surplus(&self, host: HostId) -> bool {
        let are_members = self.members.contains(&host) && self.members.contains(&self.me);
        self.is_bounded() && are_members && !self.dialled.contains_key(&host)
    }

    /// Returns the neighbour by which a frame to the host goes: the host itself if it is
    /// connected.
    pub(crate) fn route(&mut self, to: HostId) -> Option<HostId> {
        if !self.is_bounded() || self.is_neighbour(to) {
            return Some(to);
        }
        let of = Some((self.rings_version, self.liveness.version()));
        if self.routes.of != of {
            let first = self.liveness.all_heard();
            let mut routes = std::mem::take(&mut self.routes);
            let is_lost = |host: HostId| self.judgement(host) >= Judgement::Suspect;
            let connected = |host: HostId| {
                let mut neighbours = self.rings.neighbours(host);
                neighbours.retain(|other| !self.liveness.is_cut(host, *other));
                neighbours
            };
            routes.find(&first, connected, |host| !is_lost(host));
            self.routes = routes;
            self.routes.of = of;
        }
        self.routes.to(to).filter(|by| self.is_neighbour(*by))
    }

    /// Returns the number of hosts in all maps.
    pub(crate) fn hosts_held(&self) -> usize {
        self.members.len() + self.contacts.len() + self.dialled.len() + self.whereabouts.len()
    }

    #[cfg(test)]
    pub(crate) fn dialled(&self) -> BTreeSet<HostId> {
        self.dialled.keys().copied().collect()
    }

    #[cfg(test)]
    pub(crate) fn addresses_dialled(&self, host: HostId) -> &[String] {
        &self.dialled[&host]
    }

    #[cfg(test)]
    pub(crate) fn reports_mut(&mut self) -> &mut Reports {
        &mut self.reports
    }
}

#[cfg(test)]
mod tests;

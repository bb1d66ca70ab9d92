//! The promises that a host makes by sending a frame, and what its store holds to
//! keep them.
//!
//! This is for tools that compare the two, such as the simulator. Nodes do not use
//! it.

use std::collections::{BTreeMap, BTreeSet};

use crate::entry::Index;
use crate::form::Version;
use crate::id::{DeploymentId, MeshId, VoterId};
use crate::ledger::{Content, Kind, LogEntry, OnDisk, RaftMessage};
use crate::lifecycle::LifecycleEvent;
use crate::node::Node;
use crate::wire::{self, Message};

/// A fact that the sender of a frame must not forget.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Promise {
    /// The voter has heard of this term, and takes no part in an earlier one.
    Term {
        /// The voter that promises.
        by: VoterId,
        /// The term of consensus.
        term: u64,
    },
    /// The voter gave its only vote in this term.
    Vote {
        /// The voter that voted.
        by: VoterId,
        /// The term of the vote.
        term: u64,
        /// The candidate: the voter itself, if it stands for election or leads.
        to: VoterId,
        /// True if the voter leads, so that most voters have voted for it.
        leads: bool,
        /// Entries of its log, by index and term.
        places: Vec<(Index, u64)>,
    },
    /// The voter's log is the same as that of this term's leader, up to an index.
    Log {
        /// The voter that has the log.
        by: VoterId,
        /// The term of the leader.
        term: u64,
        /// The last index that is the same.
        index: Index,
    },
    /// The host has folded all entries up to an index, and knows the voters there.
    Head {
        /// The last index that it has folded.
        index: Index,
    },
}

impl Promise {
    /// Returns the promise that a frame makes; `None` if it makes none, or is not a
    /// frame of this mesh.
    pub fn of(mesh: MeshId, frame: &[u8]) -> Option<Promise> {
        match wire::unframe(mesh, frame, Version::NEWEST).ok()?.1 {
            Message::Beacon(beacon) => Some(Promise::Head { index: beacon.index }),
            Message::Raft(message) => of_consensus(&message),
            Message::Propose { .. }
            | Message::Want { .. }
            | Message::Committed(_)
            | Message::Snapshot(_)
            | Message::Progress(_)
            | Message::Look { .. }
            | Message::Seen { .. }
            | Message::Confirm { .. }
            | Message::Confirmed { .. }
            | Message::WhereAre(_)
            | Message::Places(_)
            | Message::Recoveries(_) => None,
        }
    }
}

fn of_consensus(message: &RaftMessage) -> Option<Promise> {
    let (by, term) = (message.from, message.term);
    let vote = |to, leads, places| Some(Promise::Vote { by, term, to, leads, places });
    match message.kind {
        Kind::RequestVote => vote(by, false, Vec::new()),
        Kind::RequestVoteResponse if !message.reject => vote(message.to, false, Vec::new()),
        Kind::Append => vote(by, true, places(message)),
        Kind::Heartbeat | Kind::Snapshot | Kind::TimeoutNow => vote(by, true, Vec::new()),
        Kind::AppendResponse if !message.reject => Some(Promise::Log { by, term, index: message.index }),
        Kind::RequestVoteResponse | Kind::AppendResponse | Kind::HeartbeatResponse => {
            Some(Promise::Term { by, term })
        }
        // A pre-vote poll before an election: no host remembers the answers.
        Kind::RequestPreVote | Kind::RequestPreVoteResponse => None,
    }
}

fn places(append: &RaftMessage) -> Vec<(Index, u64)> {
    let before = (append.index, append.log_term);
    std::iter::once(before).chain(append.entries.iter().map(|entry| (entry.index, entry.term))).collect()
}

/// Returns a beacon with another hash of the ledger, as a host would send whose
/// ledger differs; `None` if the frame is not a beacon at this index.
pub fn falsified(mesh: MeshId, frame: &[u8], index: Index) -> Option<Vec<u8>> {
    let (history, message) = wire::unframe(mesh, frame, Version::NEWEST).ok()?;
    match message {
        Message::Beacon(mut beacon) if beacon.index == index && index > 0 => {
            beacon.hash[0] ^= 1;
            Some(wire::frame(mesh, history, &Message::Beacon(beacon)))
        }
        Message::Beacon(_)
        | Message::Raft(_)
        | Message::Propose { .. }
        | Message::Want { .. }
        | Message::Committed(_)
        | Message::Snapshot(_)
        | Message::Progress(_)
        | Message::Look { .. }
        | Message::Seen { .. }
        | Message::Confirm { .. }
        | Message::Confirmed { .. }
        | Message::WhereAre(_)
        | Message::Places(_)
        | Message::Recoveries(_) => None,
    }
}

/// The voters that take part in consensus.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Electorate {
    /// The voters. Most of them must agree.
    pub voters: BTreeSet<VoterId>,
    /// The voters that are handing over: most of them must agree too. Empty at
    /// other times.
    pub outgoing: BTreeSet<VoterId>,
}

/// A committed change of the voters. An empty one removes the outgoing voters.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Change {
    /// The voters to add.
    pub add: Vec<VoterId>,
    /// The hosts that get all entries, but do not vote yet.
    pub learn: Vec<VoterId>,
    /// The voters to remove.
    pub remove: Vec<VoterId>,
}

/// A place in the log: its index and term, and the change of voters if there is
/// one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The index of the place.
    pub index: Index,
    /// The term of the leader that put the entry there.
    pub term: u64,
    /// The change of voters; `None` for other entries.
    pub change: Option<Change>,
    /// The only voter from here on, if the mesh was recovered here.
    pub recovered_by: Option<VoterId>,
}

impl From<LogEntry> for Place {
    fn from(entry: LogEntry) -> Place {
        let recovered_by = match &entry.content {
            Content::Recovered(signed) => Some(signed.recovery().voter),
            Content::Empty | Content::Entry(_) | Content::Voters(_) => None,
        };
        let change = match entry.content {
            Content::Voters(change) => {
                Some(Change { add: change.add, learn: change.learn, remove: change.remove })
            }
            Content::Empty | Content::Entry(_) | Content::Recovered(_) => None,
        };
        Place { index: entry.index, term: entry.term, change, recovered_by }
    }
}

impl Node {
    /// Returns the voters as consensus itself counts them; `None` if consensus does
    /// not run on this host.
    pub fn electorate(&self) -> Option<Electorate> {
        let (voters, outgoing) = self.ledger().electorate()?;
        Some(Electorate { voters, outgoing })
    }

    /// Returns the committed places after an index, as far as this node still holds
    /// them.
    pub fn places_after(&self, after: Index) -> Vec<Place> {
        let held = self.ledger().held_after(after).unwrap_or_else(|| self.ledger().held().2);
        held.into_iter().map(Place::from).collect()
    }
}

/// The content of a store, read as a node reads it at its start.
#[derive(Clone, Copy, Debug)]
pub struct Held<'a>(pub &'a BTreeMap<Vec<u8>, Vec<u8>>);

/// Returns true if a write replaces the ledger's snapshot.
pub fn holds_snapshot(changes: &[(Vec<u8>, Option<Vec<u8>>)]) -> bool {
    changes.iter().any(|(key, _)| OnDisk::is_snapshot(key))
}

impl Held<'_> {
    /// Returns the number under which the host votes.
    pub fn voter(&self) -> Option<VoterId> {
        crate::node::stored_voter(self.0)
    }

    /// Returns consensus's term, and the voter that got this host's vote in it.
    pub fn vote(&self) -> Option<(u64, Option<VoterId>)> {
        let hard = OnDisk(self.0).hard()?;
        Some((hard.term, Some(VoterId(hard.vote)).filter(|vote| vote.0 != 0)))
    }

    /// Returns the term of the entry at this index, if the entry itself is held.
    pub fn term_at(&self, index: Index) -> Option<u64> {
        OnDisk(self.0).entry(index).map(|entry| entry.term)
    }

    /// Returns true if the entry at this index is held, or a snapshot that covers
    /// it.
    pub fn reaches(&self, index: Index) -> bool {
        OnDisk(self.0).base().is_some_and(|base| index <= base) || self.term_at(index).is_some()
    }

    /// Returns the last index that a start would fold from this store.
    pub fn committed(&self) -> Index {
        let disk = OnDisk(self.0);
        disk.hard().map_or(0, |hard| hard.commit).max(disk.snapshot().unwrap_or(0))
    }

    /// Returns the event that the journal says may be running in the turn.
    pub fn running(&self, deployment: DeploymentId) -> Option<LifecycleEvent> {
        crate::node::stored_running(self.0, deployment)
    }
}

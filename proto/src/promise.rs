//! What a host promises with a frame, and what its store holds to keep it.
//!
//! For tools that hold one against the other, as the simulator does. No node
//! reads anything of this.

use std::collections::{BTreeMap, BTreeSet};

use crate::entry::Index;
use crate::id::{DeploymentId, MeshId, VoterId};
use crate::ledger::{Content, Kind, LogEntry, OnDisk, RaftMessage};
use crate::lifecycle::LifecycleEvent;
use crate::node::Node;
use crate::wire::{self, Message};

/// What the sender of a frame must not forget.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Promise {
    /// The voter has heard of this term, and takes no part in an earlier one.
    Term {
        /// Who says so.
        by: VoterId,
        /// Which term.
        term: u64,
    },
    /// The voter gave its only vote of this term.
    Vote {
        /// Whose vote it was.
        by: VoterId,
        /// In which term.
        term: u64,
        /// Who got it: itself, if it stands for election or leads.
        to: VoterId,
        /// Whether it leads: then most voters voted for it.
        leads: bool,
        /// Entries of its log, by index and term.
        places: Vec<(Index, u64)>,
    },
    /// The voter's log is the leader's of this term up to an index.
    Log {
        /// Whose log.
        by: VoterId,
        /// In which term.
        term: u64,
        /// Up to where.
        index: Index,
    },
    /// The host has folded all entries up to here, and knows who votes then.
    Head {
        /// Up to where.
        index: Index,
    },
}

impl Promise {
    /// The promise that a frame makes; none if it makes none or is no frame of
    /// this mesh.
    pub fn of(mesh: MeshId, frame: &[u8]) -> Option<Promise> {
        match wire::unframe(mesh, frame).ok()? {
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
            | Message::Confirmed { .. } => None,
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
        // A poll before an election: nobody remembers who answered what.
        Kind::RequestPreVote | Kind::RequestPreVoteResponse => None,
    }
}

fn places(append: &RaftMessage) -> Vec<(Index, u64)> {
    let before = (append.index, append.log_term);
    std::iter::once(before).chain(append.entries.iter().map(|entry| (entry.index, entry.term))).collect()
}

/// The same sign of life with another hash of the ledger, if the frame is one of
/// this index: what a host says whose ledger differs.
pub fn falsified(mesh: MeshId, frame: &[u8], index: Index) -> Option<Vec<u8>> {
    match wire::unframe(mesh, frame).ok()? {
        Message::Beacon(mut beacon) if beacon.index == index && index > 0 => {
            beacon.hash[0] ^= 1;
            Some(wire::frame(mesh, &Message::Beacon(beacon)))
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
        | Message::Confirmed { .. } => None,
    }
}

/// Who takes part in consensus.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Electorate {
    /// Most of them must agree.
    pub voters: BTreeSet<VoterId>,
    /// And most of these, while they hand over to the others. Empty otherwise.
    pub outgoing: BTreeSet<VoterId>,
}

/// A committed change of the voters. Empty: the voters that hand over are gone.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Change {
    /// Who votes from now on.
    pub add: Vec<VoterId>,
    /// Who gets all entries, and does not vote yet.
    pub learn: Vec<VoterId>,
    /// Who does not vote any longer.
    pub remove: Vec<VoterId>,
}

/// A place in the log: its index and term, and the change of voters if it is one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// Which.
    pub index: Index,
    /// The term of the leader that put the entry there.
    pub term: u64,
    /// What becomes of the voters, if anything does.
    pub change: Option<Change>,
}

impl From<LogEntry> for Place {
    fn from(entry: LogEntry) -> Place {
        let change = match entry.content {
            Content::Voters(change) => {
                Some(Change { add: change.add, learn: change.learn, remove: change.remove })
            }
            Content::Empty | Content::Entry(_) => None,
        };
        Place { index: entry.index, term: entry.term, change }
    }
}

impl Node {
    /// The voters that consensus itself counts; none if it does not run here.
    pub fn electorate(&self) -> Option<Electorate> {
        let (voters, outgoing) = self.ledger().electorate()?;
        Some(Electorate { voters, outgoing })
    }

    /// The committed places after an index, as far as this node still holds them.
    pub fn places_after(&self, after: Index) -> Vec<Place> {
        let held = self.ledger().held_after(after).unwrap_or_else(|| self.ledger().held().2);
        held.into_iter().map(Place::from).collect()
    }
}

/// What a store holds, read as a node reads it at its start.
#[derive(Clone, Copy, Debug)]
pub struct Held<'a>(pub &'a BTreeMap<Vec<u8>, Vec<u8>>);

impl Held<'_> {
    /// The number under which its host votes.
    pub fn voter(&self) -> Option<VoterId> {
        crate::node::stored_voter(self.0)
    }

    /// Consensus's term, and to whom its vote in it went.
    pub fn vote(&self) -> Option<(u64, Option<VoterId>)> {
        let hard = OnDisk(self.0).hard()?;
        Some((hard.term, Some(VoterId(hard.vote)).filter(|vote| vote.0 != 0)))
    }

    /// The term of the entry there, if the entry itself is held.
    pub fn term_at(&self, index: Index) -> Option<u64> {
        OnDisk(self.0).entry(index).map(|entry| entry.term)
    }

    /// Whether the entry there is held, or a snapshot that covers it.
    pub fn reaches(&self, index: Index) -> bool {
        OnDisk(self.0).base().is_some_and(|base| index <= base) || self.term_at(index).is_some()
    }

    /// Up to where a start would fold what is held.
    pub fn committed(&self) -> Index {
        let disk = OnDisk(self.0);
        disk.hard().map_or(0, |hard| hard.commit).max(disk.snapshot().unwrap_or(0))
    }

    /// The event that the journal says may be running in a turn.
    pub fn running(&self, deployment: DeploymentId) -> Option<LifecycleEvent> {
        crate::node::stored_running(self.0, deployment)
    }
}

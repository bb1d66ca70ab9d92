//! The ledger: the only shared truth, an ordered log that voters agree on and that
//! every other host follows.
//!
//! Consensus is raft-rs behind our own types; none of its types leaves this folder.
//! A host either votes (it runs consensus) or follows (it only appends what others
//! committed). Both hold the same log in the same form, so a follower that becomes
//! a voter starts consensus from the log that it has.
//!
//! Invariants: only committed entries are handed out, in order, and each once. A
//! message that promises something is released only after the write that makes the
//! promise durable is reported done. Entries are hash-chained, and the head of the
//! chain is the same on every host at the same index.
//!
//! # Decisions
//!
//! - Consensus is raft-rs and not our own. Kept: years of use. Given up: its API has
//!   many ways to panic. So `guard.rs` checks each message before raft-rs sees it,
//!   and a store that does not fit is set aside: its host has lost its memory and
//!   rejoins under a new voter number.
//! - At most seven hosts vote, however large the mesh is. All others follow.

mod consensus;
mod follow;
mod guard;
mod kept;
mod log;
mod message;
mod raft_entry;
mod records;
mod recover;
mod role;
mod voters;

use std::collections::{BTreeSet, VecDeque};
use std::ops::Range;

use crate::entry::{Entry, Index};
use crate::form::{self, Version};
use crate::id::VoterId;
use crate::io::WriteId;
use consensus::{Consensus, Ready};
use log::Log;
use raft_entry::NUMBER_MAX;

pub(crate) use consensus::TICK;
pub(crate) use guard::Refused;
pub(crate) use log::Base;
pub(crate) use message::{Kind, RaftMessage};
pub(crate) use raft_entry::{ChainHash, Content, LogEntry, Seal, Snapshot, chain};
pub(crate) use records::{Hard, OnDisk, Restored};
pub(crate) use voters::{Candidate, VoterChange, Voters, next_change};

/// Something that was committed.
#[derive(Debug)]
pub(crate) enum Committed {
    /// The next committed entry.
    Entry(LogEntry),
    /// A snapshot, which replaces everything before it.
    Snapshot(Snapshot),
}

impl Committed {
    fn changes_voters(&self) -> bool {
        match self {
            Committed::Entry(entry) => matches!(entry.content, Content::Voters(_) | Content::Recovered(_)),
            Committed::Snapshot(_) => true,
        }
    }
}

/// A change for the store: a key, and its new value or its deletion.
pub(crate) type Change = (Vec<u8>, Option<Vec<u8>>);

/// Something that the ledger wants done.
#[derive(Debug, Default)]
pub(crate) struct Todo {
    /// The changes to write, in order.
    pub(crate) changes: Vec<Change>,
    /// True if the write carries a promise.
    pub(crate) sync: bool,
    /// The messages that may be sent at once.
    pub(crate) messages: Vec<RaftMessage>,
    /// The entries and snapshots to fold, in order.
    pub(crate) committed: Vec<Committed>,
}

enum Role {
    Following(Box<Log>),
    Voting(Box<Consensus>),
}

/// A write of consensus that is under way.
struct Unwritten {
    write: WriteId,
    /// Consensus's own number for the write.
    number: u64,
    /// True if the write holds a new term or a vote.
    vows: bool,
    /// The messages that may be sent once the write is done.
    messages: Vec<RaftMessage>,
}

/// The ledger on one host.
pub(crate) struct Ledger {
    me: VoterId,
    role: Role,
    seed: u64,
    /// The number of entries that are kept before the newest snapshot, for hosts
    /// that lag.
    kept: usize,
    /// The voters as of the last folded entry.
    voters: Voters,
    hash: ChainHash,
    folded: Index,
    term_folded: u64,
    /// The last entry that changed the voters.
    voters_since: Index,
    /// Writes that are not yet reported done.
    unwritten: VecDeque<Unwritten>,
    /// True if something was written since the last synced write: a power loss may
    /// take it.
    is_unsure: bool,
    /// The head before the voters changed, and the write that makes the change
    /// durable.
    unannounced: Option<(WriteId, (Index, ChainHash))>,
    /// The head before a snapshot that is not yet part of a write.
    replaced: Option<(Index, ChainHash)>,
    /// Changes that wait for the next write.
    changes: Vec<Change>,
    /// The entries and snapshots that were committed while this host follows, and
    /// are not folded yet.
    arrived: VecDeque<Committed>,
    /// Entries before the start of the log that are still in the store.
    deletable: Range<Index>,
    /// The newest state that was sealed, for hosts that lag.
    checkpoint: Option<Box<Snapshot>>,
    /// The seals of the last checkpoints, the newest last.
    seals: VecDeque<(Index, Seal)>,
    /// True if the ledger takes part in nothing any longer.
    is_stopped: bool,
    /// The newest version of states that this host reads.
    reads: Version,
}

impl Ledger {
    /// Makes an empty ledger, which waits for committed entries from others.
    pub(crate) fn empty(me: VoterId, seed: u64, kept: usize) -> Self {
        let log = Log::new(log::Base::default());
        Ledger {
            me,
            role: Role::Following(Box::new(log)),
            seed,
            kept,
            voters: Voters::default(),
            hash: [0; 32],
            folded: 0,
            term_folded: 0,
            voters_since: 0,
            unwritten: VecDeque::new(),
            is_unsure: false,
            unannounced: None,
            replaced: None,
            changes: Vec::new(),
            arrived: VecDeque::new(),
            deletable: 0..0,
            checkpoint: None,
            seals: VecDeque::new(),
            is_stopped: false,
            reads: Version::NEWEST,
        }
    }

    /// Lets it refuse snapshots of a newer version than this.
    pub(crate) fn reading(self, reads: Version) -> Self {
        Ledger { reads, ..self }
    }

    /// Begins the ledger of a mesh: one voter, an empty state, index 1.
    pub(crate) fn found(mut self, genesis: ChainHash, state: Vec<u8>) -> Self {
        let voters = Voters::only(self.me);
        let snapshot = Snapshot { index: 1, term: 1, hash: genesis, voters, state };
        self.install(snapshot);
        self.arrived.clear();
        self.replaced = None;
        self.start_voting();
        self.campaign();
        self
    }

    /// Continues from what the store held. Its committed entries must be folded
    /// first.
    pub(crate) fn restore(mut self, restored: Restored) -> Self {
        self.voters = restored.snapshot.voters.clone();
        self.hash = restored.snapshot.hash;
        self.folded = restored.snapshot.index;
        self.term_folded = restored.snapshot.term;
        self.voters_since = restored.snapshot.index;
        let first = self.folded + 1;
        self.arrived = restored
            .entries
            .iter()
            .filter(|entry| entry.index >= first && entry.index <= restored.commit)
            .map(|entry| Committed::Entry(entry.clone()))
            .collect();
        self.deletable = restored.left_over.clone();
        self.set_checkpoint_if_one(&restored.snapshot);
        self.role = Role::Following(Box::new(restored.into_log()));
        // The process may have died before it synced what it reads now.
        self.is_unsure = true;
        self
    }

    pub(crate) fn me(&self) -> VoterId {
        self.me
    }

    pub(crate) fn voters(&self) -> &Voters {
        &self.voters
    }

    /// Returns the last entry that changed the voters. After a snapshot this is the
    /// snapshot's index: the change may have been earlier.
    pub(crate) fn voters_since(&self) -> Index {
        self.voters_since
    }

    pub(crate) fn is_voting(&self) -> bool {
        matches!(self.role, Role::Voting(_))
    }

    pub(crate) fn is_leader(&self) -> bool {
        match &self.role {
            Role::Following(_) => false,
            Role::Voting(consensus) => consensus.is_leader(),
        }
    }

    /// Returns the voters and the outgoing voters as consensus counts them, if it
    /// runs on this host.
    pub(crate) fn electorate(&self) -> Option<(BTreeSet<VoterId>, BTreeSet<VoterId>)> {
        match &self.role {
            Role::Following(_) => None,
            Role::Voting(consensus) => Some(consensus.electorate()),
        }
    }

    /// Returns the leader, if this host votes and knows it.
    pub(crate) fn leader(&self) -> Option<VoterId> {
        match &self.role {
            Role::Following(_) => None,
            Role::Voting(consensus) => consensus.leader(),
        }
    }

    /// Returns the last folded index, and the head of the hash chain there.
    pub(crate) fn head(&self) -> (Index, ChainHash) {
        (self.folded, self.hash)
    }

    /// Returns the head that this host may tell others: that of the part of the log
    /// that survives a power loss. A host that is voted out leaves when most voters
    /// that stay have told that they know of it, and without it none of them could
    /// lead.
    pub(crate) fn told_head(&self) -> (Index, ChainHash) {
        self.unannounced.map(|(_, head)| head).or(self.replaced).unwrap_or_else(|| self.head())
    }

    /// Returns true if nothing was ever committed here.
    pub(crate) fn is_empty(&self) -> bool {
        self.folded == 0
    }

    pub(crate) fn tick(&mut self) {
        if let Role::Voting(consensus) = &mut self.role {
            consensus.tick();
        }
    }

    fn campaign(&mut self) {
        if let Role::Voting(consensus) = &mut self.role {
            consensus.campaign();
        }
    }

    /// Puts an entry in order, if this host leads.
    pub(crate) fn propose(&mut self, entry: &Entry) -> bool {
        match &mut self.role {
            Role::Following(_) => false,
            Role::Voting(consensus) => consensus.propose(form::encode_entry(entry)),
        }
    }

    /// Puts a change of the voters in order, if this host leads.
    pub(crate) fn propose_voters(&mut self, change: &VoterChange) -> bool {
        match &mut self.role {
            Role::Following(_) => false,
            Role::Voting(consensus) => consensus.propose_voters(change),
        }
    }

    /// Hands leadership to another voter, if this host leads.
    pub(crate) fn transfer(&mut self, to: VoterId) {
        if let Role::Voting(consensus) = &mut self.role {
            consensus.transfer(to);
        }
    }

    /// Returns up to which index the leader knows the log of a voter or learner to
    /// match its own.
    pub(crate) fn matched(&self, voter: VoterId) -> Option<Index> {
        match &self.role {
            Role::Following(_) => None,
            Role::Voting(consensus) => consensus.matched(voter),
        }
    }

    pub(crate) fn last_index(&self) -> Index {
        self.log().last_index()
    }

    /// Takes a message of consensus from an authenticated voter.
    /// # Errors
    /// The reason why the message was refused without giving it to consensus.
    pub(crate) fn step(&mut self, message: RaftMessage) -> Result<(), Refused> {
        match &mut self.role {
            Role::Following(_) => Err(Refused::NotVoting),
            Role::Voting(consensus) => {
                guard::check(self.me, &self.voters, consensus, &message, self.reads)?;
                consensus.step(message);
                Ok(())
            }
        }
    }

    fn adopt(&mut self, snapshot: &Snapshot) {
        self.voters = snapshot.voters.clone();
        self.hash = snapshot.hash;
        self.folded = snapshot.index;
        self.term_folded = snapshot.term;
        self.voters_since = snapshot.index;
    }

    /// Returns what to write, send and fold now. `write` is the number for the
    /// write, if there is one.
    pub(crate) fn todo(&mut self, write: WriteId) -> Option<Todo> {
        let mut todo = Todo { changes: std::mem::take(&mut self.changes), ..Todo::default() };
        todo.committed.extend(self.arrived.drain(..));
        // A host that was voted out may leave then, and those that stay must not
        // forget that it was.
        todo.sync = todo.committed.iter().any(Committed::changes_voters);
        if let Role::Voting(consensus) = &mut self.role
            && let Some(ready) = consensus.ready()
        {
            self.take_ready(ready, write, &mut todo);
        }
        self.delete_some(&mut todo.changes);
        if !todo.changes.is_empty() {
            todo.sync |= self.is_to_vote();
            self.is_unsure = !todo.sync;
        }
        if todo.committed.iter().any(Committed::changes_voters) {
            self.unannounced = Some((write, self.told_head()));
            self.replaced = None;
        }
        let waits = self.unwritten.back().is_some_and(|unwritten| unwritten.write == write);
        let idle = todo.changes.is_empty() && todo.messages.is_empty() && todo.committed.is_empty() && !waits;
        (!idle).then_some(todo)
    }

    /// Adds what consensus wants done to this write.
    fn take_ready(&mut self, ready: Ready, write: WriteId, todo: &mut Todo) {
        todo.changes.extend(ready.entries.iter().map(records::entry));
        todo.changes.extend(ready.truncated.map(records::delete_entry));
        if let Some(snapshot) = ready.snapshot {
            self.delete_later(ready.superseded);
            todo.changes.extend(records::snapshot(&snapshot));
            todo.committed.push(Committed::Snapshot(snapshot));
        }
        todo.changes.extend(ready.hard.map(records::hard_state));
        let mut promises = ready.promises;
        if ready.vows || self.unwritten.iter().any(|write| write.vows) {
            // A leader may send before it has written. But a voter that is the only
            // one leads by its own vote, which it would forget if the write were
            // lost.
            promises.splice(..0, ready.messages);
        } else {
            todo.messages = ready.messages;
        }
        todo.committed.extend(ready.committed.into_iter().map(Committed::Entry));
        todo.sync = ready.sync || todo.committed.iter().any(Committed::changes_voters);
        // This is needed even if there is nothing to write, because promises go out
        // in order.
        let (number, vows) = (ready.number, ready.vows);
        self.unwritten.push_back(Unwritten { write, number, vows, messages: promises });
    }

    /// Notes that an entry is folded: extends the chain, and applies a change of
    /// the voters.
    pub(crate) fn note_folded(&mut self, entry: &LogEntry) {
        assert_eq!(entry.index, self.folded + 1, "entries are folded in order");
        self.hash = chain(&self.hash, entry);
        self.folded = entry.index;
        self.term_folded = entry.term;
        match &entry.content {
            Content::Voters(change) => {
                let is_change = self.voters.apply(change);
                self.voters_since = entry.index;
                match &mut self.role {
                    Role::Voting(consensus) if is_change => consensus.apply_voters(change, &self.voters),
                    Role::Voting(_) | Role::Following(_) => {}
                }
            }
            Content::Recovered(signed) => {
                self.voters = Voters::only(signed.recovery().voter);
                self.voters_since = entry.index;
            }
            Content::Empty | Content::Entry(_) => {}
        }
        if let Role::Voting(consensus) = &mut self.role {
            consensus.note_folded(entry.index);
        }
    }

    /// Notes that a snapshot is folded.
    pub(crate) fn note_snapshot(&mut self, snapshot: &Snapshot) {
        self.adopt(snapshot);
        if let Role::Voting(consensus) = &mut self.role {
            consensus.note_folded(snapshot.index);
        }
    }

    /// Notes that a write is durable, and so are all before it. Returns the
    /// messages that may be sent now.
    pub(crate) fn persisted(&mut self, write: WriteId) -> Vec<RaftMessage> {
        self.unannounced = self.unannounced.filter(|(unannounced, _)| *unannounced > write);
        let mut messages = Vec::new();
        let mut last = None;
        while let Some(unwritten) = self.unwritten.pop_front_if(|unwritten| unwritten.write <= write) {
            messages.extend(unwritten.messages);
            last = Some(unwritten.number);
        }
        if let (Role::Voting(consensus), Some(number)) = (&mut self.role, last) {
            consensus.persisted(number);
        }
        messages
    }

    fn log(&self) -> &Log {
        match &self.role {
            Role::Following(log) => log,
            Role::Voting(consensus) => consensus.log(),
        }
    }
}

#[cfg(test)]
mod tests;

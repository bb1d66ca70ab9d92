//! Halting: a host that cannot fold the ledger as the others do stops folding.
//!
//! It starts no turn, proposes nothing and does not vote, but it still answers and
//! says why it halted. Going on would be worse. With a skipped entry, or a state
//! that differs, it could act on what no other host knows.
//!
//! Entries are hash-chained. That proves that two hosts read the same bytes, but not
//! that they derived the same state. So every host seals its folded state every 1,024
//! entries (with 10,000 hosts that is 5 MB, which takes about 6 ms to encode), and
//! its beacons carry the newest seal. A host halts if most voters contradict its
//! seal. The seals are not entries of the ledger, because a lying member could then
//! make all others halt.

use std::any::Any;
use std::collections::BTreeMap;
use std::panic::{self, AssertUnwindSafe};

use super::{Node, decode_entry};
use crate::entry::{Entry, Index};
use crate::form::Unreadable;
use crate::id::HostId;
use crate::io::{Notice, Output, Refusal};
use crate::ledger::Seal;
use crate::state::State;
use crate::statement::{Intent, Statement};

/// The reason why this host has stopped folding.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Halt {
    /// An entry cannot be read.
    #[error(
        "entry {index} {cause}: this host folds no further and takes no turns; install the version of the agent \
         that the other hosts have, and start it again"
    )]
    Unreadable {
        /// The index of the entry.
        index: Index,
        /// The reason why it cannot be read.
        cause: Unreadable,
    },
    /// Folding an entry panicked.
    #[error(
        "folding entry {index} of the ledger failed: {error}; this is an error in the agent. This host folds no \
         further and takes no turns; applications run on. Report it, install an agent in which it is mended, and start \
         it again: it goes on from there by itself"
    )]
    Panicked {
        /// The index of the entry.
        index: Index,
        /// The panic's message.
        error: String,
    },
    /// This host holds committed entries that the recovered ledger lacks.
    #[error(
        "the mesh was recovered from entry {base} of another host (epoch {epoch}), and this host holds committed \
         entries up to {index} that the recovered ledger does not have: it folds no further, does not vote and takes \
         no turns. Nothing is deleted: the history of this host still shows them. To take this host back into \
         the mesh, stop its agent, move the store out of the data directory (and keep it), and start the agent again"
    )]
    Superseded {
        /// The newest entry that this host holds as committed.
        index: Index,
        /// The last entry before the recovery.
        base: Index,
        /// The number of the recovery.
        epoch: u64,
    },
    /// Most voters hold another state.
    #[error(
        "{voters} of {of} voters hold another state as of entry {index}: this host folds no further and takes no \
         turns; report it, move the store out of the data directory, and start the agent again: it gets the mesh's \
         state anew"
    )]
    Diverged {
        /// The index at which the states differ.
        index: Index,
        /// The number of voters that agree on another state.
        voters: u32,
        /// The number of all voters.
        of: u32,
    },
}

impl Node {
    /// Returns the reason why this host has stopped folding, if it has.
    pub fn halted(&self) -> Option<&Halt> {
        self.own.halted.as_ref()
    }

    /// Folds an entry; `None` if that panicked. Then this host halts, and its state is as
    /// before the entry.
    ///
    /// An error in the fold is met by every host of the mesh, at the same entry and again
    /// at each start. If it ended the agent, nothing would be left that could say so.
    pub(super) fn apply(&mut self, index: Index, entry: &Entry) -> Option<Result<(), Refusal>> {
        let (state, panics_on) = (&mut self.state, &self.config.fold_panics_on);
        let folded = panic::catch_unwind(AssertUnwindSafe(|| {
            let folded = state.apply(index, entry);
            if let (Some(of), Statement::Intent(Intent::SetGroup(group))) = (panics_on, &entry.statement) {
                assert!(group.name != *of, "the fold fails here for a test");
            }
            folded
        }));
        match folded {
            Ok(folded) => Some(folded),
            Err(panic) => {
                // What the panic left may be half changed.
                self.state = self.refolded();
                self.halt(Halt::Panicked { index, error: panic_text(panic.as_ref()) });
                None
            }
        }
    }

    /// Returns the state before the entry that is folded now, made again from the newest
    /// snapshot. All entries since then are held, at most as many as between two
    /// checkpoints, and were folded once without a panic.
    fn refolded(&self) -> State {
        let Some(snapshot) = self.ledger.newest_snapshot() else { return State::default() };
        let mut state =
            State::decode(&snapshot.state, snapshot.index, self.config.reads()).unwrap_or_default();
        for logged in self.ledger.held_after(state.index()).unwrap_or_default() {
            match decode_entry(&logged, self.config.reads()) {
                Ok(Some(entry)) => drop(state.apply(logged.index, &entry)),
                Ok(None) => state.skip(logged.index),
                Err(_) => return state,
            }
        }
        state
    }

    pub(super) fn halt(&mut self, why: Halt) {
        tracing::error!("{why}");
        // What was asked of this host may be committed, but it cannot tell.
        for request in self.proposals.take_if(|_, _| true).into_iter().filter_map(|pending| pending.request) {
            self.reply(request, Err(Refusal::Halted(why.clone())));
        }
        self.own.halted = Some(why);
        self.ledger.stop();
    }

    /// Seals the folded state, if this is an index at which every host does.
    pub(super) fn seal_if_due(&mut self) {
        if self.ledger.is_checkpoint_due() {
            self.ledger.take_checkpoint(self.state.encode());
            self.compare_seals();
        }
    }

    /// Halts if most voters hold another state than this host.
    pub(super) fn compare_seals(&mut self) {
        if self.own.halted.is_some() {
            return;
        }
        let voters = &self.ledger.voters().voters;
        let hosts = voters.iter().filter_map(|voter| self.mesh.voter_hosts().get(voter));
        let mut others: BTreeMap<(Index, Seal), u32> = BTreeMap::new();
        for host in hosts {
            let told = self.mesh.reports().get(host).and_then(|heard| heard.checkpoint);
            if let Some(told) = told.filter(|(index, seal)| self.differs(*index, *seal)) {
                *others.entry(told).or_default() += 1;
            }
        }
        let of = u32::try_from(voters.len()).unwrap_or(u32::MAX);
        if let Some(((index, _), voters)) = others.into_iter().find(|(_, count)| *count > of / 2) {
            self.halt(Halt::Diverged { index, voters, of });
        }
    }

    /// Returns true if this host's own seal at that index is another.
    fn differs(&self, index: Index, seal: Seal) -> bool {
        self.ledger.seal_at(index).is_some_and(|own| own != seal)
    }

    /// Compares a neighbour's newest seal with this host's own.
    pub(super) fn on_seal(&mut self, from: HostId, index: Index, seal: Seal) {
        if self.differs(index, seal) {
            // This is told once for each neighbour, because a neighbour could make
            // up a new seal with each beacon.
            if self.mesh.note_contradiction(from) {
                tracing::error!(%from, index, "this host and its neighbour hold different states");
                self.outputs.push_back(Output::Notify(Notice::Diverged { with: from, index }));
            }
            self.compare_seals();
        }
    }
}

/// Returns the message of a panic.
fn panic_text(panic: &(dyn Any + Send)) -> String {
    let of_literal = panic.downcast_ref::<&str>().map(|text| (*text).to_string());
    of_literal.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "a panic".into())
}

//! The writes of this host to its store: what the next one holds, and which ones are
//! under way.

use std::collections::VecDeque;
use std::time::Duration;

use super::fence::Account;
use crate::id::DeploymentId;
use crate::io::{Write, WriteId};
use crate::ledger::Change;
use crate::time::Time;

/// The number of the first write after a start. This write makes the start's own
/// number durable.
const FIRST_WRITE: u64 = 1;

/// A write that is under way.
#[derive(Clone, Debug)]
struct UnderWay {
    write: WriteId,
    /// The time at which the node asked for the write.
    since: Time,
    /// The turns whose journal records are in the write.
    turns: Vec<DeploymentId>,
}

/// The writes of one start of a host.
pub(super) struct Writes {
    account: Account,
    /// The changes for the next write, besides the ledger's.
    changes: Vec<Change>,
    /// The turns whose journal records the next write makes durable.
    turns: Vec<DeploymentId>,
    /// The writes that are under way, the oldest first.
    under_way: VecDeque<UnderWay>,
    next: u64,
    /// The write that makes the number of this start durable, while it is under
    /// way.
    uncounted: Option<WriteId>,
    /// True if this host leads, its disk hangs, and that was logged.
    disk_hangs: bool,
}

impl Writes {
    /// Begins with the change that records the number of this start.
    pub(super) fn new(account: Account, start: Change) -> Self {
        Writes {
            account,
            changes: vec![start],
            turns: Vec::new(),
            under_way: VecDeque::new(),
            next: FIRST_WRITE,
            uncounted: Some(WriteId(FIRST_WRITE)),
            disk_hangs: false,
        }
    }

    /// Returns the number of the next write.
    pub(super) fn next(&self) -> WriteId {
        WriteId(self.next)
    }

    /// Adds a change to the next write.
    pub(super) fn add(&mut self, change: Change) {
        self.changes.push(change);
    }

    /// Adds a journal record to the next write. The turn waits until it is durable.
    pub(super) fn add_record(&mut self, deployment: DeploymentId, change: Change) {
        self.turns.push(deployment);
        self.changes.push(change);
    }

    /// Adds a change that others must not hear of before it is synced: until then this
    /// host tells no head of its ledger. Returns the number of the write.
    pub(super) fn add_identity(&mut self, change: Change) -> WriteId {
        self.changes.push(change);
        self.uncounted = Some(self.next());
        self.next()
    }

    /// Returns true if the number of this start is durable.
    pub(super) fn is_start_durable(&self) -> bool {
        self.uncounted.is_none()
    }

    /// Returns true if no write is under way.
    pub(super) fn is_idle(&self) -> bool {
        self.under_way.is_empty()
    }

    /// Returns true if the next write must be synced before anything that it promises is
    /// sent, besides what the ledger asks for.
    pub(super) fn must_sync(&self) -> bool {
        !self.turns.is_empty() || self.uncounted == Some(self.next())
    }

    /// Takes the next write, with the ledger's changes. Returns `None` if there is nothing to
    /// write and, as far as `awaited` says, nothing waits for a write.
    pub(super) fn take(
        &mut self,
        ledger: Vec<Change>,
        sync: bool,
        awaited: bool,
        now: Time,
    ) -> Option<Write> {
        let id = self.next();
        let sync = sync || self.must_sync();
        let mut changes = std::mem::take(&mut self.changes);
        let turns = std::mem::take(&mut self.turns);
        changes.extend(ledger);
        if changes.is_empty() && (!awaited || self.is_idle()) {
            return None;
        }
        self.next += 1;
        self.under_way.push_back(UnderWay { write: id, since: now, turns });
        let fence = self.account.count(&mut changes);
        Some(Write { id, sync, changes, fence })
    }

    /// Counts a write that has nothing to write, and returns its number: it is done.
    pub(super) fn skip(&mut self) -> WriteId {
        let skipped = self.next();
        self.next += 1;
        skipped
    }

    /// Notes that all writes up to this one are synced. Returns the turns whose records are
    /// durable now.
    pub(super) fn synced(&mut self, write: WriteId) -> Vec<DeploymentId> {
        if self.uncounted.is_some_and(|uncounted| uncounted <= write) {
            self.uncounted = None;
        }
        let mut turns = Vec::new();
        while let Some(done) = self.under_way.pop_front_if(|under_way| under_way.write <= write) {
            turns.extend(done.turns);
        }
        turns
    }

    /// Notes whether the oldest write takes longer than `most`. Returns whether it does, and
    /// whether that is new.
    pub(super) fn note_hanging(&mut self, most: Duration, now: Time) -> (bool, bool) {
        let hangs = self.under_way.front().is_some_and(|first| now.since(first.since) >= most);
        let is_new = hangs && !self.disk_hangs;
        self.disk_hangs = hangs;
        (hangs, is_new)
    }

    /// Returns the number of changes and of journal records that are not durable yet.
    pub(super) fn footprint(&self) -> (usize, usize) {
        (self.changes.len(), self.turns.len() + self.under_way.len())
    }
}

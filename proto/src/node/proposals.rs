//! This host's proposals that are not in the ledger yet: they are sent to the
//! leader, and sent again until they are.
//!
//! Proposals in flight are lost silently when the leader changes, so a host only
//! knows whether an entry came. Sending a proposal twice costs one entry and
//! nothing else, because the fold recognises it.
//!
//! A proposal for something that the ledger no longer lacks is withdrawn: committed
//! late, "h7 is Down" would be false.

use std::collections::BTreeMap;
use std::time::Duration;

use super::duties::Duties;
use super::proposing::Relays;
use crate::entry::ProposalId;
use crate::id::HostId;
use crate::io::RequestId;
use crate::statement::{Report, Statement};
use crate::time::Time;

/// The wait before a proposal is sent again. It doubles each time, up to
/// `RETRY_MAX`.
const RETRY_FIRST: Duration = Duration::from_millis(400);
const RETRY_MAX: Duration = Duration::from_secs(2);
/// The longest time that a request waits before it is answered in any case.
pub(super) const GIVE_UP_AFTER: Duration = Duration::from_secs(15);
/// The most requests that may wait for the ledger at a time; more are refused.
pub(super) const REQUESTS_MAX: usize = 256;

#[derive(Clone, Debug)]
pub(super) struct Pending {
    pub(super) statement: Statement,
    pub(super) request: Option<RequestId>,
    since: Time,
    next: Time,
    wait: Duration,
}

#[derive(Clone, Debug)]
pub(super) struct Proposals {
    host: HostId,
    incarnation: u64,
    next_number: u64,
    pending: BTreeMap<u64, Pending>,
    /// The proposals of others that voters have relayed.
    pub(super) relays: Relays,
    /// The statements that the ledger lacks.
    pub(super) duties: Duties,
}

impl Proposals {
    /// Makes an empty list. `first` is drawn at random at each start: after a power
    /// loss a host may miscount its starts, and must not mistake an older start's
    /// entry for its own.
    pub(super) fn new(host: HostId, incarnation: u64, first: u32) -> Self {
        Proposals {
            host,
            incarnation,
            next_number: u64::from(first) << 32,
            pending: BTreeMap::new(),
            relays: Relays::default(),
            duties: Duties::default(),
        }
    }

    pub(super) fn add(&mut self, statement: Statement, request: Option<RequestId>, now: Time) {
        let pending = Pending { statement, request, since: now, next: now, wait: RETRY_FIRST };
        self.pending.insert(self.next_number, pending);
        self.next_number += 1;
    }

    /// Returns true if this statement is proposed already. Of a host's reports about room,
    /// one at a time is proposed, because their numbers change all the time.
    pub(super) fn has(&self, statement: &Statement) -> bool {
        let reports_room_for = |statement: &Statement| match statement {
            Statement::Report(Report::RoomReported { deployment, .. }) => Some(*deployment),
            Statement::Intent(_) | Statement::Report(_) | Statement::Finding(_) => None,
        };
        let of = reports_room_for(statement);
        self.pending
            .values()
            .map(|pending| &pending.statement)
            .any(|pending| if of.is_some() { reports_room_for(pending) == of } else { pending == statement })
    }

    pub(super) fn len(&self) -> usize {
        self.pending.len()
    }

    pub(super) fn requests(&self) -> usize {
        self.pending.values().filter(|pending| pending.request.is_some()).count()
    }

    /// Takes the proposal that became the entry with this id.
    pub(super) fn take(&mut self, id: ProposalId) -> Option<Pending> {
        let is_mine = id.host == self.host && id.incarnation == self.incarnation;
        if is_mine { self.pending.remove(&id.number) } else { None }
    }

    /// Takes the proposals for which `holds` returns true.
    pub(super) fn take_if(&mut self, holds: impl Fn(ProposalId, &Statement) -> bool) -> Vec<Pending> {
        let (host, incarnation) = (self.host, self.incarnation);
        let holds = |number: u64, pending: &Pending| {
            holds(ProposalId { host, incarnation, number }, &pending.statement)
        };
        self.pending
            .extract_if(.., |number, pending| holds(*number, pending))
            .map(|(_, taken)| taken)
            .collect()
    }

    /// Drops this host's own proposals for which `is_done` returns true. Proposals
    /// for requests stay, because their answers are awaited.
    pub(super) fn withdraw(&mut self, is_done: impl Fn(&Statement, &Duties) -> bool) {
        let duties = &self.duties;
        self.pending.retain(|_, pending| pending.request.is_some() || !is_done(&pending.statement, duties));
    }

    /// Proposes again under a new number, because the entry came too late to be
    /// folded.
    pub(super) fn put_again(&mut self, pending: Pending, now: Time) {
        self.pending.insert(self.next_number, Pending { next: now, ..pending });
        self.next_number += 1;
    }

    /// Sends everything again now, because there is a new leader.
    pub(super) fn resend(&mut self, now: Time) {
        for pending in self.pending.values_mut() {
            pending.next = now;
        }
    }

    /// Returns what to send now, and whether each was sent before.
    pub(super) fn due(&mut self, now: Time) -> Vec<(ProposalId, Statement, bool)> {
        let mut due = Vec::new();
        for (number, pending) in &mut self.pending {
            if pending.next <= now {
                pending.next = now + pending.wait;
                let is_again = pending.wait > RETRY_FIRST;
                pending.wait = (pending.wait * 2).min(RETRY_MAX);
                let id = ProposalId { host: self.host, incarnation: self.incarnation, number: *number };
                due.push((id, pending.statement.clone(), is_again));
            }
        }
        due
    }

    /// Takes the proposals that were tried for too long. What the mesh itself must
    /// submit is found again from the state.
    pub(super) fn expired(&mut self, now: Time) -> Vec<Pending> {
        let is_expired = |pending: &Pending| now.since(pending.since) >= GIVE_UP_AFTER;
        self.pending.extract_if(.., |_, pending| is_expired(pending)).map(|(_, expired)| expired).collect()
    }

    pub(super) fn next(&self) -> Option<Time> {
        self.pending.values().map(|pending| pending.next.min(pending.since + GIVE_UP_AFTER)).min()
    }
}

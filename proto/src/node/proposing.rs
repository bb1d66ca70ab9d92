//! Proposals on their way to the leader.
//!
//! A host proposes on its own connection to the leader, so the leader knows who
//! speaks. If the leader does not hear the host, voters relay its proposals. The
//! leader believes a relayed proposal if most voters that could relay it say the
//! same, because a single one could make it up.
//!
//! The fold checks again that a report is about its author.

use std::collections::{BTreeMap, BTreeSet};

use super::Node;
use super::proposals::GIVE_UP_AFTER;
use crate::entry::{Entry, ProposalId, STATEMENT_BYTES_MAX};
use crate::form::{Version, Versioned as _};
use crate::id::HostId;
use crate::statement::{Finding, Statement};
use crate::time::Time;
use crate::wire::Message;

/// The most proposals that wait for more relays; the oldest is dropped first. This
/// is enough for everything that the hosts of one zone propose while they cannot
/// reach the leader.
const RELAYED_MAX: usize = 1_024;

/// The proposals that voters have relayed, until enough of them have.
#[derive(Clone, Debug, Default)]
pub(super) struct Relays {
    by: BTreeMap<(ProposalId, [u8; 32]), (Time, BTreeSet<HostId>)>,
}

impl Relays {
    /// Notes a relay. Returns true if there are `needed` of them now, and then
    /// forgets them.
    fn add(&mut self, id: ProposalId, bytes: &[u8], by: HostId, needed: usize, now: Time) -> bool {
        self.by.retain(|_, (since, _)| now.since(*since) < GIVE_UP_AFTER);
        let key = (id, *blake3::hash(bytes).as_bytes());
        if self.by.len() >= RELAYED_MAX && !self.by.contains_key(&key) {
            let oldest = self.by.iter().min_by_key(|(_, (since, _))| *since).map(|(key, _)| *key);
            oldest.and_then(|oldest| self.by.remove(&oldest));
        }
        let (_, relays) = self.by.entry(key).or_insert_with(|| (now, BTreeSet::new()));
        relays.insert(by);
        relays.len() >= needed && self.by.remove(&key).is_some()
    }
}

impl Node {
    pub(super) fn on_propose(
        &mut self,
        from: HostId,
        id: ProposalId,
        statement: Statement,
        forwarded: bool,
        now: Time,
    ) {
        if let Err(error) = statement.check_values() {
            tracing::debug!(%from, %error, "a proposal is refused");
            return;
        }
        let bytes = statement.encode();
        if bytes.len() > STATEMENT_BYTES_MAX || statement.check_author(id.host).is_err() {
            return;
        }
        if forwarded {
            let is_believed = self.is_relayed(from, id, &bytes, now);
            if is_believed && self.ledger.is_leader() {
                self.put_in_order(id, statement, now);
            }
        } else if id.host != from {
            tracing::debug!(%from, of = %id.host, "a proposal in another host's name is refused");
        } else if self.ledger.is_leader() {
            self.put_in_order(id, statement, now);
        } else if self.ledger.is_voting()
            && let Some(leader) = self.leader_host().filter(|leader| self.mesh.hears(*leader))
        {
            self.send(leader, &Message::Propose { id, statement: Box::new(statement), forwarded: true });
        }
    }

    /// Returns true if this relay makes a proposal believed whose author is not
    /// heard here.
    fn is_relayed(&mut self, from: HostId, id: ProposalId, bytes: &[u8], now: Time) -> bool {
        if !self.ledger.is_leader() || self.mesh.hears(id.host) {
            return false;
        }
        let voters = self.ledger.voters().voters.iter();
        let relays: BTreeSet<HostId> = voters
            .filter_map(|voter| self.mesh.voter_hosts().get(voter).copied())
            .filter(|host| ![self.config.host, id.host].contains(host))
            .collect();
        relays.contains(&from) && self.proposals.relays.add(id, bytes, from, relays.len() / 2 + 1, now)
    }

    /// Proposes a statement of this host's own, at first to the leader alone. If that
    /// did not help, there may be another leader, or the leader may not hear this
    /// host. Then all voters get it.
    pub(super) fn send_proposal(&mut self, id: ProposalId, statement: Statement, is_again: bool, now: Time) {
        if self.ledger.is_leader() {
            self.put_in_order(id, statement, now);
            return;
        }
        let message = Message::Propose { id, statement: Box::new(statement), forwarded: false };
        let leader = self.leader_host().filter(|leader| self.mesh.hears(*leader));
        match leader.filter(|_| !is_again) {
            Some(leader) => self.send(leader, &message),
            None => self.tell(self.voters_connected(), &message),
        }
    }

    fn leader_host(&self) -> Option<HostId> {
        self.leader().and_then(|leader| self.mesh.voter_hosts().get(&leader).copied())
    }

    fn voters_connected(&self) -> BTreeSet<HostId> {
        let voters = self.ledger.voters().voters.iter();
        let hosts = voters.filter_map(|voter| self.mesh.voter_hosts().get(voter).copied());
        hosts.filter(|host| self.is_in_reach_of_frames(*host)).collect()
    }

    pub(super) fn put_in_order(&mut self, proposal: ProposalId, statement: Statement, now: Time) {
        // An entry that a lagging host repeats would only make the ledger longer.
        if self.state.is_settled(&statement) {
            return;
        }
        if !self.catch_up_clock(now) {
            return;
        }
        let at = self.ledger_now(now);
        // Hosts whose clocks run slightly ahead of this one's ask for it too early.
        if statement == Finding::Tick.into() && self.state.next_timer().is_some_and(|timer| timer > at) {
            return;
        }
        if self.is_read_by_all(proposal.host, &statement) {
            self.ledger.propose(&Entry { at, proposal, statement });
        }
    }

    /// Returns true if every member can read this statement. Even an entry that the fold
    /// refuses would stop a host that cannot read it, so it must not get into the ledger.
    ///
    /// The mesh moves to a newer version only if no entry is on its way: a host could be
    /// about to say that an older agent was installed there.
    fn is_read_by_all(&self, author: HostId, statement: &Statement) -> bool {
        if matches!(statement, Statement::Finding(Finding::MeshVersion(_))) {
            let (_, last) = self.ledger.last();
            return last == self.state.index() && self.state.check(author, statement).is_ok();
        }
        let version = statement.version();
        version == Version::OLDEST || version.number() <= self.state.mesh_version()
    }
}

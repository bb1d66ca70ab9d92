//! Following: gets what this host lacks of the ledger, and decides which hosts to
//! believe.
//!
//! A host takes committed entries from voters only, which are the hosts that the
//! folded ledger assigns to the voters' numbers. It takes a snapshot if most of
//! these voters tell the same seal for it, each on its own connection. So one lying
//! host cannot replace what this host knows. A host that was away may only know
//! voters that are gone or lag like itself; `witnesses` decides which other hosts
//! it believes then. A host that does not know any voter yet believes the first host
//! that answers it: the join token says which host to dial, and until tokens are signed
//! nothing better can be checked. A lying voter can still make up entries; only
//! signatures could prevent that.

use std::collections::BTreeSet;

use super::exchange::pick;
use super::{Node, Why};
use crate::entry::Index;
use crate::form::Unreadable;
use crate::id::HostId;
use crate::ledger::{LogEntry, Seal, Snapshot};
use crate::mesh::fetch::{ASK_AGAIN, CONFIRMED_WITHIN, WITNESSES};
use crate::state::{NotAState, State};
use crate::time::Time;
use crate::wire::Message;

/// The most witnesses that are asked to confirm a snapshot to an orphaned host.
const ASKED_MAX: usize = 8;

impl Node {
    /// Returns the hosts of the voters, by what is folded here.
    pub(super) fn voters_known(&self) -> BTreeSet<HostId> {
        let voters = self.ledger.voters();
        let all = voters.voters.iter().chain(&voters.outgoing);
        all.filter_map(|voter| self.mesh.voter_hosts().get(voter).copied()).collect()
    }

    /// Returns true if this host takes entries from `host`. It takes them from any
    /// host if it knows no voter yet.
    fn is_believed(&self, host: HostId) -> bool {
        let known = self.voters_known();
        known.is_empty() || known.contains(&host) || self.recovering_host() == Some(host)
    }

    /// Returns true if this host may ask `host` for what it lacks.
    fn may_ask(&self, host: HostId, now: Time) -> bool {
        self.is_believed(host)
            || (self.is_witness(host, now) && self.mesh.fetch.is_another_witness(host))
            || self.only_helper(now) == Some(host)
    }

    /// Notes how far a neighbour says that it has come.
    pub(super) fn note_lag(&mut self, index: Index, now: Time) {
        if !self.ledger.is_following() {
            self.mesh.fetch.note_help();
        } else if index > self.ledger.head().0 {
            self.mesh.fetch.note_lag(now);
        }
    }

    /// Asks for the next entries, unless a host was asked just now.
    pub(super) fn want(&mut self, from: HostId, now: Time) {
        if !self.ledger.is_following() || !self.mesh.fetch.may_ask(now) || self.own.halted.is_some() {
            return;
        }
        if !self.may_ask(from, now) {
            return self.want_again(now);
        }
        self.mesh.fetch.ask(from, now);
        self.time.deadlines.set(Why::Want, now + ASK_AGAIN);
        let (after, _) = self.ledger.head();
        self.send(from, &Message::Want { after });
    }

    /// Asks again, if this host still lags behind a host that it may ask.
    pub(super) fn want_again(&mut self, now: Time) {
        let (index, _) = self.ledger.head();
        let ahead: Vec<HostId> = self
            .mesh
            .reports()
            .iter()
            .filter(|(host, heard)| heard.index > index && self.mesh.hears(**host))
            .filter(|(host, _)| self.may_ask(**host, now))
            .map(|(host, _)| *host)
            .collect();
        if let Some(host) = pick(&mut self.own.rng, &ahead) {
            self.want(host, now);
        }
    }

    pub(super) fn on_want(&mut self, from: HostId, after: Index) {
        if after >= self.ledger.head().0 {
            return;
        }
        if let Some(entries) = self.ledger.entries_after(after) {
            self.send(from, &Message::Committed(entries));
            return;
        }
        if let Some(snapshot) = self.ledger.checkpoint().filter(|snapshot| snapshot.index > after).cloned() {
            self.send(from, &Message::Snapshot(Box::new(snapshot)));
        }
    }

    pub(super) fn on_committed(&mut self, entries: Vec<LogEntry>, from: HostId, now: Time) {
        if !self.is_believed(from) {
            return self.on_hearsay(entries, from, now);
        }
        let entries = self.up_to_a_stranger_recovery(entries);
        let first = entries.first().map(|entry| entry.index);
        if self.ledger.follow(entries) > 0 {
            self.mesh.fetch.answered();
            self.mesh.fetch.note_help();
        } else if first.is_some_and(|first| first > self.ledger.head().0 + 1) {
            self.want(from, now);
        }
    }

    /// Takes entries from a host that does not vote, as far as this host knows. An
    /// orphaned host takes them if another witness tells the same, or if there is no
    /// other.
    fn on_hearsay(&mut self, entries: Vec<LogEntry>, from: HostId, now: Time) {
        let is_only = self.only_helper(now) == Some(from);
        if !is_only && !self.is_witness(from, now) {
            tracing::debug!(%from, "entries from a host that does not vote are refused");
            return;
        }
        let entries = self.up_to_a_stranger_recovery(entries);
        if is_only {
            self.mesh.fetch.answered();
            self.mesh.fetch.drop_uncorroborated();
            self.ledger.follow(entries);
            return;
        }
        let alike = self.mesh.fetch.corroborated(from, &entries);
        if self.ledger.follow(alike) == 0 {
            self.mesh.fetch.keep_uncorroborated(from, entries);
            self.want_again(now);
        }
    }

    /// Takes a snapshot. A host that knows no voters takes it at once; otherwise it
    /// waits until most voters have confirmed it.
    pub(super) fn on_snapshot(&mut self, snapshot: Snapshot, from: HostId, now: Time) {
        let is_asked = self.mesh.fetch.awaits(from);
        if !is_asked || !self.ledger.is_following() || snapshot.index <= self.ledger.head().0 {
            return;
        }
        if let Err(error) = State::decode(&snapshot.state, snapshot.index, self.config.reads()) {
            if let NotAState::Unreadable(cause @ Unreadable::NeedsVersion { .. }) = error {
                self.note_newer(from, cause);
            } else {
                tracing::warn!(%from, %error, "a neighbour's snapshot cannot be used");
            }
            return;
        }
        self.mesh.fetch.answered();
        if self.voters_known().is_empty() {
            self.ledger.follow_snapshot(snapshot);
            return;
        }
        let index = snapshot.index;
        self.mesh.fetch.keep_unconfirmed(snapshot, from, now);
        self.time.deadlines.set(Why::Want, now + CONFIRMED_WITHIN);
        let me = self.config.host;
        let mut asked = self.voters_known();
        asked.extend(self.recovering_host());
        let ahead = self.mesh.reports().iter().filter(|(host, heard)| {
            heard.index >= index && self.is_witness(**host, now) && self.mesh.hears(**host)
        });
        asked.extend(ahead.map(|(host, _)| *host).take(ASKED_MAX));
        let others: Vec<HostId> = asked.into_iter().filter(|it| ![me, from].contains(it)).collect();
        for voter in others {
            self.send(voter, &Message::Confirm { index });
        }
        self.take_if_confirmed(now);
    }

    pub(super) fn on_confirm(&mut self, from: HostId, index: Index) {
        if let Some(seal) = self.ledger.seal_at(index) {
            self.send(from, &Message::Confirmed { index, seal });
        }
    }

    pub(super) fn on_confirmed(&mut self, from: HostId, index: Index, seal: Seal, now: Time) {
        match self.mesh.fetch.confirm(from, index, seal) {
            Some(true) => self.take_if_confirmed(now),
            Some(false) => tracing::warn!(%from, index, "a host does not confirm a neighbour's snapshot"),
            None => {}
        }
    }

    fn take_if_confirmed(&mut self, now: Time) {
        let voters = &self.ledger.voters().voters;
        let hosts: BTreeSet<HostId> =
            voters.iter().filter_map(|voter| self.mesh.voter_hosts().get(voter).copied()).collect();
        let most = voters.len() / 2;
        let sufficient = [self.recovering_host(), self.only_helper(now)];
        let is_confirmed = |by: &BTreeSet<HostId>| {
            by.intersection(&hosts).count() > most
                || by.iter().filter(|host| self.is_witness(**host, now)).count() >= WITNESSES
                || sufficient.into_iter().flatten().any(|host| by.contains(&host))
        };
        if !self.mesh.fetch.confirmed_by().is_some_and(is_confirmed) {
            return;
        }
        if let Some(snapshot) = self.mesh.fetch.take_confirmed()
            && self.ledger.follow_snapshot(snapshot)
        {
            self.mesh.fetch.note_help();
        }
    }
}

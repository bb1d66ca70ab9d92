//! The starts of this host's agent: which one this node is, and what it does about
//! others.
//!
//! Each start has a number and a random mark. The number is counted in the store,
//! and is durable before the mesh hears of it. So the committed record of this host
//! shows whether another agent has started with this host's key: the record then
//! has another mark, and a number that this store has not passed yet. No frame can
//! make a host believe that.
//!
//! Such a record means that this store is an older copy of the one from which the
//! other agent started. The host must not vote under the number in it. If this
//! start was in the ledger before, the other agent runs at the same time. Then the
//! host announces itself once more, so that the fold finds that two agents speak in
//! turn (`Host::twin`). From then on neither does anything for the host.

use rand::Rng;

use super::Node;
use crate::entry::HostRecord;
use crate::id::VoterId;
use crate::statement::Report;

impl Node {
    /// Checks what the ledger says about this host's starts. A new store counts
    /// from 1, and must get past the number that the mesh knows, because otherwise
    /// its words would count as old ones.
    pub(super) fn look_for_other_starts(&mut self) {
        let Some(known) = self.state.host(self.config.host) else { return };
        let (record, twin) = (&known.record, known.twin.clone());
        let is_another = record.start != self.own.start;
        let mine = self.own.meta.incarnation;
        let is_later = record.incarnation > mine || (is_another && record.incarnation == mine);
        let (incarnation, addresses) = (record.incarnation, record.addresses.join(" "));
        if !is_another {
            self.own.is_fresh = false;
        }
        if let Some(twin) = twin.filter(|twin| self.own.twin_logged != Some(twin.since)) {
            self.own.twin_logged = Some(twin.since);
            let other = twin.addresses.join(" ");
            tracing::error!(
                addresses,
                other,
                "two agents run with this host's key, as from a cloned disk, and neither does anything now: \
                 stop one of them and start the other again"
            );
        }
        if is_later && is_another && !self.own.is_fresh {
            self.forget_promises("another agent was started from a copy of it");
        }
        if is_later {
            self.own.meta.incarnation = incarnation.saturating_add(1);
            self.write_meta();
        }
    }

    /// Takes a new voter number. The store has lost some of what this host
    /// promised, so it must not vote under the old number again.
    pub(super) fn forget_promises(&mut self, why: &str) {
        tracing::error!(voter = %self.own.meta.voter, why, "the store cannot be relied on: voting under a new number");
        self.own.meta.voter = VoterId(self.own.rng.next_u64().max(1));
        self.own.meta.incarnation = self.own.meta.incarnation.saturating_add(1);
        self.ledger.forget_votes(self.own.meta.voter);
        self.own.is_fresh = true;
        self.write_meta();
    }

    /// Says once why the mesh would not take this host now. It asks again when that has
    /// passed.
    pub(super) fn tell_if_not_let_in(&mut self, record: &HostRecord) {
        let refusal = self.state.check(self.config.host, &Report::HostJoined(record.clone()).into()).err();
        if let Some(why) = refusal.as_ref().filter(|_| self.own.not_let_in != refusal) {
            tracing::warn!(%why, "this host is not let into the mesh");
        }
        self.own.not_let_in = refusal;
    }

    pub(super) fn write_meta(&mut self) {
        self.writes.add_identity(self.own.meta.to_change());
    }

    /// Returns true if the mesh does not know of this start yet. After a power
    /// loss, two starts could have the same number and be confused, so the number
    /// must be durable first. If two agents run with the same key, each is silent
    /// once both are known.
    pub(super) fn is_to_announce_itself(&self) -> bool {
        if !self.writes.is_start_durable() || self.is_off() {
            return false;
        }
        self.state.host(self.config.host).is_none_or(|known| {
            let is_found_out = known.twin.is_some()
                && (known.record.start == self.own.start || known.starts.contains(&self.own.start));
            !is_found_out && !self.is_described_by(&known.record)
        })
    }
}

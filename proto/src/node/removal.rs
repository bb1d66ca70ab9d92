//! Hosts that are taken out of the mesh: answers the requests for it, and lets such
//! a host leave.
//!
//! A host is out as soon as the entry is folded. But if it votes, consensus needs it
//! until others vote in its place: it stays connected and goes on voting until that
//! is committed too. The request is answered only when most voters are known to know
//! of the change, and to know it after a power loss. After the answer the operator
//! may switch the host off, and the host itself closes its connections. If only one
//! voter knew of the change and died, the others could not continue without this
//! host. Given up: an immediate answer.

use std::collections::BTreeSet;
use std::time::Duration;

use super::proposals::GIVE_UP_AFTER;
use super::{Node, Why};
use crate::id::{HostId, VoterId};
use crate::io::{Accepted, Refusal, RequestId};
use crate::ledger::Voters;
use crate::mesh::MeshInput;
use crate::mesh::departures::Departure;
use crate::state::Removed;
use crate::time::Time;

/// The time after which a host that was taken out leaves although it does not hear
/// whether most voters know: in an overlay of bounded degree it hears the beacons of its
/// neighbours only. A leader tells each voter that it reaches what is committed within a
/// heartbeat, so after this time only voters that are cut off lack it.
const KNOWN_AFTER: Duration = Duration::from_secs(30);

impl Node {
    /// Returns what is remembered of this host, if it was taken out of the mesh.
    pub fn removed(&self) -> Option<&Removed> {
        self.state.removed(self.config.host)
    }

    /// Returns true if this host takes part in consensus now.
    pub fn is_voting(&self) -> bool {
        self.ledger.is_voting()
    }

    /// Returns true if consensus counts on this host, by everything that it has
    /// folded. (It does not vote while it lags behind its neighbours.)
    pub fn is_needed(&self) -> bool {
        self.ledger.voters().has(self.own.meta.voter)
    }

    /// Returns true if a change of the voters is under way, in which two sets of
    /// them must agree.
    pub fn is_joint(&self) -> bool {
        !self.ledger.voters().outgoing.is_empty()
    }

    /// Returns true if this host no longer does anything for the mesh.
    pub(super) fn is_off(&self) -> bool {
        self.own.leaving || self.removed().is_some()
    }

    /// Returns the hosts that are out of the mesh, but that consensus still needs.
    pub(super) fn still_voting(&self) -> impl Iterator<Item = (HostId, &Removed)> {
        let voters = self.ledger.voters();
        let removed = self.state.all_removed().iter().map(|(host, removed)| (*host, removed));
        removed.filter(|(_, removed)| voters.has(removed.voter))
    }

    /// Answers the request once the host no longer votes.
    pub(super) fn see_off(&mut self, request: RequestId, host: HostId, now: Time) {
        self.mesh.departures.add(Departure { request, host, since: now });
        self.time.deadlines.set_if_none(Why::Farewells, now + GIVE_UP_AFTER);
    }

    /// Answers the removals that are complete, and those that have waited for too
    /// long.
    pub(super) fn answer_farewells(&mut self, now: Time) {
        for departure in self.mesh.departures.take() {
            let Departure { request, host, since } = departure;
            if self.is_gone(host) {
                self.reply(request, Ok(Accepted::Done));
            } else if now.since(since) >= GIVE_UP_AFTER {
                let (seconds, (voters_up, voters)) = (GIVE_UP_AFTER.as_secs(), self.voters_up());
                self.reply(request, Err(Refusal::StillVotes { seconds, voters_up, voters }));
            } else {
                self.mesh.departures.add(departure);
            }
        }
        let next = self.mesh.departures.oldest().map(|since| since + GIVE_UP_AFTER);
        self.set_or_clear(Why::Farewells, next);
    }

    /// Returns true if the host could be switched off now. Most voters must know
    /// durably that it no longer votes.
    fn is_gone(&self, host: HostId) -> bool {
        let is_out = self.state.removed(host).is_none_or(|removed| !self.ledger.voters().has(removed.voter));
        is_out && self.most_voters_know() && (host != self.config.host || self.mesh.is_retired())
    }

    /// Returns true if most voters know of the last change of the voters, as far as
    /// this host knows, and will know it after a power loss.
    fn most_voters_know(&self) -> bool {
        let since = self.ledger.voters_since();
        let Voters { voters, outgoing, .. } = self.ledger.voters();
        let knows = |voter: &&VoterId| match self.mesh.voter_hosts().get(voter) {
            Some(host) if *host == self.config.host => self.told_head().0 >= since,
            Some(host) => self.mesh.reports().get(host).is_some_and(|heard| heard.index >= since),
            None => false,
        };
        // While voters hand over, an election needs a majority of both sets.
        let most_of = |voters: &BTreeSet<VoterId>| voters.iter().filter(knows).count() > voters.len() / 2;
        most_of(voters) && (outgoing.is_empty() || most_of(outgoing))
    }

    /// Lets this host leave, if it was taken out, does not vote, and most voters
    /// know that.
    pub(super) fn retire(&mut self, now: Time) {
        let Some(removed) = self.removed() else { return };
        if self.mesh.is_retired() || self.is_needed() {
            return;
        }
        let is_old = self.mesh.is_bounded() && self.ledger_now(now).since(removed.at) >= KNOWN_AFTER;
        if !is_old && !self.most_voters_know() {
            return;
        }
        tracing::warn!("this host was taken out of the mesh, and has taken its leave");
        self.tell_mesh(MeshInput::Retired, now);
    }
}

#[cfg(test)]
mod tests;

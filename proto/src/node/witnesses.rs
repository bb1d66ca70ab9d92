//! Decides which hosts an orphaned host believes. A host is orphaned if it lags and
//! no voter that it knows helps it.
//!
//! After ten seconds it takes what two members of the mesh tell alike. But if it was
//! away while most of the mesh was replaced, it may know none of the hosts that are
//! left. These have proved that they hold the mesh key, and one lying host cannot
//! tell the same as an honest one. So after a minute hosts that it does not know
//! count as well, unless two members could help. If only one host could help at all,
//! its word alone counts after ten minutes. Given up: a liar that cuts a host off
//! from all others for so long can replace what that host knows. Kept: a host that
//! was away while the mesh was replaced returns without a person.
//!
//! A host that follows a mesh at work counts as orphaned too if a liar claims to have
//! more entries than exist. That has no effect: the members at its own index know a
//! leader, so they could help, and they confirm nothing false.

use std::collections::BTreeSet;

use super::Node;
use crate::id::HostId;
use crate::mesh::fetch::{ALONE_AFTER, ONE_STRANGER_AFTER};
use crate::time::Time;

impl Node {
    /// Returns true if no voter that this host knows has helped it for too long.
    pub(super) fn is_orphaned(&self, now: Time) -> bool {
        self.mesh.fetch.is_orphaned(now)
    }

    /// Returns true if this host counts what `host` tells as that of one witness.
    pub(super) fn is_witness(&self, host: HostId, now: Time) -> bool {
        self.is_orphaned(now)
            && (self.mesh.members().contains(&host)
                || (self.mesh.fetch.believes_strangers(now) && self.mesh.hears(host)))
    }

    /// Returns the hosts that could help: those that have more of the ledger than this
    /// one, and those that know a leader. Another orphaned host does neither.
    fn could_help(&self) -> BTreeSet<HostId> {
        let index = self.ledger.head().0;
        let helpers =
            self.mesh.reports().iter().filter(|(_, heard)| heard.index > index || heard.leader.is_some());
        helpers.map(|(host, _)| *host).filter(|host| self.mesh.hears(*host)).collect()
    }

    /// Notes which hosts could help, with every beacon while this host lags.
    pub(super) fn note_helpers(&mut self, now: Time) {
        if !self.mesh.fetch.lags() {
            return self.mesh.fetch.forget_helpers();
        }
        let helpers = self.could_help();
        let members = helpers.intersection(self.mesh.members()).count();
        self.mesh.fetch.note_helpers(&helpers, members, now);
        self.log_only_helper(now);
    }

    fn log_only_helper(&mut self, now: Time) {
        let only = self.mesh.fetch.only_helper();
        let is_stranger = only.is_some_and(|(host, _)| !self.voters_known().contains(&host));
        let Some(host) = self.mesh.fetch.only_helper_to_log(is_stranger, now) else { return };
        let minutes = ONE_STRANGER_AFTER.as_secs() / 60;
        tracing::warn!(
            %host,
            minutes,
            "no voter that this host knows helps it, and only one other host could: its ledger is taken after these \
             minutes. To have it now, stop the agent, move the store out of the data directory and start the agent again"
        );
    }

    /// Returns the host whose word alone counts, because for a long time no other has
    /// been heard that could help.
    pub(super) fn only_helper(&self, now: Time) -> Option<HostId> {
        let (host, since) = self.mesh.fetch.only_helper()?;
        let votes = self.voters_known().contains(&host);
        let wait = if votes { ALONE_AFTER } else { ONE_STRANGER_AFTER };
        let is_time = self.mesh.fetch.lags() && now.since(since) >= wait;
        (is_time && self.could_help() == BTreeSet::from([host])).then_some(host)
    }
}

#[cfg(test)]
mod tests;

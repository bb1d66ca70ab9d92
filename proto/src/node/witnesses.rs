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
use std::time::Duration;

use super::Node;
use crate::id::HostId;
use crate::time::Time;

/// The time that a host must lag without help from a voter that it knows before it
/// counts as orphaned. Voters that are up answer within a second, and elect a
/// leader within three.
const ORPHANED_AFTER: Duration = Duration::from_secs(10);
/// The time after which an orphaned host takes a snapshot from a single voter, or the
/// word of strangers. Longer than any restart of an agent.
pub(super) const ALONE_AFTER: Duration = Duration::from_secs(60);
/// The time after which an orphaned host takes the word of the only other host that
/// could help, although it does not vote as far as is known. Nothing can confirm what
/// that host tells. So this is longer than a restart of the machines that might, and
/// than most failures of a network.
pub(super) const ONE_STRANGER_AFTER: Duration = Duration::from_secs(600);
/// The number of hosts that must tell an orphaned host the same.
pub(super) const WITNESSES: usize = 2;

/// The hosts that could help this one, as of its last beacon.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Helpers {
    /// True if fewer than two of them are members.
    lacks_members: bool,
    /// The only one, if there is only one.
    only: Option<OnlyHelper>,
}

#[derive(Clone, Copy, Debug)]
struct OnlyHelper {
    host: HostId,
    since: Time,
    is_told: bool,
}

impl Node {
    /// Returns true if no voter that this host knows has helped it for too long.
    pub(super) fn is_orphaned(&self, now: Time) -> bool {
        self.lags_for(ORPHANED_AFTER, now)
    }

    fn lags_for(&self, time: Duration, now: Time) -> bool {
        self.behind_since.is_some_and(|since| now.since(since) >= time)
    }

    /// Returns true if this host counts what `host` tells as that of one witness.
    pub(super) fn is_witness(&self, host: HostId, now: Time) -> bool {
        self.is_orphaned(now)
            && (self.members.contains(&host)
                || (self.believes_strangers(now) && self.liveness.is_heard(host)))
    }

    fn believes_strangers(&self, now: Time) -> bool {
        self.lags_for(ALONE_AFTER, now) && self.helpers.lacks_members
    }

    /// Returns the hosts that could help: those that have more of the ledger than this
    /// one, and those that know a leader. Another orphaned host does neither.
    fn could_help(&self) -> BTreeSet<HostId> {
        let index = self.ledger.head().0;
        let helpers = self.heard.iter().filter(|(_, heard)| heard.index > index || heard.leader.is_some());
        helpers.map(|(host, _)| *host).filter(|host| self.liveness.is_heard(*host)).collect()
    }

    /// Notes which hosts could help, with every beacon while this host lags.
    pub(super) fn note_helpers(&mut self, now: Time) {
        if self.behind_since.is_none() {
            self.helpers = Helpers::default();
            return;
        }
        let helpers = self.could_help();
        self.helpers.lacks_members = helpers.intersection(&self.members).count() < WITNESSES;
        let before = self.helpers.only;
        self.helpers.only = match (helpers.first(), helpers.len()) {
            // A connection that breaks for a moment does not begin the time anew.
            (None, _) => before,
            (Some(host), 1) if before.is_some_and(|only| only.host == *host) => before,
            (Some(host), 1) => Some(OnlyHelper { host: *host, since: now, is_told: false }),
            (Some(_), _) => None,
        };
        self.tell_only_helper(now);
    }

    fn tell_only_helper(&mut self, now: Time) {
        let is_stranger = |only: &OnlyHelper| !self.voters_known().contains(&only.host);
        let is_news = |only: &OnlyHelper| !only.is_told && now.since(only.since) >= ALONE_AFTER;
        let Some(only) = self.helpers.only.filter(is_news).filter(is_stranger) else { return };
        self.helpers.only = Some(OnlyHelper { is_told: true, ..only });
        let (host, minutes) = (only.host, ONE_STRANGER_AFTER.as_secs() / 60);
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
        let only = self.helpers.only?;
        let votes = self.voters_known().contains(&only.host);
        let wait = if votes { ALONE_AFTER } else { ONE_STRANGER_AFTER };
        let is_time = self.behind_since.is_some() && now.since(only.since) >= wait;
        (is_time && self.could_help() == BTreeSet::from([only.host])).then_some(only.host)
    }
}

#[cfg(test)]
mod tests;

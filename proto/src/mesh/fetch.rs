//! Fetching entries that this host lacks: which host was asked, what was received and is
//! not believed yet, and how long no voter has helped.
//!
//! `node/following.rs` and `node/witnesses.rs` decide which hosts are believed.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::entry::Index;
use crate::id::HostId;
use crate::ledger::{LogEntry, Seal, Snapshot};
use crate::time::Time;

/// The time that a host waits for an answer before it asks another host.
pub(crate) const ASK_AGAIN: Duration = Duration::from_millis(300);
/// The time that the voters may take to confirm a snapshot before it is dropped and
/// asked for again: one round trip, and a second for a voter that is busy.
pub(crate) const CONFIRMED_WITHIN: Duration = Duration::from_secs(2);
/// The time that a host must lag without help from a voter that it knows before it
/// counts as orphaned. Voters that are up answer within a second, and elect a
/// leader within three.
const ORPHANED_AFTER: Duration = Duration::from_secs(10);
/// The time after which an orphaned host takes a snapshot from a single voter, or the
/// word of strangers. Longer than any restart of an agent.
pub(crate) const ALONE_AFTER: Duration = Duration::from_secs(60);
/// The time after which an orphaned host takes the word of the only other host that
/// could help, although it does not vote as far as is known. Nothing can confirm what
/// that host tells. So this is longer than a restart of the machines that might, and
/// than most failures of a network.
pub(crate) const ONE_STRANGER_AFTER: Duration = Duration::from_secs(600);
/// The number of hosts that must tell an orphaned host the same.
pub(crate) const WITNESSES: usize = 2;

/// Entries that an orphaned host got from one witness.
#[derive(Clone, Debug)]
struct Uncorroborated {
    by: HostId,
    entries: Vec<LogEntry>,
}

/// A received snapshot that is not believed yet. There is at most one.
#[derive(Clone, Debug)]
struct Unconfirmed {
    snapshot: Snapshot,
    seal: Seal,
    by: BTreeSet<HostId>,
    since: Time,
}

/// The only host that could help this one.
#[derive(Clone, Copy, Debug)]
struct OnlyHelper {
    host: HostId,
    since: Time,
    is_logged: bool,
}

/// The state of fetching.
#[derive(Clone, Debug, Default)]
pub(crate) struct Fetch {
    /// The host that was asked for the next entries, and when.
    asked: Option<(HostId, Time)>,
    unconfirmed: Option<Unconfirmed>,
    uncorroborated: Option<Uncorroborated>,
    /// The time at which this host began to lag without help from a voter that it
    /// knows.
    behind_since: Option<Time>,
    /// True if fewer than two of the hosts that could help are members.
    lacks_member_helpers: bool,
    only_helper: Option<OnlyHelper>,
}

impl Fetch {
    /// Returns true if another host may be asked now.
    pub(crate) fn may_ask(&self, now: Time) -> bool {
        let asked_just_now = self.asked.is_some_and(|(_, at)| now.since(at) < ASK_AGAIN);
        let waits = self.unconfirmed.as_ref().is_some_and(|it| now.since(it.since) < CONFIRMED_WITHIN);
        !asked_just_now && !waits
    }

    /// Notes that this host was asked, and drops a snapshot that was not confirmed.
    pub(crate) fn ask(&mut self, host: HostId, now: Time) {
        self.unconfirmed = None;
        self.asked = Some((host, now));
    }

    /// Notes that an answer has come.
    pub(crate) fn answered(&mut self) {
        self.asked = None;
    }

    /// Returns true if an answer of this host is awaited.
    pub(crate) fn awaits(&self, host: HostId) -> bool {
        self.asked.is_some_and(|(asked, _)| asked == host)
    }

    /// Notes that others have more entries than this host.
    pub(crate) fn note_lag(&mut self, now: Time) {
        self.behind_since.get_or_insert(now);
    }

    /// Notes that a voter has helped, or that nothing is lacking any longer.
    pub(crate) fn note_help(&mut self) {
        (self.behind_since, self.uncorroborated) = (None, None);
    }

    /// Forgets everything that was received of another history.
    pub(crate) fn restart(&mut self) {
        (self.asked, self.unconfirmed) = (None, None);
        self.note_help();
    }

    /// Returns true if the host has lagged for so long without help.
    pub(crate) fn lags_for(&self, time: Duration, now: Time) -> bool {
        self.behind_since.is_some_and(|since| now.since(since) >= time)
    }

    /// Returns true if no voter that this host knows has helped it for too long.
    pub(crate) fn is_orphaned(&self, now: Time) -> bool {
        self.lags_for(ORPHANED_AFTER, now)
    }

    /// Returns true if this host believes hosts that it does not know.
    pub(crate) fn believes_strangers(&self, now: Time) -> bool {
        self.lags_for(ALONE_AFTER, now) && self.lacks_member_helpers
    }

    /// Returns true if the host could tell something that the last witness did not.
    pub(crate) fn is_another_witness(&self, host: HostId) -> bool {
        self.uncorroborated.as_ref().is_none_or(|kept| kept.by != host)
    }

    /// Returns the entries that another witness has told alike, and forgets what it told.
    pub(crate) fn corroborated(&mut self, by: HostId, entries: &[LogEntry]) -> Vec<LogEntry> {
        self.asked = None;
        let before = self.uncorroborated.take().filter(|kept| kept.by != by);
        let told = before.map(|kept| kept.entries).unwrap_or_default();
        entries.iter().filter(|entry| told.contains(entry)).cloned().collect()
    }

    /// Keeps what one witness told until another tells the same.
    pub(crate) fn keep_uncorroborated(&mut self, by: HostId, entries: Vec<LogEntry>) {
        self.uncorroborated = Some(Uncorroborated { by, entries });
    }

    /// Forgets what one witness told, because another host counts alone.
    pub(crate) fn drop_uncorroborated(&mut self) {
        self.uncorroborated = None;
    }

    /// Keeps a snapshot until it is confirmed. The host that sent it has thereby
    /// confirmed it.
    pub(crate) fn keep_unconfirmed(&mut self, snapshot: Snapshot, from: HostId, now: Time) {
        let (seal, by) = (snapshot.seal(), BTreeSet::from([from]));
        self.unconfirmed = Some(Unconfirmed { snapshot, seal, by, since: now });
    }

    /// Takes a host's seal at the index of the kept snapshot. Returns true if it confirms
    /// the snapshot; `None` if no snapshot of that index is kept.
    pub(crate) fn confirm(&mut self, from: HostId, index: Index, seal: Seal) -> Option<bool> {
        let kept = self.unconfirmed.as_mut().filter(|kept| kept.snapshot.index == index)?;
        let confirms = kept.seal == seal;
        if confirms {
            kept.by.insert(from);
        }
        Some(confirms)
    }

    /// Returns the hosts that have confirmed the kept snapshot.
    pub(crate) fn confirmed_by(&self) -> Option<&BTreeSet<HostId>> {
        self.unconfirmed.as_ref().map(|kept| &kept.by)
    }

    /// Takes the kept snapshot, which is confirmed now.
    pub(crate) fn take_confirmed(&mut self) -> Option<Snapshot> {
        self.unconfirmed.take().map(|kept| kept.snapshot)
    }

    /// Notes the hosts that could help, with every beacon while this host lags, and how many
    /// of them are members.
    pub(crate) fn note_helpers(&mut self, helpers: &BTreeSet<HostId>, members: usize, now: Time) {
        self.lacks_member_helpers = members < WITNESSES;
        let before = self.only_helper;
        self.only_helper = match (helpers.first(), helpers.len()) {
            // A connection that breaks for a moment does not begin the time anew.
            (None, _) => before,
            (Some(host), 1) if before.is_some_and(|only| only.host == *host) => before,
            (Some(host), 1) => Some(OnlyHelper { host: *host, since: now, is_logged: false }),
            (Some(_), _) => None,
        };
    }

    /// Forgets the helpers: this host does not lag.
    pub(crate) fn forget_helpers(&mut self) {
        (self.lacks_member_helpers, self.only_helper) = (false, None);
    }

    /// Returns true if this host lags.
    pub(crate) fn lags(&self) -> bool {
        self.behind_since.is_some()
    }

    /// Returns the only host that could help, and since when no other could.
    pub(crate) fn only_helper(&self) -> Option<(HostId, Time)> {
        self.only_helper.map(|only| (only.host, only.since))
    }

    /// Returns the only host that could help for a minute, once.
    pub(crate) fn only_helper_to_log(&mut self, is_stranger: bool, now: Time) -> Option<HostId> {
        let only = self.only_helper.as_mut()?;
        if only.is_logged || !is_stranger || now.since(only.since) < ALONE_AFTER {
            return None;
        }
        only.is_logged = true;
        Some(only.host)
    }

    #[cfg(test)]
    pub(crate) fn only_helper_for_test(&mut self, host: HostId, since: Time) {
        self.only_helper = Some(OnlyHelper { host, since, is_logged: false });
    }

    #[cfg(test)]
    pub(crate) fn asked_for_test(&mut self, asked: Option<(HostId, Time)>, behind_since: Option<Time>) {
        self.asked = asked;
        self.behind_since = behind_since;
    }
}

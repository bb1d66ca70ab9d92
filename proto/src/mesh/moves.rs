//! The addresses that members told of themselves, and when others were last asked for
//! addresses.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::id::HostId;
use crate::time::Time;

/// The time between two questions, and the time without a leader before the first:
/// dials to the last addresses take seconds to fail.
pub(crate) const ASK_EVERY: Duration = Duration::from_secs(10);
/// The time without a leader after which that is reported: several elections in a row.
const LEADERLESS_REPORTED_AFTER: Duration = Duration::from_secs(10);

/// What is known of hosts whose addresses in the ledger are old.
#[derive(Clone, Debug, Default)]
pub(crate) struct Whereabouts {
    asked_at: Option<Time>,
    /// The time since which this host has known no leader.
    leaderless_since: Option<Time>,
    /// Addresses that members told of themselves and that are not in the ledger yet.
    moved: BTreeMap<HostId, Vec<String>>,
}

impl Whereabouts {
    /// Notes whether a leader is known.
    pub(crate) fn note_leader(&mut self, is_known: bool, now: Time) {
        self.leaderless_since = match is_known {
            true => None,
            false => self.leaderless_since.or(Some(now)),
        };
    }

    /// Returns the time since which no leader is known, if that is longer than elections take.
    pub(crate) fn leaderless_since(&self, now: Time) -> Option<Time> {
        self.leaderless_since.filter(|since| now.since(*since) >= LEADERLESS_REPORTED_AFTER)
    }

    /// Returns true if no host has led for so long that others must be asked for addresses.
    pub(crate) fn is_leaderless(&self, now: Time) -> bool {
        self.leaderless_since.is_some_and(|since| now.since(since) >= ASK_EVERY)
    }

    /// Returns true if it is time to ask again, and notes that.
    pub(crate) fn ask(&mut self, now: Time) -> bool {
        let asked_lately = self.asked_at.is_some_and(|asked| now.since(asked) < ASK_EVERY);
        if !asked_lately {
            self.asked_at = Some(now);
        }
        !asked_lately
    }

    /// Returns the addresses that a member told of itself.
    pub(crate) fn of(&self, host: HostId) -> Option<&[String]> {
        self.moved.get(&host).map(Vec::as_slice)
    }

    /// Notes the addresses that a member told of itself.
    pub(crate) fn note(&mut self, host: HostId, addresses: Vec<String>) {
        self.moved.insert(host, addresses);
    }

    /// Forgets hosts that are not members.
    pub(crate) fn retain(&mut self, is_member: impl Fn(HostId) -> bool) {
        self.moved.retain(|host, _| is_member(*host));
    }

    pub(crate) fn len(&self) -> usize {
        self.moved.len()
    }
}

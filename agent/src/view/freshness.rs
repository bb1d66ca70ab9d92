//! Decides if an answer of this host is current: in one
//! place, for everything that users and their scripts read.

use std::time::UNIX_EPOCH;

use proto::node::Node;
use proto::rollout::Blocker;
use proto::time::LedgerTime;
use serde::{Deserialize, Serialize};

use super::{Why, written};

/// The number of entries that a host may lag behind the newest entry that it has heard of, and
/// still count as current: more than a busy mesh commits between two beacons.
const LAG_MAX: u64 = 1_000;

/// Says if an answer of this host is current.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Freshness {
    /// The reason why it is not; `None` if it is.
    #[serde(default)]
    pub(crate) stalled: Option<Why>,
    /// The time at which it was current; `None` if it still is.
    #[serde(default)]
    pub(crate) as_of: Option<String>,
}

/// A view and its freshness, as one JSON object.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Dated<T> {
    #[serde(flatten)]
    pub(crate) view: T,
    #[serde(flatten)]
    pub(crate) freshness: Freshness,
}

impl Freshness {
    /// Returns the freshness of everything that is read from the node now.
    pub(crate) fn of(node: &Node) -> Self {
        let state = node.state();
        if let Some(removed) = node.removed() {
            return Freshness::old("REMOVED", "this host was taken out of the mesh", removed.at, &[]);
        }
        if let Some(halt) = node.halted() {
            return Freshness { stalled: Some(Why::of_halt(halt)), as_of: Some(written(state.clock())) };
        }
        if let Some(Blocker::NoMajority { voters_up, voters }) = node.no_majority() {
            // In a quiet mesh the last entry is old, but was still current.
            let heard_at = node.majority_heard_at().map_or(state.clock(), |at| at.to_ledger());
            let needed = voters / 2 + 1;
            let cause = format!("this host reaches {voters_up} of {voters} voters, and it takes {needed}");
            let numbers = [("voters_up", voters_up), ("voters", voters)];
            let mut old = Freshness::old("NO_MAJORITY", &cause, heard_at.max(state.clock()), &numbers);
            if let Some(why) = &mut old.stalled {
                why.message.push_str(
                    ". Bring voters, or this host's network, back; if most voters are gone for good, `skein mesh \
                     recover` goes on without them",
                );
            }
            return old;
        }
        let lag = node.newest_heard().saturating_sub(state.index());
        if (state.index() == 0 || lag > LAG_MAX)
            && let Some(cause) = node.newer_heard()
        {
            let message =
                format!("what other hosts send {cause}: install the version of the agent that they have");
            return Freshness { stalled: Some(Why::new("MESH_IS_NEWER", message, &[])), as_of: None };
        }
        if state.index() == 0 {
            let message = "this host has heard nothing of its mesh yet, so it has nothing to show";
            return Freshness { stalled: Some(Why::new("NO_LEDGER", message.into(), &[])), as_of: None };
        }
        if let Some(since) = node.leaderless_since() {
            let cause = "no host has led the mesh since then, though enough voters are in reach: see `skein status` on \
                         each of them, and its disk";
            return Freshness::old("NO_LEADER", cause, since.to_ledger().max(state.clock()), &[]);
        }
        if lag > LAG_MAX {
            let cause = format!("this host has {lag} entries of the ledger still to fetch");
            let lag = u32::try_from(lag).unwrap_or(u32::MAX);
            return Freshness::old("CATCHING_UP", &cause, state.clock(), &[("entries", lag)]);
        }
        Freshness::default()
    }

    fn old(code: &str, cause: &str, as_of: LedgerTime, numbers: &[(&str, u32)]) -> Self {
        let as_of = written(as_of);
        let message = format!("{cause}: what it shows is as of {as_of}");
        Freshness { stalled: Some(Why::new(code, message, numbers)), as_of: Some(as_of) }
    }

    /// Returns the line that people read above an old view; `None` if it is current.
    pub(crate) fn banner(&self) -> Option<String> {
        self.stalled.as_ref().map(|why| format!("warning: {}", why.message))
    }

    /// Returns `as_of` in seconds since the Unix epoch.
    pub(crate) fn as_of_seconds(&self) -> Option<u64> {
        let as_of = humantime::parse_rfc3339(self.as_of.as_deref()?).ok()?;
        Some(as_of.duration_since(UNIX_EPOCH).ok()?.as_secs())
    }
}

//! What the ledger lacks and any host may propose: one host does it at once,
//! the others only if it does not come.
//!
//! No host is special. For each duty the hosts stand in another order, by
//! hash; the n-th waits n times [`STAGGER`].

use std::collections::BTreeMap;
use std::time::Duration;

use crate::entry::{Body, Creator};
use crate::id::HostId;
use crate::mesh::liveness::SILENCE_MAX;
use crate::time::{LedgerTime, Time};
use crate::wire;

/// How long each host leaves it to the one before.
const STAGGER: Duration = Duration::from_millis(300);
/// How long hosts are left behind before a deployment is made for them: many
/// that join within this time share one. A burst of fifty takes less.
const CATCH_UP_AFTER: Duration = Duration::from_secs(2);
/// Hosts that stand in line; the rest wait as long as the last.
const LINE_MAX: usize = 16;

#[derive(Clone, Debug, Default)]
pub(super) struct Duties {
    due: BTreeMap<[u8; 32], (Time, Body)>,
}

impl Duties {
    /// These are the bodies that the ledger lacks now; those that it no longer
    /// lacks are forgotten.
    pub(super) fn set(&mut self, me: HostId, hosts: &[HostId], bodies: Vec<Body>, now: Time) {
        let mut due = BTreeMap::new();
        for body in bodies {
            let key = *blake3::hash(&wire::encode(&body)).as_bytes();
            let fresh = || now + steady(&body) + wait(me, hosts, &key);
            let at = self.due.get(&key).map_or_else(fresh, |(at, _)| *at);
            due.insert(key, (at, body));
        }
        self.due = due;
    }

    /// Whether the ledger still lacks it.
    pub(super) fn lacks(&self, body: &Body) -> bool {
        self.due.contains_key(blake3::hash(&wire::encode(body)).as_bytes())
    }

    /// The bodies that are this host's to propose now.
    pub(super) fn mine(&self, now: Time) -> Vec<Body> {
        self.due.values().filter(|(at, _)| *at <= now).map(|(_, body)| body.clone()).collect()
    }

    pub(super) fn len(&self) -> usize {
        self.due.len()
    }

    /// When the next one becomes this host's.
    pub(super) fn next(&self, now: Time) -> Option<Time> {
        self.due.values().map(|(at, _)| *at).filter(|at| *at > now).min()
    }
}

/// How long something must have been lacking without a break before anybody
/// proposes it. Behind a cut that only some hosts feel, one sees what others
/// have lost: without this, Down and Up would follow each other for as long as
/// the cut lasts.
fn steady(body: &Body) -> Duration {
    let is_catch_up = body.submission().is_some_and(|submission| submission.creator == Creator::Autoscale);
    if is_catch_up {
        CATCH_UP_AFTER
    } else if let Body::HostUp { .. } = body {
        SILENCE_MAX
    } else {
        Duration::ZERO
    }
}

/// How long a host that does not lead leaves it to the others to say that a timer of
/// the ledger is due. Spread evenly, another way for each timer, without a look at
/// the other hosts: timers change with every turn.
pub(super) fn tick_wait(me: HostId, hosts: usize, timer: LedgerTime) -> Duration {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&timer.as_millis().to_be_bytes());
    hasher.update(me.public_key());
    let share = f64::from(hasher.finalize().as_bytes()[0]) / 256.0;
    let line = u32::try_from(hosts.min(LINE_MAX)).unwrap_or(u32::MAX);
    STAGGER + (STAGGER * line).mul_f64(share)
}

fn wait(me: HostId, hosts: &[HostId], key: &[u8; 32]) -> Duration {
    STAGGER * u32::try_from(place_in_line(me, hosts, key).min(LINE_MAX)).unwrap_or(u32::MAX)
}

/// How many of the hosts stand before this one in the line of a duty.
pub(super) fn place_in_line(me: HostId, hosts: &[HostId], key: &[u8; 32]) -> usize {
    let place = |host: &HostId| {
        let mut hasher = blake3::Hasher::new();
        hasher.update(key);
        hasher.update(host.public_key());
        *hasher.finalize().as_bytes()
    };
    let mine = place(&me);
    hosts.iter().filter(|host| place(host) < mine).count()
}

//! Duties: what the ledger lacks and any host may propose. One host does it at
//! once, and the others only if it does not come.
//!
//! No host is special. For each duty the hosts stand in another order, by hash. The
//! n-th host waits n times [`STAGGER`].

use std::collections::BTreeMap;
use std::time::Duration;

use crate::entry::Index;
use crate::form::Versioned as _;
use crate::id::HostId;
use crate::mesh::liveness::SILENCE_MAX;
use crate::statement::{Report, Statement};
use crate::time::{LedgerTime, Time};

/// The time that each host waits for the one before.
const STAGGER: Duration = Duration::from_millis(300);
/// The longest line; hosts further back wait as long as its last one.
const LINE_MAX: usize = 16;

#[derive(Clone, Debug, Default)]
pub(super) struct Duties {
    due: BTreeMap<[u8; 32], (Time, Statement)>,
    /// The versions of state and liveness that they are derived from.
    pub(super) derived_from: Option<(Index, u64)>,
}

impl Duties {
    /// Sets the statements that the ledger lacks now, and forgets those that it no
    /// longer lacks.
    pub(super) fn set(&mut self, me: HostId, hosts: &[HostId], statements: Vec<Statement>, now: Time) {
        let mut due = BTreeMap::new();
        for statement in statements {
            let key = *blake3::hash(&statement.encode()).as_bytes();
            let fresh = || now + steady(&statement) + wait(me, hosts, &key);
            let at = self.due.get(&key).map_or_else(fresh, |(at, _)| *at);
            due.insert(key, (at, statement));
        }
        self.due = due;
    }

    /// Returns true if the ledger still lacks this statement.
    pub(super) fn lacks(&self, statement: &Statement) -> bool {
        self.due.contains_key(blake3::hash(&statement.encode()).as_bytes())
    }

    /// Returns the statements that this host is to propose now.
    pub(super) fn mine(&self, now: Time) -> Vec<Statement> {
        self.due.values().filter(|(at, _)| *at <= now).map(|(_, statement)| statement.clone()).collect()
    }

    pub(super) fn len(&self) -> usize {
        self.due.len()
    }

    /// Returns when this host is to propose the next one.
    pub(super) fn next(&self, now: Time) -> Option<Time> {
        self.due.values().map(|(at, _)| *at).filter(|at| *at > now).min()
    }
}

/// Returns how long the ledger must lack a statement without interruption before any
/// host proposes it. In a network partition that affects only some hosts, one host
/// sees another that others have lost. Without this wait, Down and Up would
/// alternate for as long as the partition lasts.
fn steady(statement: &Statement) -> Duration {
    if let Some(submission) = statement.submission() {
        submission.kind().traits().due_after
    } else if let Statement::Report(Report::HostUp { .. }) = statement {
        SILENCE_MAX
    } else {
        Duration::ZERO
    }
}

/// Returns how long a host that does not lead waits before it proposes that a timer
/// of the ledger is due. The waits are spread evenly, differently for each timer,
/// and without looking at the other hosts, because timers change with every turn.
pub(super) fn tick_wait(me: HostId, hosts: usize, timer: LedgerTime) -> Duration {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&timer.as_millis().to_be_bytes());
    hasher.update(me.public_key());
    let share = f64::from(hasher.finalize().as_bytes()[0]) / 256.0;
    let line = u32::try_from(hosts.min(LINE_MAX)).unwrap_or(u32::MAX);
    STAGGER + (STAGGER * line).mul_f64(share)
}

fn wait(me: HostId, hosts: &[HostId], key: &[u8; 32]) -> Duration {
    STAGGER * u32::try_from(rank(me, hosts, key).min(LINE_MAX)).unwrap_or(u32::MAX)
}

/// Returns the number of hosts before this one in the order of a key.
pub(super) fn rank(me: HostId, hosts: &[HostId], key: &[u8; 32]) -> usize {
    let mine = weight(&me, key);
    hosts.iter().filter(|host| weight(host, key) < mine).count()
}

/// Returns the hosts in the order of a key.
pub(super) fn by_rank(mut hosts: Vec<HostId>, key: &[u8; 32]) -> Vec<HostId> {
    hosts.sort_by_cached_key(|host| weight(host, key));
    hosts
}

fn weight(host: &HostId, key: &[u8; 32]) -> [u8; 32] {
    let mut hasher = blake3::Hasher::new();
    hasher.update(key);
    hasher.update(host.public_key());
    *hasher.finalize().as_bytes()
}

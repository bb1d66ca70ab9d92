//! The hosts that this host wants a connection to, and the time of each one's next dial.
//!
//! A dial target is a state and not a message: it stands until it is taken back, whatever happens to
//! connections in between. The node wants hosts. An address, with any host at it, is only a way
//! into the mesh: while a wanted host is connected, the address is not dialled, and the host
//! that was found there is let go. So a host that all others use to join does not keep a
//! connection to each of them.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use libp2p::Multiaddr;
use libp2p::multiaddr::Protocol;
use libp2p::swarm::ConnectionId;
use proto::id::HostId;

/// The wait after the first failure; doubles with each further one.
const BACKOFF_MIN: Duration = Duration::from_millis(100);
/// The longest wait. With the two seconds that a dial may take, a host that
/// returns is found within three.
const BACKOFF_MAX: Duration = Duration::from_secs(1);
/// The number of dials at the same time, so that it does not grow with the mesh.
/// Each is a socket for two seconds.
const DIALS_MAX: usize = 64;
/// After one host has returned, the others are dialled within this time: what had cut them off is over.
const ALL_TRIED_WITHIN: Duration = Duration::from_millis(250);
/// A connection that ends sooner than this counts as a failure: if a host always hangs up, the
/// other one must not dial it in a loop.
const STABLE_AFTER: Duration = Duration::from_secs(5);

/// The time for which a host that was found at an address is kept beside wanted
/// hosts, so that everything can be learned from it.
const WAY_IN_KEPT: Duration = Duration::from_secs(30);

/// A target to dial.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Target {
    /// This host, wherever it is.
    Host(HostId),
    /// Any host at this address.
    Address(Multiaddr),
    /// This host, while a stream to it is open.
    Held(HostId),
}

#[derive(Debug)]
enum State {
    Waiting { until: Instant },
    Dialling(ConnectionId),
    Connected { to: HostId, since: Instant },
}

#[derive(Debug)]
struct DialTarget {
    /// The addresses to try, best first.
    addresses: Vec<Multiaddr>,
    state: State,
    failures: u32,
}

/// The dial targets of the node, by host and by address.
#[derive(Debug, Default)]
pub(super) struct DialTargets {
    dials: BTreeMap<Target, DialTarget>,
    unwanted: BTreeSet<HostId>,
    /// The number of streams that are open to each host. While there are any, we
    /// do not close its connections.
    held: BTreeMap<HostId, u32>,
}

impl DialTargets {
    /// Wants a connection to the host from now on.
    pub(super) fn want(&mut self, host: HostId, addresses: Vec<Multiaddr>, is_connected: bool, now: Instant) {
        self.unwanted.remove(&host);
        let state = match is_connected {
            true => State::Connected { to: host, since: now },
            false => State::Waiting { until: now },
        };
        let dial = self.dials.entry(Target::Host(host)).or_insert(DialTarget {
            addresses: Vec::new(),
            state,
            failures: 0,
        });
        if dial.addresses == addresses {
            return;
        }
        dial.addresses = addresses;
        // The old addresses may be the reason why it was not found.
        if let State::Waiting { until } = &mut dial.state {
            *until = now;
            dial.failures = 0;
        }
    }

    /// Wants a connection to any host at the address from now on.
    pub(super) fn want_address(&mut self, address: Multiaddr, now: Instant) {
        let addresses = vec![address.clone()];
        let dial = DialTarget { addresses, state: State::Waiting { until: now }, failures: 0 };
        self.dials.entry(Target::Address(address)).or_insert(dial);
    }

    /// Stops wanting a connection to the host.
    pub(super) fn unwant(&mut self, host: HostId) {
        self.unwanted.insert(host);
        self.dials.remove(&Target::Host(host));
    }

    /// Holds on to the host: we do not close its connections until
    /// [`DialTargets::let_go`], and dial it if there is none.
    pub(super) fn hold(&mut self, host: HostId, addresses: Vec<Multiaddr>, is_connected: bool, now: Instant) {
        *self.held.entry(host).or_default() += 1;
        if !is_connected {
            let dial = DialTarget { addresses, state: State::Waiting { until: now }, failures: 0 };
            self.dials.entry(Target::Held(host)).or_insert(dial);
        }
    }

    /// Takes back one [`DialTargets::hold`].
    pub(super) fn let_go(&mut self, host: HostId) {
        let held = self.held.get_mut(&host).expect("what is let go was held");
        *held -= 1;
        if *held > 0 {
            return;
        }
        self.held.remove(&host);
        // It was connected for this only, unless the node has asked for it meanwhile.
        if self.dials.remove(&Target::Held(host)).is_some() && !self.is_wanted(host) {
            self.unwanted.insert(host);
        }
    }

    fn is_wanted(&self, host: HostId) -> bool {
        self.dials.iter().any(|(target, dial)| match (target, &dial.state) {
            (Target::Host(wanted), _) => *wanted == host,
            (Target::Address(_), State::Connected { to, .. }) => *to == host,
            (Target::Address(_), State::Waiting { .. } | State::Dialling(_)) | (Target::Held(_), _) => false,
        })
    }

    /// Returns the hosts whose connections are to be closed, each only once.
    pub(super) fn take_unwanted(&mut self, now: Instant) -> BTreeSet<HostId> {
        if self.is_in() {
            let found = self.found_at_addresses(now);
            self.unwanted.extend(found);
        }
        let (later, now) =
            std::mem::take(&mut self.unwanted).into_iter().partition(|host| self.held.contains_key(host));
        self.unwanted = later;
        now
    }

    /// Returns the hosts that are connected only because they were found at an
    /// address, and have been for long enough.
    fn found_at_addresses(&self, now: Instant) -> Vec<HostId> {
        let found = |(target, dial): (&Target, &DialTarget)| match (target, &dial.state) {
            (Target::Address(_), State::Connected { to, since }) => {
                let long_enough = now.saturating_duration_since(*since) > WAY_IN_KEPT;
                (long_enough && !self.dials.contains_key(&Target::Host(*to))).then_some(*to)
            }
            (Target::Address(_), State::Waiting { .. } | State::Dialling(_))
            | (Target::Host(_) | Target::Held(_), _) => None,
        };
        self.dials.iter().filter_map(found).collect()
    }

    /// Returns true if a wanted host is connected, so that no way in is needed.
    fn is_in(&self) -> bool {
        self.dials
            .iter()
            .any(|(target, dial)| matches!((target, &dial.state), (Target::Host(_), State::Connected { .. })))
    }

    /// Returns the time of the next dial, of any target.
    pub(super) fn next_dial(&self) -> Option<Instant> {
        if self.dials() >= DIALS_MAX {
            // The end of any dial is an event that wakes us.
            return None;
        }
        self.dialled().filter_map(|(_, dial)| dial.next_dial()).min()
    }

    /// Returns the targets that are to be dialled now, with their addresses.
    pub(super) fn due(&self, now: Instant) -> Vec<(Target, Vec<Multiaddr>)> {
        let due = self.dialled().filter(|(_, dial)| dial.next_dial().is_some_and(|at| at <= now));
        let free = DIALS_MAX.saturating_sub(self.dials());
        due.take(free).map(|(target, dial)| (target.clone(), dial.addresses_to_dial())).collect()
    }

    /// Returns the number of dials in progress.
    fn dials(&self) -> usize {
        self.dials.values().filter(|dial| matches!(dial.state, State::Dialling(_))).count()
    }

    fn dialled(&self) -> impl Iterator<Item = (&Target, &DialTarget)> {
        let is_in = self.is_in();
        self.dials.iter().filter(move |(target, _)| match target {
            Target::Host(_) | Target::Held(_) => true,
            Target::Address(_) => !is_in,
        })
    }

    /// Records that the target is being dialled.
    pub(super) fn dialling(&mut self, target: &Target, connection: ConnectionId) {
        if let Some(dial) = self.dials.get_mut(target) {
            dial.state = State::Dialling(connection);
        }
    }

    /// Records a failed dial. Returns the number of failures in a row, if the dial was ours.
    pub(super) fn failed(&mut self, connection: ConnectionId, now: Instant) -> Option<u32> {
        let dial = self.dialled_by(connection)?;
        dial.fail(now);
        Some(dial.failures)
    }

    /// Removes the target whose dial reached ourselves, because its address is of no use.
    pub(super) fn found_ourselves(&mut self, connection: ConnectionId) {
        self.dials.retain(|_, dial| !matches!(dial.state, State::Dialling(by) if by == connection));
    }

    /// Records that a connection to the host is up, no matter which end dialled it.
    pub(super) fn connected(&mut self, host: HostId, connection: ConnectionId, now: Instant) {
        if let Some(dial) = self.dialled_by(connection) {
            dial.state = State::Connected { to: host, since: now };
        }
        let was_away = self.dials.get(&Target::Host(host)).is_some_and(|dial| dial.failures > 0);
        if was_away {
            self.try_all_soon(now);
        }
        if let Some(dial) = self.dials.get_mut(&Target::Host(host)) {
            // Do so even while it is being dialled: the result of that dial does not matter now.
            dial.state = State::Connected { to: host, since: now };
        }
        if let Some(dial) = self.dials.get(&Target::Held(host))
            && !matches!(dial.state, State::Connected { .. })
        {
            // The host has dialled us, so it decides when to close the connection.
            self.dials.remove(&Target::Held(host));
        }
    }

    /// Dials all waiting targets within a moment.
    fn try_all_soon(&mut self, now: Instant) {
        for dial in self.dials.values_mut() {
            if let State::Waiting { until } = &mut dial.state {
                *until = (*until).min(now + ALL_TRIED_WITHIN.mul_f64(rand::random_range(0.0..1.0)));
            }
        }
    }

    /// Records that the last connection to the host is gone.
    pub(super) fn disconnected(&mut self, host: HostId, now: Instant) {
        for dial in self.dials.values_mut() {
            match dial.state {
                State::Connected { to, since } if to == host => {
                    if now.saturating_duration_since(since) < STABLE_AFTER {
                        dial.fail(now);
                    } else {
                        dial.failures = 0;
                        dial.state = State::Waiting { until: now };
                    }
                }
                State::Connected { .. } | State::Waiting { .. } | State::Dialling(_) => {}
            }
        }
    }

    fn dialled_by(&mut self, connection: ConnectionId) -> Option<&mut DialTarget> {
        self.dials.values_mut().find(|dial| matches!(dial.state, State::Dialling(by) if by == connection))
    }
}

impl DialTarget {
    /// Returns the time of the next dial. A host without an address cannot be
    /// dialled, but may still dial us.
    fn next_dial(&self) -> Option<Instant> {
        match self.state {
            State::Waiting { until } if !self.addresses.is_empty() => Some(until),
            State::Waiting { .. } | State::Dialling(_) | State::Connected { .. } => None,
        }
    }

    /// Returns TCP and QUIC addresses in turn, if there are both. Dialled at once, QUIC would win;
    /// but it does not show the end of a process (TCP does at once), and bundles cost more on it.
    fn addresses_to_dial(&self) -> Vec<Multiaddr> {
        let (quic, tcp): (Vec<_>, Vec<_>) = self
            .addresses
            .iter()
            .cloned()
            .partition(|address| address.iter().any(|part| part == Protocol::QuicV1));
        if quic.is_empty() || (!tcp.is_empty() && self.failures.is_multiple_of(2)) { tcp } else { quic }
    }

    fn fail(&mut self, now: Instant) {
        self.state = State::Waiting { until: now + backoff(self.failures) };
        self.failures = self.failures.saturating_add(1);
    }
}

/// Returns the wait, with jitter, so that two hosts that dial each other do not
/// collide forever, and a mesh does not overwhelm a host that returns.
fn backoff(failures: u32) -> Duration {
    let doubled = BACKOFF_MIN.saturating_mul(1 << failures.min(16)).min(BACKOFF_MAX);
    doubled.mul_f64(rand::random_range(0.75..1.25))
}

#[cfg(test)]
mod tests;

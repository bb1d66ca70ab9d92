//! The places for connections that are not admitted yet.
//!
//! Before encryption, only the address of a connection is known. So limits apply to addresses:
//! how often one may connect, and how many places it may hold. When all places are taken, the
//! stranger that has waited longest is displaced. A member is admitted within a few round trips,
//! so a newcomer is more likely to be a member than one that still has not proven anything.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::time::{Duration, Instant};

use libp2p::Multiaddr;
use libp2p::multiaddr::Protocol;
use tokio_util::sync::CancellationToken;

/// The number of connections that are being encrypted and admitted at the same time. Each
/// costs up to a file descriptor, 16 KiB of received bytes, and a millisecond of CPU time.
const PLACES_MAX: usize = 64;
/// The number of these that only addresses of known hosts may take.
const KEPT_FOR_KNOWN: usize = 16;
/// The number of places of one address. A known address may be a whole site behind NAT.
const PLACES_OF_ADDRESS: usize = 16;
const PLACES_OF_KNOWN_ADDRESS: usize = 32;
/// The number of places of strangers over QUIC, which costs more memory than TCP,
/// and whose first packet may have a forged address.
const PLACES_OVER_QUIC: usize = 16;
/// The rate of new connections per address, and the burst that is allowed. A host
/// dials another at most once a second; a site may hold some dozens of hosts.
const PACE: Pace = Pace { every: Duration::from_millis(50), burst: 40 };
const PACE_OF_KNOWN: Pace = Pace { every: Duration::from_millis(10), burst: 200 };
/// The number of addresses whose rate is remembered, at about 100 bytes each.
/// Forgetting one early does little harm: the places still limit it.
const ADDRESSES_MAX: usize = 4_096;

/// An address in the view of the limits: an IPv4 address, or the /64 of an IPv6
/// address, which usually belongs to one customer of a provider.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Source {
    V4(Ipv4Addr),
    V6([u16; 4]),
    /// An address that is not IP; all of these share one limit.
    Other,
}

impl Source {
    pub(super) fn of(address: &Multiaddr) -> Source {
        match address.iter().next() {
            Some(Protocol::Ip4(ip)) => Source::of_ip(ip.into()),
            Some(Protocol::Ip6(ip)) => Source::of_ip(ip.into()),
            Some(_) | None => Source::Other,
        }
    }

    fn of_ip(ip: IpAddr) -> Source {
        match ip.to_canonical() {
            IpAddr::V4(ip) => Source::V4(ip),
            IpAddr::V6(ip) => {
                let [a, b, c, d, ..] = ip.segments();
                Source::V6([a, b, c, d])
            }
        }
    }
}

/// A map that keeps only recently used entries: when the young half is full, the old
/// one is dropped. An access takes constant time, whatever the order of addresses.
#[derive(Debug)]
pub(super) struct Lately<V> {
    young: BTreeMap<Source, V>,
    old: BTreeMap<Source, V>,
}

impl<V> Lately<V> {
    pub(super) fn new() -> Self {
        Lately { young: BTreeMap::new(), old: BTreeMap::new() }
    }

    /// Returns the value of the source, and marks it as used now.
    pub(super) fn entry(&mut self, source: Source, new: impl FnOnce() -> V) -> &mut V {
        if !self.young.contains_key(&source) && self.young.len() >= ADDRESSES_MAX / 2 {
            self.old = std::mem::take(&mut self.young);
        }
        let old = &mut self.old;
        self.young.entry(source).or_insert_with(|| old.remove(&source).unwrap_or_else(new))
    }

    pub(super) fn contains(&self, source: &Source) -> bool {
        self.young.contains_key(source) || self.old.contains_key(source)
    }
}

struct Pace {
    every: Duration,
    burst: u32,
}

/// A connection that holds a place.
#[derive(Debug)]
struct Pending {
    source: Source,
    is_known: bool,
    is_quic: bool,
    displaced: CancellationToken,
}

/// A place that was given to a connection.
pub(super) struct Given {
    pub(super) id: u64,
    /// Cancelled when the place goes to another connection.
    pub(super) displaced: CancellationToken,
    /// The address of the connection that was displaced for it, if one was.
    pub(super) instead_of: Option<Source>,
}

/// All places, and the state of addresses.
#[derive(Debug)]
pub(super) struct Places {
    /// The connections by number, so that the oldest comes first.
    pending: BTreeMap<u64, Pending>,
    next: u64,
    /// The time at which each address has used up its allowance so far.
    paces: Lately<Instant>,
    /// The number of hosts that are known at each address.
    known: BTreeMap<Source, u32>,
    /// The addresses from which members connected, whatever they announce: behind NAT these differ.
    admitted: Lately<()>,
}

impl Places {
    pub(super) fn new() -> Self {
        Places {
            pending: BTreeMap::new(),
            next: 0,
            paces: Lately::new(),
            known: BTreeMap::new(),
            admitted: Lately::new(),
        }
    }

    /// Records the addresses of a host, and forgets its previous ones.
    pub(super) fn know(&mut self, now: &[Multiaddr], before: &[Multiaddr]) {
        for source in before.iter().map(Source::of) {
            if let Some(hosts) = self.known.get_mut(&source) {
                *hosts -= 1;
                if *hosts == 0 {
                    self.known.remove(&source);
                }
            }
        }
        for source in now.iter().map(Source::of) {
            *self.known.entry(source).or_default() += 1;
        }
    }

    /// Records that a member has come from this address.
    pub(super) fn admitted(&mut self, source: Source) {
        self.admitted.entry(source, || ());
    }

    /// Gives a place to a new connection; `None` if its address connects too often.
    pub(super) fn enter(&mut self, source: Source, is_quic: bool, now: Instant) -> Option<Given> {
        let is_known = self.known.contains_key(&source) || self.admitted.contains(&source);
        let pace = if is_known { PACE_OF_KNOWN } else { PACE };
        let used = self.paces.entry(source, || now);
        let next = (*used).max(now) + pace.every;
        if next > now + pace.every * pace.burst {
            return None;
        }
        *used = next;
        let instead_of = self.to_displace(source, is_known, is_quic).and_then(|id| self.leave(id));
        let (id, displaced) = (self.next, CancellationToken::new());
        self.next += 1;
        self.pending.insert(id, Pending { source, is_known, is_quic, displaced: displaced.clone() });
        let instead_of = instead_of.map(|gone| {
            gone.displaced.cancel();
            gone.source
        });
        Some(Given { id, displaced, instead_of })
    }

    /// Frees the place of a connection that is admitted, refused or gone.
    pub(super) fn free(&mut self, id: u64) {
        self.leave(id);
    }

    fn leave(&mut self, id: u64) -> Option<Pending> {
        self.pending.remove(&id)
    }

    /// Returns the connection to displace so that there is room for one more.
    fn to_displace(&self, source: Source, is_known: bool, is_quic: bool) -> Option<u64> {
        let of_address = if is_known { PLACES_OF_KNOWN_ADDRESS } else { PLACES_OF_ADDRESS };
        let is_stranger = |pending: &Pending| !pending.is_known;
        self.oldest_of(of_address, |pending| pending.source == source)
            .or_else(|| {
                let over_quic = |pending: &Pending| is_stranger(pending) && pending.is_quic;
                if is_quic && !is_known { self.oldest_of(PLACES_OVER_QUIC, over_quic) } else { None }
            })
            .or_else(|| match is_known {
                false => self.oldest_of(PLACES_MAX - KEPT_FOR_KNOWN, is_stranger),
                true => None,
            })
            .or_else(|| match self.pending.len() < PLACES_MAX {
                true => None,
                false => self.oldest_of(0, is_stranger).or_else(|| self.oldest_of(0, |_| true)),
            })
    }

    /// Returns the oldest of these connections, if their number has reached the limit.
    fn oldest_of(&self, most: usize, is_one: impl Fn(&Pending) -> bool) -> Option<u64> {
        let mut these = self.pending.iter().filter(|(_, pending)| is_one(pending)).map(|(id, _)| *id);
        let oldest = these.next()?;
        (1 + these.count() >= most).then_some(oldest)
    }
}

#[cfg(test)]
mod tests;

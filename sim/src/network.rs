//! The network between hosts: connections that come and go, and frames that
//! arrive late, twice, out of order or not at all.
//!
//! The network knows no node. It returns future events as [`Later`]; the world
//! puts them into its queue and hands them back when their time has come.
//!
//! A connection has a number, and each end learns on its own that the
//! connection is up or lost. So one end may believe in a connection whose other
//! end is long gone, as after a cut without a FIN.

mod gossip;

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::time::Duration;

use crate::chance::Chance;
use crate::clock::Moment;
use crate::host::HostNo;

pub use gossip::GossipId;

/// The quality of the network.
#[derive(Clone, Debug)]
pub struct Quality {
    /// The range of the one-way latency. Each link has its own fixed value in
    /// it.
    pub latency: (Duration, Duration),
    /// The most that is added to the latency of one frame.
    pub jitter: Duration,
    pub loss_per_million: u32,
    pub duplicates_per_million: u32,
    /// True if a frame may overtake another one on its link.
    pub reorders: bool,
    /// The range of the time after which an end gives up a silent connection.
    pub idle_timeout: (Duration, Duration),
    /// The number of hosts that may relay a published frame.
    pub relays: u8,
    /// The number of frames in a million that are late by up to `stray`. They
    /// arrive only if their connection still exists.
    pub strays_per_million: u32,
    pub stray: Duration,
    /// The number of frames in a million that arrive a second time, up to `echo`
    /// later.
    pub echoes_per_million: u32,
    pub echo: Duration,
    /// The share, in percent, of new connections that replace an older one without
    /// telling the node, which then never saw itself disconnected.
    pub silent_replacement_percent: u32,
}

impl Default for Quality {
    fn default() -> Self {
        Quality {
            latency: (Duration::from_micros(200), Duration::from_millis(2)),
            jitter: Duration::from_micros(200),
            loss_per_million: 0,
            duplicates_per_million: 0,
            reorders: false,
            idle_timeout: (Duration::from_secs(3), Duration::from_secs(6)),
            relays: 2,
            strays_per_million: 0,
            stray: Duration::ZERO,
            echoes_per_million: 0,
            echo: Duration::ZERO,
            silent_replacement_percent: 0,
        }
    }
}

/// The number of a start of a host's agent.
pub type Boot = u32;

/// A future event of the network.
#[derive(Clone, Debug)]
pub enum NetEvent {
    Dial {
        from: HostNo,
        to: HostNo,
    },
    /// One end learns that the connection is up.
    Up {
        end: End,
        peer: End,
        connection: u64,
    },
    /// One end learns that the connection is gone.
    Lost {
        host: HostNo,
        peer: HostNo,
        connection: u64,
    },
    /// A link that has been blocked since `since` may now count as broken.
    Idle {
        a: HostNo,
        b: HostNo,
        since: Moment,
    },
    Frame {
        from: HostNo,
        to: HostNo,
        connection: u64,
        frame: Rc<[u8]>,
        gossip: Option<(GossipId, u8)>,
    },
}

/// One end of a connection: one start of one host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct End {
    pub host: HostNo,
    pub boot: Boot,
}

pub type Later = (Moment, NetEvent);

/// The inputs that the world gives a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Told {
    Connected(HostNo),
    Disconnected(HostNo),
}

#[derive(Clone, Debug, Default)]
struct Side {
    wanted: bool,
    dialling: bool,
    /// The connection in which this end believes.
    told: Option<u64>,
    last_arrival: Moment,
}

#[derive(Debug)]
pub struct Network {
    quality: Quality,
    chance: Chance,
    seed: u64,
    boots: Vec<Option<Boot>>,
    sides: BTreeMap<(HostNo, HostNo), Side>,
    /// The number of faults that block this direction now.
    blocked: BTreeMap<(HostNo, HostNo), u32>,
    blocked_since: BTreeMap<(HostNo, HostNo), Moment>,
    connections: u64,
    gossip: gossip::Gossip,
    pub dropped: u64,
}

impl Network {
    pub fn new(quality: Quality, mut chance: Chance) -> Self {
        Network {
            quality,
            seed: chance.number(),
            chance,
            boots: Vec::new(),
            sides: BTreeMap::new(),
            blocked: BTreeMap::new(),
            blocked_since: BTreeMap::new(),
            connections: 0,
            gossip: gossip::Gossip::default(),
            dropped: 0,
        }
    }

    pub fn quality_mut(&mut self) -> &mut Quality {
        &mut self.quality
    }

    pub fn host_up(&mut self, host: HostNo, boot: Boot) {
        if self.boots.len() <= host.index() {
            self.boots.resize(host.index() + 1, None);
        }
        self.boots[host.index()] = Some(boot);
    }

    /// Takes a host down. If `says_goodbye` is true, its operating system still
    /// closes its connections; otherwise its peers notice only the silence.
    pub fn host_down(&mut self, host: HostNo, says_goodbye: bool, now: Moment) -> Vec<Later> {
        self.boots[host.index()] = None;
        let mut later = Vec::new();
        for peer in self.peers(host) {
            self.sides.remove(&(host, peer));
            if let Some(connection) = self.sides.get(&(peer, host)).and_then(|side| side.told) {
                let heard = says_goodbye && !self.is_blocked(host, peer);
                let after = if heard { self.base_latency(host, peer) } else { self.idle_timeout() };
                later.push((now + after, NetEvent::Lost { host: peer, peer: host, connection }));
            }
        }
        later
    }

    /// Makes the host want a connection to `to` from now on, and dials.
    pub fn connect(&mut self, from: HostNo, to: HostNo, now: Moment) -> Vec<Later> {
        self.sides.entry((from, to)).or_default().wanted = true;
        self.dial_soon(from, to, now, Duration::ZERO)
    }

    pub fn disconnect(&mut self, host: HostNo, peer: HostNo, now: Moment) -> Vec<Later> {
        let Some(side) = self.sides.get_mut(&(host, peer)) else { return Vec::new() };
        side.wanted = false;
        let Some(connection) = side.told else { return Vec::new() };
        let after = self.base_latency(host, peer);
        vec![
            (now, NetEvent::Lost { host, peer, connection }),
            (now + after, NetEvent::Lost { host: peer, peer: host, connection }),
        ]
    }

    pub fn is_connected(&self, host: HostNo, peer: HostNo) -> bool {
        self.sides.get(&(host, peer)).is_some_and(|side| side.told.is_some())
    }

    /// Returns the peers to which the host believes itself connected.
    pub fn connected(&self, host: HostNo) -> Vec<HostNo> {
        self.sides_of(host).filter(|(_, side)| side.told.is_some()).map(|(peer, _)| peer).collect()
    }

    /// Blocks all frames from any of `from` to any of `to`. Each cut needs one
    /// [`Network::mend`].
    pub fn cut(&mut self, from: &BTreeSet<HostNo>, to: &BTreeSet<HostNo>, now: Moment) -> Vec<Later> {
        let mut later = Vec::new();
        for (from, to) in pairs(from, to) {
            *self.blocked.entry((from, to)).or_default() += 1;
            let link = (from.min(to), from.max(to));
            if self.blocked_since.contains_key(&link) {
                continue;
            }
            self.blocked_since.insert(link, now);
            later.push((now + self.idle_timeout(), NetEvent::Idle { a: link.0, b: link.1, since: now }));
        }
        later
    }

    pub fn mend(&mut self, from: &BTreeSet<HostNo>, to: &BTreeSet<HostNo>) {
        for (from, to) in pairs(from, to) {
            if let Some(faults) = self.blocked.get_mut(&(from, to)) {
                *faults -= 1;
                if *faults == 0 {
                    self.blocked.remove(&(from, to));
                }
            }
            if !self.is_blocked(from, to) && !self.is_blocked(to, from) {
                self.blocked_since.remove(&(from.min(to), from.max(to)));
            }
        }
    }

    pub fn mend_all(&mut self) {
        self.blocked.clear();
        self.blocked_since.clear();
    }

    pub fn is_blocked(&self, from: HostNo, to: HostNo) -> bool {
        self.blocked.contains_key(&(from, to))
    }

    /// Sends a frame to a connected host. Without a connection the frame is
    /// lost.
    pub fn send(&mut self, from: HostNo, to: HostNo, frame: Rc<[u8]>, now: Moment) -> Vec<Later> {
        let mut later = Vec::new();
        later.extend(self.copy(from, to, &frame, None, now));
        if self.chance.per_million(self.quality.duplicates_per_million) {
            later.extend(self.copy(from, to, &frame, None, now));
        }
        if self.chance.per_million(self.quality.echoes_per_million) {
            let late = self.chance.duration(Duration::ZERO, self.quality.echo);
            later.extend(self.copy(from, to, &frame, None, now).map(|(at, event)| (at + late, event)));
        }
        later
    }

    /// Schedules one copy of a frame on one link. Returns None if it is lost.
    fn copy(
        &mut self,
        from: HostNo,
        to: HostNo,
        frame: &Rc<[u8]>,
        gossip: Option<(GossipId, u8)>,
        now: Moment,
    ) -> Option<Later> {
        let Some(connection) = self.sides.get(&(from, to)).and_then(|side| side.told) else {
            self.dropped += 1;
            return None;
        };
        if self.is_blocked(from, to) || self.chance.per_million(self.quality.loss_per_million) {
            self.dropped += 1;
            return None;
        }
        let mut arrival = now + self.base_latency(from, to);
        if !self.quality.jitter.is_zero() {
            arrival = arrival + self.chance.duration(Duration::ZERO, self.quality.jitter);
            // Queues are short as a rule, but one frame in a hundred meets a
            // long one.
            if self.chance.percent(1) {
                arrival = arrival + self.quality.jitter * 20;
            }
        }
        if self.chance.per_million(self.quality.strays_per_million) {
            let arrival = arrival + self.chance.duration(Duration::ZERO, self.quality.stray);
            return Some((
                arrival,
                NetEvent::Frame { from, to, connection, frame: Rc::clone(frame), gossip },
            ));
        }
        if !self.quality.reorders {
            let side = self.sides.get_mut(&(from, to)).expect("looked up above");
            arrival = arrival.max(side.last_arrival + Duration::from_micros(1));
            side.last_arrival = arrival;
        }
        Some((arrival, NetEvent::Frame { from, to, connection, frame: Rc::clone(frame), gossip }))
    }

    /// Returns true if a frame still arrives. Both ends must believe in the
    /// same connection.
    pub fn arrives(&mut self, from: HostNo, to: HostNo, connection: u64) -> bool {
        let believes = self.sides.get(&(to, from)).and_then(|side| side.told) == Some(connection);
        let arrives = believes && !self.is_blocked(from, to);
        if !arrives {
            self.dropped += 1;
        }
        arrives
    }

    /// Ends a dial. `reachable` is false if the other host is stalled.
    pub fn dial(&mut self, from: HostNo, to: HostNo, reachable: bool, now: Moment) -> Vec<Later> {
        let Some(side) = self.sides.get_mut(&(from, to)) else { return Vec::new() };
        side.dialling = false;
        if !side.wanted || side.told.is_some() {
            return Vec::new();
        }
        let (Some(from_boot), Some(to_boot)) = (self.boot(from), self.boot(to)) else {
            return self.redial(from, to, now);
        };
        let blocked = self.is_blocked(from, to) || self.is_blocked(to, from);
        if blocked || !reachable || self.chance.per_million(self.quality.loss_per_million) {
            return self.redial(from, to, now);
        }
        self.connections += 1;
        let connection = self.connections;
        let dialler = End { host: from, boot: from_boot };
        let listener = End { host: to, boot: to_boot };
        // The listener's first frame must not arrive before the dialler knows
        // that it has a connection.
        let after = self.base_latency(to, from);
        vec![
            (now, NetEvent::Up { end: listener, peer: dialler, connection }),
            (now + after, NetEvent::Up { end: dialler, peer: listener, connection }),
        ]
    }

    /// Brings up one end of a new connection. Returns what its node is told.
    pub fn up(&mut self, end: End, peer: End, connection: u64, now: Moment) -> (Vec<Told>, Vec<Later>) {
        if self.boot(end.host) != Some(end.boot) {
            return (Vec::new(), Vec::new());
        }
        if self.boot(peer.host) != Some(peer.boot) {
            return (Vec::new(), self.dial_if_wanted(end.host, peer.host, now));
        }
        let replaced_silently = self.chance.percent(self.quality.silent_replacement_percent);
        let side = self.sides.entry((end.host, peer.host)).or_default();
        let told = match side.told {
            // Both hosts dialled at once: both ends keep the newer connection.
            Some(newer) if newer > connection => return (Vec::new(), Vec::new()),
            Some(_) if replaced_silently => Vec::new(),
            Some(_) => vec![Told::Disconnected(peer.host), Told::Connected(peer.host)],
            None => vec![Told::Connected(peer.host)],
        };
        side.told = Some(connection);
        (told, Vec::new())
    }

    /// Tells one end that its connection is gone. Returns what its node is
    /// told.
    pub fn lost(
        &mut self,
        host: HostNo,
        peer: HostNo,
        connection: u64,
        now: Moment,
    ) -> (Vec<Told>, Vec<Later>) {
        let Some(side) = self.sides.get_mut(&(host, peer)) else { return (Vec::new(), Vec::new()) };
        if side.told != Some(connection) {
            return (Vec::new(), Vec::new());
        }
        side.told = None;
        (vec![Told::Disconnected(peer)], self.dial_if_wanted(host, peer, now))
    }

    /// Breaks the connection of a link that was blocked at `since`, if it still
    /// is.
    pub fn idle(&mut self, a: HostNo, b: HostNo, since: Moment, now: Moment) -> Vec<Later> {
        if self.blocked_since.get(&(a, b)) != Some(&since) {
            return Vec::new();
        }
        let mut later = Vec::new();
        for (host, peer) in [(a, b), (b, a)] {
            if let Some(connection) = self.sides.get(&(host, peer)).and_then(|side| side.told) {
                let after = self.chance.duration(Duration::ZERO, Duration::from_secs(2));
                later.push((now + after, NetEvent::Lost { host, peer, connection }));
            }
        }
        later
    }

    fn dial_if_wanted(&mut self, host: HostNo, peer: HostNo, now: Moment) -> Vec<Later> {
        match self.sides.get(&(host, peer)) {
            Some(side) if side.wanted => self.redial(host, peer, now),
            Some(_) | None => Vec::new(),
        }
    }

    fn redial(&mut self, from: HostNo, to: HostNo, now: Moment) -> Vec<Later> {
        let pause = self.chance.duration(Duration::from_millis(250), Duration::from_millis(1_500));
        self.dial_soon(from, to, now, pause)
    }

    fn dial_soon(&mut self, from: HostNo, to: HostNo, now: Moment, pause: Duration) -> Vec<Later> {
        // A handshake takes a round trip and a half.
        let takes = self.base_latency(from, to) * 3;
        let side = self.sides.entry((from, to)).or_default();
        if side.dialling || side.told.is_some() {
            return Vec::new();
        }
        side.dialling = true;
        vec![(now + pause + takes, NetEvent::Dial { from, to })]
    }

    fn boot(&self, host: HostNo) -> Option<Boot> {
        self.boots.get(host.index()).copied().flatten()
    }

    fn idle_timeout(&mut self) -> Duration {
        self.chance.duration(self.quality.idle_timeout.0, self.quality.idle_timeout.1)
    }

    /// Returns the latency of a link. It is computed and not stored, because a mesh
    /// of 10,000 hosts has a hundred million links.
    fn base_latency(&self, from: HostNo, to: HostNo) -> Duration {
        let (least, most) = self.quality.latency;
        let spread = u64::try_from((most - least).as_micros()).expect("a short duration");
        let link = (u64::from(from.0.min(to.0)) << 32) | u64::from(from.0.max(to.0));
        least + Duration::from_micros(mix(self.seed ^ mix(link)) % (spread + 1))
    }

    fn sides_of(&self, host: HostNo) -> impl Iterator<Item = (HostNo, &Side)> {
        self.sides.range((host, HostNo(0))..=(host, HostNo(u32::MAX))).map(|((_, peer), side)| (*peer, side))
    }

    fn peers(&self, host: HostNo) -> Vec<HostNo> {
        // Only the other end has a side if only that one dialled.
        let known = (0..self.boots.len()).map(HostNo::from_index);
        known.filter(|peer| *peer != host).collect()
    }
}

fn pairs(from: &BTreeSet<HostNo>, to: &BTreeSet<HostNo>) -> Vec<(HostNo, HostNo)> {
    let all = from.iter().flat_map(|from| to.iter().map(move |to| (*from, *to)));
    all.filter(|(from, to)| from != to).collect()
}

/// Mixes the bits of a number, by the finalizer of splitmix64.
fn mix(number: u64) -> u64 {
    let number = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let number = (number ^ (number >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    number ^ (number >> 31)
}

#[cfg(test)]
mod tests;

//! The world: virtual time, the queue of what is to come, the hosts, and
//! everything that happens between them.
//!
//! One event after another is taken from the queue, ordered by its time and,
//! where times are equal, by the order in which it was put there. Nothing else
//! decides what happens next.

mod effects;
mod faults;
mod queue;
mod requests;
mod stalls;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use proto::entry::Body;
use proto::id::{Digest, HostId, MeshId};
use proto::io::{EffectId, Input, WriteId};
use proto::node::Node;

use crate::chance::Chance;
use crate::check::{Checks, Claim, Violation};
use crate::clock::{HostClock, Moment};
use crate::disk::Crash;
use crate::hooks::Bundle;
use crate::host::{BOOTSTRAP_EVERY, FOUNDER, HostNo, Profile, Running, SimHost};
use crate::network::{Boot, Later, NetEvent, Network, Quality, Told};
use crate::panics;
use crate::story::Story;
use crate::trace::Trace;

pub use faults::{Fault, Shown, Who};
use queue::Queue;
pub use requests::{Asked, Wish};

/// Something that is to happen.
#[derive(Clone, Debug)]
enum Event {
    Network(NetEvent),
    Wake {
        host: HostNo,
        boot: Boot,
    },
    Persisted {
        host: HostNo,
        boot: Boot,
        write: WriteId,
    },
    HookEnds {
        host: HostNo,
        boot: Boot,
        effect: EffectId,
    },
    Bootstrap {
        host: HostNo,
        boot: Boot,
    },
    Start {
        host: HostNo,
    },
    /// A stall is over.
    Resume {
        host: HostNo,
    },
    /// An agent that was told to leave is gone.
    Gone {
        host: HostNo,
        boot: Boot,
        back_after: Option<Duration>,
    },
    Fault(Fault),
    Wish {
        asked: Box<Asked>,
        tries: u32,
    },
}

/// Wakes that a node may ask for within one microsecond before that counts as
/// a loop that never ends.
const WAKES_AT_ONCE_MAX: u32 = 1_000;

pub struct World {
    now: Moment,
    queue: Queue<Event>,
    hosts: Vec<SimHost>,
    /// What has come for hosts that stall.
    waiting: BTreeMap<HostNo, VecDeque<Event>>,
    numbers: BTreeMap<HostId, HostNo>,
    mesh: MeshId,
    network: Network,
    bundles: BTreeMap<Digest, Bundle>,
    /// Which hosts hold which bundle.
    holders: BTreeMap<Digest, BTreeSet<HostNo>>,
    requests: requests::Requests,
    chance: Chances,
    trace: Trace,
    checks: Checks,
    story: Story,
    wakes_at_once: (Moment, u32),
}

/// Each part's own stream.
struct Chances {
    boots: Chance,
    disks: Chance,
    hooks: Chance,
    faults: Chance,
    requests: Chance,
}

impl World {
    pub fn new(seed: u64, quality: Quality) -> Self {
        let chance = Chance::new(seed);
        let mut mesh = [0; 16];
        mesh[..8].copy_from_slice(&chance.fork("mesh").number().to_le_bytes());
        World {
            now: Moment::START,
            queue: Queue::default(),
            hosts: Vec::new(),
            waiting: BTreeMap::new(),
            numbers: BTreeMap::new(),
            mesh: MeshId(mesh),
            network: Network::new(quality, chance.fork("network")),
            bundles: BTreeMap::new(),
            holders: BTreeMap::new(),
            requests: requests::Requests::default(),
            chance: Chances {
                boots: chance.fork("boots"),
                disks: chance.fork("disks"),
                hooks: chance.fork("hooks"),
                faults: chance.fork("faults"),
                requests: chance.fork("requests"),
            },
            trace: Trace::default(),
            checks: Checks::default(),
            story: Story::default(),
            wakes_at_once: (Moment::START, 0),
        }
    }

    /// A host that is still down. The first one begins the ledger.
    pub fn add_host(&mut self, profile: Profile) -> HostNo {
        let no = HostNo::from_index(self.hosts.len());
        let host = SimHost::new(no, profile);
        self.numbers.insert(host.id, no);
        self.checks.know(host.id, no);
        self.story.know(host.id, no);
        self.hosts.push(host);
        no
    }

    /// How far ahead its clock is from its next start on, and what it gains.
    pub fn set_clock(&mut self, host: HostNo, ahead_micros: i64, parts_per_million: i64) {
        let host = &mut self.hosts[host.index()];
        host.ahead_micros = ahead_micros;
        host.drift = parts_per_million;
    }

    pub fn add_bundle(&mut self, bundle: Bundle) {
        self.story.know_bundle(bundle.revision.digest, &bundle.name);
        self.bundles.insert(bundle.revision.digest, bundle);
    }

    pub fn bundles(&self) -> impl Iterator<Item = &Bundle> {
        self.bundles.values()
    }

    pub fn start_at(&mut self, host: HostNo, at: Moment) {
        self.queue.push(at, Event::Start { host });
    }

    pub fn fault_at(&mut self, fault: Fault, at: Moment) {
        self.queue.push(at, Event::Fault(fault));
    }

    pub fn ask_at(&mut self, asked: Asked, at: Moment) {
        self.queue.push(at, Event::Wish { asked: Box::new(asked), tries: 0 });
    }

    pub fn now(&self) -> Moment {
        self.now
    }

    pub fn hosts(&self) -> &[SimHost] {
        &self.hosts
    }

    pub fn host(&self, no: HostNo) -> &SimHost {
        &self.hosts[no.index()]
    }

    pub fn nodes(&self) -> impl Iterator<Item = (HostNo, &Node)> {
        self.hosts.iter().filter_map(|host| Some((host.no, host.node()?)))
    }

    pub fn checks(&self) -> &Checks {
        &self.checks
    }

    pub fn checks_mut(&mut self) -> &mut Checks {
        &mut self.checks
    }

    pub fn trace(&self) -> &Trace {
        &self.trace
    }

    pub fn trace_mut(&mut self) -> &mut Trace {
        &mut self.trace
    }

    pub fn story(&self) -> &Story {
        &self.story
    }

    pub fn story_mut(&mut self) -> &mut Story {
        &mut self.story
    }

    pub fn network_mut(&mut self) -> &mut Network {
        &mut self.network
    }

    /// Lets time pass until then, or until a claim is violated.
    pub fn run_until(&mut self, until: Moment) {
        while self.queue.next_at().is_some_and(|at| at <= until) && self.checks.finding().is_none() {
            self.step();
        }
        self.now = self.now.max(until);
    }

    /// Lets the next thing happen. Returns false if nothing is to come.
    pub fn step(&mut self) -> bool {
        let Some((at, event)) = self.queue.pop() else { return false };
        assert!(at >= self.now, "time goes forward");
        self.now = at;
        if let Some(event) = self.unless_stalled(event) {
            self.happen(event);
        }
        true
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Network(event) => self.network_event(event),
            Event::Wake { host, boot } if self.is_boot(host, boot) => self.wake(host),
            Event::Persisted { host, boot, write } if self.is_boot(host, boot) => {
                self.hosts[host.index()].disk.complete(write);
                self.feed(host, Input::Persisted(write));
            }
            Event::HookEnds { host, boot, effect } if self.is_boot(host, boot) => {
                self.event_ends(host, effect);
            }
            Event::Bootstrap { host, boot } if self.is_boot(host, boot) => self.bootstrap(host),
            Event::Gone { host, boot, back_after } if self.is_boot(host, boot) => {
                self.down(host, Crash::Process);
                self.start_after(host, back_after);
            }
            Event::Wake { .. }
            | Event::Persisted { .. }
            | Event::HookEnds { .. }
            | Event::Gone { .. }
            | Event::Bootstrap { .. } => {}
            Event::Start { host } => self.start(host),
            Event::Resume { host } => self.resume(host),
            Event::Fault(fault) => self.fault(fault),
            Event::Wish { asked, tries } => self.ask(*asked, tries),
        }
    }

    fn is_boot(&self, host: HostNo, boot: Boot) -> bool {
        let host = &self.hosts[host.index()];
        host.is_up() && host.boot == boot
    }

    fn later(&mut self, later: impl IntoIterator<Item = Later>) {
        for (at, event) in later {
            self.queue.push(at, Event::Network(event));
        }
    }

    fn network_event(&mut self, event: NetEvent) {
        let now = self.now;
        match event {
            NetEvent::Dial { from, to } => {
                let reachable = self.hosts[to.index()].stalled_until <= now;
                let later = self.network.dial(from, to, reachable, now);
                self.later(later);
            }
            NetEvent::Up { end, peer, connection } => {
                let (told, later) = self.network.up(end, peer, connection, now);
                self.later(later);
                self.tell(end.host, told);
            }
            NetEvent::Lost { host, peer, connection } => {
                let (told, later) = self.network.lost(host, peer, connection, now);
                self.later(later);
                self.tell(host, told);
            }
            NetEvent::Idle { a, b, since } => {
                let later = self.network.idle(a, b, since, now);
                self.later(later);
            }
            NetEvent::Frame { from, to, connection, frame, gossip } => {
                if !self.network.arrives(from, to, connection) {
                    return;
                }
                if let Some(gossip) = gossip {
                    let (is_first, later) = self.network.gossip_arrives(gossip, to, &frame, now);
                    self.later(later);
                    if !is_first {
                        return;
                    }
                }
                let from = self.hosts[from.index()].id;
                self.feed(to, Input::Received { from, frame: frame.to_vec() });
            }
        }
    }

    fn tell(&mut self, host: HostNo, told: Vec<Told>) {
        for told in told {
            let id = |peer: HostNo| self.hosts[peer.index()].id;
            let input = match told {
                Told::Connected(peer) => Input::Connected { host: id(peer) },
                Told::Disconnected(peer) => Input::Disconnected { host: id(peer) },
            };
            self.feed(host, input);
        }
    }

    /// Starts a host's agent from what its disk holds.
    fn start(&mut self, no: HostNo) {
        let now = self.now;
        let seed = self.chance.boots.number();
        let host = &mut self.hosts[no.index()];
        if host.is_up() {
            return;
        }
        host.boot += 1;
        host.looked_at = 0;
        host.clock = HostClock::new(now, host.ahead_micros, host.drift);
        let (boot, config, stored) = (host.boot, host.config(self.mesh, seed), host.disk.contents());
        let local = host.clock.show(now);
        let node = match panics::guard(|| Node::start(config, stored, local)) {
            Ok(Ok(node)) => node,
            Ok(Err(error)) => return self.violated(Claim::Alive, no, format!("it does not start: {error}")),
            Err(said) => return self.violated(Claim::Alive, no, said),
        };
        self.hosts[no.index()].node = Some(Box::new(Running(node)));
        self.network.host_up(no, boot);
        self.story.tell(now, format!("{no} starts"));
        self.queue.push(now, Event::Bootstrap { host: no, boot });
        self.after_input(no);
    }

    /// Without any connection a host has only what its operator told it: where
    /// some host of the mesh is.
    fn bootstrap(&mut self, no: HostNo) {
        let boot = self.hosts[no.index()].boot;
        self.queue.push(self.now + BOOTSTRAP_EVERY, Event::Bootstrap { host: no, boot });
        if no == FOUNDER || self.hosts.len() < 2 || !self.network.connected(no).is_empty() {
            return;
        }
        let any = HostNo(u32::try_from(self.chance.boots.below(self.hosts.len() as u64)).expect("few hosts"));
        for contact in [FOUNDER, any] {
            if contact != no {
                let later = self.network.connect(no, contact, self.now);
                self.later(later);
            }
        }
    }

    fn wake(&mut self, no: HostNo) {
        let host = &mut self.hosts[no.index()];
        if host.wake_at != Some(self.now) {
            return;
        }
        host.wake_at = None;
        let local = host.clock.show(self.now);
        let is_due = host.node().and_then(Node::next_wake).is_some_and(|wanted| wanted <= local);
        if is_due {
            self.feed(no, Input::Wake);
        } else {
            self.schedule_wake(no);
        }
    }

    /// Puts a wake into the queue, unless an earlier one is there: that one
    /// will look again.
    fn schedule_wake(&mut self, no: HostNo) {
        let now = self.now;
        let host = &mut self.hosts[no.index()];
        let Some(wanted) = host.node().and_then(Node::next_wake) else { return };
        let at = host.clock.when(wanted).max(now);
        if host.wake_at.is_some_and(|scheduled| scheduled <= at && scheduled >= now) {
            return;
        }
        host.wake_at = Some(at);
        let boot = host.boot;
        self.queue.push(at, Event::Wake { host: no, boot });
        if at > now {
            return;
        }
        match &mut self.wakes_at_once {
            (moment, wakes) if *moment == now => *wakes += 1,
            other => *other = (now, 1),
        }
        if self.wakes_at_once.1 > WAKES_AT_ONCE_MAX {
            self.violated(
                Claim::Alive,
                no,
                "it wants waking now, again and again, and time stands still".into(),
            );
        }
    }

    /// Tells a node what happened, and does what it asks for.
    fn feed(&mut self, no: HostNo, input: Input) {
        let host = &mut self.hosts[no.index()];
        let local = host.clock.show(self.now);
        let Some(running) = &mut host.node else { return };
        self.trace.input(self.now, no, &input);
        if let Err(said) = panics::guard(|| running.0.handle(input, local)) {
            return self.violated(Claim::Alive, no, said);
        }
        self.after_input(no);
    }

    fn after_input(&mut self, no: HostNo) {
        while let Some(output) = self.hosts[no.index()].node.as_mut().and_then(|node| node.0.poll_output()) {
            self.trace.output(self.now, no, &output);
            self.effect(no, output);
        }
        self.schedule_wake(no);
        self.look(no);
    }

    /// Shows the checkers how far the node has come.
    fn look(&mut self, no: HostNo) {
        let host = &mut self.hosts[no.index()];
        let Some(running) = &host.node else { return };
        let index = running.0.state().index();
        if std::mem::replace(&mut host.looked_at, index) == index {
            return;
        }
        for (index, entry) in self.checks.folded(no, &running.0, self.now) {
            if let Body::Submitted(submission) = &entry.body {
                self.story.know_deployment(submission);
            }
            self.story.entry(self.now, index, &entry, &self.checks.model);
        }
    }

    /// One line a host: how far it is, whom it sees, what keeps it.
    pub fn host_lines(&self) -> Vec<String> {
        self.hosts.iter().map(|host| self.host_line(host)).collect()
    }

    fn host_line(&self, host: &SimHost) -> String {
        let Some(node) = host.node() else { return format!("{} is down", host.no) };
        let mesh = node.mesh();
        let names = |ids: &BTreeSet<HostId>| {
            let names = ids.iter().filter_map(|id| self.numbers.get(id)).map(HostNo::to_string);
            names.collect::<Vec<_>>().join(",")
        };
        let leader = mesh.leader.and_then(|leader| self.numbers.get(&leader));
        let blockers: Vec<String> = node
            .state()
            .running()
            .map(|rollout| rollout.submission.deployment)
            .map(|id| format!("{} {:?}", self.story.deployment(id), node.blockers(id)))
            .collect();
        format!(
            "{} at {} of {}, leader {}, voters {}, connected {}, suspects {}, runs {}; {}",
            host.no,
            node.state().index(),
            mesh.newest_heard,
            leader.map_or("unknown".into(), HostNo::to_string),
            names(&mesh.voters),
            names(&mesh.connected),
            names(&mesh.suspects),
            host.hooks.running().map(|run| run.event.name()).collect::<Vec<_>>().join(","),
            blockers.join("; ")
        )
    }

    /// Everything that must hold once all is quiet.
    pub fn check_quiet(&mut self) {
        let nodes = self.hosts.iter().filter_map(|host| Some((host.no, host.node()?)));
        self.checks.quiet(nodes, self.now);
    }

    fn violated(&mut self, claim: Claim, host: HostNo, what: String) {
        self.checks.report(Err(Violation::new(claim, [host], what)), self.now);
    }

    /// Lets time pass until the question is answered with yes. Returns whether
    /// it was, within the time.
    pub fn run_while(&mut self, within: Duration, mut goes_on: impl FnMut(&World) -> bool) -> bool {
        let until = self.now + within;
        while goes_on(self) {
            if self.checks.finding().is_some() || self.queue.next_at().is_none_or(|at| at > until) {
                self.now = self.now.max(until);
                return false;
            }
            self.step();
        }
        true
    }
}

impl Event {
    /// The host whose loop must run for it.
    fn addressee(&self) -> Option<HostNo> {
        match self {
            Event::Wake { host, .. }
            | Event::Persisted { host, .. }
            | Event::HookEnds { host, .. }
            | Event::Bootstrap { host, .. } => Some(*host),
            Event::Network(NetEvent::Frame { to, .. }) => Some(*to),
            Event::Network(NetEvent::Up { end, .. }) => Some(end.host),
            Event::Network(NetEvent::Lost { host, .. }) => Some(*host),
            Event::Network(NetEvent::Dial { .. } | NetEvent::Idle { .. })
            | Event::Start { .. }
            | Event::Resume { .. }
            | Event::Gone { .. }
            | Event::Fault(_)
            | Event::Wish { .. } => None,
        }
    }
}

#[cfg(test)]
mod tests;

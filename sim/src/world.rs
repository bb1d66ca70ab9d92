//! The simulated world: virtual time, the queue of future events, the hosts,
//! and everything that happens between them.
//!
//! The world takes one event after another from its queue, ordered by time and,
//! where times are equal, by insertion. Nothing else decides what happens next.

mod effects;
mod event;
mod faults;
mod lies;
mod lines;
mod nodes;
mod outside_answers;
mod probes;
mod queue;
mod requests;
mod stalls;
mod wires;
mod writes;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use proto::config::Overlay;
use proto::id::{Digest, HostId, MeshId};
use proto::io::Input;
use proto::node::Node;
use proto::recovery::RecoveryKey;

use crate::chance::Chance;
use crate::check::{Checks, Claim, Violation};
use crate::clock::Moment;
use crate::disk::Crash;
use crate::hooks::{Bundle, CANCEL_TAKES};
use crate::host::{FOUNDER, HostNo, Profile, SimHost};
use crate::network::{Boot, Network, Quality};
use crate::record::Record;
use crate::story::Story;
use crate::trace::Trace;
use crate::watches::Outside;

use event::Event;
pub use faults::{Fault, Shown, Who};
use queue::Queue;
pub use requests::{Asked, Wish};
pub use writes::{Armed, AtWrite};

pub struct World {
    now: Moment,
    queue: Queue<Event>,
    hosts: Vec<SimHost>,
    /// Events for hosts whose loop is stalled.
    waiting: BTreeMap<HostNo, VecDeque<Event>>,
    numbers: BTreeMap<HostId, HostNo>,
    mesh: MeshId,
    /// The mesh's recovery key, which no host has.
    recovery_key: RecoveryKey,
    network: Network,
    bundles: BTreeMap<Digest, Bundle>,
    /// The hosts that hold each bundle.
    holders: BTreeMap<Digest, BTreeSet<HostNo>>,
    requests: requests::Requests,
    chance: Chances,
    trace: Trace,
    checks: Checks,
    story: Story,
    wakes_at_once: (Moment, u32),
    outside: Outside,
    healed_at: Moment,
    /// True while a node handles a claim that another ledger exists: it must
    /// report it.
    is_lied_to: bool,
    /// The time that a cancelled script takes to end.
    cancels_take: Duration,
    /// The percentage of tasks whose end is reported twice.
    ends_twice_percent: u32,
    lies: Option<lies::Lies>,
}

/// One random stream for each part, so that the parts do not influence each
/// other.
struct Chances {
    boots: Chance,
    disks: Chance,
    hooks: Chance,
    probes: Chance,
    faults: Chance,
    requests: Chance,
    outside: Chance,
    removals: Chance,
    lies: Chance,
    tasks: Chance,
}

impl World {
    pub fn new(seed: u64, quality: Quality) -> Self {
        let chance = Chance::new(seed);
        let mut secret = [0; 32];
        secret[..8].copy_from_slice(&chance.fork("mesh").number().to_le_bytes());
        let recovery_key = RecoveryKey::from_secret(&secret);
        World {
            now: Moment::START,
            queue: Queue::default(),
            hosts: Vec::new(),
            waiting: BTreeMap::new(),
            numbers: BTreeMap::new(),
            mesh: recovery_key.mesh(),
            recovery_key,
            network: Network::new(quality, chance.fork("network")),
            bundles: BTreeMap::new(),
            holders: BTreeMap::new(),
            requests: requests::Requests::default(),
            chance: Chances {
                boots: chance.fork("boots"),
                disks: chance.fork("disks"),
                hooks: chance.fork("hooks"),
                probes: chance.fork("probes"),
                faults: chance.fork("faults"),
                requests: chance.fork("requests"),
                outside: chance.fork("outside"),
                removals: chance.fork("removals"),
                lies: chance.fork("lies"),
                tasks: chance.fork("tasks"),
            },
            trace: Trace::default(),
            checks: Checks::default(),
            story: Story::default(),
            wakes_at_once: (Moment::START, 0),
            outside: Outside::default(),
            healed_at: Moment::START,
            is_lied_to: false,
            cancels_take: CANCEL_TAKES,
            ends_twice_percent: 0,
            lies: None,
        }
    }

    /// Adds a host that is still down. The first host that is added begins the
    /// ledger.
    pub fn add_host(&mut self, profile: Profile) -> HostNo {
        let no = HostNo::from_index(self.hosts.len());
        if no == FOUNDER {
            self.checks.founded_by(profile.wire);
        }
        let host = SimHost::new(no, profile);
        self.numbers.insert(host.id, no);
        self.checks.know(host.id, no);
        self.story.know(host.id, no);
        self.hosts.push(host);
        no
    }

    /// Sets how far ahead the host's clock is from its next start on, and how
    /// fast it gains.
    pub fn set_clock(&mut self, host: HostNo, ahead_micros: i64, parts_per_million: i64) {
        let host = &mut self.hosts[host.index()];
        host.ahead_micros = ahead_micros;
        host.drift = parts_per_million;
    }

    pub fn add_bundle(&mut self, bundle: Bundle) {
        self.story.know_bundle(bundle.revision.digest, &bundle.name);
        let digest = bundle.revision.digest;
        self.trace.note(|| Record::Bundle { digest, name: bundle.name.clone() });
        self.bundles.insert(bundle.revision.digest, bundle);
    }

    pub fn bundles(&self) -> impl Iterator<Item = &Bundle> {
        self.bundles.values()
    }

    /// Keeps a record of the run. Call it before anything has happened.
    pub fn keep_record(&mut self) {
        self.trace.keep_record();
        for host in &self.hosts {
            self.trace.note(|| Record::Host { no: host.no, id: host.id });
        }
        for (digest, bundle) in &self.bundles {
            self.trace.note(|| Record::Bundle { digest: *digest, name: bundle.name.clone() });
        }
    }

    /// Sets the percentage of tasks whose end is reported twice.
    pub fn set_ends_twice(&mut self, percent: u32) {
        self.ends_twice_percent = percent;
    }

    /// Sets the time that every cancelled script takes to end.
    pub fn set_cancels_take(&mut self, takes: Duration) {
        self.cancels_take = takes;
    }

    /// Adds a line to the story that comes from the world and not from a node.
    pub fn say(&mut self, line: String) {
        let at = self.now;
        self.trace.note(|| Record::Said { at, line: line.clone() });
        self.story.tell(at, line);
    }

    /// Discards the story so far, and begins it now.
    pub fn begin_story(&mut self) {
        let at = self.now;
        self.trace.note(|| Record::Begins { at });
        self.story.begin_anew(at);
        self.outside.begin_anew();
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

    /// Lets time pass until `until`, or until a claim is violated.
    pub fn run_until(&mut self, until: Moment) {
        while self.queue.next_at().is_some_and(|at| at <= until) && self.checks.counterexample().is_none() {
            self.step();
        }
        self.now = self.now.max(until);
    }

    /// Handles the next event. Returns false if the queue is empty.
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
                self.complete(host, write);
                self.feed(host, Input::Persisted(write));
            }
            Event::HookEnds { host, boot, id } if self.is_boot(host, boot) => {
                self.event_ends(host, id);
            }
            Event::ErrandEnds { host, boot, id } if self.is_boot(host, boot) => {
                self.errand_ends(host, id);
            }
            Event::Probed { host, boot, id, task, result } if self.is_boot(host, boot) => {
                self.probed(host, id, &task, result);
            }
            Event::TaskEnds { host, boot, id, result } if self.is_boot(host, boot) => {
                self.feed(host, Input::Ended { id, result });
            }
            Event::Bootstrap { host, boot } if self.is_boot(host, boot) => self.bootstrap(host),
            Event::Gone { host, boot, back_after } if self.is_boot(host, boot) => {
                self.down(host, Crash::Process);
                self.start_after(host, back_after);
            }
            Event::Wake { .. }
            | Event::Persisted { .. }
            | Event::HookEnds { .. }
            | Event::ErrandEnds { .. }
            | Event::Probed { .. }
            | Event::TaskEnds { .. }
            | Event::Gone { .. }
            | Event::Bootstrap { .. } => {}
            Event::Start { host } => self.start(host),
            Event::Resume { host } => self.resume(host),
            Event::Off { host } => self.switch_off(host),
            Event::Fault(fault) => self.fault(fault),
            Event::Wish { asked, tries } => self.ask(*asked, tries),
        }
    }

    fn is_boot(&self, host: HostNo, boot: Boot) -> bool {
        let host = &self.hosts[host.index()];
        host.is_up() && host.boot == boot
    }

    /// Checks everything that must hold once all is quiet, for every host that
    /// has folded all entries. Another claim says that each host has folded
    /// them.
    pub fn check_quiet(&mut self) {
        let last = self.checks.agreement.last();
        let nodes = self.hosts.iter().filter_map(|host| Some((host.no, host.node()?)));
        let nodes = nodes.filter(|(_, node)| node.state().index() >= last);
        self.checks.quiet(nodes, self.now);
        let verdict = crate::check::all_told(&self.checks.model, &self.outside);
        self.checks.report(verdict, self.now);
        self.check_degrees();
    }

    fn check_degrees(&mut self) {
        let removed = self.checks.model.removed();
        let too_many = self.hosts.iter().find_map(|host| {
            let Overlay::Bounded { degree } = host.tuning.overlay else { return None };
            let has = self.network.connected(host.no).len();
            let counts = host.is_up() && !removed.contains(&host.id);
            (counts && has > usize::from(degree)).then_some((host.no, has))
        });
        if let Some((host, has)) = too_many {
            self.violated(Claim::Degree, host, format!("it has {has} connections"));
        }
    }

    fn violated(&mut self, claim: Claim, host: HostNo, what: String) {
        self.checks.report(Err(Violation::new(claim, [host], what)), self.now);
    }

    /// Lets time pass while `goes_on` returns true. Returns false if it still
    /// does after `within`, or if a claim was violated.
    pub fn run_while(&mut self, within: Duration, mut goes_on: impl FnMut(&World) -> bool) -> bool {
        let until = self.now + within;
        while goes_on(self) {
            if self.checks.counterexample().is_some() || self.queue.next_at().is_none_or(|at| at > until) {
                self.now = self.now.max(until);
                return false;
            }
            self.step();
        }
        true
    }
}

#[cfg(test)]
mod tests;

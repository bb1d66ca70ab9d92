//! Starts, wakes, feeds and watches the nodes.

use proto::io::Input;
use proto::node::{Node, StartError};
use proto::wire::WIRE;

use super::{Event, World};
use crate::check::Claim;
use crate::clock::HostClock;
use crate::host::{BOOTSTRAP_EVERY, FOUNDER, HostNo, Running};
use crate::panics;
use crate::record::Record;

/// The number of wakes that a node may ask for within one microsecond. More of
/// them count as an endless loop.
const WAKES_AT_ONCE_MAX: u32 = 1_000;

impl World {
    /// Starts a host's agent with the contents of its disk.
    pub(super) fn start(&mut self, no: HostNo) {
        let now = self.now;
        let seed = self.chance.boots.number();
        let host = &mut self.hosts[no.index()];
        if host.is_up() || host.is_off {
            return;
        }
        host.boot += 1;
        host.looked_at = 0;
        host.refuses = None;
        host.clock = HostClock::new(now, host.ahead_micros, host.drift);
        let (boot, config, stored) = (host.boot, host.config(self.mesh, seed), host.disk.stored());
        let local = host.clock.show(now);
        self.say(format!("{no} starts"));
        self.trace.note(|| Record::Started {
            at: now,
            host: no,
            local: local.as_micros(),
            config: Box::new(config.clone()),
            stored: stored.contents.clone().into_iter().collect(),
            fence: stored.fence,
        });
        let has_lied = self.hosts[no.index()].disk.has_lied();
        let node = match panics::guard(|| Node::start(config, stored, local)) {
            Ok(Ok(_)) if has_lied => {
                let what = "it starts from a store that has lost what it promised".into();
                return self.violated(Claim::Promises, no, what);
            }
            Ok(Ok(node)) => node,
            // The agent does the same: it sets the store aside, and the host
            // joins again.
            Ok(Err(StartError::Forgotten(_))) if has_lied => {
                self.hosts[no.index()].disk.wipe();
                return self.start(no);
            }
            // An older agent was installed by mistake. It leaves the store as it is.
            Ok(Err(error @ StartError::OtherVersion { .. }))
                if self.hosts[no.index()].profile.wire < WIRE =>
            {
                self.say(format!("{no} does not start"));
                self.hosts[no.index()].refuses = Some(error.to_string());
                return;
            }
            Ok(Err(error)) => return self.violated(Claim::Alive, no, format!("it does not start: {error}")),
            Err(said) => return self.violated(Claim::Alive, no, said),
        };
        self.hosts[no.index()].node = Some(Box::new(Running(node)));
        self.network.host_up(no, boot);
        self.checks.host_up(no, local.to_ledger(), now);
        self.queue.push(now, Event::Bootstrap { host: no, boot });
        self.after_input(no);
        if let Some(free) = self.hosts[no.index()].free {
            self.feed_room(no, free);
        }
    }

    /// Lets a host look at its disk.
    pub(super) fn feed_room(&mut self, no: HostNo, free: u64) {
        if self.hosts[no.index()].node.is_some() {
            self.checks.room.looked(no, free == 0, self.now);
        }
        self.feed(no, Input::Disk { free });
    }

    /// Dials the addresses of the operator's configuration, which is all that a
    /// host without any connection has: some hosts of the mesh.
    pub(super) fn bootstrap(&mut self, no: HostNo) {
        let boot = self.hosts[no.index()].boot;
        self.queue.push(self.now + BOOTSTRAP_EVERY, Event::Bootstrap { host: no, boot });
        let founds = no == FOUNDER && !self.hosts[no.index()].was_wiped;
        if founds || self.hosts.len() < 2 || !self.network.connected(no).is_empty() {
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

    pub(super) fn wake(&mut self, no: HostNo) {
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

    /// Schedules the node's next wake, unless an earlier wake is in the queue.
    /// That one schedules it again.
    pub(super) fn schedule_wake(&mut self, no: HostNo) {
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

    /// Feeds an input to a node, and carries out its outputs.
    pub(super) fn feed(&mut self, no: HostNo, input: Input) {
        let host = &mut self.hosts[no.index()];
        let local = host.clock.show(self.now);
        let Some(running) = &mut host.node else { return };
        self.trace.input(self.now, no, &input);
        self.trace.note(|| Record::Input {
            at: self.now,
            host: no,
            local: local.as_micros(),
            input: input.clone(),
        });
        if let Err(said) = panics::guard(|| running.0.handle(input, local)) {
            return self.violated(Claim::Alive, no, said);
        }
        self.after_input(no);
    }

    pub(super) fn after_input(&mut self, no: HostNo) {
        let host = &self.hosts[no.index()];
        if let Some(node) = host.node().filter(|node| node.state().index() != host.looked_at) {
            self.checks.health.folded(no, node.state());
        }
        while let Some(output) = self.hosts[no.index()].node.as_mut().and_then(|node| node.0.poll_output()) {
            self.trace.output(self.now, no, &output);
            self.effect(no, output);
        }
        self.trace.settled();
        self.schedule_wake(no);
        self.look(no);
    }

    /// Shows the checkers what the node has folded.
    fn look(&mut self, no: HostNo) {
        let host = &mut self.hosts[no.index()];
        let Some(running) = &host.node else { return };
        self.checks.sees(no, &running.0, self.now);
        let index = running.0.state().index();
        if host.looked_at == index {
            return;
        }
        let verdict = self.checks.promises.folded(&self.hosts[no.index()], &self.hosts);
        self.checks.report(verdict, self.now);
        let host = &mut self.hosts[no.index()];
        host.looked_at = index;
        let Some(running) = &host.node else { return };
        self.checks.ledger_time.clock(no, host.clock.show(self.now).to_ledger(), self.now);
        self.story.folded(no, &running.0, &mut self.checks, self.now);
    }
}

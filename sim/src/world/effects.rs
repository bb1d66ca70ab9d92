//! Carries out what a node asks of the world, and decides how each effect ends.

use std::rc::Rc;
use std::time::Duration;

use proto::id::{Digest, HostId};
use proto::io::{EffectId, Input, Notice, Outcome, Output, Run};
use proto::lifecycle::LifecycleEvent;

use super::{Claim, Event, World};
use crate::check::Promises;
use crate::hooks::DOWNLOAD_TIMEOUT;
use crate::host::HostNo;

/// The range of the time that it takes to transfer a bundle from one host to
/// another.
const TRANSFER_TAKES: (Duration, Duration) = (Duration::from_millis(5), Duration::from_millis(300));

impl World {
    pub(super) fn effect(&mut self, host: HostNo, output: Output) {
        let now = self.now;
        match output {
            Output::Send { to, frame } => {
                self.hold(host, &frame);
                if let Some(to) = self.numbers.get(&to).copied() {
                    for frame in self.with_lies(host, to, frame) {
                        let later = self.network.send(host, to, Rc::from(frame), now);
                        self.later(later);
                    }
                }
            }
            Output::Publish { frame } => {
                self.hold(host, &frame);
                let later = self.network.publish(host, &Rc::from(frame), now);
                self.later(later);
            }
            Output::Connect { host: to, addresses } => self.connect(host, to, &addresses),
            Output::Disconnect { host: to } => {
                if let Some(to) = self.numbers.get(&to) {
                    let later = self.network.disconnect(host, *to, now);
                    self.later(later);
                }
            }
            Output::Persist(write) => self.persist(host, write),
            // A fetch is only a head start: DownloadBundle also works without
            // it.
            Output::Fetch { revision, sources } => {
                if self.can_fetch(host, revision.digest, &sources) {
                    self.holders.entry(revision.digest).or_default().insert(host);
                }
            }
            Output::Run { effect, run } => self.begin_event(host, effect, *run),
            Output::ReadAlarm { effect, group, deployment: _, alarm } => {
                self.begin_reading(host, effect, group, &alarm);
            }
            Output::Tell { effect, target: _, trigger, told } => {
                self.begin_telling(host, effect, trigger, told);
            }
            Output::Cancel { effect } => self.cancel(host, effect),
            Output::Probe { id, task } => self.probe(host, id, task),
            Output::Reply { id, reply } => self.replied(host, id, reply),
            Output::Notify(notice) => self.noticed(host, &notice),
        }
    }

    /// Checks that what a frame promises is on the disk of its sender.
    fn hold(&mut self, host: HostNo, frame: &[u8]) {
        let verdict = self.checks.promises.sent(&self.hosts[host.index()], self.mesh, frame);
        self.checks.report(verdict, self.now);
    }

    fn connect(&mut self, from: HostNo, to: HostId, addresses: &[String]) {
        let Some(to) = self.numbers.get(&to).copied() else { return };
        // A dial to a wrong address never connects.
        if addresses.contains(&self.hosts[to.index()].address()) {
            let later = self.network.connect(from, to, self.now);
            self.later(later);
        }
    }

    fn begin_event(&mut self, no: HostNo, effect: EffectId, run: Run) {
        if let Some(running) = &self.hosts[no.index()].node {
            self.checks.event_begins(no, &run, &running.0, self.now);
        }
        self.checks.report(Promises::event_begins(&self.hosts[no.index()], &run), self.now);
        self.story.event_begins(self.now, no, &run);
        let host = &mut self.hosts[no.index()];
        let boot = host.boot;
        if !self.bundles.contains_key(&run.revision.digest) {
            let what = format!("it runs {} of a revision that nobody pushed", run.event);
            return self.violated(Claim::CommittedStart, no, what);
        }
        let takes = host.hooks.begin(no, effect, run, &self.bundles, &mut self.chance.hooks);
        self.queue.push(self.now + takes, Event::HookEnds { host: no, boot, effect });
    }

    pub(super) fn event_ends(&mut self, no: HostNo, effect: EffectId) {
        let Some(under_way) = self.hosts[no.index()].hooks.under_way(effect) else { return };
        let run = under_way.run.clone();
        if run.event == LifecycleEvent::DownloadBundle && under_way.outcome.is_ok() {
            let digest = run.revision.digest;
            if self.can_fetch(no, digest, &run.sources) {
                self.holders.entry(digest).or_default().insert(no);
            } else if self.wait_for_bundle(no, effect) {
                return;
            } else {
                self.hosts[no.index()].hooks.starve(effect);
            }
        }
        let Some(ended) = self.hosts[no.index()].hooks.end(effect, self.now) else { return };
        self.checks.event_ends(no, &ended.run, &ended.outcome);
        self.feed(no, Input::Done { effect, outcome: Outcome::Event(ended.outcome) });
    }

    /// Returns true if the host has the bundle, or can reach a source that has
    /// it.
    fn can_fetch(&self, host: HostNo, digest: Digest, sources: &[HostId]) -> bool {
        let Some(holders) = self.holders.get(&digest) else { return false };
        let sources = sources.iter().filter_map(|source| self.numbers.get(source)).copied();
        let reaches = |source: HostNo| {
            holders.contains(&source)
                && self.hosts[source.index()].is_up()
                && !self.network.is_blocked(host, source)
                && !self.network.is_blocked(source, host)
        };
        holders.contains(&host) || sources.chain(self.network.connected(host)).any(reaches)
    }

    /// Schedules another look for the bundle. Returns false if the event has
    /// looked for too long.
    fn wait_for_bundle(&mut self, no: HostNo, effect: EffectId) -> bool {
        let now = self.now;
        let pause = self.chance.hooks.duration(TRANSFER_TAKES.0, TRANSFER_TAKES.1) * 5;
        let host = &mut self.hosts[no.index()];
        let waits = host.hooks.waits_since(effect, now);
        if now - waits >= DOWNLOAD_TIMEOUT {
            return false;
        }
        self.queue.push(now + pause, Event::HookEnds { host: no, boot: host.boot, effect });
        true
    }

    fn cancel(&mut self, no: HostNo, effect: EffectId) {
        let host = &mut self.hosts[no.index()];
        if host.hooks.cancel(effect) {
            let event = Event::HookEnds { host: no, boot: host.boot, effect };
            self.queue.push(self.now + self.cancels_take, event);
        }
    }

    fn noticed(&mut self, no: HostNo, notice: &Notice) {
        match notice {
            Notice::Folded { .. } | Notice::Progress(_) => {}
            Notice::Diverged { with, index } => {
                let by_a_liar = self.numbers.get(with).is_some_and(|with| self.has_lied(*with));
                if std::mem::take(&mut self.is_lied_to) || by_a_liar {
                    return;
                }
                let what = format!("it says that it differs from {with:?} at {index} at the latest");
                self.violated(Claim::Agreement, no, what);
            }
        }
    }
}

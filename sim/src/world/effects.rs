//! Carries out what a node asks of the world, and decides how each task ends.

use std::rc::Rc;
use std::time::Duration;

use proto::id::{Digest, HostId};
use proto::io::{Input, Notice, Output};
use proto::lifecycle::LifecycleEvent;
use proto::revision::Revision;
use proto::task::{Run, Task, TaskId, TaskResult};

use super::{Claim, Event, World};
use crate::check::Promises;
use crate::hooks::DOWNLOAD_TIMEOUT;
use crate::host::HostNo;

/// The range of the time that it takes to transfer a bundle from one host to
/// another.
const TRANSFER_TAKES: (Duration, Duration) = (Duration::from_millis(5), Duration::from_millis(300));
/// The longest time after which a task's end is reported once more. Most events
/// take longer, so the next event of the turn often runs by then.
const ENDS_AGAIN_WITHIN: Duration = Duration::from_secs(1);

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
            Output::Start { id, task } => self.start_task(host, id, task),
            Output::Cancel { id } => self.cancel(host, id),
            Output::Reply { id, reply } => self.replied(host, id, reply),
            Output::Notify(notice) => self.noticed(host, &notice),
        }
    }

    fn start_task(&mut self, host: HostNo, id: TaskId, task: Task) {
        match task {
            Task::RunEvent(run) => self.begin_event(host, id, *run),
            Task::FetchBundle { revision, sources } => self.fetch(host, id, &revision, &sources),
            Task::ReadAlarm { group, deployment: _, alarm } => self.begin_reading(host, id, group, &alarm),
            Task::Notify { target: _, trigger, told } => self.begin_telling(host, id, trigger, told),
            Task::Probe(task) => self.probe(host, id, task),
        }
    }

    /// Reports the end of a task, and sometimes plans to report it once more.
    pub(super) fn task_ends(&mut self, no: HostNo, id: TaskId, result: TaskResult) {
        if self.chance.tasks.percent(self.ends_twice_percent) {
            let at = self.now + self.chance.tasks.duration(Duration::ZERO, ENDS_AGAIN_WITHIN);
            let boot = self.hosts[no.index()].boot;
            self.queue.push(at, Event::TaskEnds { host: no, boot, id, result: result.clone() });
        }
        self.feed(no, Input::Ended { id, result });
    }

    /// Fetches a bundle ahead of its turn. This is only a head start: DownloadBundle
    /// also works without it.
    fn fetch(&mut self, no: HostNo, id: TaskId, revision: &Revision, sources: &[HostId]) {
        let is_found = self.can_fetch(no, revision.digest, sources);
        if is_found {
            self.holders.entry(revision.digest).or_default().insert(no);
        }
        let result = TaskResult::Fetched(if is_found { Ok(()) } else { Err("no host has it".into()) });
        let boot = self.hosts[no.index()].boot;
        self.queue.push(self.now + TRANSFER_TAKES.1, Event::TaskEnds { host: no, boot, id, result });
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

    fn begin_event(&mut self, no: HostNo, id: TaskId, run: Run) {
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
        let takes = host.hooks.begin(no, id, run, &self.bundles, &mut self.chance.hooks);
        self.queue.push(self.now + takes, Event::HookEnds { host: no, boot, id });
    }

    pub(super) fn event_ends(&mut self, no: HostNo, id: TaskId) {
        let Some(under_way) = self.hosts[no.index()].hooks.under_way(id) else { return };
        let run = under_way.run.clone();
        if run.event == LifecycleEvent::DownloadBundle && under_way.outcome.is_ok() {
            let digest = run.revision.digest;
            if self.can_fetch(no, digest, &run.sources) {
                self.holders.entry(digest).or_default().insert(no);
            } else if self.wait_for_bundle(no, id) {
                return;
            } else {
                self.hosts[no.index()].hooks.starve(id);
            }
        }
        let Some(ended) = self.hosts[no.index()].hooks.end(id, self.now) else { return };
        self.checks.event_ends(no, &ended.run, &ended.outcome);
        self.task_ends(no, id, TaskResult::Event(ended.outcome));
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
    fn wait_for_bundle(&mut self, no: HostNo, id: TaskId) -> bool {
        let now = self.now;
        let pause = self.chance.hooks.duration(TRANSFER_TAKES.0, TRANSFER_TAKES.1) * 5;
        let host = &mut self.hosts[no.index()];
        let waits = host.hooks.waits_since(id, now);
        if now - waits >= DOWNLOAD_TIMEOUT {
            return false;
        }
        self.queue.push(now + pause, Event::HookEnds { host: no, boot: host.boot, id });
        true
    }

    fn cancel(&mut self, no: HostNo, id: TaskId) {
        let host = &mut self.hosts[no.index()];
        if host.hooks.cancel(id) {
            let event = Event::HookEnds { host: no, boot: host.boot, id };
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

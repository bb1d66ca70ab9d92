//! Probes simulated applications, from their own host or from another one.

use std::time::Duration;

use proto::health::Probe;
use proto::task::{ProbeTask, TaskId, TaskResult};

use super::{Event, World};
use crate::hooks::Found;
use crate::host::HostNo;

/// The range of the time that a probe takes if it gets an answer.
const LOOK_TAKES: (Duration, Duration) = (Duration::from_micros(200), Duration::from_millis(80));

impl World {
    pub(super) fn probe(&mut self, at: HostNo, id: TaskId, task: Box<ProbeTask>) {
        if task.subject == self.hosts[at.index()].id {
            self.checks.health.probes(at, &task.group, id);
        }
        let takes = self.chance.probes.duration(LOOK_TAKES.0, LOOK_TAKES.1);
        let result = match self.found(at, &task) {
            // Every other silence never returns a result, not even a timeout.
            Found::Silence if id.0.is_multiple_of(2) => return,
            Found::Silence => {
                let boot = self.hosts[at.index()].boot;
                let result = Err("no answer in time".into());
                let ends_at = self.now + task.timeout;
                return self.queue.push(ends_at, Event::Probed { host: at, boot, id, task, result });
            }
            Found::Well => Ok(()),
            Found::Unwell => Err("500 Internal Server Error".into()),
        };
        let boot = self.hosts[at.index()].boot;
        self.queue.push(self.now + takes, Event::Probed { host: at, boot, id, task, result });
    }

    fn found(&self, at: HostNo, task: &ProbeTask) -> Found {
        let Some(subject) = self.numbers.get(&task.subject).copied() else { return Found::Silence };
        let cannot_reach = self.network.is_blocked(at, subject) || self.network.is_blocked(subject, at);
        // An observer's probe must be addressed to the subject.
        let address = self.hosts[subject.index()].ip();
        let is_there = match &task.probe {
            Probe::Http(text) | Probe::Tcp(text) => text.contains(&address),
            Probe::Exec(_) => false,
        };
        if at != subject && (cannot_reach || !is_there || !self.hosts[subject.index()].is_up()) {
            return Found::Silence;
        }
        self.hosts[subject.index()].hooks.look(subject, &task.group, &self.bundles, self.now)
    }

    pub(super) fn probed(&mut self, host: HostNo, id: TaskId, task: &ProbeTask, result: Result<(), String>) {
        if task.subject == self.hosts[host.index()].id {
            self.checks.health.probed(host, &task.group, id, result.is_ok());
        }
        self.task_ends(host, id, TaskResult::Probed(result));
    }
}

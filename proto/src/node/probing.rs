//! The node's side of health checks: which checks this host makes now, what they
//! tell the ledger, and looks at other hosts' applications.

use std::collections::{BTreeMap, BTreeSet};

use super::Node;
use super::tasks::Purpose;
use crate::entry::{ErrorCode, Index};
use crate::health::monitor::{Aim, Wait};
use crate::health::monitors::{Ask, Monitors};
use crate::health::observing::{Observing, observers};
use crate::health::{ERROR_BYTES_MAX, HealthCheck, Viewpoint};
use crate::id::{DeploymentId, GroupName, HostId};
use crate::io::ProbeId;
use crate::rollout::Stage;
use crate::run::Current;
use crate::statement::{Statement, one_line};
use crate::task::{ProbeTask, Task};
use crate::time::Time;
use crate::wire::Message;

/// This host's monitors, and the looks that it makes for others.
#[derive(Clone, Debug, Default)]
pub(super) struct Health {
    monitors: Monitors,
    observing: Observing,
    /// The state and the waiting turns from which the monitors are derived.
    of: Option<(Index, BTreeSet<DeploymentId>)>,
}

impl Health {
    pub(super) fn next(&self) -> Option<Time> {
        self.monitors.next()
    }
}

impl Node {
    /// Begins the probes that are due, and ends the turns whose check has passed or
    /// failed. Returns true if a turn has ended.
    pub(super) fn work_health(&mut self, now: Time) -> bool {
        if self.own.leaving {
            self.health.monitors.set(&BTreeMap::new(), now);
            return false;
        }
        let of = Some((self.state.index(), self.turns.waiting()));
        if self.health.of != of {
            // Until the mesh knows this store, the turns belong to an earlier store
            // of the host.
            let wanted = if self.is_known() { self.checks() } else { BTreeMap::new() };
            self.health.monitors.set(&wanted, now);
            self.health.of = of;
            self.give_up_tasks(|node, purpose| match purpose {
                Purpose::Check(group) => !node.health.monitors.has(group),
                Purpose::Turn(_)
                | Purpose::Fetch(_)
                | Purpose::Alarm(_)
                | Purpose::Notification(_)
                | Purpose::Observation { .. } => false,
            });
        }
        self.begin_probes(now);
        self.end_waits(now)
    }

    /// Returns the checks of this host's applications, each with its purpose.
    fn checks(&self) -> BTreeMap<GroupName, (HealthCheck, Aim)> {
        let me = self.config.host;
        let mut checks = BTreeMap::new();
        for (name, group) in self.state.groups() {
            let Some(check) = &group.group.health else { continue };
            let in_turn = group.under_way().into_iter().find(|deployment| {
                let rollout = self.state.rollout(*deployment);
                let member = rollout.and_then(|rollout| rollout.members().get(&me));
                member.is_some_and(|member| matches!(member.stage, Stage::Started { .. }))
            });
            let aim = match in_turn {
                // An application that is being replaced is not checked. The end of
                // the turn says how that went.
                Some(deployment) if self.is_waiting(deployment) => Aim::Turn(deployment),
                Some(_) => continue,
                None => Aim::Watch,
            };
            let is_member = group.group.tags.matches(&self.config.tags);
            let standing = group.standing.get(&me);
            let has_something = standing.is_some_and(|standing| standing.revision.is_some());
            if aim != Aim::Watch || (is_member && has_something) {
                checks.insert(name.clone(), (check.clone(), aim));
            }
        }
        checks
    }

    fn is_waiting(&self, deployment: DeploymentId) -> bool {
        self.turns.waiting().contains(&deployment)
    }

    fn begin_probes(&mut self, now: Time) {
        if self.health.next().is_none_or(|at| at > now) {
            return;
        }
        let (me, up) = (self.config.host, self.mesh.neighbours());
        let state = &self.state;
        let is_up = |host: &HostId| state.host(*host).is_some_and(|host| host.down.is_none());
        let up: Vec<HostId> = up.into_iter().filter(is_up).collect();
        let asks = self.health.monitors.begin(now, |group| observers(me, group, up.iter().copied()));
        for Ask { id, group, probe, timeout, observers } in asks {
            for to in observers {
                self.send(to, &Message::Look { group: group.clone(), number: id });
            }
            let task = Box::new(ProbeTask { group: group.clone(), subject: me, probe, timeout });
            self.start_task(Purpose::Check(group), Task::Probe(task));
        }
    }

    fn end_waits(&mut self, now: Time) -> bool {
        let mut ended = false;
        for (deployment, wait) in self.health.monitors.waits(now) {
            let current = Current::of(&self.state, deployment, self.config.host);
            let is_stopped = current.is_some_and(|current| current.is_stopped);
            let result = match wait {
                Wait::Passed => Ok(()),
                Wait::Failed(message) => Err((ErrorCode::HealthCheckFailed, message)),
                Wait::Goes if is_stopped => {
                    let so_far = self.health.monitors.so_far(deployment).unwrap_or_default();
                    let message =
                        format!("the deployment was stopped before the health check had passed: {so_far}");
                    Err((ErrorCode::Stopped, message))
                }
                Wait::Goes => continue,
            };
            if let Some(act) = self.turns.waited(deployment, result) {
                self.act(vec![act], now);
                ended = true;
            }
        }
        ended
    }

    /// Returns what this host must tell the ledger about its applications.
    pub(super) fn health_words(&mut self, now: Time) -> Vec<Statement> {
        if self.own.leaving {
            return Vec::new();
        }
        let (me, index, clock) = (self.config.host, self.state.index(), self.ledger_now(now));
        let state = &self.state;
        let known = |group: &GroupName| state.group(group).map(|_| state.checks().known(group, me, clock));
        self.health.monitors.words(me, index, known)
    }

    /// Takes the result of a probe of this host's own application.
    pub(super) fn on_check_probed(&mut self, group: &GroupName, result: Result<(), String>, now: Time) {
        self.health.monitors.answered(group, result, now);
    }

    /// Sends the result of a probe to the host that asked for it.
    pub(super) fn on_observed(&mut self, subject: HostId, group: &GroupName, result: Result<(), String>) {
        if let Some(number) = self.health.observing.end(subject, group) {
            let error = result.err().map(|error| one_line(&error, ERROR_BYTES_MAX));
            self.send(subject, &Message::Seen { group: group.clone(), number, error });
        }
    }

    /// Begins a look at another host's application, because that host asked for it.
    pub(super) fn on_look(&mut self, from: HostId, group: &GroupName, number: ProbeId, now: Time) {
        let Some((check, subject)) = self.look_at(from, group) else { return };
        let Some(probe) = check.probe.seen_from_afar(&subject) else { return };
        let (timeout, due) = (check.timeout, now + check.answers_within());
        if self.health.observing.begin(from, group, number, due, now) {
            self.give_up_tasks(|node, purpose| match purpose {
                Purpose::Observation { subject, group } => !node.health.observing.has(*subject, group),
                Purpose::Turn(_)
                | Purpose::Fetch(_)
                | Purpose::Alarm(_)
                | Purpose::Notification(_)
                | Purpose::Check(_) => false,
            });
            let task = Box::new(ProbeTask { group: group.clone(), subject: from, probe, timeout });
            self.start_task(Purpose::Observation { subject: from, group: group.clone() }, Task::Probe(task));
        }
    }

    /// Returns the check and the host's addresses, if the host may ask for a look.
    fn look_at(&self, host: HostId, name: &GroupName) -> Option<(HealthCheck, Vec<String>)> {
        let group = self.state.group(name)?;
        let check = group.group.health.as_ref().filter(|check| check.from == Viewpoint::Observers)?;
        let record = &self.state.host(host)?.record;
        group.group.tags.matches(&record.tags).then(|| (check.clone(), record.addresses.clone()))
    }

    pub(super) fn on_seen(
        &mut self,
        from: HostId,
        group: &GroupName,
        number: ProbeId,
        error: Option<String>,
        now: Time,
    ) {
        let result = error.map_or(Ok(()), |error| Err(one_line(&error, ERROR_BYTES_MAX)));
        self.health.monitors.observed(group, number, from, result, now);
    }
}

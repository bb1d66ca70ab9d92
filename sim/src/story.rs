//! The story of a run, as a person would tell it: who asked for what, whose
//! turn it was, what failed, and how it ended.
//!
//! Hosts are called h1, h2 and so on, and deployments d1, d2 and so on in the
//! order of their submission, so that a story does not depend on random ids.

use std::collections::{BTreeMap, BTreeSet};

use proto::deployment_kind::DeploymentKind;
use proto::entry::{Entry, Failure, Submission, TurnOutcome};
use proto::id::{DeploymentId, Digest, HostId};
use proto::io::{Reply, Request};
use proto::node::Node;
use proto::recovery::SignedRecovery;
use proto::statement::{Finding, Intent, Report, Statement};
use proto::task::Run;
use proto::trigger::TriggerEvent;

use crate::check::Checks;
use crate::clock::Moment;
use crate::host::HostNo;
use crate::model::{Due, Model};

#[derive(Debug, Default)]
pub struct Story {
    lines: Vec<(Moment, String)>,
    hosts: BTreeMap<HostId, HostNo>,
    bundles: BTreeMap<Digest, String>,
    deployments: BTreeMap<DeploymentId, usize>,
    /// The number of deployments that were submitted before the story began;
    /// they are called p1, p2 and so on.
    earlier: usize,
    /// The time at which the story began; `None` if the run is told from its first
    /// moment.
    zero: Option<Moment>,
    /// Lines that the story already holds. An entry may be in the ledger twice.
    said: BTreeSet<String>,
    /// The hosts that the story has reported as Down.
    down: BTreeSet<HostId>,
    /// True if the story has a line for each lifecycle event.
    tells_events: bool,
}

impl Story {
    pub fn know(&mut self, id: HostId, no: HostNo) {
        self.hosts.insert(id, no);
    }

    pub fn know_bundle(&mut self, digest: Digest, name: &str) {
        self.bundles.insert(digest, name.into());
    }

    pub fn know_deployment(&mut self, submission: &Submission) {
        let next = self.deployments.len() + 1;
        self.deployments.entry(submission.deployment).or_insert(next);
    }

    pub fn tell_events(&mut self) {
        self.tells_events = true;
    }

    pub fn lines(&self) -> &[(Moment, String)] {
        &self.lines
    }

    pub fn tell(&mut self, now: Moment, line: String) {
        self.lines.push((now, line));
    }

    /// Discards the lines so far, and begins the story now.
    pub fn begin_anew(&mut self, now: Moment) {
        self.zero = Some(now);
        self.lines.clear();
        self.said.clear();
        self.earlier = self.deployments.len();
    }

    /// Returns the name of a deployment in the story, such as d1.
    pub fn deployment(&self, id: DeploymentId) -> String {
        match self.deployments.get(&id) {
            Some(number) if *number <= self.earlier => format!("p{number}"),
            Some(number) => format!("d{}", number - self.earlier),
            None => id.to_string(),
        }
    }

    pub fn deployment_called(&self, name: &str) -> Option<DeploymentId> {
        let number = self.earlier + name.strip_prefix('d')?.parse::<usize>().ok()?;
        self.deployments.iter().find(|(_, known)| **known == number).map(|(id, _)| *id)
    }

    /// Returns true if the deployment was submitted before the story began.
    pub fn is_earlier(&self, id: DeploymentId) -> bool {
        self.deployments.get(&id).is_some_and(|number| *number <= self.earlier)
    }

    /// Returns the deployments of the story, in the order of their submission.
    pub fn told(&self) -> Vec<DeploymentId> {
        let mut told: Vec<(usize, DeploymentId)> =
            self.deployments.iter().map(|(id, number)| (*number, *id)).collect();
        told.retain(|(number, _)| *number > self.earlier);
        told.sort_unstable();
        told.into_iter().map(|(_, id)| id).collect()
    }

    pub fn bundle(&self, digest: &Digest) -> &str {
        self.bundles.get(digest).map_or("?", String::as_str)
    }

    fn host(&self, id: HostId) -> String {
        self.hosts.get(&id).map_or_else(|| id.short(), HostNo::to_string)
    }

    pub fn event_begins(&mut self, now: Moment, host: HostNo, run: &Run) {
        if self.tells_events {
            let line = format!("{host} runs {} of {}", run.event, self.deployment(run.deployment));
            self.tell(now, line);
        }
    }

    /// Says what an intent asks for.
    fn intended(&self, intent: &Intent) -> String {
        match intent {
            Intent::SetGroup(group) => format!("set group {}", group.name),
            Intent::DeleteGroup(name) => format!("delete group {name}"),
            Intent::Deploy(submission) => {
                format!("deploy {} to {}", self.bundle(&submission.revision.digest), submission.group)
            }
            Intent::Stop { deployment, rollback, now, by: _ } => {
                let back = if *rollback { " and roll back" } else { "" };
                let now = if *now { " now" } else { "" };
                format!("stop {}{now}{back}", self.deployment(*deployment))
            }
            Intent::RemoveHost(host) => format!("remove {}", self.host(*host)),
            Intent::SetConfig(config) => format!("set configuration {}", config.name),
            Intent::DeleteConfig(name) => format!("delete configuration {name}"),
            Intent::SetAlarm { group, alarm, active, .. } => {
                format!("{} alarm {alarm} of {group}", if *active { "set" } else { "clear" })
            }
            Intent::Freeze { group, .. } => format!("freeze {group}"),
            Intent::Unfreeze(group) => format!("unfreeze {group}"),
            Intent::Recover(signed) => self.recovers(signed),
        }
    }

    fn recovers(&self, signed: &SignedRecovery) -> String {
        let mut gone: Vec<String> = signed.recovery().gone.iter().map(|host| self.host(*host)).collect();
        gone.sort();
        format!("recover the mesh, without {}", gone.join(", "))
    }

    pub fn asked(&mut self, now: Moment, host: HostNo, request: &Request) {
        let what = match request {
            Request::Intent(intent) => self.intended(intent),
            Request::Deploy(deploy) => {
                let queue = if deploy.queue { ", waiting its turn" } else { "" };
                format!("deploy {} to {}{queue}", self.bundle(&deploy.revision.digest), deploy.group)
            }
            Request::Rollback { group, to: None, .. } => format!("roll {group} back"),
            Request::Rollback { group, to: Some(digest), .. } => {
                format!("roll {group} back to {}", self.bundle(digest))
            }
            Request::Freeze { group, .. } => format!("freeze {group}"),
            Request::Recover(signed) => self.recovers(signed),
        };
        self.tell(now, format!("{host} is asked to {what}"));
    }

    pub fn replied(&mut self, now: Moment, host: HostNo, reply: &Reply) {
        if let Err(refusal) = reply {
            let line = format!("{host} refuses: {}", self.named(refusal.to_string()));
            self.tell(now, line);
        }
    }

    /// Describes a happening as a receiver hears it, in the words that a scenario
    /// expects.
    pub fn happening(&self, event: TriggerEvent, deployment: DeploymentId, host: Option<HostId>) -> String {
        let on = host.map(|host| format!(" on {}", self.host(host))).unwrap_or_default();
        format!("{} of {}{on}", event.name(), self.deployment(deployment))
    }

    /// Replaces random ids and digests in `words` by the names of the story.
    pub fn named(&self, mut words: String) -> String {
        for id in self.deployments.keys() {
            words = words.replace(&id.to_string(), &self.deployment(*id));
        }
        for (id, no) in &self.hosts {
            words = words.replace(&id.to_string(), &no.to_string()).replace(&no.name(), &no.to_string());
        }
        for (digest, name) in &self.bundles {
            words = words.replace(&digest.to_string(), name).replace(&digest.short(), name);
        }
        match self.zero {
            Some(zero) => with_story_times(&words, zero),
            None => words,
        }
    }

    /// Adds what a node has folded after an input, if no other node folded it
    /// before.
    pub(crate) fn folded(&mut self, host: HostNo, node: &Node, checks: &mut Checks, now: Moment) {
        let fresh = checks.folded(host, node, now);
        for due in checks.model.take_came_due() {
            self.came_due(now, due);
        }
        for entry in fresh {
            if let Some(submission) = entry.statement.submission() {
                self.know_deployment(submission);
            }
            self.entry(now, &entry, &checks.model);
        }
    }

    /// Adds a line for something that came due by the ledger's clock alone.
    pub fn came_due(&mut self, now: Moment, due: Due) {
        let line = match due {
            Due::DidNotStart(deployment, host) => {
                format!("{}: {} has not started in time", self.deployment(deployment), self.host(host))
            }
            Due::Lost(deployment, host) => {
                format!("{}: {} has been Down for too long", self.deployment(deployment), self.host(host))
            }
            Due::TurnTooLong(deployment, host) => {
                format!("{}: {}'s turn takes too long", self.deployment(deployment), self.host(host))
            }
            Due::DeploymentTooLong(deployment) => {
                format!("{} takes too long", self.deployment(deployment))
            }
            Due::Thaw => "a freeze is over".into(),
            Due::Forget(host) => format!("{} is Down for good: it is out of the mesh", self.host(host)),
            Due::BakeOver(deployment) => format!("{}: the bake is over", self.deployment(deployment)),
            Due::Relapsed(deployment, host) => {
                format!("{}: {} has been unwell for too long", self.deployment(deployment), self.host(host))
            }
        };
        self.tell(now, line);
    }

    /// Adds a line for a committed entry, when the first host folds it.
    pub fn entry(&mut self, now: Moment, entry: &Entry, model: &Model) {
        let line = match &entry.statement {
            Statement::Finding(Finding::Tick) => return,
            Statement::Finding(Finding::MeshVersion(version)) => {
                self.tell(now, format!("the mesh moves to version {version}"));
                return;
            }
            Statement::Report(Report::HostJoined(record)) => {
                self.down.remove(&record.host);
                format!("{} joins", self.host(record.host))
            }
            Statement::Intent(Intent::RemoveHost(host)) => {
                format!("{} is out of the mesh", self.host(*host))
            }
            Statement::Report(Report::HostDown { host, .. } | Report::HostUp { host, .. }) => {
                self.seen(now, *host, model);
                return;
            }
            Statement::Report(Report::HealthChanged { group, host, healthy, error, .. }) => {
                let line = match healthy {
                    true => format!("{} is well again in {group}", self.host(*host)),
                    false => format!("{} is unwell in {group}: {error}", self.host(*host)),
                };
                self.tell(now, line);
                return;
            }
            Statement::Intent(Intent::SetGroup(group)) => {
                self.tell(now, format!("group {} is set", group.name));
                return;
            }
            Statement::Intent(Intent::DeleteGroup(name)) => {
                self.tell(now, format!("group {name} is deleted"));
                return;
            }
            Statement::Intent(Intent::SetConfig(config)) => {
                self.tell(now, format!("configuration {} is set", config.name));
                return;
            }
            Statement::Intent(Intent::DeleteConfig(name)) => {
                self.tell(now, format!("configuration {name} is deleted"));
                return;
            }
            Statement::Intent(Intent::Deploy(submission))
            | Statement::Finding(Finding::Spelled(submission)) => {
                match model.deployment(submission.deployment) {
                    Some(_) => self.submitted(submission),
                    None => return,
                }
            }
            Statement::Report(Report::TurnStarted { deployment, host }) => {
                let turn = model.deployment(*deployment).and_then(|deployment| deployment.turn(*host));
                match turn {
                    Some(turn) if turn.was_started => {
                        format!("{}: {} begins its turn", self.deployment(*deployment), self.host(*host))
                    }
                    Some(_) | None => return,
                }
            }
            Statement::Report(Report::TurnDeferred { deployment, host, suspects }) => {
                let suspects: Vec<String> = suspects.iter().map(|host| self.host(*host)).collect();
                let (deployment, suspects) = (self.deployment(*deployment), suspects.join(", "));
                format!(
                    "{deployment}: {} waits with its start, as these are suspect: {suspects}",
                    self.host(*host)
                )
            }
            Statement::Report(Report::RoomReported { deployment, host, shortage }) => {
                let (deployment, host) = (self.deployment(*deployment), self.host(*host));
                match shortage {
                    Some(shortage) => format!("{deployment}: disk full on {host}: {shortage}"),
                    None => format!("{deployment}: {host} has room for its turn"),
                }
            }
            Statement::Report(Report::TurnBegunAnew { deployment, host, event, attempt: _ }) => {
                let deployment = self.deployment(*deployment);
                format!("{deployment}: {} begins its turn anew, interrupted in {event}", self.host(*host))
            }
            Statement::Report(Report::TurnEnded { deployment, host, outcome }) => {
                let how = match outcome {
                    TurnOutcome::Succeeded => "succeeded".into(),
                    TurnOutcome::Failed(failure) => format!("failed{}", because(failure)),
                };
                format!("{}: {} has ended its turn: {how}", self.deployment(*deployment), self.host(*host))
            }
            Statement::Intent(Intent::Stop { deployment, .. }) => {
                format!("{} is to stop", self.deployment(*deployment))
            }
            Statement::Finding(Finding::Finished { deployment }) => match model.deployment(*deployment) {
                Some(over) if over.status.is_over() => {
                    format!("{} is over: {}", self.deployment(*deployment), over.status.name())
                }
                Some(_) | None => return,
            },
            Statement::Report(Report::AlarmRead { group, alarm, state, .. }) => {
                self.tell(now, format!("alarm {alarm} of {group} is {}", state.name()));
                return;
            }
            Statement::Intent(Intent::SetAlarm { group, alarm, active, .. }) => {
                let how = if *active { "set" } else { "cleared" };
                self.tell(now, format!("alarm {alarm} of {group} is {how}"));
                return;
            }
            Statement::Report(Report::TriggersDelivered { trigger, given_up, .. }) => {
                for it in given_up {
                    let event = it.event.name();
                    let what =
                        format!("{event} of {} is given up: {}", self.deployment(it.deployment), it.why);
                    self.tell(now, format!("{trigger}: {what}"));
                }
                return;
            }
            Statement::Intent(Intent::Freeze { group, .. }) => {
                self.tell(now, format!("group {group} is frozen"));
                return;
            }
            Statement::Intent(Intent::Recover(signed)) => {
                let from = self.host(signed.recovery().host);
                self.tell(now, format!("the mesh goes on from {from}: epoch {}", signed.recovery().epoch));
                return;
            }
            Statement::Intent(Intent::Unfreeze(group)) => {
                self.tell(now, format!("group {group} is no longer frozen"));
                return;
            }
        };
        if self.said.insert(line.clone()) {
            self.tell(now, line);
        }
    }

    /// Adds a line if the host's state changed. Not every report that a host is
    /// down or up changes it.
    fn seen(&mut self, now: Moment, host: HostId, model: &Model) {
        let is_down = model.hosts().get(&host).is_some_and(|host| host.down);
        let is_news = if is_down { self.down.insert(host) } else { self.down.remove(&host) };
        if is_news {
            let how = if is_down { "Down" } else { "up again" };
            self.tell(now, format!("{} counts as {how}", self.host(host)));
        }
    }

    fn submitted(&self, submission: &Submission) -> String {
        let name = self.deployment(submission.deployment);
        let to = format!("{} to {}", self.bundle(&submission.revision.digest), submission.group);
        let minimum = submission.policy.minimum;
        match submission.kind() {
            DeploymentKind::Rollback => match submission.rollback_of {
                Some(undone) => format!("{name}: {to}, to roll back {}", self.deployment(undone)),
                None => format!("{name}: {to}, {minimum}"),
            },
            DeploymentKind::CatchUp => format!("{name}: {to}, for hosts that are behind"),
            DeploymentKind::InPlace | DeploymentKind::Restart | DeploymentKind::ManualRollback => {
                format!("{name}: {to}, {minimum}")
            }
        }
    }
}

/// Replaces the ledger's times in `words` by times since the story began.
fn with_story_times(words: &str, zero: Moment) -> String {
    const AS_WRITTEN: usize = "2023-11-14T22:13:20Z".len();
    let (mut told, mut rest) = (String::new(), words);
    while let Some(next) = rest.chars().next() {
        let written = rest.get(..AS_WRITTEN).and_then(Moment::shown_as);
        let taken = match written {
            Some(at) => {
                told.push_str(&at.since(zero));
                AS_WRITTEN
            }
            None => {
                told.push(next);
                next.len_utf8()
            }
        };
        rest = &rest[taken..];
    }
    told
}

fn because(failure: &Failure) -> String {
    match failure.event {
        Some(event) => format!(" in {event} ({})", failure.code),
        None => format!(" ({})", failure.code),
    }
}

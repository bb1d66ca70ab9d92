//! Simulated lifecycle events: how long they take, which of them fail, hang or
//! lie, and what each host really runs.
//!
//! An event that is under way when its host goes down is lost: no host learns how
//! it ended.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use proto::entry::{ErrorCode, Failure};
use proto::id::{Digest, GroupName};
use proto::lifecycle::{LifecycleEvent, Scripts};
use proto::revision::Revision;
use proto::task::{Run, TaskId};

use crate::chance::Chance;
use crate::clock::Moment;
use crate::host::HostNo;

/// A simulated bundle: it has no files, only the behaviour of its scripts.
#[derive(Clone, Debug)]
pub struct Bundle {
    /// The name in scenarios and stories.
    pub name: String,
    pub revision: Revision,
    pub faults: Vec<HookFault>,
    /// The least and the most time that one event takes.
    pub takes: (Duration, Duration),
    /// The fault of the application once it runs, if any.
    pub sickness: Option<Sickness>,
}

/// The fault of an application that starts well and later is not well.
#[derive(Clone, Debug)]
pub struct Sickness {
    /// The hosts on which it happens; None means all hosts.
    pub hosts: Option<BTreeSet<HostNo>>,
    /// The time for which the application is well after its start.
    pub after: Duration,
    /// The time for which the application is unwell, then well, and so on; `None`
    /// if it does not flap.
    pub flaps: Option<Duration>,
    /// True if a probe of the unwell application never ends, instead of being
    /// refused.
    pub is_silent: bool,
}

/// The result of a probe of an application.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found {
    Well,
    Unwell,
    Silence,
}

/// A fault of one script.
#[derive(Clone, Debug)]
pub struct HookFault {
    pub event: LifecycleEvent,
    /// The hosts on which it happens; None means all hosts.
    pub hosts: Option<BTreeSet<HostNo>>,
    pub how: How,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum How {
    /// The script ends with an exit code other than 0.
    Fails,
    /// The script ends only when its timeout kills it.
    Hangs,
    /// The script reports success, but ValidateService then finds that it
    /// failed.
    Lies,
}

/// The longest time that a script may take before the agent kills it.
pub const SCRIPT_TIMEOUT: Duration = Duration::from_secs(20);

/// The time for which DownloadBundle looks for a host that has the bundle.
pub const DOWNLOAD_TIMEOUT: Duration = Duration::from_secs(30);

/// The time that a script takes to end after it is cancelled, unless a plan says otherwise.
pub const CANCEL_TAKES: Duration = Duration::from_millis(100);

impl Bundle {
    pub fn new(name: &str, takes: (Duration, Duration)) -> Self {
        let digest = Digest::of(name.as_bytes());
        let revision = Revision { digest, size: 10_000, origin: format!("./{name}") };
        Bundle { name: name.into(), revision, faults: Vec::new(), takes, sickness: None }
    }

    fn fault(&self, event: LifecycleEvent, host: HostNo) -> Option<How> {
        let is_it = |fault: &&HookFault| {
            fault.event == event && fault.hosts.as_ref().is_none_or(|hosts| hosts.contains(&host))
        };
        self.faults.iter().find(is_it).map(|fault| fault.how)
    }

    fn lies(&self, host: HostNo) -> bool {
        self.faults.iter().any(|fault| {
            fault.how == How::Lies && fault.hosts.as_ref().is_none_or(|hosts| hosts.contains(&host))
        })
    }
}

impl Sickness {
    fn found(&self, host: HostNo, runs_for: Duration) -> Found {
        if self.hosts.as_ref().is_some_and(|hosts| !hosts.contains(&host)) || runs_for < self.after {
            return Found::Well;
        }
        let since = runs_for - self.after;
        let is_well_again =
            self.flaps.is_some_and(|each| since.as_micros() / each.as_micros().max(1) % 2 == 1);
        match (is_well_again, self.is_silent) {
            (true, _) => Found::Well,
            (false, true) => Found::Silence,
            (false, false) => Found::Unwell,
        }
    }
}

/// A lifecycle event that is under way.
#[derive(Clone, Debug)]
pub struct UnderWay {
    pub run: Run,
    pub outcome: Result<(), Failure>,
    /// The time since which it has looked for its bundle without success.
    waits_since: Option<Moment>,
}

/// The events that run on one host, and the revisions that are installed there.
#[derive(Clone, Debug, Default)]
pub struct Hooks {
    under_way: BTreeMap<TaskId, UnderWay>,
    installed: BTreeMap<GroupName, Digest>,
    /// The time at which ApplicationStart ended last. The entry is removed once
    /// ApplicationStop begins.
    started: BTreeMap<GroupName, Moment>,
}

impl Hooks {
    /// Begins an event. Returns the time that it will take.
    pub fn begin(
        &mut self,
        host: HostNo,
        id: TaskId,
        run: Run,
        bundles: &BTreeMap<Digest, Bundle>,
        chance: &mut Chance,
    ) -> Duration {
        if run.event == LifecycleEvent::ApplicationStop {
            self.started.remove(&run.group);
        }
        let digest = match run.event.step().scripts {
            Scripts::BuiltIn | Scripts::New => Some(run.revision.digest),
            Scripts::LastInstalled | Scripts::MostRecent => self.installed.get(&run.group).copied(),
        };
        // A host on which nothing was installed has no script to stop it.
        let bundle = digest.map(|digest| &bundles[&digest]);
        let takes =
            bundle.map_or(Duration::from_millis(1), |bundle| chance.duration(bundle.takes.0, bundle.takes.1));
        let fault = bundle.and_then(|bundle| bundle.fault(run.event, host));
        let is_found_out =
            run.event == LifecycleEvent::ValidateService && bundle.is_some_and(|bundle| bundle.lies(host));
        let (takes, outcome) = match fault {
            Some(How::Fails) => (takes, Err(ErrorCode::ScriptFailed)),
            Some(How::Hangs) => (SCRIPT_TIMEOUT, Err(ErrorCode::ScriptTimedOut)),
            None | Some(How::Lies) if is_found_out => (takes, Err(ErrorCode::ScriptFailed)),
            None | Some(How::Lies) => (takes, Ok(())),
        };
        let outcome = outcome.map_err(|code| failure(run.event, code));
        self.under_way.insert(id, UnderWay { run, outcome, waits_since: None });
        takes
    }

    /// Ends an event. Returns None if it was cancelled and has already ended.
    pub fn end(&mut self, id: TaskId, now: Moment) -> Option<UnderWay> {
        let ended = self.under_way.remove(&id)?;
        if ended.run.event == LifecycleEvent::Install && ended.outcome.is_ok() {
            self.installed.insert(ended.run.group.clone(), ended.run.revision.digest);
        }
        if ended.run.event == LifecycleEvent::ApplicationStart && ended.outcome.is_ok() {
            self.started.insert(ended.run.group.clone(), now);
        }
        Some(ended)
    }

    /// Returns what a probe of the group's application on this host finds now.
    pub fn look(
        &self,
        host: HostNo,
        group: &GroupName,
        bundles: &BTreeMap<Digest, Bundle>,
        now: Moment,
    ) -> Found {
        let (Some(digest), Some(started)) = (self.installed.get(group), self.started.get(group)) else {
            return Found::Unwell;
        };
        let sickness = bundles.get(digest).and_then(|bundle| bundle.sickness.as_ref());
        sickness.map_or(Found::Well, |sickness| sickness.found(host, now - *started))
    }

    /// Makes an event that is under way end as cancelled. Returns false if it
    /// is not under way.
    pub fn cancel(&mut self, id: TaskId) -> bool {
        let Some(under_way) = self.under_way.get_mut(&id) else { return false };
        under_way.outcome = Err(failure(under_way.run.event, ErrorCode::Stopped));
        true
    }

    /// Makes an event that is under way fail because no host has its bundle.
    pub fn starve(&mut self, id: TaskId) {
        if let Some(under_way) = self.under_way.get_mut(&id) {
            under_way.outcome = Err(failure(under_way.run.event, ErrorCode::UnknownError));
        }
    }

    /// Returns the time since which an event has waited for its bundle, which
    /// is now if it did not wait yet.
    pub fn waits_since(&mut self, id: TaskId, now: Moment) -> Moment {
        let under_way = self.under_way.get_mut(&id);
        under_way.map_or(now, |under_way| *under_way.waits_since.get_or_insert(now))
    }

    pub fn under_way(&self, id: TaskId) -> Option<&UnderWay> {
        self.under_way.get(&id)
    }

    pub fn running(&self) -> impl Iterator<Item = &Run> {
        self.under_way.values().map(|under_way| &under_way.run)
    }

    /// Drops everything that ran, because the host goes down.
    pub fn crash(&mut self) {
        self.under_way.clear();
    }
}

fn failure(event: LifecycleEvent, code: ErrorCode) -> Failure {
    Failure {
        event: Some(event),
        code,
        script: format!("scripts/{event}.sh"),
        message: format!("{event} ended as {code}"),
        log: String::new(),
    }
}

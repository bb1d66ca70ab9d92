//! Pretend lifecycle events: how long they take, which fail, hang or lie, and
//! what was truly run on each host.
//!
//! An event that is under way when its host goes down is gone: nobody will be
//! told how it ended.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use proto::entry::{ErrorCode, Failure};
use proto::id::{Digest, GroupName};
use proto::io::{EffectId, Run};
use proto::lifecycle::{LifecycleEvent, Scripts};
use proto::revision::Revision;

use crate::chance::Chance;
use crate::clock::Moment;
use crate::host::HostNo;

/// A bundle that was never written: its scripts are these.
#[derive(Clone, Debug)]
pub struct Bundle {
    /// What people call it.
    pub name: String,
    pub revision: Revision,
    pub faults: Vec<HookFault>,
    /// How long each event takes.
    pub takes: (Duration, Duration),
}

/// What one script does instead of its work.
#[derive(Clone, Debug)]
pub struct HookFault {
    pub event: LifecycleEvent,
    /// On which hosts; none means on all.
    pub hosts: Option<BTreeSet<HostNo>>,
    pub how: How,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum How {
    /// Ends with another exit code than 0.
    Fails,
    /// Ends only when its timeout kills it.
    Hangs,
    /// Says it went well; ValidateService then finds that it did not.
    Lies,
}

/// How long a script may take before the agent kills it.
pub const SCRIPT_TIMEOUT: Duration = Duration::from_secs(20);

/// How long DownloadBundle looks for somebody who has the bundle.
pub const DOWNLOAD_TIMEOUT: Duration = Duration::from_secs(30);

/// How long a cancelled script takes to end.
pub const CANCEL_TAKES: Duration = Duration::from_millis(100);

impl Bundle {
    pub fn new(name: &str, takes: (Duration, Duration)) -> Self {
        let digest = Digest::of(name.as_bytes());
        let revision = Revision { digest, size: 10_000, origin: format!("./{name}") };
        Bundle { name: name.into(), revision, faults: Vec::new(), takes }
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

/// One event under way.
#[derive(Clone, Debug)]
pub struct UnderWay {
    pub run: Run,
    pub outcome: Result<(), Failure>,
    /// Since when it has looked for its bundle in vain.
    waits_since: Option<Moment>,
}

/// What runs on one host, and what is installed there.
#[derive(Clone, Debug, Default)]
pub struct Hooks {
    under_way: BTreeMap<EffectId, UnderWay>,
    installed: BTreeMap<GroupName, Digest>,
}

impl Hooks {
    /// Begins an event. Returns how long it will take.
    pub fn begin(
        &mut self,
        host: HostNo,
        effect: EffectId,
        run: Run,
        bundles: &BTreeMap<Digest, Bundle>,
        chance: &mut Chance,
    ) -> Duration {
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
        self.under_way.insert(effect, UnderWay { run, outcome, waits_since: None });
        takes
    }

    /// An event ends. None if it was cancelled and has ended already.
    pub fn end(&mut self, effect: EffectId) -> Option<UnderWay> {
        let ended = self.under_way.remove(&effect)?;
        if ended.run.event == LifecycleEvent::Install && ended.outcome.is_ok() {
            self.installed.insert(ended.run.group.clone(), ended.run.revision.digest);
        }
        Some(ended)
    }

    /// Makes an event that is under way end as cancelled.
    pub fn cancel(&mut self, effect: EffectId) -> bool {
        let Some(under_way) = self.under_way.get_mut(&effect) else { return false };
        under_way.outcome = Err(failure(under_way.run.event, ErrorCode::Stopped));
        true
    }

    /// Makes an event that is under way end as failed, for want of its bundle.
    pub fn starve(&mut self, effect: EffectId) {
        if let Some(under_way) = self.under_way.get_mut(&effect) {
            under_way.outcome = Err(failure(under_way.run.event, ErrorCode::UnknownError));
        }
    }

    /// Since when an event has waited for its bundle; from now on, if not yet.
    pub fn waits_since(&mut self, effect: EffectId, now: Moment) -> Moment {
        let under_way = self.under_way.get_mut(&effect);
        under_way.map_or(now, |under_way| *under_way.waits_since.get_or_insert(now))
    }

    pub fn under_way(&self, effect: EffectId) -> Option<&UnderWay> {
        self.under_way.get(&effect)
    }

    pub fn running(&self) -> impl Iterator<Item = &Run> {
        self.under_way.values().map(|under_way| &under_way.run)
    }

    /// The host goes down, and all that ran on it.
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

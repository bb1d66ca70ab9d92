//! Carries out the tasks that the node asks of this host. Nothing here decides when a task is due
//! or what follows from its result: `proto` does.

#[cfg(test)]
pub(crate) mod double;

use std::sync::Arc;

use proto::alarm::{AlarmState, Reading};
use proto::entry::{ErrorCode, Failure};
use proto::id::HostId;
use proto::revision::Revision;
use proto::task::{ProbeTask, Task, TaskResult};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use crate::bundle::fetcher::Fetcher;
use crate::host_side::HostSide;
use crate::telemetry::chain;
use crate::{alarm, probe, trigger};

/// Bundles that are fetched ahead of their turns at the same time.
const FETCHES_MAX: usize = 2;
/// Fetches that may wait for one of these. Beyond that, a bundle is fetched in its turn.
const FETCHES_WAITING_MAX: usize = 64;
/// Probes that run at the same time. Others wait, and count as failed if they wait too long.
const PROBES_MAX: usize = 64;

/// Carries out tasks: an agent's host, or a double in tests. Cheap to clone.
#[derive(Clone)]
pub(crate) enum Host {
    Real(Arc<HostWork>),
    #[cfg(test)]
    Double(Arc<double::Hands>),
}

impl Host {
    /// Carries out a task. Returns soon after `cancel`, with whatever result.
    pub(crate) async fn run(&self, task: Task, cancel: CancellationToken) -> TaskResult {
        match self {
            Host::Real(work) => work.run(task, cancel).await,
            #[cfg(test)]
            Host::Double(hands) => hands.run(task, cancel).await,
        }
    }
}

/// The parts of the agent that work on this host.
pub(crate) struct HostWork {
    host_side: Arc<HostSide>,
    fetcher: Fetcher,
    http: reqwest::Client,
    fetches: Semaphore,
    fetches_waiting: Semaphore,
    probes: Semaphore,
}

impl HostWork {
    /// # Errors
    /// If no HTTP client can be made.
    pub(crate) fn new(host_side: Arc<HostSide>, fetcher: Fetcher) -> Result<Self, reqwest::Error> {
        let http = http_client()?;
        Ok(HostWork {
            host_side,
            fetcher,
            http,
            fetches: Semaphore::new(FETCHES_MAX),
            fetches_waiting: Semaphore::new(FETCHES_WAITING_MAX),
            probes: Semaphore::new(PROBES_MAX),
        })
    }

    async fn run(&self, task: Task, cancel: CancellationToken) -> TaskResult {
        match task {
            // Ends a script in its own way when it is cancelled.
            Task::RunEvent(run) => TaskResult::Event(self.host_side.run(*run, cancel).await),
            Task::ReadAlarm { group, deployment, alarm } => {
                let to_read = alarm::ToRead { group, deployment, alarm: *alarm };
                TaskResult::Alarm(alarm::read(&self.http, to_read, cancel).await)
            }
            Task::Notify { target, trigger, told } => {
                let to_tell = trigger::ToTell { trigger, target, told: *told };
                TaskResult::Notified(trigger::tell(&self.http, to_tell, cancel).await)
            }
            Task::FetchBundle { revision, sources } => {
                let fetched = unless_cancelled(self.fetch(&revision, &sources), &cancel).await;
                if let Err(cause) = &fetched {
                    // The bundle's turn tries again, and reports the error if it fails.
                    tracing::info!(digest = %revision.digest, cause, "bundle not fetched ahead");
                }
                TaskResult::Fetched(fetched)
            }
            Task::Probe(task) => TaskResult::Probed(unless_cancelled(self.probe(*task), &cancel).await),
        }
    }

    async fn fetch(&self, revision: &Revision, sources: &[HostId]) -> Result<(), String> {
        let Ok(place) = self.fetches_waiting.try_acquire() else {
            return Err(format!("{FETCHES_WAITING_MAX} other bundles are waiting"));
        };
        let _permit = self.fetches.acquire().await;
        drop(place);
        // A bundle that is unpacked on this host needs no archive.
        let (host_side, digest) = (self.host_side.clone(), revision.digest);
        let look = tokio::task::spawn_blocking(move || host_side.has_unpacked(&digest));
        if look.await.unwrap_or(false) {
            return Ok(());
        }
        let fetched = self.fetcher.fetch(revision, sources).await;
        fetched.map(drop).map_err(|error| chain(&error))
    }

    async fn probe(&self, task: ProbeTask) -> Result<(), String> {
        let _permit = self.probes.acquire().await;
        probe::look(task, self.host_side.deploy_root.clone()).await
    }
}

/// Creates the HTTP client for alarms and receivers. It does not follow redirections, which would
/// carry a request that is signed for one place to another.
pub(crate) fn http_client() -> Result<reqwest::Client, reqwest::Error> {
    reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).build()
}

/// Does work that may be dropped at any point.
async fn unless_cancelled(
    work: impl Future<Output = Result<(), String>>,
    cancel: &CancellationToken,
) -> Result<(), String> {
    tokio::select! {
        result = work => result,
        () = cancel.cancelled() => Err("it was cancelled".into()),
    }
}

/// Returns the result of a task that panics.
pub(crate) fn result_of_panic(task: &Task) -> TaskResult {
    let why = "internal error: the agent's log on this host says more";
    match task {
        Task::RunEvent(run) => {
            TaskResult::Event(Err(Failure::new(Some(run.event), ErrorCode::UnknownError, why.into())))
        }
        Task::FetchBundle { .. } => TaskResult::Fetched(Err(why.into())),
        Task::ReadAlarm { .. } => TaskResult::Alarm(Reading::new(AlarmState::Unreadable, why)),
        Task::Notify { .. } => TaskResult::Notified(Err(why.into())),
        Task::Probe(_) => TaskResult::Probed(Err(why.into())),
    }
}

//! One lifecycle event on this host: which revision's files and scripts it is
//! about, and how its end is told.
//!
//! Nothing here decides about a deployment. The node says which event to run;
//! what is on the disk says whether a revision was installed before.

use std::future::Future;
use std::io;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;

use proto::appspec::{self, AppSpec, Mistake};
use proto::entry::{ErrorCode, FAILURE_MESSAGE_MAX, Failure, keep_start};
use proto::id::{DeploymentId, GroupName, HostId};
use proto::io::Run;
use proto::lifecycle::{LifecycleEvent, Scripts};
use proto::revision::Revision;
use tokio_util::sync::CancellationToken;

use crate::bundle::Cache;
use crate::bundle::unpack::{self, Limits, UnpackError};
use crate::hooks::{self, HookFailure, Hooks, Patience};
use crate::install::state::{REVISIONS_MAX, State};
use crate::install::{self, InstallError};

/// Why a bundle could not be had from other hosts.
pub(crate) type FetchError = Box<dyn std::error::Error + Send + Sync>;

/// Brings a bundle that is not in the cache into it, from the hosts given (best
/// first), and says where it lies. Its digest must have been verified.
pub(crate) type Fetch = Arc<
    dyn Fn(Revision, Vec<HostId>) -> Pin<Box<dyn Future<Output = Result<PathBuf, FetchError>> + Send>>
        + Send
        + Sync,
>;

/// CodeDeploy's name for the AppSpec file.
pub(crate) const APPSPEC_NAME: &str = "appspec.yml";

/// The part of the agent that touches this host's applications.
#[derive(Clone)]
pub(crate) struct HostSide {
    /// CodeDeploy's `root_dir`; absolute, because scripts start elsewhere.
    pub(crate) deploy_root: PathBuf,
    pub(crate) cache: Cache,
    pub(crate) fetch: Fetch,
    /// Revisions kept on disk per group, the current one included.
    pub(crate) revisions_max: usize,
    pub(crate) limits: Limits,
    pub(crate) patience: Patience,
}

/// What an event failed of.
#[derive(Debug, thiserror::Error)]
enum EventError {
    #[error("cannot use `{}`", path.display())]
    Disk {
        path: PathBuf,
        #[source]
        cause: io::Error,
    },
    #[error("cannot get bundle {digest} from any host that has it")]
    Fetch {
        digest: proto::id::Digest,
        #[source]
        cause: FetchError,
    },
    #[error("cannot unpack bundle {digest}")]
    Unpack {
        digest: proto::id::Digest,
        #[source]
        cause: UnpackError,
    },
    #[error("there is no AppSpec file in `{}`: it must lie at the bundle's top, as {APPSPEC_NAME}", archive.display())]
    NoAppSpec { archive: PathBuf },
    #[error(
        "the deployment whose scripts are to run is no longer in `{}`: to go on without them, ignore this \
         event's failures or remove the marker `*_last_successful_install`", dir.display()
    )]
    LastInstalledGone { dir: PathBuf },
    #[error("{}", listed(.0))]
    AppSpec(Vec<Mistake>),
    #[error(transparent)]
    Install(InstallError),
    #[error(transparent)]
    Hook(Box<HookFailure>),
    #[error("the deployment was stopped")]
    Cancelled,
    #[error("the agent itself failed")]
    Panicked(#[source] tokio::task::JoinError),
}

fn listed(mistakes: &[Mistake]) -> String {
    let lines: Vec<String> = mistakes.iter().map(ToString::to_string).collect();
    lines.join("; ")
}

impl HostSide {
    /// With CodeDeploy's limits and patience.
    pub(crate) fn new(deploy_root: PathBuf, cache: Cache, fetch: Fetch) -> HostSide {
        HostSide {
            deploy_root: std::path::absolute(&deploy_root).unwrap_or(deploy_root),
            cache,
            fetch,
            revisions_max: REVISIONS_MAX,
            limits: Limits::default(),
            patience: Patience::default(),
        }
    }

    /// Runs one event to its end. Once `cancel` is cancelled a script gets
    /// SIGTERM, then SIGKILL; an installation that is under way is finished,
    /// because half of one helps nobody.
    /// # Errors
    /// What failed, cut to the size that the ledger takes. Any event may be run
    /// again.
    pub(crate) async fn run(&self, run: Run, cancel: CancellationToken) -> Result<(), Failure> {
        let ended = self.event(&run, &cancel).await;
        ended.map_err(|error| failure(run.event, &error))
    }

    /// The files with what the deployment's scripts wrote on this host, newest
    /// first; none if no script ran.
    pub(crate) fn logs(&self, group: &GroupName, deployment: DeploymentId) -> Vec<PathBuf> {
        let log = scripts_log(&self.state(group).deployment_dir(&deployment.to_string()));
        if log.exists() { vec![log] } else { Vec::new() }
    }

    fn state(&self, group: &GroupName) -> State {
        State::new(&self.deploy_root, &group.id())
    }

    async fn event(&self, run: &Run, cancel: &CancellationToken) -> Result<(), EventError> {
        let state = self.state(&run.group);
        let dir = state.deployment_dir(&run.deployment.to_string());
        std::fs::create_dir_all(&dir).map_err(|cause| EventError::Disk { path: dir.clone(), cause })?;
        match run.event {
            LifecycleEvent::DownloadBundle => self.download(run, state, dir, cancel).await,
            LifecycleEvent::Install => {
                let file_exists = run.file_exists;
                blocking(move || {
                    let archive = archive_of(&dir);
                    let appspec = read_appspec(&archive)?;
                    install::install(&appspec, &archive, file_exists, &state).map_err(EventError::Install)?;
                    state.mark_last_successful(&dir).map_err(|cause| EventError::Disk { path: dir, cause })
                })
                .await
            }
            // Traffic is given and taken by hooks around these, and by load
            // balancers one day.
            LifecycleEvent::BlockTraffic | LifecycleEvent::AllowTraffic => Ok(()),
            LifecycleEvent::BeforeBlockTraffic
            | LifecycleEvent::AfterBlockTraffic
            | LifecycleEvent::ApplicationStop
            | LifecycleEvent::BeforeInstall
            | LifecycleEvent::AfterInstall
            | LifecycleEvent::ApplicationStart
            | LifecycleEvent::ValidateService
            | LifecycleEvent::BeforeAllowTraffic
            | LifecycleEvent::AfterAllowTraffic => self.hooks(run, &state, &dir, cancel).await,
        }
    }

    async fn download(
        &self,
        run: &Run,
        state: State,
        dir: PathBuf,
        cancel: &CancellationToken,
    ) -> Result<(), EventError> {
        let digest = run.revision.digest;
        let archive = if self.cache.has(&digest) {
            self.cache.path(&digest)
        } else {
            let fetched = (self.fetch)(run.revision.clone(), run.sources.clone());
            tokio::select! {
                fetched = fetched => fetched.map_err(|cause| EventError::Fetch { digest, cause })?,
                () = cancel.cancelled() => return Err(EventError::Cancelled),
            }
        };
        let (revisions_max, limits) = (self.revisions_max, self.limits);
        blocking(move || {
            let on_disk = |cause| EventError::Disk { path: dir.clone(), cause };
            state.retain(&dir, revisions_max).map_err(on_disk)?;
            let unpacked = unpack::unpack(&archive, &archive_of(&dir), limits);
            unpacked.map_err(|cause| EventError::Unpack { digest, cause })?;
            state.mark_most_recent(&dir).map_err(on_disk)
        })
        .await
    }

    async fn hooks(
        &self,
        run: &Run,
        state: &State,
        dir: &Path,
        cancel: &CancellationToken,
    ) -> Result<(), EventError> {
        let Some(archive) = scripts_from(run.event, state, dir)? else { return Ok(()) };
        let appspec = read_appspec(&archive)?;
        let environment = environment(run);
        let hooks = Hooks {
            event: run.event,
            scripts: appspec.hooks.get(&run.event).map_or(&[], Vec::as_slice),
            archive: &archive,
            environment: &environment,
            // Of the deployment that runs, also when old scripts do.
            log: &scripts_log(dir),
            patience: self.patience,
        };
        hooks::run(&hooks, cancel).await.map_err(|failure| EventError::Hook(Box::new(failure)))
    }
}

/// The unpacked revision whose scripts an event runs: the one installed before
/// for the events that end it, as long as this deployment has none of its own.
/// `None` if none was.
fn scripts_from(event: LifecycleEvent, state: &State, dir: &Path) -> Result<Option<PathBuf>, EventError> {
    let own = archive_of(dir);
    let last_installed = event.step().scripts == Scripts::LastInstalled;
    if !last_installed || own.exists() {
        return Ok(Some(own));
    }
    let last = state.last_successful().map_err(|cause| EventError::Disk { path: dir.to_owned(), cause })?;
    match last {
        Some(dir) if archive_of(&dir).is_dir() => Ok(Some(archive_of(&dir))),
        Some(dir) => Err(EventError::LastInstalledGone { dir }),
        None => Ok(None),
    }
}

fn environment(run: &Run) -> [(&'static str, String); 5] {
    [
        ("LIFECYCLE_EVENT", run.event.name().to_owned()),
        ("DEPLOYMENT_ID", run.deployment.to_string()),
        ("APPLICATION_NAME", run.group.application().to_owned()),
        ("DEPLOYMENT_GROUP_NAME", run.group.group().to_owned()),
        ("DEPLOYMENT_GROUP_ID", run.group.id()),
    ]
}

fn archive_of(dir: &Path) -> PathBuf {
    dir.join("deployment-archive")
}

fn scripts_log(dir: &Path) -> PathBuf {
    dir.join("logs").join("scripts.log")
}

/// Reads the AppSpec file of an unpacked bundle, under either of its names.
fn read_appspec(archive: &Path) -> Result<AppSpec, EventError> {
    for name in [APPSPEC_NAME, "appspec.yaml"] {
        let path = archive.join(name);
        match std::fs::read(&path) {
            Ok(bytes) => {
                let parsed = appspec::parse(name, &bytes).map_err(EventError::AppSpec)?;
                for warning in &parsed.warnings {
                    tracing::debug!(%warning, "AppSpec");
                }
                return Ok(parsed.appspec);
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(cause) => return Err(EventError::Disk { path, cause }),
        }
    }
    Err(EventError::NoAppSpec { archive: archive.to_owned() })
}

async fn blocking(work: impl FnOnce() -> Result<(), EventError> + Send + 'static) -> Result<(), EventError> {
    tokio::task::spawn_blocking(work).await.map_err(EventError::Panicked)?
}

/// What the ledger and people get to read of it.
fn failure(event: LifecycleEvent, error: &EventError) -> Failure {
    let (code, script, log) = match error {
        EventError::Hook(hook) => (hook.cause.code(), hook.script.clone(), hook.log.clone()),
        EventError::Cancelled => (ErrorCode::Stopped, String::new(), String::new()),
        EventError::Disk { .. }
        | EventError::Fetch { .. }
        | EventError::Unpack { .. }
        | EventError::NoAppSpec { .. }
        | EventError::LastInstalledGone { .. }
        | EventError::AppSpec(_)
        | EventError::Install(_)
        | EventError::Panicked(_) => (ErrorCode::UnknownError, String::new(), String::new()),
    };
    let mut message = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        message += &format!(": {error}");
        cause = error.source();
    }
    let message = keep_start(&message, FAILURE_MESSAGE_MAX).to_owned();
    Failure { event: Some(event), code, script, message, log }
}

#[cfg(test)]
mod tests;

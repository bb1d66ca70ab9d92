//! Runs one lifecycle event on this host, when the node asks for it.
//!
//! Nothing here decides about a deployment. The node says which event to run; the state on disk
//! says whether a revision was installed before.

pub(crate) mod appspec_file;
pub(crate) mod deployment;
pub(crate) mod kept;
mod left;
mod lookalikes;
mod people;
pub(crate) mod unaltered;

use std::path::PathBuf;

use proto::entry::Failure;
use proto::id::{DeploymentId, Digest, GroupName, HostId};
use proto::lifecycle::{Course, LifecycleEvent, Scripts};
use proto::revision::Revision;
use proto::task::Run;
use tokio_util::sync::CancellationToken;

use crate::bundle::Cache;
use crate::bundle::cache::require_room;
use crate::bundle::fetcher::Fetcher;
use crate::bundle::unpack::{self, Limits};
use crate::hooks::{self, Patience};
use crate::install::state::{REVISIONS_MAX, State};
use appspec_file::AppSpecs;
use deployment::{Deployment, Event, EventError, failure, scripts_log};
pub(crate) use left::end_left_scripts;
pub(crate) use people::missing_users;

/// The reason why a bundle could not be fetched from other hosts.
pub(crate) type FetchError = Box<dyn std::error::Error + Send + Sync>;

/// The place from which bundles come that are not in the cache.
#[derive(Clone)]
pub(crate) enum FetchFrom {
    /// Other hosts of the mesh.
    Mesh(Fetcher),
    /// A double, which has any bundle at this path, or none.
    #[cfg(test)]
    Double(Option<PathBuf>),
}

impl FetchFrom {
    /// Fetches a bundle, from these hosts first (best first), and returns its path.
    async fn fetch(&self, revision: &Revision, sources: &[HostId]) -> Result<PathBuf, FetchError> {
        match self {
            FetchFrom::Mesh(fetcher) => Ok(fetcher.fetch(revision, sources).await?),
            #[cfg(test)]
            FetchFrom::Double(path) => path.clone().ok_or_else(|| "no host has it".into()),
        }
    }
}

/// CodeDeploy's name for the AppSpec file.
pub(crate) const APPSPEC_NAME: &str = "appspec.yml";

/// The part of the agent that works on this host's applications.
#[derive(Clone)]
pub(crate) struct HostSide {
    /// CodeDeploy's `root_dir`; absolute, because scripts start in another directory.
    pub(crate) deploy_root: PathBuf,
    pub(crate) cache: Cache,
    pub(crate) bundles: FetchFrom,
    /// The number of revisions to keep on disk per group, including the current one.
    pub(crate) revisions_max: usize,
    pub(crate) limits: Limits,
    pub(crate) patience: Patience,
}

impl HostSide {
    /// Creates it with CodeDeploy's limits and timeouts.
    pub(crate) fn new(deploy_root: PathBuf, cache: Cache, bundles: FetchFrom) -> HostSide {
        HostSide {
            deploy_root: std::path::absolute(&deploy_root).unwrap_or(deploy_root),
            cache,
            bundles,
            revisions_max: REVISIONS_MAX,
            limits: Limits::default(),
            patience: Patience::default(),
        }
    }

    /// Finishes the installations in which an earlier agent was killed. Call this at the start; the
    /// next event of the group does it too.
    pub(crate) fn finish_interrupted(&self) {
        let finished = State::installing(&self.deploy_root)
            .map_err(|cause| EventError::Disk { path: self.deploy_root.clone(), cause })
            .and_then(|groups| groups.iter().try_for_each(Deployment::finish_interrupted));
        if let Err(error) = finished {
            let message = failure(None, &error).message;
            tracing::error!(message, "cannot finish an installation that was cut off");
        }
    }

    /// Runs one event until it ends. After `cancel`, a script gets SIGTERM, then SIGKILL; an
    /// installation in progress is finished, because half of one is of no use.
    /// # Errors
    /// The failure, cut to the size that the ledger takes. Any event may be run again.
    pub(crate) async fn run(&self, run: Run, cancel: CancellationToken) -> Result<(), Failure> {
        let ended = self.event(&run, &cancel).await;
        ended.map_err(|error| failure(Some(run.event), &error))
    }

    /// Returns true if the bundle is on this host, packed or unpacked. Blocks.
    pub(crate) fn has(&self, digest: &Digest) -> bool {
        self.cache.has(digest) || self.has_unpacked(digest)
    }

    /// Returns true if the bundle is unpacked on this host, according to the note written when it
    /// was unpacked. Blocks.
    pub(crate) fn has_unpacked(&self, digest: &Digest) -> bool {
        !kept::find(&self.deploy_root, digest).is_empty()
    }

    /// Returns the files with the output of the deployment's scripts on this host, newest first;
    /// empty if no script has run.
    pub(crate) fn logs(&self, group: &GroupName, deployment: DeploymentId) -> Vec<PathBuf> {
        hooks::log_files(&scripts_log(&self.state(group).deployment_dir(&deployment.to_string())))
    }

    fn state(&self, group: &GroupName) -> State {
        State::new(&self.deploy_root, &group.id())
    }

    async fn event(&self, run: &Run, cancel: &CancellationToken) -> Result<(), EventError> {
        let deployment = self.deployment(run);
        self.require_room(run, &deployment)?;
        deployment.make_dir(self.revisions_max)?;
        let state = deployment.state.clone();
        blocking(move || Deployment::finish_interrupted(&state)).await?;
        let deployment = match run.anew {
            Some(interrupted) => {
                blocking(move || deployment.begin_anew(interrupted).map(|()| deployment)).await?
            }
            None => deployment,
        };
        match run.event {
            LifecycleEvent::DownloadBundle => self.download(run, deployment, cancel).await,
            LifecycleEvent::Install => {
                let file_exists = run.file_exists;
                blocking(move || deployment.install(file_exists)).await
            }
            // Hooks around these events shift the traffic; load balancers may be asked one day.
            LifecycleEvent::BlockTraffic | LifecycleEvent::AllowTraffic => Ok(()),
            LifecycleEvent::BeforeBlockTraffic
            | LifecycleEvent::AfterBlockTraffic
            | LifecycleEvent::ApplicationStop
            | LifecycleEvent::BeforeInstall
            | LifecycleEvent::AfterInstall
            | LifecycleEvent::ApplicationStart
            | LifecycleEvent::ValidateService
            | LifecycleEvent::BeforeAllowTraffic
            | LifecycleEvent::AfterAllowTraffic => deployment.hooks(&Event::Known(run.event), cancel).await,
        }
    }

    /// Refuses a turn on a full disk while the old revision still runs. A bundle is at least as
    /// large unpacked as packed.
    fn require_room(&self, run: &Run, deployment: &Deployment) -> Result<(), EventError> {
        let brings = run.kind.installs() && run.event <= LifecycleEvent::DownloadBundle;
        if !brings || deployment.archive().exists() {
            return Ok(());
        }
        let size = run.revision.size;
        if !self.has(&run.revision.digest) {
            require_room(self.cache.dir(), size)?;
        }
        match require_room(&deployment.dir, size) {
            // Look at what will be removed before the bundle arrives only if that decides.
            Err(full) => {
                let freed = deployment.state.retainable(&deployment.dir, self.revisions_max);
                if full.free.saturating_add(freed) < size.saturating_add(full.kept) {
                    return Err(full.into());
                }
                Ok(())
            }
            Ok(()) => Ok(()),
        }
    }

    fn deployment(&self, run: &Run) -> Deployment {
        let state = self.state(&run.group);
        let mut environment = vec![
            ("DEPLOYMENT_ID", run.deployment.to_string()),
            ("APPLICATION_NAME", run.group.application().to_owned()),
            ("DEPLOYMENT_GROUP_NAME", run.group.group().to_owned()),
            ("DEPLOYMENT_GROUP_ID", run.group.id()),
        ];
        environment.extend(run.revision.variables());
        Deployment {
            dir: state.deployment_dir(&run.deployment.to_string()),
            state,
            appspec_name: APPSPEC_NAME.to_owned(),
            environment,
            custom_events: Vec::new(),
            course: run.kind.traits().course,
            patience: Patience { for_script: run.script_timeout_max, ..self.patience },
            appspecs: AppSpecs::default(),
        }
    }

    async fn download(
        &self,
        run: &Run,
        deployment: Deployment,
        cancel: &CancellationToken,
    ) -> Result<(), EventError> {
        let digest = run.revision.digest;
        let (revisions_max, limits) = (self.revisions_max, self.limits);
        let (root, again) = (self.deploy_root.clone(), deployment.clone());
        let is_there = blocking(move || {
            let is_there = kept::unpack_again(&root, &again.dir, &digest, limits);
            if is_there {
                again.check_users(&again.archive(), &ahead())?;
                again.retain(revisions_max)?;
                again.mark_most_recent()?;
            }
            Ok(is_there)
        });
        if is_there.await? {
            return Ok(());
        }
        let archive = if self.cache.has(&digest) {
            self.cache.used(&digest);
            self.cache.path(&digest)
        } else {
            let fetched = self.bundles.fetch(&run.revision, &run.sources);
            tokio::select! {
                fetched = fetched => fetched.map_err(|cause| EventError::Fetch { digest, cause })?,
                () = cancel.cancelled() => return Err(EventError::Cancelled),
            }
        };
        blocking(move || {
            deployment.retain(revisions_max)?;
            let unpacked = unpack::unpack(&archive, &deployment.archive(), limits);
            let inventory = unpacked.map_err(EventError::Unpack)?;
            let noted = kept::note(&deployment.dir, Some(&digest), &inventory);
            noted.map_err(|cause| EventError::Disk { path: deployment.dir.clone(), cause })?;
            deployment.check_users(&deployment.archive(), &ahead())?;
            deployment.mark_most_recent()
        })
        .await
    }
}

/// Returns the events that run scripts of the new revision.
fn ahead() -> Vec<Event> {
    let events = Course::InPlace.events().filter(|event| event.step().scripts == Scripts::New);
    events.map(Event::Known).collect()
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, EventError> + Send + 'static,
) -> Result<T, EventError> {
    tokio::task::spawn_blocking(work).await.map_err(EventError::Panicked)?
}

#[cfg(test)]
mod tests;

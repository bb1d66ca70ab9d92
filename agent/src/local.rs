//! Deploys to this host alone, without a mesh, as `codedeploy-local` does. Both use the same state
//! on disk, so that each finds what the other has left.
//!
//! Unlike `codedeploy-local`, this reads the new revision's AppSpec file before any script of the
//! old one runs. So a bundle that cannot be installed does not stop the application.

pub(crate) mod agent_config;
pub(crate) mod event_list;

use std::fs;
use std::path::{Path, PathBuf};

use proto::appspec::{CustomEvents, Mistake};
use proto::entry::Failure;
use proto::id::DeploymentId;
use proto::lifecycle::{Course, LifecycleEvent};
use proto::policy::FileExists;
use tokio_util::sync::CancellationToken;

use crate::bundle::remote::Settings;
use crate::bundle::source::Source;
use crate::bundle::transfer_progress::Progress;
use crate::bundle::unpack::{self, Limits};
use crate::bundle::{self, AcquireError, Cache, Kind};
use crate::check::{self, Hosts};
use crate::hooks::Patience;
use crate::host_side::appspec_file::AppSpecs;
use crate::host_side::deployment::{Deployment, Event, EventError, failure, scripts_log};
use crate::host_side::kept;
use crate::install::state::State;

/// A request for a local deployment.
#[derive(Debug)]
pub(crate) struct Request {
    pub(crate) source: Source,
    /// The kinds of archives that the source may be; empty if any is allowed.
    pub(crate) archives: &'static [Kind],
    /// Download settings, for sources that are downloaded.
    pub(crate) settings: Settings,
    pub(crate) deploy_root: PathBuf,
    /// Selects the state on disk.
    pub(crate) group_id: String,
    /// Used only in the scripts' environment, as is `application`.
    pub(crate) group_name: String,
    pub(crate) application: String,
    pub(crate) file_exists: FileExists,
    pub(crate) events: Vec<Event>,
    /// True if the AppSpec file is checked before the first event.
    pub(crate) checks_first: bool,
    /// True if a failed stop script of the previous revision does not fail the deployment.
    pub(crate) ignores_stop_failures: bool,
    /// True if the remaining events run after one has failed.
    pub(crate) goes_on: bool,
    pub(crate) appspec_name: String,
    /// Says whose scripts run.
    pub(crate) course: Course,
    pub(crate) revisions_max: usize,
}

/// The reason why a deployment did not reach its first event.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LocalError {
    #[error(transparent)]
    Event(#[from] EventError),
    #[error(
        "event `{0}` is neither one of CodeDeploy's nor in the AppSpec file's `hooks`: take it out of \
         --events, or hook it"
    )]
    NoSuchEvent(String),
}

/// The result of one event.
#[derive(Debug)]
pub(crate) struct EventEnd {
    pub(crate) event: Event,
    pub(crate) result: Result<(), Failure>,
    /// The script that failed, if one did.
    pub(crate) script: Option<PathBuf>,
    /// True if the failure does not count.
    pub(crate) is_ignored: bool,
}

/// A deployment that has its directory and can run.
#[derive(Debug)]
pub(crate) struct Local {
    request: Request,
    deployment: Deployment,
    id: String,
}

impl Local {
    /// Creates the deployment's id and directory.
    pub(crate) fn begin(request: Request) -> Result<Local, LocalError> {
        let state = State::new(&request.deploy_root, &request.group_id);
        let id = format!("{}-local", DeploymentId::derive(&rand::random::<[u8; 16]>()));
        let dir = state.deployment_dir(&id);
        Deployment::finish_interrupted(&state)?;
        let mut environment = vec![
            ("DEPLOYMENT_ID", id.clone()),
            ("APPLICATION_NAME", request.application.clone()),
            ("DEPLOYMENT_GROUP_NAME", request.group_name.clone()),
            ("DEPLOYMENT_GROUP_ID", request.group_id.clone()),
        ];
        if let Source::Origin(origin) = &request.source {
            environment.extend(origin.variables());
        }
        let deployment = Deployment {
            state,
            dir,
            appspec_name: request.appspec_name.clone(),
            environment,
            custom_events: event_list::custom(&request.events),
            course: request.course,
            patience: Patience::default(),
            appspecs: AppSpecs::default(),
        };
        deployment.make_dir(request.revisions_max)?;
        Ok(Local { request, deployment, id })
    }

    pub(crate) fn id(&self) -> &str {
        &self.id
    }

    pub(crate) fn dir(&self) -> &Path {
        &self.deployment.dir
    }

    pub(crate) fn scripts_log(&self) -> PathBuf {
        scripts_log(&self.deployment.dir)
    }

    /// Runs the events until one fails. Calls `warn` with the bundle's oddities before the first
    /// event.
    /// # Errors
    /// If the bundle cannot be obtained or its AppSpec file is wrong. Then no script has run, and
    /// nothing that is installed has changed.
    pub(crate) async fn run(
        &self,
        cancel: &CancellationToken,
        progress: &Progress,
        warn: impl Fn(&[Mistake]),
    ) -> Result<Vec<EventEnd>, LocalError> {
        let mut staged = Ok(());
        if self.has(LifecycleEvent::DownloadBundle) {
            staged = self.stage(cancel, progress).await;
        }
        if self.request.checks_first {
            std::mem::replace(&mut staged, Ok(()))?;
            warn(&self.check()?);
        }
        let mut ends = Vec::new();
        for event in &self.request.events {
            let result = self.event(event, &mut staged, cancel).await;
            let known = match event {
                Event::Known(event) => Some(*event),
                Event::Custom(_) => None,
            };
            let script = result.as_ref().err().and_then(EventError::script);
            let result = result.map_err(|error| failure(known, &error));
            let is_ignored = self.request.ignores_stop_failures
                && known.is_some_and(|event| event.step().may_be_ignored)
                && !cancel.is_cancelled();
            let stops = result.is_err() && !is_ignored && !self.request.goes_on;
            ends.push(EventEnd { event: event.clone(), result, script, is_ignored });
            if stops {
                break;
            }
        }
        Ok(ends)
    }

    fn has(&self, event: LifecycleEvent) -> bool {
        self.request.events.contains(&Event::Known(event))
    }

    /// Returns the path at which the unpacked bundle waits for the event DownloadBundle. It is
    /// separate because the old revision's scripts run only while no new revision is in place.
    fn staged(&self) -> PathBuf {
        self.deployment.dir.join("deployment-archive.staged")
    }

    async fn stage(&self, cancel: &CancellationToken, progress: &Progress) -> Result<(), EventError> {
        let (dir, staged) = (&self.deployment.dir, self.staged());
        let limits = Limits::default();
        let on_disk = |cause| EventError::Disk { path: dir.clone(), cause };
        let kept = dir.join("bundle.tar");
        let unpacked = match &self.request.source {
            Source::Path(path) if path.is_dir() => unpack::copy(path, &staged, limits),
            Source::Path(path) => {
                // Leave a link, as the official agent does, so that people can see which file it
                // was.
                let target = std::path::absolute(path).map_err(on_disk)?;
                std::os::unix::fs::symlink(target, &kept).map_err(on_disk)?;
                unpack::require(path, self.request.archives)
                    .and_then(|()| unpack::unpack(path, &staged, limits))
            }
            source @ (Source::Cached(_) | Source::Origin(_) | Source::Web(_)) => {
                tokio::select! {
                    fetched = self.fetch(source, &kept, progress) => fetched?,
                    () = cancel.cancelled() => return Err(EventError::Cancelled),
                }
                unpack::require(&kept, self.request.archives)
                    .and_then(|()| unpack::unpack(&kept, &staged, limits))
            }
        };
        let inventory = unpacked.map_err(EventError::Unpack)?;
        kept::note(dir, None, &inventory).map_err(on_disk)
    }

    /// Downloads the bundle to `kept`.
    async fn fetch(&self, source: &Source, kept: &Path, progress: &Progress) -> Result<(), EventError> {
        // Removed when this function returns, also after an error.
        let on_disk = |cause| EventError::Disk { path: kept.to_owned(), cause };
        let arriving = tempfile::Builder::new().prefix("arriving-").tempdir_in(&self.deployment.dir);
        let arriving = arriving.map_err(on_disk)?;
        let in_cache = |cause| AcquireError::Cache { origin: source.to_string(), cause };
        let cache = Cache::open(arriving.path()).map_err(in_cache).map_err(EventError::Acquire)?;
        let acquired = bundle::acquire(source.clone(), &cache, &self.request.settings, progress).await;
        let revision = acquired.map_err(EventError::Acquire)?;
        fs::rename(cache.path(&revision.digest), kept).map_err(on_disk)
    }

    /// Checks the bundle as `--check`, `plan` and `deploy` do, and also whether this host has what
    /// the scripts need. Returns the bundle's oddities.
    fn check(&self) -> Result<Vec<Mistake>, LocalError> {
        let checked = self.judge();
        if checked.is_err() {
            // Let people look at the refused bundle where they expect it.
            self.download()?;
        }
        checked
    }

    fn judge(&self) -> Result<Vec<Mistake>, LocalError> {
        let custom = &self.deployment.custom_events;
        let only = CustomEvents::Only(custom);
        let judged = check::check_unpacked(&self.staged(), &self.request.appspec_name, only, Hosts::This);
        let judged = judged.map_err(|mut error| {
            // A refused bundle is moved there, where people look for it.
            if let EventError::NoAppSpec { archive, .. } = &mut error {
                *archive = self.deployment.archive();
            }
            error
        })?;
        if !judged.mistakes.is_empty() {
            return Err(EventError::AppSpec(judged.mistakes).into());
        }
        if let Some(event) = custom.iter().find(|event| !judged.custom_events.contains(event)) {
            return Err(LocalError::NoSuchEvent(event.clone()));
        }
        self.deployment.check_users(&self.staged(), self.events_of_bundle())?;
        Ok(judged.warnings)
    }

    /// Returns the events that run scripts of the new bundle.
    fn events_of_bundle(&self) -> &[Event] {
        let events = &self.request.events;
        let is_download = |event: &Event| *event == Event::Known(LifecycleEvent::DownloadBundle);
        let download = events.iter().position(is_download);
        &events[download.map_or(0, |at| at + 1)..]
    }

    /// Runs one event. `staged` is the result of fetching the bundle, taken by the event that needs
    /// it.
    async fn event(
        &self,
        event: &Event,
        staged: &mut Result<(), EventError>,
        cancel: &CancellationToken,
    ) -> Result<(), EventError> {
        match event {
            _ if cancel.is_cancelled() => Err(EventError::Cancelled),
            Event::Known(LifecycleEvent::DownloadBundle) => {
                std::mem::replace(staged, Ok(()))?;
                self.download()
            }
            Event::Known(LifecycleEvent::Install) => self.deployment.install(self.request.file_exists),
            Event::Known(_) | Event::Custom(_) => self.deployment.hooks(event, cancel).await,
        }
    }

    fn download(&self) -> Result<(), EventError> {
        let on_disk = |cause| EventError::Disk { path: self.deployment.dir.clone(), cause };
        self.deployment.retain(self.request.revisions_max)?;
        fs::rename(self.staged(), self.deployment.archive()).map_err(on_disk)?;
        self.deployment.mark_most_recent()
    }
}

#[cfg(test)]
mod tests;

//! A deployment to this host alone, without a mesh: what `codedeploy-local`
//! does, with the same state on the disk, so that either finds what the other
//! has left.
//!
//! Other than there, the new revision's AppSpec is read before any script of
//! the old one runs: an application is not stopped for a bundle that cannot be
//! installed.

pub(crate) mod agent_config;
pub(crate) mod events;

use std::fs;
use std::path::{Path, PathBuf};

use proto::appspec::{CustomEvents, Mistake};
use proto::entry::Failure;
use proto::id::DeploymentId;
use proto::lifecycle::LifecycleEvent;
use proto::policy::FileExists;
use tokio_util::sync::CancellationToken;

use crate::bundle::progress::Progress;
use crate::bundle::remote::Settings;
use crate::bundle::source::Source;
use crate::bundle::unpack::{self, Limits};
use crate::bundle::{self, AcquireError, Cache, Kind};
use crate::check::{self, Hosts};
use crate::hooks::Patience;
use crate::host_side::deployment::{Deployment, Event, EventError, Way, failure, scripts_log};
use crate::host_side::kept;
use crate::install::state::State;

/// What is to be deployed, and how.
#[derive(Debug)]
pub(crate) struct Request {
    pub(crate) source: Source,
    /// Which kinds of archives it may be; none if anything goes.
    pub(crate) archives: &'static [Kind],
    /// How it is downloaded, if it is.
    pub(crate) settings: Settings,
    pub(crate) deploy_root: PathBuf,
    /// Chooses the state on the disk.
    pub(crate) group_id: String,
    /// These two are for the scripts' environment only.
    pub(crate) group_name: String,
    pub(crate) application: String,
    pub(crate) file_exists: FileExists,
    pub(crate) events: Vec<Event>,
    /// Whether the AppSpec file is judged before the first event.
    pub(crate) checks_first: bool,
    /// Whether a script of the previous revision that fails to stop it is no
    /// reason to fail.
    pub(crate) ignores_stop_failures: bool,
    /// Whether the events after one that failed run all the same.
    pub(crate) goes_on: bool,
    pub(crate) appspec_name: String,
    pub(crate) way: Way,
    pub(crate) revisions_max: usize,
}

/// Why a deployment never came to its first event.
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

/// How one event ended.
#[derive(Debug)]
pub(crate) struct EventEnd {
    pub(crate) event: Event,
    pub(crate) result: Result<(), Failure>,
    /// The script that failed, if one did.
    pub(crate) script: Option<PathBuf>,
    /// Whether its failure does not count.
    pub(crate) is_ignored: bool,
}

/// A deployment that has its directory, and can run.
#[derive(Debug)]
pub(crate) struct Local {
    request: Request,
    deployment: Deployment,
    id: String,
}

impl Local {
    /// Gives the deployment its id and directory.
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
            custom_events: events::custom(&request.events),
            way: request.way,
            patience: Patience::default(),
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

    /// Runs the events until one fails. What is odd about the bundle is warned of
    /// before the first.
    /// # Errors
    /// If the bundle cannot be had, or its AppSpec is wrong: no script has run
    /// then, and nothing that is installed has changed.
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

    /// Where the bundle waits, unpacked, until it is DownloadBundle's turn:
    /// scripts of the old revision run as long as there is no new one.
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
                // As the official agent does, so that one sees what it was.
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

    /// Downloads the bundle as `kept`.
    async fn fetch(&self, source: &Source, kept: &Path, progress: &Progress) -> Result<(), EventError> {
        // Gone at the end, whatever that is.
        let on_disk = |cause| EventError::Disk { path: kept.to_owned(), cause };
        let arriving = tempfile::Builder::new().prefix("arriving-").tempdir_in(&self.deployment.dir);
        let arriving = arriving.map_err(on_disk)?;
        let in_cache = |cause| AcquireError::Cache { origin: source.to_string(), cause };
        let cache = Cache::open(arriving.path()).map_err(in_cache).map_err(EventError::Acquire)?;
        let acquired = bundle::acquire(source.clone(), &cache, &self.request.settings, progress).await;
        let revision = acquired.map_err(EventError::Acquire)?;
        fs::rename(cache.path(&revision.digest), kept).map_err(on_disk)
    }

    /// Judges the bundle as `--check`, `plan` and `deploy` do, and finds what this
    /// host lacks for its scripts. Returns what is odd about it.
    fn check(&self) -> Result<Vec<Mistake>, LocalError> {
        let checked = self.judge();
        if checked.is_err() {
            // So that one can look at what was refused, where it would be.
            self.download()?;
        }
        checked
    }

    fn judge(&self) -> Result<Vec<Mistake>, LocalError> {
        let custom = &self.deployment.custom_events;
        let only = CustomEvents::Only(custom);
        let judged = check::check_unpacked(&self.staged(), &self.request.appspec_name, only, Hosts::This);
        let judged = judged.map_err(|mut error| {
            // A refused bundle is moved there, and a person looks for it there.
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

    /// The events that run the bundle's own scripts.
    fn events_of_bundle(&self) -> &[Event] {
        let events = &self.request.events;
        let is_download = |event: &Event| *event == Event::Known(LifecycleEvent::DownloadBundle);
        let download = events.iter().position(is_download);
        &events[download.map_or(0, |at| at + 1)..]
    }

    /// One event; the bundle was `staged` for the one that takes it.
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

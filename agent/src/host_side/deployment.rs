//! One deployment on one host: its directory, its AppSpec file, and the revision whose scripts each
//! event runs. Agents and `skein local` share this.

use std::io;
use std::path::{Path, PathBuf};

use proto::appspec::{AppSpec, CustomEvents, Mistake, Script};
use proto::entry::{ErrorCode, FAILURE_MESSAGE_MAX, Failure, keep_start};
use proto::lifecycle::{Course, LifecycleEvent, Scripts};
use proto::policy::FileExists;
use tokio_util::sync::CancellationToken;

use super::appspec_file::AppSpecs;
use super::people::missing_users;
use super::{FetchError, kept, left, lookalikes, unaltered};
use crate::bundle::AcquireError;
use crate::bundle::cache::DiskFull;
use crate::bundle::unpack::UnpackError;
use crate::bundle::unpack::again::Inventory;
use crate::hooks::{self, HookFailure, Hooks, Patience};
use crate::install::originals::Originals;
use crate::install::state::{ARCHIVE, State};
use crate::install::unfinished::{Intent, UnderWay};
use crate::install::{self, InstallError};
use crate::whole_file;

/// A deployment, and the facts that its events need.
#[derive(Clone, Debug)]
pub(crate) struct Deployment {
    pub(crate) state: State,
    /// The deployment's directory.
    pub(crate) dir: PathBuf,
    /// The AppSpec file's path below the bundle's top.
    pub(crate) appspec_name: String,
    /// Environment variables for the scripts, besides the event's.
    pub(crate) environment: Vec<(&'static str, String)>,
    /// Custom events that the AppSpec file may hook.
    pub(crate) custom_events: Vec<String>,
    /// The sequence of events of which these are part; it says whose scripts run.
    pub(crate) course: Course,
    pub(crate) patience: Patience,
    pub(crate) appspecs: AppSpecs,
}

/// An event, by name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Event {
    Known(LifecycleEvent),
    /// A custom event; it runs the new revision's scripts.
    Custom(String),
}

impl Event {
    pub(crate) fn name(&self) -> &str {
        match self {
            Event::Known(event) => event.name(),
            Event::Custom(name) => name,
        }
    }

    fn scripts(&self, course: Course) -> Scripts {
        match self {
            Event::Known(event) => course.scripts(*event),
            Event::Custom(_) => Scripts::New,
        }
    }
}

/// The reason why an event failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum EventError {
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
    #[error("cannot get the bundle")]
    Acquire(#[source] AcquireError),
    #[error("cannot unpack the bundle")]
    Unpack(#[source] UnpackError),
    /// Found before the old revision was stopped.
    #[error(transparent)]
    DiskFull(#[from] DiskFull),
    #[error(
        "there is no AppSpec file `{name}` in `{}`: it must lie at the bundle's top, as appspec.yml, unless \
         another name is given{}", archive.display(), lookalikes::in_words(near)
    )]
    NoAppSpec {
        archive: PathBuf,
        name: String,
        /// Files with a similar name.
        near: Vec<PathBuf>,
    },
    #[error(
        "the deployment whose scripts are to run is no longer in `{}`: to go on without them, ignore this \
         event's failures or remove the marker `*_last_successful_install`", dir.display()
    )]
    LastInstalledGone { dir: PathBuf },
    #[error(
        "nothing of this group is installed on this host, so there is nothing to restart: deploy a bundle to it"
    )]
    NothingInstalled,
    #[error("{}", listed(.0))]
    AppSpec(Vec<Mistake>),
    #[error(transparent)]
    Install(InstallError),
    #[error(transparent)]
    Hook(Box<HookFailure>),
    /// The script is not this deployment's, and may be the very one that this deployment repairs.
    #[error(
        "the previous revision, in `{}`, failed to make way (ignore_application_stop_failures goes on without it)",
        archive.display()
    )]
    OldHook {
        archive: PathBuf,
        #[source]
        failure: Box<HookFailure>,
    },
    #[error("the deployment was stopped")]
    Cancelled,
    #[error("the agent itself failed")]
    Panicked(#[source] tokio::task::JoinError),
}

impl EventError {
    fn hook(&self) -> Option<&HookFailure> {
        match self {
            EventError::Hook(hook) | EventError::OldHook { failure: hook, .. } => Some(hook),
            EventError::Cancelled
            | EventError::Disk { .. }
            | EventError::Fetch { .. }
            | EventError::Acquire(_)
            | EventError::Unpack(_)
            | EventError::DiskFull(_)
            | EventError::NoAppSpec { .. }
            | EventError::LastInstalledGone { .. }
            | EventError::NothingInstalled
            | EventError::AppSpec(_)
            | EventError::Install(_)
            | EventError::Panicked(_) => None,
        }
    }

    /// Returns the full path of the script that failed: an old script is not in the new revision.
    pub(crate) fn script(&self) -> Option<PathBuf> {
        self.hook().map(|hook| hook.path.clone())
    }
}

fn listed(mistakes: &[Mistake]) -> String {
    let lines: Vec<String> = mistakes.iter().map(ToString::to_string).collect();
    lines.join("; ")
}

impl Deployment {
    /// Creates the deployment's directory if it does not exist. Also removes old logs, because not
    /// all deployments reach [`Deployment::retain`].
    pub(crate) fn make_dir(&self, revisions_max: usize) -> Result<(), EventError> {
        if self.dir.is_dir() {
            return Ok(());
        }
        let made = std::fs::create_dir_all(&self.dir);
        made.and_then(|()| self.state.retain_logs(&self.dir, revisions_max))
            .map_err(|cause| self.on_disk(cause))
    }

    /// Returns the directory into which the bundle is, or will be, unpacked.
    pub(crate) fn archive(&self) -> PathBuf {
        archive_of(&self.dir)
    }

    /// Removes old revisions to make room for this bundle.
    pub(crate) fn retain(&self, revisions_max: usize) -> Result<(), EventError> {
        self.state.retain(&self.dir, revisions_max).map_err(|cause| self.on_disk(cause))
    }

    /// Marks this deployment as the most recent; the last step of DownloadBundle.
    pub(crate) fn mark_most_recent(&self) -> Result<(), EventError> {
        if self.appspec_name != super::APPSPEC_NAME {
            let path = self.dir.join(APPSPEC_NAME_FILE);
            whole_file::replace(&path, self.appspec_name.as_bytes())
                .map_err(|cause| EventError::Disk { path, cause })?;
        }
        self.state.mark_most_recent(&self.dir).map_err(|cause| self.on_disk(cause))
    }

    /// Runs the built-in event Install. Blocks.
    pub(crate) fn install(&self, file_exists: FileExists) -> Result<(), EventError> {
        let intent = Intent {
            deployment: self.id(),
            appspec_name: self.appspec_name.clone(),
            custom_events: self.custom_events.clone(),
            file_exists,
        };
        let under_way = UnderWay::begin(&self.state, &intent).map_err(|cause| self.on_disk(cause))?;
        let installed = self.install_now(file_exists);
        under_way.done().map_err(|cause| self.on_disk(cause))?;
        installed
    }

    /// If an earlier agent was killed during an installation, ends its script and finishes the
    /// installation. Blocks.
    pub(crate) fn finish_interrupted(state: &State) -> Result<(), EventError> {
        left::end_in_group(state);
        let looked = UnderWay::interrupted(state);
        let on_disk = |cause| EventError::Disk { path: state.installing_file(), cause };
        let Some((under_way, intent)) = looked.map_err(on_disk)? else { return Ok(()) };
        tracing::warn!(deployment = intent.deployment, "an installation was cut off, finishing it");
        let deployment = Deployment {
            dir: state.deployment_dir(&intent.deployment),
            state: state.clone(),
            appspec_name: intent.appspec_name,
            environment: Vec::new(),
            custom_events: intent.custom_events,
            course: Course::InPlace,
            patience: Patience::default(),
            appspecs: AppSpecs::default(),
        };
        let installed = deployment.install_now(intent.file_exists);
        under_way.done().map_err(on_disk)?;
        installed
    }

    /// Returns the name of the deployment's directory.
    fn id(&self) -> String {
        self.dir.file_name().unwrap_or_default().to_string_lossy().into_owned()
    }

    fn install_now(&self, file_exists: FileExists) -> Result<(), EventError> {
        let archive = self.archive();
        let custom = CustomEvents::Only(&self.custom_events);
        let (_, appspec) = self.appspecs.read(&archive, &self.appspec_name, custom)?;
        let originals = self.originals()?;
        let record = install::install(&appspec, &archive, &originals, file_exists, &self.state)
            .map_err(EventError::Install)?;
        // The official agent does this here, not at the deployment's end: this revision is now on
        // the host, and the next deployment has to stop it.
        self.state.mark_last_successful(&self.dir, &record).map_err(|cause| self.on_disk(cause))
    }

    /// Fails, while the old revision still stands, if a script of the new one in `archive` could
    /// not run as the user that it names. A wrong AppSpec file is no failure here: the event that
    /// needs it reports that.
    pub(crate) fn check_users(&self, archive: &Path, events: &[Event]) -> Result<(), EventError> {
        let custom = CustomEvents::Only(&self.custom_events);
        let read = self.appspecs.read(archive, &self.appspec_name, custom);
        let Ok((file, appspec)) = read else { return Ok(()) };
        let missing = missing_users(&file, &appspec, archive, events);
        if missing.is_empty() { Ok(()) } else { Err(EventError::AppSpec(missing)) }
    }

    /// Returns the modes and owners that the bundle gives to its files.
    fn originals(&self) -> Result<Originals, EventError> {
        let note =
            kept::read_note(&self.dir).and_then(|note| note.as_deref().map(Inventory::read).transpose());
        let inventory = note.map_err(|cause| self.on_disk(cause))?;
        Ok(inventory.as_ref().map(Originals::of).unwrap_or_default())
    }

    /// Runs the scripts of an event, if it has any.
    pub(crate) async fn hooks(&self, event: &Event, cancel: &CancellationToken) -> Result<(), EventError> {
        let Some(revision) = self.scripts_from(event)? else { return Ok(()) };
        let archive = revision.archive;
        let (_, appspec) = match self.appspecs.read(&archive, &revision.appspec_name, revision.custom) {
            Err(EventError::NoAppSpec { .. }) if !revision.is_own => return self.pass_over(event, &archive),
            read => read?,
        };
        let mut environment = self.environment.clone();
        environment.push(("LIFECYCLE_EVENT", event.name().to_owned()));
        let hooks = Hooks {
            event: event.name(),
            scripts: scripts(&appspec, event),
            dir: &self.dir,
            archive: &archive,
            environment: &environment,
            // Log to the running deployment, even when old scripts run.
            log: &scripts_log(&self.dir),
            deployment: &self.id(),
            deployments_log: &self.state.deployments_log(),
            patience: self.patience,
        };
        let altered = unaltered::require(&archive, hooks.scripts).await;
        let altered = altered.map_err(|(script, cause)| {
            // Write it to the log, even where the failure is ignored.
            let _ = hooks::note(hooks.log, &format!("Failed - {script}: {cause}"));
            let path = archive.join(script.trim_start_matches('/'));
            HookFailure { event: event.name().to_owned(), script, path, log: String::new(), cause }
        });
        let ended = match altered {
            Ok(()) => hooks::run(&hooks, cancel).await,
            Err(failure) => Err(failure),
        };
        ended.map_err(|failure| match revision.is_own {
            true => EventError::Hook(Box::new(failure)),
            false => EventError::OldHook { archive: archive.clone(), failure: Box::new(failure) },
        })
    }

    /// Returns the unpacked revision whose scripts an event runs; `None` if that is an older
    /// revision and there is none. Once this deployment's own bundle is unpacked, every event uses
    /// that.
    fn scripts_from(&self, event: &Event) -> Result<Option<Scripted<'_>>, EventError> {
        let own = || Scripted {
            archive: self.archive(),
            appspec_name: self.appspec_name.clone(),
            custom: CustomEvents::Only(&self.custom_events),
            is_own: true,
        };
        if self.archive().exists() {
            return Ok(Some(own()));
        }
        let marked = match event.scripts(self.course) {
            Scripts::New | Scripts::BuiltIn => return Ok(Some(own())),
            Scripts::LastInstalled => self.state.last_successful(),
            Scripts::MostRecent => self.state.most_recent(),
        };
        let Some(dir) = marked.map_err(|cause| self.on_disk(cause))? else {
            return if self.course.installs() { Ok(None) } else { Err(EventError::NothingInstalled) };
        };
        if !self.course.installs() && !archive_of(&dir).is_dir() {
            return Err(EventError::LastInstalledGone { dir });
        }
        // Read each revision's AppSpec file under the name that it came with. For one that the
        // official agent deployed, use the current name.
        let name = whole_file::read(&dir.join(APPSPEC_NAME_FILE)).ok().flatten();
        let name = name.and_then(|name| String::from_utf8(name).ok());
        let appspec_name = name.unwrap_or_else(|| self.appspec_name.clone());
        // An older revision was checked when it was deployed.
        let custom = CustomEvents::Any;
        Ok(Some(Scripted { archive: archive_of(&dir), appspec_name, custom, is_own: false }))
    }

    /// Prepares for the first event of a turn that starts again, and says so in scripts.log. Unless
    /// the bundle was already installed, the previous revision is the one to stop, so removes the
    /// unpacked bundle; it is unpacked again later.
    pub(crate) fn begin_anew(&self, interrupted: LifecycleEvent) -> Result<(), EventError> {
        let note = format!("The agent was killed or stopped while {interrupted} ran: the turn begins anew");
        hooks::note(&scripts_log(&self.dir), &note).map_err(|cause| self.on_disk(cause))?;
        let installed = self.state.last_successful().map_err(|cause| self.on_disk(cause))?;
        if installed.is_some_and(|dir| dir == self.dir) {
            return Ok(());
        }
        match std::fs::remove_dir_all(self.archive()) {
            Err(cause) if cause.kind() != io::ErrorKind::NotFound => Err(self.on_disk(cause)),
            Ok(()) | Err(_) => Ok(()),
        }
    }

    /// Continues without scripts that are no longer on disk. An error would block all of this
    /// group's deployments forever, and there is nothing left to repair.
    fn pass_over(&self, event: &Event, archive: &Path) -> Result<(), EventError> {
        let name = event.name();
        let gone = archive.display();
        tracing::warn!(event = name, %gone, "the previous revision's scripts are gone, going on without");
        let note =
            format!("Warning - {name}: the previous revision is gone from {gone}, so its scripts do not run");
        hooks::note(&scripts_log(&self.dir), &note).map_err(|cause| self.on_disk(cause))
    }

    fn on_disk(&self, cause: io::Error) -> EventError {
        EventError::Disk { path: self.dir.clone(), cause }
    }
}

/// An unpacked revision, and how to read its AppSpec file.
struct Scripted<'d> {
    archive: PathBuf,
    appspec_name: String,
    custom: CustomEvents<'d>,
    /// True if it belongs to this deployment, false if to an older one.
    is_own: bool,
}

/// A file beside an archive whose AppSpec file does not have CodeDeploy's name; holds that name.
/// The next deployment, which may use another name, needs it.
const APPSPEC_NAME_FILE: &str = "appspec-filename";

/// Returns the scripts that an AppSpec file has for an event.
pub(super) fn scripts<'a>(appspec: &'a AppSpec, event: &Event) -> &'a [Script] {
    let scripts = match event {
        Event::Known(event) => appspec.hooks.get(event),
        Event::Custom(name) => appspec.custom_hooks.get(name),
    };
    scripts.map_or(&[], Vec::as_slice)
}

pub(super) fn archive_of(dir: &Path) -> PathBuf {
    dir.join(ARCHIVE)
}

/// Returns the path of the log with the scripts' output.
pub(crate) fn scripts_log(dir: &Path) -> PathBuf {
    dir.join("logs").join("scripts.log")
}

/// Converts the error into the form that the ledger holds and people read.
pub(crate) fn failure(event: Option<LifecycleEvent>, error: &EventError) -> Failure {
    let (code, script, log) = match error.hook() {
        Some(hook) => (hook.cause.code(), hook.script.clone(), hook.log.clone()),
        None if matches!(error, EventError::Cancelled) => (ErrorCode::Stopped, String::new(), String::new()),
        None => (ErrorCode::UnknownError, String::new(), String::new()),
    };
    let mut message = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        message += &format!(": {error}");
        cause = error.source();
    }
    let message = keep_start(&message, FAILURE_MESSAGE_MAX).to_owned();
    Failure { event, code, script, message, log }
}

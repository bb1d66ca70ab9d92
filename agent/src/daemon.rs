//! The main loop: it hands every event to the node, and starts every effect that the node asks for.
//! It makes no decisions.

use std::fs;
use std::io;
use std::panic::{self, AssertUnwindSafe};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use proto::config::Config;
use proto::io::{Input, Notice, Output};
use proto::node::{Node, StartError, Stored};
use sd_notify::NotifyState;
use tokio::sync::{broadcast, mpsc, watch};

use crate::ballast::Ballast;
use crate::clock::Clock;
use crate::command::Command;
use crate::config::founds_mark_in;
use crate::effects::Effects;
use crate::host::Host;
use crate::store::{self, Done, Found, Opened, Store, StoreError, Writer};
use crate::telemetry::panic_text;
use crate::transport::{Events, Handle, TransportEvent};

/// Time for running lifecycle events to end after the agent is told to stop: the usual timeout of a
/// script. The agent then cancels them.
const LEAVE_MAX: Duration = Duration::from_secs(300);
/// Time for a cancelled event to end: SIGTERM, five seconds, SIGKILL.
const CANCEL_MAX: Duration = Duration::from_secs(6);
/// Time to send the last messages: how a turn ended, and who leads from now on.
const LINGER: Duration = Duration::from_millis(250);
/// Time for the store to close.
const CLOSE_MAX: Duration = Duration::from_secs(10);
/// The extension of the stop timeout that the agent asks of systemd, repeatedly, while events still
/// run.
const EXTEND_BY: Duration = Duration::from_secs(30);
/// The interval at which the agent tells systemd that it is alive, unless systemd wants a shorter
/// one.
const ALIVE_EVERY: Duration = Duration::from_secs(10);

/// The reason why the agent ended without being asked to.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DaemonError {
    #[error("the agent cannot go on without its store")]
    Store(#[source] StoreError),
    #[error("internal error: the agent's {0} has ended")]
    Ended(&'static str),
    #[error("internal error: the node failed ({0}); start the agent again")]
    NodePanicked(String),
    #[error("cannot remove {}, which says that this host begins its mesh: it has begun before", path.display())]
    Mark {
        path: PathBuf,
        #[source]
        cause: io::Error,
    },
    #[error("the store {} was just made anew and cannot be read: {damage}", path.display())]
    NotMadeAnew { path: PathBuf, damage: String },
    #[error("cannot go on from the store {}", path.display())]
    Start {
        path: PathBuf,
        #[source]
        cause: StartError,
    },
}

/// A node, and the store that it was restored from.
pub(crate) struct Restored {
    pub(crate) node: Node,
    pub(crate) store: Store,
}

/// Opens the store and starts the node from it. If the store cannot be read or has lost something,
/// sets it aside: the host then joins again as a new voter, and never founds a mesh again.
pub(crate) fn restore(config: Config, path: &Path, clock: Clock) -> Result<Restored, DaemonError> {
    let Opened { store, contents, fence, is_rebuilt } = match Store::open(path).map_err(DaemonError::Store)? {
        Found::Readable(opened) => *opened,
        Found::Unreadable { damage } => return start_anew(config, path, clock, &damage),
    };
    let stored = Stored { contents, fence: fence.ok() };
    match Node::start(config.clone(), stored, clock.now()) {
        Ok(node) => {
            if is_rebuilt {
                tracing::warn!(path = %path.display(), "the store was repaired: all that was synced is there");
            }
            Ok(Restored { node, store })
        }
        Err(cause @ (StartError::Corrupt(_) | StartError::Forgotten(_))) => {
            // Close the store before moving it.
            drop(store);
            let damage = fence.map_or_else(|why| why.to_string(), |_| cause.to_string());
            start_anew(config, path, clock, &damage)
        }
        Err(
            cause @ (StartError::OtherMesh { .. } | StartError::OtherHost | StartError::OtherVersion { .. }),
        ) => Err(DaemonError::Start { path: path.to_owned(), cause }),
    }
}

fn start_anew(config: Config, path: &Path, clock: Clock, damage: &str) -> Result<Restored, DaemonError> {
    // If this host once founded the mesh, the others have its ledger. Remove the mark first: after
    // a crash, the next start must not take this host for the founder of a new mesh.
    let mark = founds_mark_in(path.parent().unwrap_or(Path::new("")));
    if let Err(cause) = remove_if_there(&mark) {
        return Err(DaemonError::Mark { path: mark, cause });
    }
    let config = Config { founds: false, ..config };
    let aside = store::set_aside(path).map_err(DaemonError::Store)?;
    tracing::error!(
        damage, aside = %aside.display(),
        "the store was set aside: this host has forgotten everything and joins its mesh as a new voter"
    );
    let opened = match Store::open(path).map_err(DaemonError::Store)? {
        Found::Readable(opened) => *opened,
        Found::Unreadable { damage } => {
            return Err(DaemonError::NotMadeAnew { path: path.to_owned(), damage });
        }
    };
    let failed = |cause| DaemonError::Start { path: path.to_owned(), cause };
    let stored = Stored { contents: opened.contents, fence: opened.fence.ok() };
    let node = Node::start(config, stored, clock.now()).map_err(failed)?;
    Ok(Restored { node, store: opened.store })
}

fn remove_if_there(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(cause) if cause.kind() != io::ErrorKind::NotFound => Err(cause),
        Ok(()) | Err(_) => Ok(()),
    }
}

/// The parts that the loop connects.
pub(crate) struct Parts {
    pub(crate) clock: Clock,
    pub(crate) restored: Restored,
    pub(crate) ballast: Ballast,
    pub(crate) transport: Handle,
    pub(crate) events: Events,
    pub(crate) commands: mpsc::Receiver<Command>,
    pub(crate) notices: broadcast::Sender<Notice>,
    pub(crate) host: Host,
    /// Requests to stop. The first lets running events end, the second cancels them, and the third
    /// ends the agent at once.
    pub(crate) stops: mpsc::Receiver<()>,
}

/// Runs the loop until it is told to stop or cannot continue.
pub(crate) async fn run(parts: Parts) -> Result<(), DaemonError> {
    let transport = parts.transport.clone();
    let (mut daemon, mut inbox) = Daemon::new(parts);
    notify(&[NotifyState::Ready]);
    let ended = daemon.run(&mut inbox).await;
    // However the loop ended, finish the queued writes.
    drop(daemon);
    let closed = async { while inbox.written.recv().await.is_some() {} };
    if tokio::time::timeout(CLOSE_MAX, closed).await.is_err() {
        tracing::error!("the store was not closed in time");
    }
    transport.stop().await;
    ended
}

/// Returns a channel that receives one message for each SIGTERM or SIGINT.
pub(crate) fn stop_signals() -> std::io::Result<mpsc::Receiver<()>> {
    use tokio::signal::unix::{SignalKind, signal};
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    // More than three requests make no difference.
    let (sender, stops) = mpsc::channel(3);
    tokio::spawn(async move {
        loop {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
            if sender.send(()).await.is_err() {
                return;
            }
        }
    });
    Ok(stops)
}

/// The sources of all input to the loop.
struct Inbox {
    events: Events,
    commands: mpsc::Receiver<Command>,
    results: mpsc::Receiver<Input>,
    written: mpsc::Receiver<Done>,
    free: watch::Receiver<u64>,
    stops: mpsc::Receiver<()>,
    alive: tokio::time::Interval,
}

impl Inbox {
    /// Waits for the next input. Without room for writes, takes only input that cannot cause more
    /// of them.
    async fn next(&mut self, has_room: bool, wake: Option<Instant>, stage_over: Option<Instant>) -> Incoming {
        tokio::select! {
            written = self.written.recv() => {
                written.map_or(Incoming::Ended("store"), Incoming::Written)
            }
            event = self.events.recv(), if has_room => {
                event.map_or(Incoming::Ended("transport"), |event| Incoming::Input(to_input(event)))
            }
            // If no sender is left for the next two, the loop continues without them.
            Some(input) = self.results.recv(), if has_room => Incoming::Input(input),
            Some(command) = self.commands.recv(), if has_room => Incoming::Command(command),
            Ok(()) = self.free.changed(), if has_room => Incoming::Input(self.disk()),
            () = sleep_until(wake), if has_room => Incoming::Input(Input::Wake),
            Some(()) = self.stops.recv() => Incoming::Stop,
            () = sleep_until(stage_over) => Incoming::StageOver,
            _ = self.alive.tick() => Incoming::Alive,
        }
    }

    /// Returns the newest look at the disk.
    fn disk(&mut self) -> Input {
        Input::Disk { free: *self.free.borrow_and_update() }
    }
}

/// An input to the loop.
enum Incoming {
    Input(Input),
    Command(Command),
    Written(Done),
    Stop,
    /// The time limit of the current stage has passed.
    StageOver,
    Alive,
    /// A part of the agent that should never end has ended.
    Ended(&'static str),
}

/// The agent's progress in stopping.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Running,
    /// Running events may still end by themselves.
    Leaving {
        until: Instant,
    },
    /// Running events were told to end.
    Cancelling {
        until: Instant,
    },
    /// No event runs; the last messages are being sent.
    Lingering {
        until: Instant,
    },
    Over,
}

struct Daemon {
    clock: Clock,
    node: Node,
    effects: Effects,
    stage: Stage,
}

impl Daemon {
    fn new(parts: Parts) -> (Self, Inbox) {
        let Parts { clock, restored, ballast, transport, events, commands, notices, host, stops } = parts;
        let free = ballast.free();
        let (writer, written) = Writer::start(restored.store, ballast);
        let (effects, results) = Effects::new(transport, writer, host, notices);
        let every = sd_notify::watchdog_enabled().map_or(ALIVE_EVERY, |limit| ALIVE_EVERY.min(limit / 2));
        let alive = tokio::time::interval(every);
        let daemon = Daemon { clock, node: restored.node, effects, stage: Stage::Running };
        (daemon, Inbox { events, commands, results, written, free, stops, alive })
    }

    async fn run(&mut self, inbox: &mut Inbox) -> Result<(), DaemonError> {
        // Start the effects that the node already asks for after its start.
        self.feed(inbox.disk())?;
        while self.stage != Stage::Over {
            let wake = self.node.next_wake().map(|time| self.clock.instant(time));
            match inbox.next(self.effects.has_room(), wake, self.stage.until()).await {
                Incoming::Input(input) => self.feed(input)?,
                Incoming::Command(Command::Request { request, reply }) => {
                    let id = self.effects.expect_reply(reply);
                    self.feed(Input::Request { id, request })?;
                }
                Incoming::Command(Command::Read(look)) => self.show(look),
                Incoming::Written(Ok(id)) => {
                    self.effects.written();
                    self.feed(Input::Persisted(id))?;
                }
                Incoming::Written(Err(error)) => return Err(DaemonError::Store(error)),
                Incoming::Stop => self.on_stop()?,
                Incoming::StageOver => self.on_stage_over(),
                Incoming::Alive => self.tell_alive(),
                Incoming::Ended(part) => return Err(DaemonError::Ended(part)),
            }
            self.linger_if_idle();
        }
        tracing::info!("stopped");
        Ok(())
    }

    /// Hands one input to the node and starts every effect that results.
    fn feed(&mut self, input: Input) -> Result<(), DaemonError> {
        if let Input::Ended { id, result: _ } = &input {
            self.effects.ended(*id);
        }
        let (node, now) = (&mut self.node, self.clock.now());
        let outputs = panic::catch_unwind(AssertUnwindSafe(|| {
            node.handle(input, now);
            std::iter::from_fn(|| node.poll_output()).collect::<Vec<Output>>()
        }));
        // A last line of defence: after a panic, the node is not used again.
        let outputs = outputs.map_err(|panic| DaemonError::NodePanicked(panic_text(panic.as_ref())))?;
        outputs.into_iter().for_each(|output| self.effects.start(output));
        Ok(())
    }

    /// Lets a caller look at the node. Looking cannot change the node, so a panic there only costs
    /// the caller its answer.
    fn show(&self, look: Box<dyn FnOnce(&Node) + Send>) {
        if let Err(panic) = panic::catch_unwind(AssertUnwindSafe(|| look(&self.node))) {
            tracing::error!(panic = panic_text(panic.as_ref()), "a look at the node failed");
        }
    }

    fn on_stop(&mut self) -> Result<(), DaemonError> {
        let now = Instant::now();
        match self.stage {
            Stage::Running => {
                notify(&[NotifyState::Stopping]);
                tracing::info!(is_running = self.effects.is_running(), "stopping; again: cancel what runs");
                self.stage = Stage::Leaving { until: now + LEAVE_MAX };
                self.feed(Input::Leaving)?;
            }
            Stage::Leaving { .. } => self.cancel(now),
            Stage::Cancelling { .. } | Stage::Lingering { .. } | Stage::Over => self.stage = Stage::Over,
        }
        Ok(())
    }

    fn on_stage_over(&mut self) {
        match self.stage {
            Stage::Leaving { .. } => self.cancel(Instant::now()),
            Stage::Cancelling { .. } | Stage::Lingering { .. } | Stage::Over => self.stage = Stage::Over,
            Stage::Running => {}
        }
    }

    fn cancel(&mut self, now: Instant) {
        tracing::warn!("cancelling what runs");
        self.effects.cancel_all();
        self.stage = Stage::Cancelling { until: now + CANCEL_MAX };
    }

    fn linger_if_idle(&mut self) {
        let is_waiting = matches!(self.stage, Stage::Leaving { .. } | Stage::Cancelling { .. });
        if is_waiting && !self.effects.is_running() && self.node.is_idle() {
            self.stage = Stage::Lingering { until: Instant::now() + LINGER };
        }
    }

    fn tell_alive(&self) {
        notify(&[NotifyState::Watchdog]);
        if matches!(self.stage, Stage::Leaving { .. } | Stage::Cancelling { .. }) {
            notify(&[NotifyState::ExtendTimeoutUsec(EXTEND_BY.as_micros() as u32)]);
        }
    }
}

impl Stage {
    fn until(self) -> Option<Instant> {
        match self {
            Stage::Running | Stage::Over => None,
            Stage::Leaving { until } | Stage::Cancelling { until } | Stage::Lingering { until } => {
                Some(until)
            }
        }
    }
}

fn to_input(event: TransportEvent) -> Input {
    match event {
        TransportEvent::Connected(host) => Input::Connected { host },
        TransportEvent::Disconnected(host) => Input::Disconnected { host },
        TransportEvent::Frame { from, frame } => Input::Received { from, frame },
        TransportEvent::Gossip { by, frame } => Input::Gossip { by, frame },
    }
}

async fn sleep_until(instant: Option<Instant>) {
    match instant {
        Some(instant) => tokio::time::sleep_until(instant.into()).await,
        None => std::future::pending().await,
    }
}

/// Notifies systemd, if the agent runs under it.
fn notify(state: &[NotifyState<'_>]) {
    if let Err(cause) = sd_notify::notify(state) {
        tracing::warn!(%cause, "cannot tell systemd");
    }
}

#[cfg(test)]
mod tests;

//! Starts every effect that the node asks for. Nothing here blocks: an effect's outcome, whatever
//! it is, becomes another input to the node.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use futures::future::BoxFuture;
use proto::alarm::{AlarmState, Reading};
use proto::entry::{ErrorCode, Failure};
use proto::id::{GroupName, HostId};
use proto::io::{EffectId, Input, Notice, Outcome, Output, ProbeId, ProbeTask, Reply, RequestId, Run, Write};
use proto::revision::Revision;
use tokio::sync::{Semaphore, broadcast, mpsc, oneshot};
use tokio::task::{AbortHandle, JoinError};
use tokio_util::sync::CancellationToken;

use crate::alarm;
use crate::bundle::fetcher::Fetcher;
use crate::host_side::{self, HostSide};
use crate::probe;
use crate::store::Writer;
use crate::telemetry::chain;
use crate::transport::Handle;
use crate::trigger;

/// Capacity of the outcome queue. When it is full, effects that have ended wait to report it.
const OUTCOMES_MAX: usize = 256;
/// Bundles that are fetched ahead of their turns at the same time.
const FETCHES_MAX: usize = 2;
/// Fetches that may wait for one of these. Beyond that, a bundle is fetched in its turn.
const FETCHES_WAITING_MAX: usize = 64;
/// Probes that run at the same time. Others wait, and count as failed if they wait too long.
const PROBES_MAX: usize = 64;

type RunEvent = dyn Fn(Run, CancellationToken) -> BoxFuture<'static, Result<(), Failure>> + Send + Sync;
type ReadAlarm = dyn Fn(alarm::ToRead, CancellationToken) -> BoxFuture<'static, Reading> + Send + Sync;
type Tell =
    dyn Fn(trigger::ToTell, CancellationToken) -> BoxFuture<'static, Result<(), String>> + Send + Sync;
type LookAt = dyn Fn(ProbeTask) -> BoxFuture<'static, Result<(), String>> + Send + Sync;
type FetchBundle = dyn Fn(Revision, Vec<HostId>) -> BoxFuture<'static, ()> + Send + Sync;

/// The work that the node can ask of this host: [`HostWork::of`] in an agent, harmless substitutes
/// in tests.
#[derive(Clone)]
pub(crate) struct HostWork {
    /// Runs one lifecycle event until it ends; ends it soon after cancellation.
    pub(crate) run: Arc<RunEvent>,
    /// Fetches a bundle into the cache, if one of the hosts gives it.
    pub(crate) fetch: Arc<FetchBundle>,
    /// Reads an alarm once.
    pub(crate) read_alarm: Arc<ReadAlarm>,
    /// Delivers one message to a trigger's receiver.
    pub(crate) tell: Arc<Tell>,
    /// Probes an application once; stops at once when dropped.
    pub(crate) probe: Arc<LookAt>,
}

/// Creates the HTTP client for alarms and receivers. It does not follow redirections, which would
/// carry a request that is signed for one place to another.
pub(crate) fn http_client() -> Result<reqwest::Client, reqwest::Error> {
    reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).build()
}

impl HostWork {
    /// Creates the work of a real agent.
    pub(crate) fn of(host_side: HostSide, fetcher: Fetcher, http: reqwest::Client) -> Self {
        let http_of_triggers = http.clone();
        let looking = host_side.clone();
        let deploy_root = host_side.deploy_root.clone();
        HostWork {
            probe: Arc::new(move |task| Box::pin(probe::look(task, deploy_root.clone()))),
            run: Arc::new(move |run, cancel| {
                let host_side = host_side.clone();
                Box::pin(async move { host_side.run(run, cancel).await })
            }),
            fetch: Arc::new(move |revision, sources| {
                let (fetcher, looking) = (fetcher.clone(), looking.clone());
                Box::pin(async move {
                    // A bundle that is unpacked on this host needs no archive.
                    let look = tokio::task::spawn_blocking(move || looking.has_unpacked(&revision.digest));
                    if look.await.unwrap_or(false) {
                        return;
                    }
                    if let Err(error) = fetcher.fetch(&revision, &sources).await {
                        // The bundle's turn tries again, and reports the error if it fails.
                        tracing::info!(digest = %revision.digest, cause = chain(&error), "bundle not fetched ahead");
                    }
                })
            }),
            read_alarm: Arc::new(move |to_read, cancel| {
                let http = http.clone();
                Box::pin(async move { alarm::read(&http, to_read, cancel).await })
            }),
            tell: Arc::new(move |to_tell, cancel| {
                let http = http_of_triggers.clone();
                Box::pin(async move { trigger::tell(&http, to_tell, cancel).await })
            }),
        }
    }
}

/// Returns the function by which the host side gets a bundle that is not in its cache.
pub(crate) fn fetch_with(fetcher: Fetcher) -> host_side::Fetch {
    Arc::new(move |revision, sources| {
        let fetcher = fetcher.clone();
        Box::pin(async move { Ok(fetcher.fetch(&revision, &sources).await?) })
    })
}

/// The effects in progress.
pub(crate) struct Effects {
    transport: Handle,
    writer: Writer,
    work: HostWork,
    notices: broadcast::Sender<Notice>,
    /// Writes for which the writer has no room. While there are any, the loop takes no input that
    /// could add more.
    waiting: VecDeque<Write>,
    running: BTreeMap<EffectId, CancellationToken>,
    /// Alarm readings and trigger deliveries. The agent does not wait for these when it stops.
    aside: BTreeMap<EffectId, CancellationToken>,
    fetches: Arc<Semaphore>,
    fetches_waiting: Arc<Semaphore>,
    /// The latest probe of each group's application on each host: one at a time.
    probes: BTreeMap<(GroupName, HostId), AbortHandle>,
    probes_at_once: Arc<Semaphore>,
    replies: BTreeMap<RequestId, oneshot::Sender<Reply>>,
    next_request: u64,
    outcomes: mpsc::Sender<Input>,
}

impl Effects {
    /// Creates an empty set of effects, and the receiver of their outcomes.
    pub(crate) fn new(
        transport: Handle,
        writer: Writer,
        work: HostWork,
        notices: broadcast::Sender<Notice>,
    ) -> (Self, mpsc::Receiver<Input>) {
        let (outcomes, inbox) = mpsc::channel(OUTCOMES_MAX);
        let effects = Effects {
            transport,
            writer,
            work,
            notices,
            waiting: VecDeque::new(),
            running: BTreeMap::new(),
            aside: BTreeMap::new(),
            fetches: Arc::new(Semaphore::new(FETCHES_MAX)),
            fetches_waiting: Arc::new(Semaphore::new(FETCHES_WAITING_MAX)),
            probes: BTreeMap::new(),
            probes_at_once: Arc::new(Semaphore::new(PROBES_MAX)),
            replies: BTreeMap::new(),
            next_request: 1,
            outcomes,
        };
        (effects, inbox)
    }

    /// Starts one effect.
    pub(crate) fn start(&mut self, output: Output) {
        match output {
            Output::Send { to, frame } => self.transport.send(to, frame),
            Output::Publish { frame } => self.transport.publish(frame),
            Output::Connect { host, addresses } => self.transport.connect(host, addresses),
            Output::Disconnect { host } => self.transport.disconnect(host),
            Output::Persist(write) => self.persist(write),
            Output::Fetch { revision, sources } => self.fetch(revision, sources),
            Output::Run { effect, run } => self.run(effect, *run),
            Output::ReadAlarm { effect, group, deployment, alarm } => {
                let to_read = alarm::ToRead { group, deployment, alarm: *alarm };
                let cancel = self.cancellation(effect);
                self.beside(effect, (self.work.read_alarm)(to_read, cancel), |ended| {
                    let failed = |_| Reading::new(AlarmState::Unreadable, "the agent failed at reading it");
                    Outcome::Alarm(ended.unwrap_or_else(failed))
                });
            }
            Output::Tell { effect, target, trigger, told } => {
                let to_tell = trigger::ToTell { trigger, target, told: *told };
                let cancel = self.cancellation(effect);
                self.beside(effect, (self.work.tell)(to_tell, cancel), |ended| {
                    Outcome::Told(ended.unwrap_or_else(|_| Err("the agent failed at telling it".into())))
                });
            }
            Output::Cancel { effect } => self.cancel(effect),
            Output::Probe { id, task } => self.probe(id, *task),
            Output::Reply { id, reply } => self.reply(id, reply),
            // It is not an error if nobody watches.
            Output::Notify(notice) => drop(self.notices.send(notice)),
        }
    }

    /// Registers the receiver of a reply, and returns the id with which to hand its request to the
    /// node.
    pub(crate) fn expect_reply(&mut self, reply: oneshot::Sender<Reply>) -> RequestId {
        let id = RequestId(self.next_request);
        self.next_request += 1;
        self.replies.insert(id, reply);
        id
    }

    /// Forgets an effect that has ended; its outcome is already an input.
    pub(crate) fn ended(&mut self, effect: EffectId) {
        self.running.remove(&effect);
        self.aside.remove(&effect);
    }

    /// Returns true if a lifecycle event is running.
    pub(crate) fn is_running(&self) -> bool {
        !self.running.is_empty()
    }

    /// Cancels all running effects.
    pub(crate) fn cancel_all(&self) {
        self.running.values().chain(self.aside.values()).for_each(CancellationToken::cancel);
    }

    /// Returns true if the effects can take more writes.
    pub(crate) fn has_room(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Moves waiting writes to the writer after it has finished one.
    pub(crate) fn written(&mut self) {
        while let Some(write) = self.waiting.pop_front() {
            if let Err(write) = self.writer.write(write) {
                self.waiting.push_front(write);
                return;
            }
        }
    }

    fn persist(&mut self, write: Write) {
        // Writes happen in order: none may overtake those that wait.
        self.waiting.push_back(write);
        self.written();
    }

    fn run(&mut self, effect: EffectId, run: Run) {
        let cancel = CancellationToken::new();
        self.running.insert(effect, cancel.clone());
        let event = run.event;
        // Spawn a separate task, so that a panic becomes an outcome as well.
        let running = tokio::spawn((self.work.run)(run, cancel));
        let outcomes = self.outcomes.clone();
        tokio::spawn(async move {
            let result = running.await.unwrap_or_else(|panic| {
                tracing::error!(%event, %panic, "an event ended by a mistake in the agent");
                Err(Failure {
                    event: Some(event),
                    code: ErrorCode::UnknownError,
                    script: String::new(),
                    message: "the agent failed at it: its log on this host says more".into(),
                    log: String::new(),
                })
            });
            // If nobody listens, the loop has ended.
            let _ = outcomes.send(Input::Done { effect, outcome: Outcome::Event(result) }).await;
        });
    }

    fn cancellation(&mut self, effect: EffectId) -> CancellationToken {
        let cancel = CancellationToken::new();
        self.aside.insert(effect, cancel.clone());
        cancel
    }

    /// Runs the work in a separate task, so that a panic becomes an outcome as well.
    fn beside<T: Send + 'static>(
        &self,
        effect: EffectId,
        work: BoxFuture<'static, T>,
        outcome: impl FnOnce(Result<T, JoinError>) -> Outcome + Send + 'static,
    ) {
        let outcomes = self.outcomes.clone();
        tokio::spawn(async move {
            let ended = tokio::spawn(work).await;
            if let Err(panic) = &ended {
                tracing::error!(%panic, "reading an alarm or telling a receiver ended by a mistake in the agent");
            }
            // If nobody listens, the loop has ended.
            let _ = outcomes.send(Input::Done { effect, outcome: outcome(ended) }).await;
        });
    }

    fn cancel(&self, effect: EffectId) {
        if let Some(cancel) = self.running.get(&effect).or_else(|| self.aside.get(&effect)) {
            cancel.cancel();
        }
    }

    fn probe(&mut self, id: ProbeId, task: ProbeTask) {
        self.probes.retain(|_, probe| !probe.is_finished());
        let of = (task.group.clone(), task.subject);
        let (looking, outcomes) = ((self.work.probe)(task), self.outcomes.clone());
        let at_once = self.probes_at_once.clone();
        let probe = tokio::spawn(async move {
            let permit = at_once.acquire().await;
            let result = looking.await;
            drop(permit);
            // If nobody listens, the loop has ended.
            let _ = outcomes.send(Input::Probed { probe: id, result }).await;
        });
        if let Some(before) = self.probes.insert(of, probe.abort_handle()) {
            before.abort();
        }
    }

    fn fetch(&self, revision: Revision, sources: Vec<HostId>) {
        let Ok(place) = self.fetches_waiting.clone().try_acquire_owned() else { return };
        let (fetches, fetch) = (self.fetches.clone(), self.work.fetch.clone());
        tokio::spawn(async move {
            let permit = fetches.acquire().await;
            drop(place);
            fetch(revision, sources).await;
            drop(permit);
        });
    }

    fn reply(&mut self, id: RequestId, reply: Reply) {
        let asker = self.replies.remove(&id).expect("the node answers what it was asked, once");
        // The caller may have given up.
        let _ = asker.send(reply);
    }
}

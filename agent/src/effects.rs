//! Everything that the node asks of the world is started here. Nothing waits:
//! however an effect ends, it ends as another input.

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

/// Outcomes that wait for the loop; beyond it, what has ended waits to say so.
const OUTCOMES_MAX: usize = 256;
/// Bundles that are brought in ahead of their turns at the same time.
const FETCHES_MAX: usize = 2;
/// And those that wait for it; what is beyond is fetched in its turn.
const FETCHES_WAITING_MAX: usize = 64;
/// Probes at the same time; those beyond wait, and count as failed if they wait
/// too long.
const PROBES_MAX: usize = 64;

type RunEvent = dyn Fn(Run, CancellationToken) -> BoxFuture<'static, Result<(), Failure>> + Send + Sync;
type ReadAlarm = dyn Fn(alarm::ToRead, CancellationToken) -> BoxFuture<'static, Reading> + Send + Sync;
type Tell =
    dyn Fn(trigger::ToTell, CancellationToken) -> BoxFuture<'static, Result<(), String>> + Send + Sync;
type LookAt = dyn Fn(ProbeTask) -> BoxFuture<'static, Result<(), String>> + Send + Sync;
type FetchBundle = dyn Fn(Revision, Vec<HostId>) -> BoxFuture<'static, ()> + Send + Sync;

/// What is done on this host for the node: [`HostWork::of`] in an agent,
/// something harmless in tests.
#[derive(Clone)]
pub(crate) struct HostWork {
    /// Runs one lifecycle event to its end; cancelled, it ends soon.
    pub(crate) run: Arc<RunEvent>,
    /// Brings a bundle into the cache, if one of the hosts gives it.
    pub(crate) fetch: Arc<FetchBundle>,
    /// Reads an alarm once.
    pub(crate) read_alarm: Arc<ReadAlarm>,
    /// Tells a receiver once.
    pub(crate) tell: Arc<Tell>,
    /// Looks how an application is; dropped, it ends at once.
    pub(crate) probe: Arc<LookAt>,
}

/// How alarms and receivers are asked: without following redirections, which
/// would carry what is signed for one place to another.
pub(crate) fn http_client() -> Result<reqwest::Client, reqwest::Error> {
    reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).build()
}

impl HostWork {
    /// What an agent does.
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
                    // What lies unpacked on this host needs no archive.
                    let look = tokio::task::spawn_blocking(move || looking.has_unpacked(&revision.digest));
                    if look.await.unwrap_or(false) {
                        return;
                    }
                    if let Err(error) = fetcher.fetch(&revision, &sources).await {
                        // Its turn will try again, and say why if it cannot.
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

/// How the host side comes by a bundle that is not in its cache.
pub(crate) fn fetch_with(fetcher: Fetcher) -> host_side::Fetch {
    Arc::new(move |revision, sources| {
        let fetcher = fetcher.clone();
        Box::pin(async move { Ok(fetcher.fetch(&revision, &sources).await?) })
    })
}

/// The effects that are under way.
pub(crate) struct Effects {
    transport: Handle,
    writer: Writer,
    work: HostWork,
    notices: broadcast::Sender<Notice>,
    /// Writes for which the writer has no room; while there are any, the loop
    /// takes nothing that could add to them.
    waiting: VecDeque<Write>,
    running: BTreeMap<EffectId, CancellationToken>,
    /// Readings and tellings: nobody waits for these when the agent ends.
    aside: BTreeMap<EffectId, CancellationToken>,
    fetches: Arc<Semaphore>,
    fetches_waiting: Arc<Semaphore>,
    /// By whose application of which group is looked at: one at a time of each.
    probes: BTreeMap<(GroupName, HostId), AbortHandle>,
    probes_at_once: Arc<Semaphore>,
    replies: BTreeMap<RequestId, oneshot::Sender<Reply>>,
    next_request: u64,
    outcomes: mpsc::Sender<Input>,
}

impl Effects {
    /// Nothing under way yet; outcomes come out of the receiver.
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

    /// Starts what the node asks for.
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
            // It is no error that nobody watches.
            Output::Notify(notice) => drop(self.notices.send(notice)),
        }
    }

    /// Where the answer to the request that is given to the node next goes.
    pub(crate) fn expect_reply(&mut self, reply: oneshot::Sender<Reply>) -> RequestId {
        let id = RequestId(self.next_request);
        self.next_request += 1;
        self.replies.insert(id, reply);
        id
    }

    /// An effect has ended, as its outcome tells.
    pub(crate) fn ended(&mut self, effect: EffectId) {
        self.running.remove(&effect);
        self.aside.remove(&effect);
    }

    /// Whether a lifecycle event runs.
    pub(crate) fn is_running(&self) -> bool {
        !self.running.is_empty()
    }

    /// Stops everything that runs as soon as possible.
    pub(crate) fn cancel_all(&self) {
        self.running.values().chain(self.aside.values()).for_each(CancellationToken::cancel);
    }

    /// Whether further writes can be taken.
    pub(crate) fn has_room(&self) -> bool {
        self.waiting.is_empty()
    }

    /// A write was done, so there is room for another.
    pub(crate) fn written(&mut self) {
        while let Some(write) = self.waiting.pop_front() {
            if let Err(write) = self.writer.write(write) {
                self.waiting.push_front(write);
                return;
            }
        }
    }

    fn persist(&mut self, write: Write) {
        // They are written in order: none overtakes those that wait.
        self.waiting.push_back(write);
        self.written();
    }

    fn run(&mut self, effect: EffectId, run: Run) {
        let cancel = CancellationToken::new();
        self.running.insert(effect, cancel.clone());
        let event = run.event;
        // A task of its own, so that its panic is an outcome as well.
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
            // The loop has ended if nobody listens.
            let _ = outcomes.send(Input::Done { effect, outcome: Outcome::Event(result) }).await;
        });
    }

    fn cancellation(&mut self, effect: EffectId) -> CancellationToken {
        let cancel = CancellationToken::new();
        self.aside.insert(effect, cancel.clone());
        cancel
    }

    /// In a task of its own, so that its panic is an outcome as well.
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
            // The loop has ended if nobody listens.
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
            // The loop has ended if nobody listens.
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
        // Whoever asked may have given up.
        let _ = asker.send(reply);
    }
}

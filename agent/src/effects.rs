//! Carries out every output of the node. Nothing here blocks: the result of a task, whatever it is,
//! becomes another input to the node.

use std::collections::{BTreeMap, VecDeque};

use proto::io::{Input, Notice, Output, Reply, RequestId, Write};
use proto::task::{Task, TaskId};
use tokio::sync::{broadcast, mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use crate::host::{self, Host};
use crate::store::Writer;
use crate::transport::Handle;

/// Capacity of the queue of results. When it is full, tasks that have ended wait to report it.
const RESULTS_MAX: usize = 256;

/// A task in progress.
struct Running {
    cancel: CancellationToken,
    /// True for a lifecycle event: the agent waits for these when it stops.
    is_event: bool,
}

/// The outputs in progress.
pub(crate) struct Effects {
    transport: Handle,
    writer: Writer,
    host: Host,
    notices: broadcast::Sender<Notice>,
    /// Writes for which the writer has no room. While there are any, the loop takes no input that
    /// could add more.
    waiting: VecDeque<Write>,
    running: BTreeMap<TaskId, Running>,
    replies: BTreeMap<RequestId, oneshot::Sender<Reply>>,
    next_request: u64,
    results: mpsc::Sender<Input>,
}

impl Effects {
    /// Creates an empty set of effects, and the receiver of the results of tasks.
    pub(crate) fn new(
        transport: Handle,
        writer: Writer,
        host: Host,
        notices: broadcast::Sender<Notice>,
    ) -> (Self, mpsc::Receiver<Input>) {
        let (results, inbox) = mpsc::channel(RESULTS_MAX);
        let effects = Effects {
            transport,
            writer,
            host,
            notices,
            waiting: VecDeque::new(),
            running: BTreeMap::new(),
            replies: BTreeMap::new(),
            next_request: 1,
            results,
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
            Output::Start { id, task } => self.start_task(id, task),
            Output::Cancel { id } => self.cancel(id),
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

    /// Forgets a task that has ended; its result is already an input.
    pub(crate) fn ended(&mut self, id: TaskId) {
        self.running.remove(&id);
    }

    /// Returns true if a lifecycle event is running.
    pub(crate) fn is_running(&self) -> bool {
        self.running.values().any(|running| running.is_event)
    }

    /// Cancels all running tasks.
    pub(crate) fn cancel_all(&self) {
        self.running.values().for_each(|running| running.cancel.cancel());
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

    fn start_task(&mut self, id: TaskId, task: Task) {
        let cancel = CancellationToken::new();
        let is_event = matches!(task, Task::RunEvent(_));
        self.running.insert(id, Running { cancel: cancel.clone(), is_event });
        let (host, results, if_it_panics) =
            (self.host.clone(), self.results.clone(), host::result_of_panic(&task));
        tokio::spawn(async move {
            // Run it in a task of its own, so that a panic becomes a result as well.
            let running = tokio::spawn(async move { host.run(task, cancel).await });
            let result = running.await.unwrap_or_else(|panic| {
                tracing::error!(?id, %panic, "internal error: a task of this host panicked");
                if_it_panics
            });
            // If nobody listens, the loop has ended.
            let _ = results.send(Input::Ended { id, result }).await;
        });
    }

    fn cancel(&self, id: TaskId) {
        if let Some(running) = self.running.get(&id) {
            running.cancel.cancel();
        }
    }

    fn reply(&mut self, id: RequestId, reply: Reply) {
        let asker = self.replies.remove(&id).expect("the node answers what it was asked, once");
        // The caller may have given up.
        let _ = asker.send(reply);
    }
}

//! The channel through which the rest of the agent talks to the one task that owns the node.

use proto::io::{Notice, Reply, Request};
use proto::node::Node;
use tokio::sync::{broadcast, mpsc, oneshot};

/// Capacity of the command queue. The loop handles a command in microseconds, so a full queue means
/// that it hangs. Callers then wait, and report it when they run out of patience.
pub(crate) const COMMANDS_MAX: usize = 256;
/// The number of notices that a slow watcher may be behind. Beyond it, the watcher is told that it
/// missed some and reads the whole state again.
pub(crate) const NOTICES_MAX: usize = 1_024;

/// A command to the node's loop.
pub(crate) enum Command {
    /// Requests a change of something in the mesh.
    Request { request: Box<Request>, reply: oneshot::Sender<Reply> },
    /// Reads from the node. Runs inside the loop, so it must be quick.
    Read(Box<dyn FnOnce(&Node) + Send>),
}

/// The error of a command when the node's loop has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("this agent is stopping")]
pub(crate) struct LoopEnded;

/// A handle to the node. Cheap to clone.
#[derive(Clone)]
pub(crate) struct NodeHandle {
    commands: mpsc::Sender<Command>,
    notices: broadcast::Sender<Notice>,
}

impl NodeHandle {
    /// Creates a handle, and the ends of its channels that the node's loop needs.
    pub(crate) fn new() -> (NodeHandle, mpsc::Receiver<Command>, broadcast::Sender<Notice>) {
        let (commands, inbox) = mpsc::channel(COMMANDS_MAX);
        let (notices, _) = broadcast::channel(NOTICES_MAX);
        (NodeHandle { commands, notices: notices.clone() }, inbox, notices)
    }

    /// Calls `look` with the node and returns its result.
    /// # Errors
    /// If the loop has ended.
    pub(crate) async fn read<T: Send + 'static>(
        &self,
        look: impl FnOnce(&Node) -> T + Send + 'static,
    ) -> Result<T, LoopEnded> {
        let (seen, answer) = oneshot::channel();
        // If the caller is gone by then, the result is not needed.
        let look = Box::new(move |node: &Node| drop(seen.send(look(node))));
        self.commands.send(Command::Read(look)).await.map_err(|_| LoopEnded)?;
        answer.await.map_err(|_| LoopEnded)
    }

    /// Requests a change and waits until it is committed or refused.
    /// # Errors
    /// If the loop has ended; the change may or may not still happen.
    pub(crate) async fn request(&self, request: Request) -> Result<Reply, LoopEnded> {
        let (reply, answer) = oneshot::channel();
        let request = Box::new(request);
        self.commands.send(Command::Request { request, reply }).await.map_err(|_| LoopEnded)?;
        answer.await.map_err(|_| LoopEnded)
    }

    /// Returns a receiver of all notices from now on.
    pub(crate) fn watch(&self) -> broadcast::Receiver<Notice> {
        self.notices.subscribe()
    }
}

//! How the rest of the agent speaks to the one task that owns the node.

use proto::io::{Notice, Reply, Request};
use proto::node::Node;
use tokio::sync::{broadcast, mpsc, oneshot};

/// What waits for the node's loop at most. It takes one in microseconds, so a
/// full queue means that it hangs: callers then wait, and say so when they
/// run out of patience.
pub(crate) const COMMANDS_MAX: usize = 256;
/// What a slow watcher may be behind. Beyond it, it is told that it missed
/// something and looks at the whole state again.
pub(crate) const NOTICES_MAX: usize = 1_024;

/// What the node's loop is asked to do.
pub(crate) enum Command {
    /// Change something in the mesh.
    Request { request: Box<Request>, reply: oneshot::Sender<Reply> },
    /// Look at the node. Runs inside the loop, so it must be quick.
    Read(Box<dyn FnOnce(&Node) + Send>),
}

/// The node's loop has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("this agent is stopping")]
pub(crate) struct LoopEnded;

/// A way to the node. Cheap to clone.
#[derive(Clone)]
pub(crate) struct NodeHandle {
    commands: mpsc::Sender<Command>,
    notices: broadcast::Sender<Notice>,
}

impl NodeHandle {
    /// A handle, and what the node's loop needs of it.
    pub(crate) fn new() -> (NodeHandle, mpsc::Receiver<Command>, broadcast::Sender<Notice>) {
        let (commands, inbox) = mpsc::channel(COMMANDS_MAX);
        let (notices, _) = broadcast::channel(NOTICES_MAX);
        (NodeHandle { commands, notices: notices.clone() }, inbox, notices)
    }

    /// Looks at the node and takes what `look` makes of it.
    /// # Errors
    /// If the loop has ended.
    pub(crate) async fn read<T: Send + 'static>(
        &self,
        look: impl FnOnce(&Node) -> T + Send + 'static,
    ) -> Result<T, LoopEnded> {
        let (seen, answer) = oneshot::channel();
        // The asker may have gone away meanwhile; then nobody misses the answer.
        let look = Box::new(move |node: &Node| drop(seen.send(look(node))));
        self.commands.send(Command::Read(look)).await.map_err(|_| LoopEnded)?;
        answer.await.map_err(|_| LoopEnded)
    }

    /// Asks for a change and waits until it is committed or refused.
    /// # Errors
    /// If the loop has ended; the change may or may not still happen.
    pub(crate) async fn request(&self, request: Request) -> Result<Reply, LoopEnded> {
        let (reply, answer) = oneshot::channel();
        let request = Box::new(request);
        self.commands.send(Command::Request { request, reply }).await.map_err(|_| LoopEnded)?;
        answer.await.map_err(|_| LoopEnded)
    }

    /// Everything that happens from now on.
    pub(crate) fn watch(&self) -> broadcast::Receiver<Notice> {
        self.notices.subscribe()
    }
}

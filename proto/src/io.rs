//! The border of a node: everything that can happen to it, and everything that it
//! can ask of the world.
//!
//! The shell is a simple loop. It gives each [`Input`] to `Node::handle`, and
//! starts each [`Output`] without waiting for it. When that work ends, well or
//! badly, its end comes back as another input.

mod refusal;

use serde::{Deserialize, Serialize};

use crate::entry::{Creator, Submission};
use crate::id::{DeploymentId, GroupName, HostId};
use crate::lifecycle::LifecycleEvent;
use crate::node::Fence;
use crate::policy::Policy;
use crate::recovery::SignedRecovery;
use crate::revision::Revision;
use crate::statement::{Intent, Statement};
use crate::task::{Task, TaskId, TaskResult};
use crate::time::LedgerTime;

pub use refusal::{First, Refusal};

/// The number of a write. [`Input::Persisted`] refers to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct WriteId(pub u64);

/// The number of a probe of an application, by which a host and its observers refer
/// to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ProbeId(pub u64);

/// The number of an API request, chosen by the shell. [`Output::Reply`] refers to
/// it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct RequestId(pub u64);

/// Something that happened to a node. The inputs with their times are a node's
/// whole history, so a history can be saved and replayed.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Input {
    /// A deadline has passed: see `Node::next_wake`. Harmless at any time.
    Wake,
    /// A connection to the host is up, and its handshake is done.
    Connected {
        /// The host at the other end.
        host: HostId,
    },
    /// The last connection to the host is gone.
    Disconnected {
        /// The host at the other end.
        host: HostId,
    },
    /// A frame arrived that a connected host sent to this one.
    Received {
        /// The neighbour that sent the frame.
        from: HostId,
        /// The bytes of the frame, none of them trusted yet.
        frame: Vec<u8>,
    },
    /// The write is done, and so are all writes before it. If it asked for
    /// [`sync`](Write::sync), it is on stable storage.
    Persisted(WriteId),
    /// A task has ended. Ignored unless the node waits for this task.
    Ended {
        /// The task that ended.
        id: TaskId,
        /// The result of the task.
        result: TaskResult,
    },
    /// A client on this host asks for a change.
    Request {
        /// The number that the reply will carry.
        id: RequestId,
        /// The change to make.
        request: Box<Request>,
    },
    /// The agent is about to stop: the node begins no more turns and no more
    /// events.
    Leaving,
    /// A frame that some host published to all arrived by way of a neighbour.
    Gossip {
        /// The neighbour that passed it on, which need not be its author.
        by: HostId,
        /// The bytes of the frame, none of them trusted yet.
        frame: Vec<u8>,
    },
    /// The shell has looked at the disk with the agent's data. Until the first look,
    /// the node assumes that there is room.
    Disk {
        /// The bytes that bundles and what is unpacked from them may take.
        free: u64,
    },
}

/// Something that a node asks the shell to do.
#[derive(Clone, Debug)]
pub enum Output {
    /// Send a frame to a connected host. The frame may be lost.
    Send {
        /// The receiver.
        to: HostId,
        /// The bytes of the frame.
        frame: Vec<u8>,
    },
    /// Send a frame to all hosts, by way of neighbours. The frame may be lost.
    Publish {
        /// The bytes of the frame.
        frame: Vec<u8>,
    },
    /// Keep a connection to the host: dial it at these addresses if there is none.
    Connect {
        /// The host to connect to.
        host: HostId,
        /// Multiaddresses, best first.
        addresses: Vec<String>,
    },
    /// Close the connection: the node no longer needs it.
    Disconnect {
        /// The host at the other end.
        host: HostId,
    },
    /// Write to the store. The shell does the writes in the order in which they
    /// come.
    Persist(Write),
    /// Start a task. Ends as [`Input::Ended`].
    Start {
        /// The number of the task.
        id: TaskId,
        /// The work to do.
        task: Task,
    },
    /// Stop the task as soon as possible. It still ends as [`Input::Ended`].
    Cancel {
        /// The task to stop.
        id: TaskId,
    },
    /// Answer a request.
    Reply {
        /// The request to answer.
        id: RequestId,
        /// The answer.
        reply: Reply,
    },
    /// Tell watchers of something.
    Notify(Notice),
}

/// One atomic batch for the store, which is an ordered map from bytes to bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Write {
    /// The number of this write, for [`Input::Persisted`].
    pub id: WriteId,
    /// True if the batch must survive a power loss before it is reported done.
    pub sync: bool,
    /// The keys to change, in this order: each with its new value, or with `None`
    /// to delete it.
    pub changes: Vec<(Vec<u8>, Option<Vec<u8>>)>,
    /// For a write with `sync`: the fence to keep outside the store. The shell
    /// writes and syncs it after the batch, and only then reports the batch as
    /// done.
    pub fence: Fence,
}

/// A change that a client on this host asks for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[expect(clippy::large_enum_variant, reason = "one at a time, and boxed on its way")]
pub enum Request {
    /// An intent that is complete.
    Intent(Intent),
    /// Submit a deployment. The node gives it an id, and the group's policy if it has none.
    Deploy(Box<DeployRequest>),
    /// Bring a group back to an earlier revision, as a new deployment.
    Rollback {
        /// The group to roll back.
        group: GroupName,
        /// The revision to go back to; `None` means the last good one before the
        /// current.
        to: Option<crate::id::Digest>,
        /// The policy to follow; `None` means the group's own.
        policy: Option<Box<Policy>>,
        /// The person who asks, as the agent knows them.
        by: String,
    },
    /// Let no new deployment of a group begin for a while.
    Freeze {
        /// The group to freeze.
        group: GroupName,
        /// The end of the freeze.
        until: Until,
        /// The reason; may be empty.
        reason: String,
        /// The person who asks.
        by: String,
    },
    /// Continue from this host alone, because most voters are gone for good.
    Recover(Box<SignedRecovery>),
}

impl From<Intent> for Request {
    fn from(intent: Intent) -> Self {
        Request::Intent(intent)
    }
}

/// The end of a period, as a person gives it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Until {
    /// At this time of the ledger's clock.
    At(LedgerTime),
    /// After this much time from now.
    For(std::time::Duration),
}

/// A deployment as an operator asks for it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeployRequest {
    /// The group to deploy to.
    pub group: GroupName,
    /// The revision to install. Its bundle is in this host's cache.
    pub revision: Revision,
    /// The policy to follow, with overrides already applied; `None` means the
    /// group's own.
    pub policy: Option<Policy>,
    /// The operator's description.
    pub description: String,
    /// Hosts that hold the bundle.
    pub holders: Vec<HostId>,
    /// True to wait behind a running deployment instead of being refused.
    pub queue: bool,
    /// The person who asks, as the agent knows them.
    pub by: String,
}

/// The answer to a [`Request`].
pub type Reply = Result<Accepted, Refusal>;

/// A change that is committed and folded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Accepted {
    /// The change is done, and there is nothing more to say.
    Done,
    /// A deployment was submitted under this id.
    Deployment(DeploymentId),
}

/// Something that watchers want to know, as one host has seen it. The entries of
/// the ledger are the truth.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Notice {
    /// This host folded an entry.
    Folded {
        /// The place of the entry in the ledger.
        index: u64,
        /// The time of the entry by the ledger's clock. It is long ago if this host
        /// has just started or returned.
        at: LedgerTime,
        /// The content of the entry.
        statement: Box<Statement>,
    },
    /// A host of a running deployment has moved to another event of its turn.
    Progress(Progress),
    /// Two hosts disagree on what was committed, so nothing that this host says is
    /// safe.
    Diverged {
        /// The host that disagrees with this one.
        with: HostId,
        /// The last index by which the two must have parted.
        index: u64,
    },
}

/// The progress of a host in its turn. Best effort: no decision depends on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Progress {
    /// The deployment that the turn belongs to.
    pub deployment: DeploymentId,
    /// The host whose turn it is.
    pub host: HostId,
    /// The event that the host is in.
    pub event: LifecycleEvent,
}

/// Formats a reason as a suffix in parentheses; nothing if it is empty.
pub(crate) fn because(reason: &str) -> String {
    if reason.is_empty() { String::new() } else { format!(" ({reason})") }
}

/// Turns an accepted [`DeployRequest`] into a submission under this policy.
pub fn submission(request: DeployRequest, deployment: DeploymentId, policy: Policy) -> Submission {
    Submission {
        deployment,
        group: request.group,
        revision: request.revision,
        policy,
        creator: Creator::User,
        rollback_of: None,
        description: request.description,
        holders: request.holders,
        queue: request.queue,
        by: request.by,
    }
}

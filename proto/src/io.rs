//! The border: everything that can happen to a node, and everything that a
//! node can ask of the world.
//!
//! The shell's whole control flow is to give each [`Input`] to
//! `Node::handle` and to start each [`Output`] without waiting for it; however
//! it ends, it ends as another input.

mod refusal;

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::alarm::{Alarm, Reading};
use crate::entry::{Body, Creator, Failure, Submission};
use crate::group::Group;
use crate::health::Probe;
use crate::id::{ConfigName, DeploymentId, GroupName, HostId};
use crate::lifecycle::LifecycleEvent;
use crate::node::Fence;
use crate::policy::{DeploymentConfig, FileExists, Mode, Policy};
use crate::revision::Revision;
use crate::time::LedgerTime;
use crate::trigger::{Target, Told};

pub use refusal::{First, Refusal};

/// Names one write, so that its completion can be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct WriteId(pub u64);

/// Names one effect, so that its outcome can be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct EffectId(pub u64);

/// Each part numbers its own effects, from here on.
impl EffectId {
    pub(crate) const ALARMS: u64 = 1 << 60;
    pub(crate) const TRIGGERS: u64 = 2 << 60;
}

/// Names one probe of an application, so that its result can be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ProbeId(pub u64);

/// Names one request of the API. Chosen by the shell.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct RequestId(pub u64);

/// What can happen to a node. With its times it is a node's whole history, so
/// it can be written down and read again.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Input {
    /// A deadline has come: see `Node::next_wake`. Harmless at any time.
    Wake,
    /// A connection to the host is up, the handshake done.
    Connected {
        /// Who.
        host: HostId,
    },
    /// No connection to the host is left.
    Disconnected {
        /// Who.
        host: HostId,
    },
    /// A frame came from a connected host, which sent it to this one.
    Received {
        /// The neighbour that it came from.
        from: HostId,
        /// As bytes; nothing is believed of them.
        frame: Vec<u8>,
    },
    /// The write is on stable storage (if it asked for that), and so are all
    /// writes before it.
    Persisted(WriteId),
    /// An effect has ended.
    Done {
        /// Which.
        effect: EffectId,
        /// How.
        outcome: Outcome,
    },
    /// A probe has ended: well, or with what it failed of, in one line. One that
    /// never ends counts as failed all the same.
    Probed {
        /// Which.
        probe: ProbeId,
        /// How.
        result: Result<(), String>,
    },
    /// Somebody on this host asks for a change.
    Request {
        /// What the answer will carry.
        id: RequestId,
        /// What is asked.
        request: Box<Request>,
    },
    /// The agent is about to end: no new turn and no new event is begun.
    Leaving,
    /// A frame that somebody published to all came by way of a neighbour.
    Gossip {
        /// The neighbour that passed it on.
        by: HostId,
        /// As bytes; nothing is believed of them.
        frame: Vec<u8>,
    },
}

/// What a node asks of the world.
#[derive(Clone, Debug)]
pub enum Output {
    /// Send to a connected host; may be lost.
    Send {
        /// To whom.
        to: HostId,
        /// The bytes.
        frame: Vec<u8>,
    },
    /// Send to all hosts, by way of neighbours; may be lost.
    Publish {
        /// The bytes.
        frame: Vec<u8>,
    },
    /// Keep a connection to the host, dialling it at these addresses.
    Connect {
        /// Whom.
        host: HostId,
        /// Multiaddresses, best first.
        addresses: Vec<String>,
    },
    /// The connection is no longer wanted.
    Disconnect {
        /// To whom.
        host: HostId,
    },
    /// Write to the store. Writes are done in order.
    Persist(Write),
    /// Bring the bundle into this host's cache ahead of its turn. Has no
    /// outcome: DownloadBundle fetches what is not there.
    Fetch {
        /// Which bundle.
        revision: Revision,
        /// Hosts that should have it, best first.
        sources: Vec<HostId>,
    },
    /// Run one lifecycle event on this host. Ends as [`Input::Done`].
    Run {
        /// Names the run.
        effect: EffectId,
        /// What to run.
        run: Box<Run>,
    },
    /// Read an alarm from this host. Ends as [`Input::Done`].
    ReadAlarm {
        /// Names the reading.
        effect: EffectId,
        /// Of which group.
        group: GroupName,
        /// While which deployment runs.
        deployment: DeploymentId,
        /// What to read, and how long it may take.
        alarm: Box<Alarm>,
    },
    /// Tell a receiver what happened. Ends as [`Input::Done`].
    Tell {
        /// Names the try.
        effect: EffectId,
        /// Whom.
        target: Target,
        /// The trigger's name.
        trigger: String,
        /// What.
        told: Box<Told>,
    },
    /// Stop the effect as soon as possible; it still ends as [`Input::Done`].
    Cancel {
        /// Which.
        effect: EffectId,
    },
    /// Look how an application is. Ends as [`Input::Probed`]. A second probe of
    /// the same group and subject takes the place of one that is under way.
    Probe {
        /// Names the probe.
        id: ProbeId,
        /// What to do.
        task: Box<ProbeTask>,
    },
    /// Answer a request.
    Reply {
        /// Which.
        id: RequestId,
        /// The answer.
        reply: Reply,
    },
    /// Something that watchers want to know.
    Notify(Notice),
}

/// One atomic batch for the store, an ordered map from bytes to bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Write {
    /// Named in [`Input::Persisted`].
    pub id: WriteId,
    /// Whether it must survive a power loss before it is reported done.
    pub sync: bool,
    /// What to write (and, where `None`, to delete), in this order.
    pub changes: Vec<(Vec<u8>, Option<Vec<u8>>)>,
    /// If it is synced: to be kept outside the store, synced too, after the write
    /// and before that is reported done.
    pub fence: Fence,
}

/// One lifecycle event to run, and all that its scripts may ask.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Run {
    /// Of which deployment.
    pub deployment: DeploymentId,
    /// Of which group.
    pub group: GroupName,
    /// To which revision.
    pub revision: Revision,
    /// Who asked for the deployment.
    pub creator: Creator,
    /// Which event.
    pub event: LifecycleEvent,
    /// What Install does with files in the way.
    pub file_exists: FileExists,
    /// Hosts that should have the bundle, best first.
    pub sources: Vec<HostId>,
    /// Whether the deployment brings a bundle, or restarts what is installed.
    pub mode: Mode,
    /// Longest that one script may take, whatever its AppSpec file says.
    pub script_timeout_max: Option<Duration>,
    /// With the first event of a turn that begins anew: the event in which it was
    /// interrupted.
    pub anew: Option<LifecycleEvent>,
}

/// One look at an application.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProbeTask {
    /// Of which group.
    pub group: GroupName,
    /// On which host: this one, or one that asked for a look from afar.
    pub subject: HostId,
    /// What to ask.
    pub probe: Probe,
    /// How long the answer may take.
    pub timeout: Duration,
}

/// How an effect ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Outcome {
    /// A lifecycle event was run.
    Event(Result<(), Failure>),
    /// An alarm was read.
    Alarm(Reading),
    /// A receiver was told, or could not be: why.
    Told(Result<(), String>),
}

/// A change that somebody on this host asks for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[expect(clippy::large_enum_variant, reason = "one at a time, and boxed on its way")]
pub enum Request {
    /// Define a group, or define it anew.
    SetGroup(Group),
    /// Remove a group.
    DeleteGroup(GroupName),
    /// Submit a deployment.
    Deploy(Box<DeployRequest>),
    /// Stop a deployment.
    Stop {
        /// Which.
        deployment: DeploymentId,
        /// Roll back afterwards, whatever the policy says.
        rollback: bool,
        /// Cut events under way short, too.
        now: bool,
    },
    /// Bring a group back to an earlier revision, as a new deployment.
    Rollback {
        /// Which group.
        group: GroupName,
        /// To which revision; none means the last good one before the current.
        to: Option<crate::id::Digest>,
        /// How; none means as the group says.
        policy: Option<Box<Policy>>,
        /// The person who asks, as the agent knows them.
        by: String,
    },
    /// Take a host out of the mesh for good.
    RemoveHost(HostId),
    /// Set or clear an alarm by hand.
    SetAlarm {
        /// Of which group.
        group: GroupName,
        /// Which.
        alarm: String,
        /// Whether it is set.
        active: bool,
        /// Why, and by whom.
        reason: String,
    },
    /// Let no new deployment of a group begin for a while.
    Freeze {
        /// Which group.
        group: GroupName,
        /// For how long.
        until: Until,
        /// Why; may be empty.
        reason: String,
        /// Who asks.
        by: String,
    },
    /// End a freeze early.
    Unfreeze(GroupName),
    /// Give a deployment configuration a name.
    SetConfig(DeploymentConfig),
    /// Remove a named deployment configuration.
    DeleteConfig(ConfigName),
}

/// Until when something holds, as a person says it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Until {
    /// This moment of the ledger's clock.
    At(LedgerTime),
    /// For so long from now on.
    For(std::time::Duration),
}

/// A deployment as an operator asks for it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeployRequest {
    /// To which group.
    pub group: GroupName,
    /// What to install; its bundle lies in this host's cache.
    pub revision: Revision,
    /// In place of the group's own policy, overrides applied.
    pub policy: Option<Policy>,
    /// The operator's words.
    pub description: String,
    /// Hosts that hold the bundle.
    pub holders: Vec<HostId>,
    /// Wait behind a running deployment instead of being refused.
    pub queue: bool,
    /// The person who asks, as the agent knows them.
    pub by: String,
}

/// The answer to a [`Request`].
pub type Reply = Result<Accepted, Refusal>;

/// The change is committed and folded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Accepted {
    /// Done.
    Done,
    /// The deployment has this id.
    Deployment(DeploymentId),
}

/// Something that watchers want to know, as one host has seen it; the ledger's
/// entries are the truth.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Notice {
    /// An entry was folded.
    Folded {
        /// Where.
        index: u64,
        /// When it was committed: long ago, if this host has just started or returned.
        at: LedgerTime,
        /// What.
        body: Box<Body>,
    },
    /// A host of a running deployment is in another event of its turn.
    Progress(Progress),
    /// Hosts disagree on what was committed: nothing this host says is safe.
    Diverged {
        /// With whom.
        with: HostId,
        /// Where at the latest.
        index: u64,
    },
}

/// Where a host is in its turn. Best effort: it is never decided upon.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Progress {
    /// Of which deployment.
    pub deployment: DeploymentId,
    /// Which host.
    pub host: HostId,
    /// The event that it is in.
    pub event: LifecycleEvent,
}

/// A reason as part of a sentence.
pub(crate) fn because(reason: &str) -> String {
    if reason.is_empty() { String::new() } else { format!(" ({reason})") }
}

/// The submission that an accepted [`DeployRequest`] becomes.
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

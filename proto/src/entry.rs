//! The entries of the ledger, and the records that they hold. [`crate::statement`] has
//! what they say.

mod body;

use std::collections::BTreeSet;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::group::Tag;
use crate::id::{DeploymentId, GroupName, HostId, VoterId};
use crate::lifecycle::LifecycleEvent;
use crate::policy::Policy;
use crate::revision::Revision;
use crate::statement::Statement;
use crate::time::LedgerTime;

pub(crate) use body::Body;

/// The place of an entry in the ledger, counted from 1.
pub type Index = u64;

/// The longest statement that may be proposed, in encoded bytes. This is far more than
/// any real statement needs (a turn's end with its log tail is 4 KiB), and far less than
/// the size limit of consensus messages.
pub const STATEMENT_BYTES_MAX: usize = 48 * 1024;

/// One record of the ledger, in the order that consensus gave it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// The time at which the leader stamped the entry, by the ledger's own clock.
    pub at: LedgerTime,
    /// The proposal that became this entry. The proposer recognises its own by it.
    pub proposal: ProposalId,
    /// The content of the entry.
    pub statement: Statement,
}

impl Entry {
    /// Returns the host that proposed the entry. Its connection proved that.
    pub fn author(&self) -> HostId {
        self.proposal.host
    }
}

/// The identity of one proposal of one host.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ProposalId {
    /// The host that proposes.
    pub host: HostId,
    /// The incarnation of that host's agent, which counts the agent's starts.
    pub incarnation: u64,
    /// The number of the proposal within that incarnation.
    pub number: u64,
}

/// A disk with less free space than a deployment needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shortage {
    /// The bytes that the deployment needs at least.
    pub needed: u64,
    /// The bytes that are free for it.
    pub free: u64,
}

impl fmt::Display for Shortage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const MIB: u64 = 1024 * 1024;
        write!(f, "{} MiB free, {} MiB needed", self.free / MIB, self.needed.div_ceil(MIB))
    }
}

/// The facts that the mesh knows about a host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostRecord {
    /// The id of the host.
    pub host: HostId,
    /// The host's number in consensus, which it uses if it becomes a voter.
    pub voter: VoterId,
    /// A name for people. It should be unique, but no rule enforces that.
    pub name: String,
    /// The tags by which groups select the host.
    pub tags: BTreeSet<Tag>,
    /// The zone that the host stands in; empty if not given.
    pub zone: String,
    /// The multiaddresses at which the host can be dialled.
    pub addresses: Vec<String>,
    /// The number of the agent's start: it grows with each start. Only the newest
    /// counts.
    pub incarnation: u64,
    /// The wire version that the agent speaks.
    pub wire: u16,
    /// The name or id of the host whose place it takes when it joins: that one leaves the
    /// mesh, if it is Down. Empty if there is none.
    pub replaces: String,
    /// A random number, drawn at each start of the agent. It tells apart two agents
    /// that run with the same key, as after a disk was cloned.
    pub start: u64,
}

/// The creator of a deployment (CodeDeploy's term).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Creator {
    /// A person or a pipeline.
    User,
    /// The mesh itself, to undo another deployment.
    Rollback,
    /// The mesh itself, to bring hosts that are behind to the last good revision.
    Autoscale,
}

/// A deployment as submitted, with everything that the fold needs to know of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Submission {
    /// The id of the deployment, chosen by the submitter.
    pub deployment: DeploymentId,
    /// The group to deploy to.
    pub group: GroupName,
    /// The revision to install.
    pub revision: Revision,
    /// The policy to follow, with all overrides applied.
    pub policy: Policy,
    /// The creator of the deployment: a person, or the mesh itself.
    pub creator: Creator,
    /// The deployment that this one undoes, if any.
    pub rollback_of: Option<DeploymentId>,
    /// The operator's description, up to 256 characters.
    pub description: String,
    /// The hosts that held the bundle when the deployment was submitted.
    pub holders: Vec<HostId>,
    /// True to wait behind a running deployment instead of being refused.
    pub queue: bool,
    /// The person who asked, as the agent knows them; empty if the mesh itself
    /// asked.
    pub by: String,
}

/// The outcome of a turn.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum TurnOutcome {
    /// Every event succeeded.
    Succeeded,
    /// One event failed, or the turn was given up.
    Failed(Failure),
}

/// The reason why a turn failed. The host cuts its own texts to size before it
/// proposes them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// The event that failed; `None` if no event began, if it is not known, or if
    /// all events had succeeded.
    pub event: Option<LifecycleEvent>,
    /// The kind of failure.
    pub code: ErrorCode,
    /// The script's location as written in the AppSpec file; empty if no script was
    /// involved.
    pub script: String,
    /// One line for people.
    pub message: String,
    /// The last lines that the script wrote.
    pub log: String,
}

impl Failure {
    /// Makes a failure without a script and its output.
    pub const fn new(event: Option<LifecycleEvent>, code: ErrorCode, message: String) -> Self {
        Failure { event, code, script: String::new(), message, log: String::new() }
    }
}

/// The longest [`Failure::log`], in bytes. CodeDeploy's agent keeps 2,048
/// characters.
pub const FAILURE_LOG_MAX: usize = 2_048;
/// The longest [`Failure::message`], in bytes.
pub const FAILURE_MESSAGE_MAX: usize = 1_024;

/// The kind of a failure: CodeDeploy's agent codes 0–7, then our own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum ErrorCode {
    /// Code 0: no failure.
    Success,
    /// Code 1: the bundle has no such script.
    ScriptMissing,
    /// Code 2: the script could not be made executable.
    ScriptNotExecutable,
    /// Code 3: the script ran longer than its timeout.
    ScriptTimedOut,
    /// Code 4: the script ended with an exit code other than 0.
    ScriptFailed,
    /// Code 5: any other failure, such as of the AppSpec file, the download, file
    /// conflicts or permissions.
    UnknownError,
    /// Code 6: the script ended, but left its output open. (For us this is a
    /// warning, not a failure.)
    OutputsLeftOpen,
    /// Code 7: the agent was killed while the event ran.
    FailedAfterRestart,
    /// The host did not start within the policy's start timeout.
    DidNotStart,
    /// The host went Down in its turn and did not come back in time.
    HostLost,
    /// The turn took longer than the policy allows.
    TurnTimedOut,
    /// The deployment was stopped before the turn had ended.
    Stopped,
    /// All events succeeded, but the group's health check did not pass in time,
    /// or failed again while the deployment still ran.
    HealthCheckFailed,
    /// The agent was told to stop, and could not wait for the event to end.
    AgentStopped,
}

impl ErrorCode {
    /// Returns true if the fault is the host's rather than the revision's.
    pub const fn was_lost(self) -> bool {
        match self {
            ErrorCode::DidNotStart
            | ErrorCode::HostLost
            | ErrorCode::FailedAfterRestart
            | ErrorCode::AgentStopped => true,
            ErrorCode::Success
            | ErrorCode::ScriptMissing
            | ErrorCode::ScriptNotExecutable
            | ErrorCode::ScriptTimedOut
            | ErrorCode::ScriptFailed
            | ErrorCode::UnknownError
            | ErrorCode::OutputsLeftOpen
            | ErrorCode::TurnTimedOut
            | ErrorCode::Stopped
            | ErrorCode::HealthCheckFailed => false,
        }
    }

    /// Returns true if a timer of the fold ended the turn. The timer does not know
    /// which event the turn was in.
    pub const fn is_of_a_timer(self) -> bool {
        matches!(self, ErrorCode::HostLost | ErrorCode::TurnTimedOut)
    }

    /// Returns the name used in JSON.
    pub const fn name(self) -> &'static str {
        match self {
            ErrorCode::Success => "Success",
            ErrorCode::ScriptMissing => "ScriptMissing",
            ErrorCode::ScriptNotExecutable => "ScriptNotExecutable",
            ErrorCode::ScriptTimedOut => "ScriptTimedOut",
            ErrorCode::ScriptFailed => "ScriptFailed",
            ErrorCode::UnknownError => "UnknownError",
            ErrorCode::OutputsLeftOpen => "OutputsLeftOpen",
            ErrorCode::FailedAfterRestart => "FailedAfterRestart",
            ErrorCode::DidNotStart => "DidNotStart",
            ErrorCode::HostLost => "HostLost",
            ErrorCode::TurnTimedOut => "TurnTimedOut",
            ErrorCode::Stopped => "Stopped",
            ErrorCode::HealthCheckFailed => "HealthCheckFailed",
            ErrorCode::AgentStopped => "AgentStopped",
        }
    }
}

impl fmt::Display for ErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl Creator {
    /// Returns the name used in JSON.
    pub const fn name(self) -> &'static str {
        match self {
            Creator::User => "user",
            Creator::Rollback => "rollback",
            Creator::Autoscale => "autoscale",
        }
    }
}

/// Cuts `text` to at most `bytes_max` bytes at a character boundary, and keeps its
/// end: the last output of a script says what went wrong.
pub fn keep_end(text: &str, bytes_max: usize) -> &str {
    let mut from = text.len().saturating_sub(bytes_max);
    while !text.is_char_boundary(from) {
        from += 1;
    }
    &text[from..]
}

/// Cuts `text` to at most `bytes_max` bytes at a character boundary, and keeps its
/// start: the beginning of a message says what it is about.
pub fn keep_start(text: &str, bytes_max: usize) -> &str {
    let mut to = text.len().min(bytes_max);
    while !text.is_char_boundary(to) {
        to -= 1;
    }
    &text[..to]
}

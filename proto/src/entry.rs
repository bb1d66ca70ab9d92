//! What the ledger holds: its entries, and what each may say.
//!
//! A host that does not know whether its proposal was lost may propose it
//! again, and two hosts may propose the same: to fold a body twice in a row is to
//! fold it once. Where it could undo what came in between, a proposal that comes
//! again is not folded again (`state/repeats.rs`).

mod about;
mod versioned;

use std::collections::BTreeSet;
use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::alarm::AlarmState;
use crate::group::{Group, Tag};
use crate::id::{ConfigName, DeploymentId, GroupName, HostId, VoterId};
use crate::lifecycle::LifecycleEvent;
use crate::policy::{DeploymentConfig, Policy};
use crate::revision::Revision;
use crate::time::LedgerTime;
use crate::trigger::GivenUp;

pub use about::About;
pub use versioned::NotAnEntry;

/// A place in the ledger, counted from 1.
pub type Index = u64;

/// The longest body that may be proposed, encoded. Far above any real one (a
/// turn's end with its log tail is 4 KiB), far below consensus's message size.
pub const BODY_BYTES_MAX: usize = 48 * 1024;

/// One record of the ledger, as it was put in order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// When, by the ledger's own clock.
    pub at: LedgerTime,
    /// Who asked for it: the proposer recognises its own by this.
    pub proposal: ProposalId,
    /// What it says.
    pub body: Body,
}

/// Names one proposal of one host.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ProposalId {
    /// Who proposes.
    pub host: HostId,
    /// Which start of that host's agent; its incarnation.
    pub incarnation: u64,
    /// Which of that start's proposals.
    pub number: u64,
}

/// What an entry says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[expect(clippy::large_enum_variant, reason = "held one at a time: the log keeps bytes")]
pub enum Body {
    /// Nothing but that time has passed: something waits on it.
    Tick,
    /// A host joined, came back with other facts, or raised its incarnation.
    HostJoined(HostRecord),
    /// An operator took a host out of the mesh.
    HostLeft {
        /// Which.
        host: HostId,
    },
    /// Enough observers lost the host: it counts as out of service.
    HostDown {
        /// Which.
        host: HostId,
        /// The incarnation they lost; a newer one refutes it.
        incarnation: u64,
    },
    /// Its observers see it again.
    HostUp {
        /// Which.
        host: HostId,
        /// The incarnation they see.
        incarnation: u64,
    },
    /// A group is defined, or defined anew.
    GroupSet(Group),
    /// A group is gone, and its deployments with it.
    GroupDeleted(GroupName),
    /// The wish to bring a group to a revision.
    Submitted(Box<Submission>),
    /// The host takes its turn; it touches its application only once this is
    /// committed and its lease still stands.
    TurnStarted {
        /// Of which deployment.
        deployment: DeploymentId,
        /// Whose turn.
        host: HostId,
    },
    /// How its turn ended.
    TurnEnded {
        /// Of which deployment.
        deployment: DeploymentId,
        /// Whose turn.
        host: HostId,
        /// How.
        outcome: TurnOutcome,
    },
    /// A person asks the deployment to stop.
    StopRequested {
        /// Which.
        deployment: DeploymentId,
        /// Whether to roll back afterwards, whatever the policy says.
        rollback: bool,
        /// Whether events under way are cut short, too.
        now: bool,
    },
    /// The deployment is over, as the fold had worked out before. Ignored if
    /// the fold has not.
    Finished {
        /// Which.
        deployment: DeploymentId,
    },
    /// A host says that its application has become well or unwell, by the
    /// group's health check. Damped: see [`crate::health`]. Not said in the
    /// host's turn, which ends well only if the check has passed.
    HealthChanged {
        /// In which group.
        group: GroupName,
        /// Which host.
        host: HostId,
        /// Whether it is well now.
        healthy: bool,
        /// What the last probe failed of; empty if it is well.
        error: String,
        /// The index that the host had folded when it said so. Older than what
        /// is known of the host since, and it changes nothing.
        as_of: Index,
    },
    /// A deployment configuration gets a name, or another meaning. Deployments
    /// that run, or wait, keep what they were submitted with.
    ConfigSet(DeploymentConfig),
    /// The name means nothing any more.
    ConfigDeleted(ConfigName),
    /// An alarm was read, and is otherwise than the ledger said.
    AlarmRead {
        /// Of which group.
        group: GroupName,
        /// While which deployment ran; it counts in this one only.
        deployment: DeploymentId,
        /// Which.
        alarm: String,
        /// How it is.
        state: AlarmState,
        /// In words.
        detail: String,
    },
    /// A person sets an alarm, or clears it.
    AlarmSet {
        /// Of which group.
        group: GroupName,
        /// Which.
        alarm: String,
        /// Whether it is set.
        active: bool,
        /// Why, and by whom.
        reason: String,
    },
    /// A trigger has told its receiver of what happened, or given it up.
    TriggersDelivered {
        /// Of which group.
        group: GroupName,
        /// Which.
        trigger: String,
        /// Everything up to this happening.
        up_to: u64,
        /// Of these, what was given up.
        given_up: Vec<GivenUp>,
    },
    /// A person freezes a group: no new deployment begins for a while.
    Frozen {
        /// Which.
        group: GroupName,
        /// Until when, by the ledger's clock.
        until: LedgerTime,
        /// Why; may be empty.
        reason: String,
        /// Who, as he said himself.
        by: String,
    },
    /// A person ends a group's freeze early.
    Unfrozen {
        /// Which.
        group: GroupName,
    },
    /// A host whose turn has come waits with its start, because others are suspect:
    /// the time that it has to start in runs anew from here.
    TurnDeferred {
        /// Of which deployment.
        deployment: DeploymentId,
        /// Whose turn.
        host: HostId,
        /// Who is suspect; at most [`SUSPECTS_NAMED_MAX`] of them.
        suspects: Vec<HostId>,
    },
    /// The agent of a host in its turn was killed or stopped while an event ran, and
    /// is back: the turn begins anew with its first event. Nothing of it runs before
    /// this is committed.
    TurnBegunAnew {
        /// Of which deployment.
        deployment: DeploymentId,
        /// Whose turn.
        host: HostId,
        /// The event that was interrupted.
        event: LifecycleEvent,
        /// The attempt that begins, counted from 1. Any other than the next one
        /// changes nothing.
        attempt: u8,
    },
}

/// Hosts that a host which waits with its start names.
pub const SUSPECTS_NAMED_MAX: usize = 5;

/// What the mesh knows of a host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostRecord {
    /// Who.
    pub host: HostId,
    /// Its number in consensus, should it vote.
    pub voter: VoterId,
    /// A name for people; unique by custom, not by rule.
    pub name: String,
    /// What groups select it by.
    pub tags: BTreeSet<Tag>,
    /// Where it stands; empty if unsaid.
    pub zone: String,
    /// Where it can be dialled, as multiaddresses.
    pub addresses: Vec<String>,
    /// Counts its agent's starts and refutations; only the newest counts.
    pub incarnation: u64,
    /// The wire version that its agent speaks.
    pub wire: u16,
    /// Drawn at random at each start of its agent: tells two agents apart that
    /// run with one key, as from a cloned disk.
    pub start: u64,
}

/// Who asked for a deployment (CodeDeploy's creators).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Creator {
    /// A person or a pipeline.
    User,
    /// The mesh, to undo another deployment.
    Rollback,
    /// The mesh, for a host that joined or returned.
    Autoscale,
}

/// A deployment as submitted: everything the fold needs to know of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Submission {
    /// Its id, chosen by the submitter.
    pub deployment: DeploymentId,
    /// To which group.
    pub group: GroupName,
    /// What to install.
    pub revision: Revision,
    /// How, all overrides applied.
    pub policy: Policy,
    /// Who asked.
    pub creator: Creator,
    /// Which deployment this undoes.
    pub rollback_of: Option<DeploymentId>,
    /// The operator's words, up to 256 characters.
    pub description: String,
    /// Hosts that held the bundle when it was submitted.
    pub holders: Vec<HostId>,
    /// Whether to wait behind a running deployment instead of being refused.
    pub queue: bool,
    /// The person who asked, as the agent knows them. Empty if the mesh asked itself.
    pub by: String,
}

/// On the way back, and when a host is brought up to date, a script that stops the
/// old revision has so long, whatever its AppSpec file says: it may be what is
/// broken, and hosts wait for the good one.
pub const STOP_TIMEOUT_MAX: Duration = Duration::from_secs(60);

impl Submission {
    /// Longest that a script may take that makes way for the revision.
    pub fn stop_timeout_max(&self) -> Option<Duration> {
        let is_way_back = self.rollback_of.is_some() || self.creator != Creator::User;
        is_way_back.then_some(STOP_TIMEOUT_MAX)
    }
}

/// How a turn ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum TurnOutcome {
    /// Every event succeeded.
    Succeeded,
    /// One did not.
    Failed(Failure),
}

/// Why a turn failed. What the host says of it is cut to size at the host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// In which event; none if it never began.
    pub event: Option<LifecycleEvent>,
    /// What kind of failure.
    pub code: ErrorCode,
    /// The script's location as the AppSpec gives it; empty if no script.
    pub script: String,
    /// One line for people.
    pub message: String,
    /// The last lines that the script wrote.
    pub log: String,
}

impl Failure {
    /// One that no script said anything of.
    pub const fn new(event: Option<LifecycleEvent>, code: ErrorCode, message: String) -> Self {
        Failure { event, code, script: String::new(), message, log: String::new() }
    }
}

/// Longest [`Failure::log`], in bytes: CodeDeploy's agent keeps 2,048 characters.
pub const FAILURE_LOG_MAX: usize = 2_048;
/// Longest [`Failure::message`], in bytes.
pub const FAILURE_MESSAGE_MAX: usize = 1_024;

/// CodeDeploy's agent codes 0–7, then ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum ErrorCode {
    /// 0.
    Success,
    /// 1: no such script in the bundle.
    ScriptMissing,
    /// 2: the script could not be made executable.
    ScriptNotExecutable,
    /// 3: it ran longer than its timeout.
    ScriptTimedOut,
    /// 4: it ended with another exit code than 0.
    ScriptFailed,
    /// 5: anything else: AppSpec, download, conflicts, permissions.
    UnknownError,
    /// 6: it ended, but left its output open. (A warning here, no failure.)
    OutputsLeftOpen,
    /// 7: the agent was killed while the event ran.
    FailedAfterRestart,
    /// The host did not start within the policy's start timeout.
    DidNotStart,
    /// The host went Down in its turn and did not come back in time.
    HostLost,
    /// The turn took longer than the policy allows.
    TurnTimedOut,
    /// The deployment was stopped before the host was through.
    Stopped,
    /// All events succeeded, but the group's health check did not pass in time,
    /// or failed again while the deployment still ran.
    HealthCheckFailed,
    /// The agent was told to stop, and could not wait until the event had ended.
    AgentStopped,
}

impl ErrorCode {
    /// Whether the host failed in its turn rather than the revision on it.
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

    /// Whether a timer ended the turn, which does not know where it was.
    pub const fn is_of_a_timer(self) -> bool {
        matches!(self, ErrorCode::HostLost | ErrorCode::TurnTimedOut)
    }

    /// The word that JSON carries.
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
    /// The word that JSON carries.
    pub const fn name(self) -> &'static str {
        match self {
            Creator::User => "user",
            Creator::Rollback => "rollback",
            Creator::Autoscale => "autoscale",
        }
    }
}

/// Cuts `text` to at most `bytes_max` bytes at a character's border, keeping
/// its end: what a script said last is what went wrong.
pub fn keep_end(text: &str, bytes_max: usize) -> &str {
    let mut from = text.len().saturating_sub(bytes_max);
    while !text.is_char_boundary(from) {
        from += 1;
    }
    &text[from..]
}

/// Cuts `text` to at most `bytes_max` bytes at a character's border, keeping
/// its start: what a message says first is what it is about.
pub fn keep_start(text: &str, bytes_max: usize) -> &str {
    let mut to = text.len().min(bytes_max);
    while !text.is_char_boundary(to) {
        to -= 1;
    }
    &text[..to]
}

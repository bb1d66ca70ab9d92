//! Triggers of a group: who is told of what happens to its deployments.
//!
//! What happened is derived by the fold (`state/triggers.rs`), so every host
//! has the same list; one of them, by a line of hashes, tells the receiver.
//! Each happening is told at least once, in order, under an id that never
//! changes, so that a receiver can drop what it has seen.

pub(crate) mod delivery;

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

pub use delivery::Failing;

use crate::alarm::{InvalidWatch, check_name, check_said, check_unique};
use crate::entry::Index;
use crate::id::{DeploymentId, GroupName, HostId};
use crate::rollout::Reason;
use crate::time::LedgerTime;

/// Triggers that a group may have (CodeDeploy's quota).
pub const TRIGGERS_MAX: usize = 10;
/// Happenings of one group that wait to be told, about 100 bytes each; beyond
/// it the oldest is dropped and counted. More than the hosts of most groups
/// give in one deployment.
pub const HAPPENINGS_MAX: usize = 4_096;
/// The last happenings that were given up, as `status` shows them.
pub const GIVEN_UP_KEPT: usize = 10;

/// What can be told: CodeDeploy's ten trigger events.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum TriggerEvent {
    /// A deployment began.
    DeploymentStart,
    /// It succeeded.
    DeploymentSuccess,
    /// It failed.
    DeploymentFailure,
    /// It was stopped, by a person or an alarm.
    DeploymentStop,
    /// The mesh undoes another deployment by this one.
    DeploymentRollback,
    /// Of blue/green deployments only: the new hosts are ready.
    DeploymentReady,
    /// A host started its turn.
    InstanceStart,
    /// Its turn succeeded.
    InstanceSuccess,
    /// Its turn failed, or never started in time.
    InstanceFailure,
    /// Of blue/green deployments only: the new host is ready.
    InstanceReady,
}

impl TriggerEvent {
    /// All of them.
    pub const ALL: [TriggerEvent; 10] = [
        TriggerEvent::DeploymentStart,
        TriggerEvent::DeploymentSuccess,
        TriggerEvent::DeploymentFailure,
        TriggerEvent::DeploymentStop,
        TriggerEvent::DeploymentRollback,
        TriggerEvent::DeploymentReady,
        TriggerEvent::InstanceStart,
        TriggerEvent::InstanceSuccess,
        TriggerEvent::InstanceFailure,
        TriggerEvent::InstanceReady,
    ];

    /// CodeDeploy's word.
    pub const fn name(self) -> &'static str {
        match self {
            TriggerEvent::DeploymentStart => "DeploymentStart",
            TriggerEvent::DeploymentSuccess => "DeploymentSuccess",
            TriggerEvent::DeploymentFailure => "DeploymentFailure",
            TriggerEvent::DeploymentStop => "DeploymentStop",
            TriggerEvent::DeploymentRollback => "DeploymentRollback",
            TriggerEvent::DeploymentReady => "DeploymentReady",
            TriggerEvent::InstanceStart => "InstanceStart",
            TriggerEvent::InstanceSuccess => "InstanceSuccess",
            TriggerEvent::InstanceFailure => "InstanceFailure",
            TriggerEvent::InstanceReady => "InstanceReady",
        }
    }
}

/// Who is told of what.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trigger {
    /// Unique in its group.
    pub name: String,
    /// Of what.
    pub on: BTreeSet<TriggerEvent>,
    /// Who.
    pub target: Target,
}

/// Who is told.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Target {
    /// An HTTP server, by POST.
    Webhook {
        /// `http://` or `https://`.
        url: String,
        /// A file on the hosts that holds the key of the signature; the key
        /// itself never enters the ledger.
        secret_file: Option<String>,
    },
    /// A command on the host that tells, with the happening on its standard
    /// input.
    Exec {
        /// An absolute path, or a name that the agent finds on its `PATH`.
        command: String,
    },
}

/// Something that happened, as the fold found it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Happening {
    /// Counts the group's happenings, from 1, without gaps.
    pub number: u64,
    /// The entry that made it happen.
    pub index: Index,
    /// When.
    pub at: LedgerTime,
    /// What.
    pub event: TriggerEvent,
    /// To which deployment.
    pub deployment: DeploymentId,
    /// To which host, if to one.
    pub host: Option<HostId>,
}

impl Happening {
    /// The same for ever and on every host, and no other happening's.
    pub fn id(&self) -> String {
        let mut hasher = blake3::Hasher::new();
        hasher.update(self.deployment.to_string().as_bytes());
        hasher.update(self.event.name().as_bytes());
        hasher.update(&self.index.to_be_bytes());
        if let Some(host) = self.host {
            hasher.update(host.public_key());
        }
        let hash = hasher.finalize();
        format!("e-{}", data_encoding::HEXLOWER.encode(&hash.as_bytes()[..10]))
    }
}

/// How far one trigger is.
#[derive(Clone, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Cursor {
    /// Happenings up to this one are told, given up, or not its business.
    pub up_to: u64,
    /// How many were given up.
    pub given_up: u64,
    /// How many were dropped because too many waited.
    pub dropped: u64,
    /// The last that were given up, the newest last.
    pub last_given_up: Vec<GivenUp>,
}

/// A happening that the receiver was told in vain.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GivenUp {
    /// Which.
    pub number: u64,
    /// Its [`Happening::id`].
    pub id: String,
    /// What.
    pub event: TriggerEvent,
    /// To which deployment.
    pub deployment: DeploymentId,
    /// Why, after the last try.
    pub why: String,
}

/// Everything that a receiver is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Told {
    /// Stable over retries and take-overs.
    pub id: String,
    /// When it happened.
    pub at: LedgerTime,
    /// What.
    pub event: TriggerEvent,
    /// To which group.
    pub group: GroupName,
    /// To which deployment.
    pub deployment: DeploymentId,
    /// The word for who asked for it.
    pub creator: &'static str,
    /// The word for how it stands.
    pub status: &'static str,
    /// Of what it was: the digest and where the bundle came from.
    pub revision: (String, String),
    /// Which deployment it undoes.
    pub rollback_of: Option<DeploymentId>,
    /// Why it ended so: the numbers, and the sentence made of them.
    pub reason: Option<(Reason, String)>,
    /// To which host, if to one: id, name and, if its turn failed, why.
    pub host: Option<ToldHost>,
}

/// A host's part in a happening.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ToldHost {
    /// Who.
    pub host: HostId,
    /// Its name.
    pub name: String,
    /// How its turn failed: the code's word, the event's name, the message.
    pub failure: Option<(&'static str, Option<&'static str>, String)>,
}

impl Trigger {
    fn check(&self) -> Result<(), InvalidWatch> {
        check_name(&self.name, "a trigger")?;
        if self.on.is_empty() {
            return Err(InvalidWatch::NoEvent(self.name.clone()));
        }
        let said: &[(&'static str, &str)] = match &self.target {
            Target::Webhook { url, secret_file: None } => &[("url", url)],
            Target::Webhook { url, secret_file: Some(file) } => &[("url", url), ("secret_file", file)],
            Target::Exec { command } => &[("exec", command)],
        };
        check_said(&self.name, "trigger", said)
    }
}

/// Checks the limits on a group's triggers.
/// # Errors
/// The first that is broken.
pub fn check_triggers(triggers: &[Trigger]) -> Result<(), InvalidWatch> {
    if triggers.len() > TRIGGERS_MAX {
        return Err(InvalidWatch::TooMany(triggers.len(), "trigger"));
    }
    triggers.iter().try_for_each(Trigger::check)?;
    check_unique(triggers.iter().map(|trigger| trigger.name.as_str()), "trigger")
}

#[cfg(test)]
mod tests;

//! The triggers of a group, which tell others what happens to its deployments.
//!
//! The fold derives what happened (`state/triggers.rs`), so every host has the same
//! list of happenings. One host, chosen by hashes, tells the receiver. It tells
//! each happening at least once, in order, and under an id that never changes, so
//! that a receiver can drop duplicates.

pub(crate) mod delivery;

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

pub use delivery::Failing;

use crate::alarm::{InvalidWatch, check_name, check_said, check_unique};
use crate::entry::Index;
use crate::id::{DeploymentId, GroupName, HostId};
use crate::rollout::Reason;
use crate::time::LedgerTime;

/// The most triggers that a group may have (CodeDeploy's quota).
pub const TRIGGERS_MAX: usize = 10;
/// The most happenings of one group that wait to be told, at about 100 bytes each.
/// Beyond that the oldest is dropped and counted. One deployment of most groups
/// does not produce so many.
pub const HAPPENINGS_MAX: usize = 4_096;
/// The number of given-up happenings that a trigger remembers for `status`: the
/// last ones.
pub const GIVEN_UP_KEPT: usize = 10;

/// The events that can be told: CodeDeploy's ten trigger events.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum TriggerEvent {
    /// A deployment began.
    DeploymentStart,
    /// A deployment succeeded.
    DeploymentSuccess,
    /// A deployment failed.
    DeploymentFailure,
    /// A deployment was stopped, by a person or an alarm.
    DeploymentStop,
    /// The mesh began a deployment that undoes another.
    DeploymentRollback,
    /// The new hosts are ready; in blue/green deployments only.
    DeploymentReady,
    /// A host started its turn.
    InstanceStart,
    /// The turn of a host succeeded.
    InstanceSuccess,
    /// The turn of a host failed, or did not start in time.
    InstanceFailure,
    /// The new host is ready; in blue/green deployments only.
    InstanceReady,
}

impl TriggerEvent {
    /// All events, in the order of their variants.
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

    /// Returns CodeDeploy's name of the event.
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

/// A rule that a receiver is told of certain events.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trigger {
    /// The name of the trigger, unique in its group.
    pub name: String,
    /// The events to tell.
    pub on: BTreeSet<TriggerEvent>,
    /// The receiver, and how it is told.
    pub target: Target,
}

/// A receiver of happenings.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Target {
    /// An HTTP server, told by POST.
    Webhook {
        /// The server's URL, which begins with `http://` or `https://`.
        url: String,
        /// A file on the hosts that holds the key for the signature. The key itself
        /// never enters the ledger.
        secret_file: Option<String>,
    },
    /// A command on the host that delivers, which gets the happening on its
    /// standard input.
    Exec {
        /// The command: an absolute path, or a name that the agent finds on its
        /// `PATH`.
        command: String,
    },
}

/// Something that happened, as the fold found it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Happening {
    /// The number of the happening in its group, counted from 1 without gaps.
    pub number: u64,
    /// The index of the entry that caused it.
    pub index: Index,
    /// The time at which it happened, by the ledger's clock.
    pub at: LedgerTime,
    /// The event.
    pub event: TriggerEvent,
    /// The deployment that it happened to.
    pub deployment: DeploymentId,
    /// The host that it happened to, if it is about one host.
    pub host: Option<HostId>,
}

impl Happening {
    /// Returns the id of the happening. It never changes, is the same on every
    /// host, and no other happening has it.
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

/// The progress of one trigger.
#[derive(Clone, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Cursor {
    /// The number of the last happening that is settled. All happenings up to it
    /// were told, given up, or are not for this trigger.
    pub up_to: u64,
    /// The number of happenings that were given up.
    pub given_up: u64,
    /// The number of happenings that were dropped because too many waited.
    pub dropped: u64,
    /// The happenings that were given up last, the newest at the end.
    pub last_given_up: Vec<GivenUp>,
}

/// A happening that could not be told to the receiver.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GivenUp {
    /// The number of the happening.
    pub number: u64,
    /// Its [`Happening::id`].
    pub id: String,
    /// The event.
    pub event: TriggerEvent,
    /// The deployment that it happened to.
    pub deployment: DeploymentId,
    /// The reason why the last attempt failed.
    pub why: String,
}

/// The message for a receiver, with everything that it is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Told {
    /// The [`Happening::id`], the same for every retry and from every host.
    pub id: String,
    /// The time at which it happened, by the ledger's clock.
    pub at: LedgerTime,
    /// The event.
    pub event: TriggerEvent,
    /// The group that it happened in.
    pub group: GroupName,
    /// The deployment that it happened to.
    pub deployment: DeploymentId,
    /// The name for the creator of the deployment: see
    /// [`Creator::name`](crate::entry::Creator::name).
    pub creator: &'static str,
    /// The name for the status of the deployment.
    pub status: &'static str,
    /// The revision that is deployed: its digest, and its origin.
    pub revision: (String, String),
    /// The deployment that this one undoes, if any.
    pub rollback_of: Option<DeploymentId>,
    /// The reason why the deployment ended: in numbers, and as a sentence.
    pub reason: Option<(Reason, String)>,
    /// The host that it happened to, if it is about one host.
    pub host: Option<ToldHost>,
}

/// The host's part in a happening.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ToldHost {
    /// The id of the host.
    pub host: HostId,
    /// The name of the host.
    pub name: String,
    /// The failure of its turn, if it failed: the name of the error code, the name
    /// of the lifecycle event, and the message.
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
/// The first limit that is exceeded.
pub fn check_triggers(triggers: &[Trigger]) -> Result<(), InvalidWatch> {
    if triggers.len() > TRIGGERS_MAX {
        return Err(InvalidWatch::TooMany(triggers.len(), "trigger"));
    }
    triggers.iter().try_for_each(Trigger::check)?;
    check_unique(triggers.iter().map(|trigger| trigger.name.as_str()), "trigger")
}

#[cfg(test)]
mod tests;

//! What happened: entries of the ledger and notices, as sentences.

use proto::entry::{Body, Creator, TurnOutcome};
use proto::id::{DeploymentId, GroupName, HostId};
use proto::io::Progress;
use proto::node::Node;
use proto::state::State;
use serde::{Deserialize, Serialize};

use super::{DeploymentView, deployments, name_of, written};

/// One thing that happened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Happening {
    /// Its place in the ledger; none if it is not part of it.
    pub(crate) index: Option<u64>,
    /// Of the ledger up to there.
    pub(crate) hash: Option<String>,
    pub(crate) at: Option<String>,
    pub(crate) kind: String,
    pub(crate) group: Option<String>,
    pub(crate) deployment: Option<String>,
    pub(crate) host: Option<String>,
    pub(crate) text: String,
}

/// A piece of the ledger.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct HistoryView {
    pub(crate) mesh: String,
    /// Without their hosts, the oldest first.
    #[serde(default)]
    pub(crate) deployments: Vec<DeploymentView>,
    /// The oldest first.
    pub(crate) entries: Vec<Happening>,
    /// Whether older entries of this kind were left out.
    pub(crate) is_cut: bool,
    /// If asked for: the first and the last entry whose hashes were folded
    /// again and found right.
    pub(crate) verified: Option<(u64, u64)>,
    /// If asked for: the first entry at which the chain does not match.
    pub(crate) broken_at: Option<u64>,
}

/// The deployments and the entries that this host still holds, at most `limit`
/// of each.
pub(crate) fn history(node: &Node, group: Option<&GroupName>, limit: usize, verify: bool) -> HistoryView {
    let state = node.state();
    let mut deployments = deployments(node, group);
    deployments.truncate(limit);
    deployments.reverse();
    let group = group.map(ToString::to_string);
    let mut entries: Vec<Happening> = node
        .entries()
        .into_iter()
        .filter_map(|(index, hash, entry)| {
            let entry = entry?;
            Some(Happening {
                index: Some(index),
                hash: Some(data_encoding::HEXLOWER.encode(&hash)),
                at: Some(written(entry.at)),
                ..happening(state, &entry.body)
            })
        })
        .filter(|entry| group.is_none() || entry.group == group)
        .collect();
    let left_out = entries.len().saturating_sub(limit);
    entries.drain(..left_out);
    let chain = verify.then(|| node.verify_chain());
    HistoryView {
        mesh: node.config().mesh.to_string(),
        deployments,
        entries,
        is_cut: left_out > 0,
        verified: chain.and_then(Result::ok),
        broken_at: chain.and_then(Result::err),
    }
}

/// What an entry says, in words.
pub(crate) fn happening(state: &State, body: &Body) -> Happening {
    match body {
        Body::Tick => said("Tick", "time passed".into()),
        Body::HostJoined(record) => said("HostJoined", format!("{} joined, or came back", record.name))
            .of_host(record.host.to_string()),
        Body::HostLeft { host } => {
            said("HostLeft", format!("{} was taken out of the mesh", name_of(state, *host)))
                .of_host(host.to_string())
        }
        Body::HostDown { host, .. } => {
            said("HostDown", format!("{} is Down", name_of(state, *host))).of_host(host.to_string())
        }
        Body::HostUp { host, .. } => {
            said("HostUp", format!("{} is back", name_of(state, *host))).of_host(host.to_string())
        }
        Body::GroupSet(group) => {
            said("GroupSet", format!("group {} was set", group.name)).of_group(&group.name)
        }
        Body::GroupDeleted(name) => said("GroupDeleted", format!("group {name} was deleted")).of_group(name),
        Body::Submitted(submission) => {
            let what = match (submission.creator, submission.rollback_of) {
                (Creator::Rollback, Some(undone)) => format!("the mesh rolls back {undone}"),
                (Creator::User | Creator::Autoscale | Creator::Rollback, _) => "submitted".to_string(),
            };
            let revision = &submission.revision;
            let text = format!("{what}: {} to {}", submission.group, revision.digest.short());
            said("Submitted", text).of_group(&submission.group).of(state, submission.deployment)
        }
        Body::TurnStarted { deployment, host } => {
            said("TurnStarted", format!("{} took its turn", name_of(state, *host)))
                .of(state, *deployment)
                .of_host(host.to_string())
        }
        Body::TurnEnded { deployment, host, outcome } => {
            said("TurnEnded", format!("{} {}", name_of(state, *host), ended(outcome)))
                .of(state, *deployment)
                .of_host(host.to_string())
        }
        Body::StopRequested { deployment, rollback, now } => {
            let now = if *now { " now" } else { "" };
            let and = if *rollback { ", and to roll it back" } else { "" };
            let text = format!("a person asked to stop {deployment}{now}{and}");
            said("StopRequested", text).of(state, *deployment)
        }
        Body::ConfigSet(config) => said("ConfigSet", format!("configuration {} was set", config.name)),
        Body::ConfigDeleted(name) => said("ConfigDeleted", format!("configuration {name} was deleted")),
        Body::Finished { deployment } => {
            let status = state.rollout(*deployment).map_or("over", |rollout| rollout.status().name());
            said("Finished", format!("{deployment} is over: {status}")).of(state, *deployment)
        }
        Body::AlarmRead { .. }
        | Body::AlarmSet { .. }
        | Body::TriggersDelivered { .. }
        | Body::Frozen { .. }
        | Body::Unfrozen { .. } => watch(state, body),
        Body::HealthChanged { group, host, healthy, error, as_of: _ } => {
            let name = name_of(state, *host);
            let text = match healthy {
                true => format!("{name} is healthy again"),
                false => format!("{name} is unhealthy: {error}"),
            };
            said("HealthChanged", text).of_group(group).of_host(host.to_string())
        }
    }
}

/// What an entry about alarms, triggers or freezes says; any other is told
/// above.
fn watch(state: &State, body: &Body) -> Happening {
    match body {
        Body::AlarmRead { group, deployment, alarm, state: is, detail } => {
            said("AlarmRead", format!("alarm {alarm} is {}: {detail}", is.name()))
                .of(state, *deployment)
                .of_group(group)
        }
        Body::AlarmSet { group, alarm, active, reason } => {
            let text = match active {
                true => format!("alarm {alarm} was set by hand: {reason}"),
                false => format!("alarm {alarm} was cleared: {reason}"),
            };
            said("AlarmSet", text).of_group(group)
        }
        Body::TriggersDelivered { group, trigger, up_to, given_up } => {
            let gone = match given_up.len() {
                0 => String::new(),
                gone => format!(", {gone} given up"),
            };
            said("TriggersDelivered", format!("trigger {trigger} has told everything up to {up_to}{gone}"))
                .of_group(group)
        }
        Body::Frozen { group, until, reason, by } => {
            let why = if reason.is_empty() { String::new() } else { format!(": {reason}") };
            said("Frozen", format!("{by} froze {group} until {until}{why}")).of_group(group)
        }
        Body::Unfrozen { group } => {
            said("Unfrozen", format!("the freeze of {group} was ended")).of_group(group)
        }
        Body::Tick
        | Body::HostJoined(_)
        | Body::HostLeft { .. }
        | Body::HostDown { .. }
        | Body::HostUp { .. }
        | Body::GroupSet(_)
        | Body::GroupDeleted(_)
        | Body::Submitted(_)
        | Body::TurnStarted { .. }
        | Body::TurnEnded { .. }
        | Body::StopRequested { .. }
        | Body::Finished { .. }
        | Body::HealthChanged { .. }
        | Body::ConfigSet(_)
        | Body::ConfigDeleted(_) => happening(state, body),
    }
}

/// Where a host is in its turn, in words.
pub(crate) fn progress(state: &State, progress: &Progress) -> Happening {
    said("Progress", format!("{} is in {}", name_of(state, progress.host), progress.event))
        .of(state, progress.deployment)
        .of_host(progress.host.to_string())
}

/// That this host and another hold different ledgers, in words.
pub(crate) fn diverged(state: &State, with: HostId, index: u64) -> Happening {
    let text = format!(
        "this host and {} disagree on what was committed, at entry {index} at the latest: trust neither",
        name_of(state, with)
    );
    Happening { index: Some(index), ..said("Diverged", text).of_host(with.to_string()) }
}

fn ended(outcome: &TurnOutcome) -> String {
    match outcome {
        TurnOutcome::Succeeded => "succeeded".into(),
        TurnOutcome::Failed(failure) => match failure.event {
            Some(event) => format!("failed in {event}: {}", failure.message),
            None => format!("failed: {}", failure.message),
        },
    }
}

fn said(kind: &str, text: String) -> Happening {
    let (index, hash, at) = (None, None, None);
    Happening { index, hash, at, kind: kind.into(), group: None, deployment: None, host: None, text }
}

impl Happening {
    fn of_host(self, host: String) -> Self {
        Happening { host: Some(host), ..self }
    }

    fn of_group(self, group: &GroupName) -> Self {
        Happening { group: Some(group.to_string()), ..self }
    }

    fn of(self, state: &State, deployment: DeploymentId) -> Self {
        let group = state.rollout(deployment).map(|rollout| rollout.submission.group.to_string());
        Happening { deployment: Some(deployment.to_string()), group: group.or(self.group), ..self }
    }
}

//! The history as lines: ledger entries and notices, as sentences.

use proto::entry::{Submission, TurnOutcome};
use proto::id::{GroupName, HostId};
use proto::io::Progress;
use proto::node::Node;
use proto::recovery::Recovery;
use proto::state::State;
use proto::statement::{Finding, Intent, Report, Statement};
use serde::{Deserialize, Serialize};

use super::recovery_view::{RecoveredView, recoveries};
use super::{DeploymentView, deployments, name_of, written};

/// One event, as a sentence.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct HistoryLine {
    /// Its index in the ledger; `None` if it is not a ledger entry.
    pub(crate) index: Option<u64>,
    /// The hash of the ledger up to this entry.
    pub(crate) hash: Option<String>,
    pub(crate) at: Option<String>,
    pub(crate) kind: String,
    pub(crate) group: Option<String>,
    pub(crate) deployment: Option<String>,
    pub(crate) host: Option<String>,
    pub(crate) text: String,
}

/// A part of the ledger.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct HistoryView {
    pub(crate) mesh: String,
    /// The deployments without their hosts, the oldest first.
    #[serde(default)]
    pub(crate) deployments: Vec<DeploymentView>,
    /// The entries, the oldest first.
    pub(crate) entries: Vec<HistoryLine>,
    /// The recoveries of the mesh, the newest last.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) recoveries: Vec<RecoveredView>,
    /// True if older entries of this kind were left out.
    pub(crate) is_cut: bool,
    /// The first and the last entry whose hashes were recomputed and found correct; `None` if
    /// verification was not requested.
    pub(crate) verified: Option<(u64, u64)>,
    /// The first entry at which the hash chain does not match; `None` if there is none, or if
    /// verification was not requested.
    pub(crate) broken_at: Option<u64>,
}

/// Returns the deployments and entries that this host still holds, at most `limit` of each.
pub(crate) fn history(node: &Node, group: Option<&GroupName>, limit: usize, verify: bool) -> HistoryView {
    let state = node.state();
    let mut deployments = deployments(node, group);
    deployments.truncate(limit);
    deployments.reverse();
    let group = group.map(ToString::to_string);
    let mut entries: Vec<HistoryLine> = node
        .entries()
        .into_iter()
        .filter_map(|(index, hash, entry)| {
            let entry = entry?;
            Some(HistoryLine {
                index: Some(index),
                hash: Some(data_encoding::HEXLOWER.encode(&hash)),
                at: Some(written(entry.at)),
                ..history_line(state, &entry.statement)
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
        recoveries: recoveries(state),
        is_cut: left_out > 0,
        verified: chain.and_then(Result::ok),
        broken_at: chain.and_then(Result::err),
    }
}

/// Describes an entry, and the hosts and deployments that it is about.
pub(crate) fn history_line(state: &State, statement: &Statement) -> HistoryLine {
    let about = statement.about();
    let of_deployment =
        about.deployment.and_then(|id| state.rollout(id)).map(|rollout| &rollout.submission.group);
    HistoryLine {
        group: of_deployment.or(about.group).map(ToString::to_string),
        deployment: about.deployment.map(|id| id.to_string()),
        host: about.host.map(|host| host.to_string()),
        ..said(statement.kind(), words(state, statement))
    }
}

fn words(state: &State, statement: &Statement) -> String {
    let name = |host: &HostId| name_of(state, *host);
    match statement {
        Statement::Finding(Finding::Tick) => "time passed".into(),
        Statement::Finding(Finding::MeshVersion(version)) => format!(
            "the mesh moved to version {version}, which all its agents speak; older agents no longer take part"
        ),
        Statement::Report(Report::HostJoined(record)) if !record.replaces.is_empty() => {
            format!("{} joined in the place of {}, or came back", record.name, record.replaces)
        }
        Statement::Report(Report::HostJoined(record)) => format!("{} joined, or came back", record.name),
        Statement::Intent(Intent::RemoveHost(host)) => format!("{} was taken out of the mesh", name(host)),
        Statement::Report(Report::HostDown { host, .. }) => format!("{} is Down", name(host)),
        Statement::Report(Report::HostUp { host, .. }) => format!("{} is back", name(host)),
        Statement::Intent(Intent::SetGroup(group)) => format!("group {} was set", group.name),
        Statement::Intent(Intent::DeleteGroup(name)) => format!("group {name} was deleted"),
        Statement::Intent(Intent::Deploy(submission)) | Statement::Finding(Finding::Spelled(submission)) => {
            submitted(submission)
        }
        Statement::Report(Report::TurnStarted { host, .. }) => format!("{} took its turn", name(host)),
        Statement::Report(Report::TurnBegunAnew { host, event, attempt, .. }) => format!(
            "{} begins its turn anew (attempt {attempt}): its agent was killed or stopped while {event} ran",
            name(host)
        ),
        Statement::Report(Report::TurnDeferred { host, suspects, .. }) => {
            let suspects: Vec<String> = suspects.iter().map(name).collect();
            format!("{} waits with its start, as these are suspect: {}", name(host), suspects.join(", "))
        }
        Statement::Report(Report::RoomReported { host, shortage: Some(shortage), .. }) => {
            format!("disk full on {}: {shortage}", name(host))
        }
        Statement::Report(Report::RoomReported { host, shortage: None, .. }) => {
            format!("{} has room for its turn", name(host))
        }
        Statement::Report(Report::TurnEnded { host, outcome, .. }) => {
            format!("{} {}", name(host), ended(outcome))
        }
        Statement::Intent(Intent::Stop { deployment, rollback, now, by }) => {
            let now = if *now { " now" } else { "" };
            let and = if *rollback { ", and to roll it back" } else { "" };
            let who = if by.is_empty() { "a person" } else { by };
            format!("{who} asked to stop {deployment}{now}{and}")
        }
        Statement::Intent(Intent::SetConfig(config)) => format!("configuration {} was set", config.name),
        Statement::Intent(Intent::DeleteConfig(name)) => format!("configuration {name} was deleted"),
        Statement::Finding(Finding::Finished { deployment }) => {
            let status = state.rollout(*deployment).map_or("over", |rollout| rollout.status().name());
            format!("{deployment} is over: {status}")
        }
        Statement::Report(Report::HealthChanged { host, healthy: true, .. }) => {
            format!("{} is healthy again", name(host))
        }
        Statement::Report(Report::HealthChanged { host, error, .. }) => {
            format!("{} is unhealthy: {error}", name(host))
        }
        Statement::Report(Report::AlarmRead { alarm, state: is, detail, .. }) => {
            format!("alarm {alarm} is {}: {detail}", is.name())
        }
        Statement::Intent(Intent::SetAlarm { alarm, active: true, reason, .. }) => {
            format!("alarm {alarm} was set by hand: {reason}")
        }
        Statement::Intent(Intent::SetAlarm { alarm, reason, .. }) => {
            format!("alarm {alarm} was cleared: {reason}")
        }
        Statement::Report(Report::TriggersDelivered { trigger, up_to, given_up, .. }) => {
            let gone = match given_up.len() {
                0 => String::new(),
                gone => format!(", {gone} given up"),
            };
            format!("trigger {trigger} has told everything up to {up_to}{gone}")
        }
        Statement::Intent(Intent::Freeze { group, until, reason, by }) => {
            let why = if reason.is_empty() { String::new() } else { format!(": {reason}") };
            format!("{by} froze {group} until {until}{why}")
        }
        Statement::Intent(Intent::Unfreeze(group)) => format!("the freeze of {group} was ended"),
        Statement::Intent(Intent::Recover(signed)) => {
            let Recovery { epoch, base, host, gone, by, .. } = signed.recovery();
            let mut gone: Vec<String> = gone.iter().map(name).collect();
            gone.sort();
            let (from, gone) = (name(host), gone.join(", "));
            format!(
                "{by} recovered the mesh from {from} as of entry {base} (epoch {epoch}), and gave up {gone}"
            )
        }
    }
}

fn submitted(submission: &Submission) -> String {
    let what = match submission.rollback_of.filter(|_| submission.kind().is_by_mesh()) {
        Some(undone) => format!("the mesh rolls back {undone}"),
        None => "submitted".to_string(),
    };
    format!("{what}: {} to {}", submission.group, submission.revision.digest.short())
}

/// Describes a host's progress in its turn.
pub(crate) fn progress(state: &State, progress: &Progress) -> HistoryLine {
    let group = state.rollout(progress.deployment).map(|rollout| rollout.submission.group.to_string());
    HistoryLine {
        group,
        deployment: Some(progress.deployment.to_string()),
        host: Some(progress.host.to_string()),
        ..said("Progress", format!("{} is in {}", name_of(state, progress.host), progress.event))
    }
}

/// Describes that this host and another hold different ledgers.
pub(crate) fn diverged(state: &State, with: HostId, index: u64) -> HistoryLine {
    let text = format!(
        "this host and {} disagree on what was committed, at entry {index} at the latest: trust neither",
        name_of(state, with)
    );
    HistoryLine { index: Some(index), host: Some(with.to_string()), ..said("Diverged", text) }
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

fn said(kind: &str, text: String) -> HistoryLine {
    let (index, hash, at) = (None, None, None);
    HistoryLine { index, hash, at, kind: kind.into(), group: None, deployment: None, host: None, text }
}

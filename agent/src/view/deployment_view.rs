//! Deployments, as users see them.

use std::cmp::Ordering;
use std::collections::BTreeSet;

use proto::deployment_kind::DeploymentKind;
use proto::entry::{ErrorCode, TurnOutcome};
use proto::id::{DeploymentId, GroupName, HostId};
use proto::lifecycle::LifecycleEvent;
use proto::node::Node;
use proto::policy::RESTART_WORDS;
use proto::rollout::{
    Blocker, DeploymentStatus, FAILURES_TOLD, Part, Rollout, Stage, Verdict, Wave, WaveKind,
};
use proto::state::State;
use serde::{Deserialize, Serialize};

use super::names::{Named, Names};
use super::service::in_service;
use super::{StoppedByView, Why, written};

/// A deployment and the turns of its hosts, as JSON.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct DeploymentView {
    pub(crate) id: String,
    /// `application/group`, as commands take it.
    pub(crate) group: String,
    pub(crate) application: String,
    /// The digest of the bundle, in hexadecimal.
    pub(crate) revision: String,
    /// The source of the bundle, as typed.
    pub(crate) origin: String,
    pub(crate) status: String,
    pub(crate) creator: String,
    pub(crate) description: String,
    /// The person who requested it, and on which host. Empty
    /// if the mesh did, or if an older agent submitted it.
    #[serde(default)]
    pub(crate) by: String,
    /// The person who stopped it, and the host where that was asked. Empty if it was not
    /// stopped.
    #[serde(default)]
    pub(crate) stopped_by: String,
    /// The configured number of hosts that must stay healthy.
    pub(crate) config: String,
    pub(crate) created_at: String,
    pub(crate) started_at: Option<String>,
    pub(crate) finished_at: Option<String>,
    pub(crate) rollback_of: Option<String>,
    /// The deployment that rolls this one back.
    pub(crate) rolled_back_by: Option<String>,
    /// The status of that deployment; `None` if no record of it is left.
    #[serde(default)]
    pub(crate) rollback_status: Option<String>,
    /// True if a rollback is still to be created.
    pub(crate) rollback_due: bool,
    /// Oddities of the bundle. Only the answer to the submission has them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) warnings: Vec<String>,
    pub(crate) reason: Option<Why>,
    /// The alarm that stopped it.
    pub(crate) alarm: Option<StoppedByView>,
    /// The reasons why the next turn cannot start now.
    pub(crate) blockers: Vec<Why>,
    pub(crate) counts: Counts,
    pub(crate) healthy: Healthy,
    /// The waves in order; only one if there is neither a canary nor a zone.
    #[serde(default)]
    pub(crate) waves: Vec<WaveView>,
    /// The hosts' turns; `None` in lists of deployments.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) hosts: Option<Vec<TurnView>>,
}

/// The number of hosts in each state.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Counts {
    pub(crate) pending: u32,
    pub(crate) in_progress: u32,
    pub(crate) succeeded: u32,
    pub(crate) failed: u32,
    pub(crate) skipped: u32,
    pub(crate) ready: u32,
}

/// The number of hosts in service, and the number required.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Healthy {
    pub(crate) now: u32,
    pub(crate) minimum: u32,
    pub(crate) total: u32,
    pub(crate) lowest_seen: u32,
}

/// The hosts that go together.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct WaveView {
    /// `canary`, `zone a`, or `rest`.
    pub(crate) name: String,
    /// Pending, InProgress, Baking, Succeeded (all its turns did), Failed (some did) or Skipped.
    pub(crate) status: String,
    pub(crate) hosts: u32,
    pub(crate) succeeded: u32,
    pub(crate) failed: u32,
    /// The bake time, in seconds, before the next wave may start.
    pub(crate) bake_seconds: u64,
    /// The end of the bake, while it lasts.
    pub(crate) bakes_until: Option<String>,
    /// The hosts of its zone: in service now, required, and
    /// all; `None` if the deployment does not go zone by zone.
    pub(crate) zone: Option<ZoneView>,
}

/// The number of a zone's hosts in service, and the number required.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ZoneView {
    pub(crate) now: u32,
    pub(crate) minimum: u32,
    pub(crate) total: u32,
}

/// A host's turn in a deployment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct TurnView {
    #[serde(flatten)]
    pub(crate) who: Named,
    pub(crate) zone: String,
    pub(crate) status: String,
    /// The event in progress, or the one that failed.
    pub(crate) event: Option<String>,
    pub(crate) error_code: Option<String>,
    pub(crate) message: Option<String>,
    /// The script that failed.
    pub(crate) script: Option<String>,
    /// The last lines of the failed script's output.
    pub(crate) log: Option<String>,
    pub(crate) started_at: Option<String>,
    pub(crate) finished_at: Option<String>,
    /// The wave that the host belongs to.
    #[serde(default)]
    pub(crate) wave: Option<String>,
}

impl DeploymentView {
    /// Returns the kind of the deployment. One of a kind that only a newer agent knows counts
    /// as a person's.
    pub(crate) fn kind(&self) -> DeploymentKind {
        let restarts = self.config.contains(RESTART_WORDS);
        let shown = DeploymentKind::shown(&self.creator, self.rollback_of.is_some(), restarts);
        shown.unwrap_or(DeploymentKind::InPlace)
    }

    /// Returns true if nothing more will happen to this deployment.
    pub(crate) fn is_over(&self) -> bool {
        ["Succeeded", "Failed", "Stopped"].contains(&self.status.as_str())
    }

    /// Returns true if it was over before it began, so that no host was ever considered.
    pub(crate) fn never_began(&self) -> bool {
        let Counts { succeeded, failed, skipped, .. } = self.counts;
        self.is_over() && self.started_at.is_none() && succeeded + failed + skipped == 0
    }

    /// Describes its rollback in one sentence; `None` if it has none.
    pub(crate) fn rollback_words(&self) -> Option<String> {
        let by = self.rolled_back_by.as_deref()?;
        Some(match self.rollback_status.as_deref() {
            Some("Succeeded") => format!("It was rolled back by {by}."),
            Some("Failed") => format!("Its rollback {by} failed: skein explain {by}."),
            Some("Stopped") => format!("Its rollback {by} was stopped: skein explain {by}."),
            Some(_) => format!("It is being rolled back by {by}: skein status {by}."),
            // An older agent sends no status, and no record is left of an old rollback.
            None => format!("Its rollback is {by}."),
        })
    }

    /// Returns its hosts; empty if it is part of a list.
    pub(crate) fn hosts(&self) -> &[TurnView] {
        self.hosts.as_deref().unwrap_or(&[])
    }
}

/// Returns a deployment with its hosts.
pub(crate) fn deployment(node: &Node, id: DeploymentId) -> Option<DeploymentView> {
    let rollout = node.state().rollout(id)?;
    let event_of = |host| node.progress(id, host);
    Some(with_hosts(rollout, node.state(), &node.blockers(id), &event_of))
}

/// Returns the deployments of one group, or of all, the newest first and without hosts.
pub(crate) fn deployments(node: &Node, group: Option<&GroupName>) -> Vec<DeploymentView> {
    listed(node, |rollout| group.is_none_or(|group| rollout.submission.group == *group))
}

/// Returns the deployments in which the host's turn is running or still to come.
pub(crate) fn waiting_for(state: &State, host: HostId) -> Vec<String> {
    let waits = |rollout: &&Rollout| match rollout.members().get(&host).map(|member| &member.stage) {
        Some(Stage::Pending | Stage::Leased { .. } | Stage::Started { .. }) => true,
        Some(Stage::NotTargeted | Stage::Ended { .. } | Stage::Skipped) | None => false,
    };
    state.running().filter(waits).map(|rollout| rollout.submission.deployment.to_string()).collect()
}

/// Returns the deployments that are not over, the newest first and without hosts.
pub(super) fn running(node: &Node) -> Vec<DeploymentView> {
    listed(node, |rollout| !rollout.status().is_over())
}

fn listed(node: &Node, is_wanted: impl Fn(&Rollout) -> bool) -> Vec<DeploymentView> {
    let state = node.state();
    let mut rollouts: Vec<&Rollout> =
        state.rollouts().values().filter(|rollout| is_wanted(rollout)).collect();
    rollouts.sort_by_key(|rollout| std::cmp::Reverse((rollout.created_at, rollout.submission.deployment)));
    rollouts
        .into_iter()
        .map(|rollout| summary(rollout, state, &node.blockers(rollout.submission.deployment)))
        .collect()
}

pub(super) fn with_hosts(
    rollout: &Rollout,
    state: &State,
    blockers: &[Blocker],
    event_of: &dyn Fn(HostId) -> Option<LifecycleEvent>,
) -> DeploymentView {
    let parts = state.parts(rollout.submission.deployment);
    let targeted = parts.iter().filter(|(_, part)| *part.stage != Stage::NotTargeted);
    let names = Names::of(state);
    let mut hosts: Vec<TurnView> =
        targeted.map(|(host, part)| turn(*host, part, rollout, &names, event_of(*host))).collect();
    hosts.sort_by(|a, b| a.who.order().cmp(&b.who.order()));
    let mut view = DeploymentView { hosts: Some(hosts), ..summary(rollout, state, blockers) };
    if let Some(reason) = &mut view.reason {
        reason.message += &super::aftermath::words(rollout, &parts, &names);
    }
    view
}

fn summary(rollout: &Rollout, state: &State, blockers: &[Blocker]) -> DeploymentView {
    let submission = &rollout.submission;
    let id = submission.deployment;
    let counts = rollout.counts();
    let group = state.group(&submission.group);
    let rollback = rollout.rolled_back_by.and_then(|by| state.rollout(by));
    DeploymentView {
        id: id.to_string(),
        group: submission.group.to_string(),
        application: submission.group.application().into(),
        revision: submission.revision.digest.to_string(),
        origin: submission.revision.origin.clone(),
        status: rollout.status().name().into(),
        creator: rollout.traits().creator.name().into(),
        description: submission.description.clone(),
        by: submission.by.clone(),
        stopped_by: rollout.stop_by.clone(),
        config: submission.policy.to_string(),
        created_at: written(rollout.created_at),
        started_at: rollout.started_at.filter(|_| has_begun(rollout)).map(written),
        finished_at: rollout.finished_at.map(written),
        rollback_of: submission.rollback_of.map(|undone| undone.to_string()),
        rolled_back_by: rollout.rolled_back_by.map(|by| by.to_string()),
        rollback_status: rollback.map(|rollback| rollback.status().name().into()),
        rollback_due: group.is_some_and(|group| group.owes_rollback_of == Some(id)),
        warnings: Vec::new(),
        reason: Why::of_rollout(rollout),
        alarm: rollout.stopped_by.as_ref().map(StoppedByView::of),
        blockers: if rollout.status().is_over() {
            Vec::new()
        } else {
            blockers.iter().map(|blocker| Why::of_blocker(blocker).naming(blocker, rollout, state)).collect()
        },
        counts: Counts {
            pending: counts.pending,
            in_progress: counts.in_flight,
            succeeded: counts.succeeded,
            failed: counts.failed,
            skipped: counts.skipped,
            ready: 0,
        },
        healthy: healthy(rollout, state),
        waves: (0..).zip(rollout.waves()).map(|(at, of_it)| wave(at, of_it, rollout)).collect(),
        hosts: None,
    }
}

/// Returns true if the deployment has its hosts. A queued deployment has none yet, and one that
/// was stopped in the queue never had any.
fn has_begun(rollout: &Rollout) -> bool {
    rollout.status() != DeploymentStatus::Queued && rollout.total() > 0
}

/// Counts a deployment's healthy hosts. For a queued deployment, counts
/// the group's hosts as they are now: they are taken in when it begins.
fn healthy(rollout: &Rollout, state: &State) -> Healthy {
    let group = state.group(&rollout.submission.group);
    match group.filter(|_| rollout.status() == DeploymentStatus::Queued) {
        Some(known) => {
            let members = state.members_of(&known.group);
            let now = in_service(state, known, &members, &BTreeSet::new());
            let of = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
            let (now, total) = (of(now), of(members.len()));
            Healthy { now, minimum: rollout.submission.policy.bounds(total).minimum, total, lowest_seen: now }
        }
        None => Healthy {
            now: rollout.counts().available,
            minimum: rollout.bounds.minimum,
            total: rollout.total(),
            lowest_seen: rollout.lowest_available,
        },
    }
}

fn wave_name(kind: &WaveKind) -> String {
    match kind {
        WaveKind::Rest => "rest".into(),
        WaveKind::Canary => "canary".into(),
        WaveKind::Zone(zone) if zone.is_empty() => "no zone".into(),
        WaveKind::Zone(zone) => format!("zone {zone}"),
    }
}

fn wave(at: usize, wave: &Wave, rollout: &Rollout) -> WaveView {
    let counts = &wave.counts;
    let hosts = counts.pending + counts.in_flight + counts.succeeded + counts.failed + counts.skipped;
    let bakes_until = rollout.bakes_until().filter(|_| rollout.wave() == at);
    let status = match (at.cmp(&rollout.wave()), wave.is_through()) {
        _ if bakes_until.is_some() => "Baking",
        _ if counts.skipped == hosts => "Skipped",
        (Ordering::Greater, false) if counts.in_flight == 0 => "Pending",
        (_, false) => "InProgress",
        (_, true) if wave.ended_unhealthy > 0 || counts.failed > 0 => "Failed",
        (_, true) if counts.skipped > 0 => "Skipped",
        (_, true) => "Succeeded",
    };
    let zone = match &wave.kind {
        WaveKind::Zone(name) => rollout.zones().iter().find(|zone| zone.name == *name),
        WaveKind::Rest | WaveKind::Canary => None,
    };
    WaveView {
        name: wave_name(&wave.kind),
        status: status.into(),
        hosts,
        succeeded: counts.succeeded,
        failed: counts.failed,
        bake_seconds: wave.bake.as_secs(),
        bakes_until: bakes_until.map(written),
        zone: zone.map(|zone| ZoneView {
            now: zone.counts.available,
            minimum: zone.minimum,
            total: zone.total,
        }),
    }
}

fn turn(
    host: HostId,
    part: &Part<'_>,
    rollout: &Rollout,
    names: &Names<'_>,
    event: Option<LifecycleEvent>,
) -> TurnView {
    let state = names.state;
    let known = state.host(host);
    let (started_at, finished_at) = match &*part.stage {
        Stage::Started { at } => (Some(*at), None),
        Stage::Ended { started, at, .. } => (*started, Some(*at)),
        Stage::NotTargeted | Stage::Pending | Stage::Leased { .. } | Stage::Skipped => (None, None),
    };
    let group = state.group(&rollout.submission.group);
    let unwell = group.filter(|_| part.ailing.is_some());
    let unwell = unwell.and_then(|group| super::health_words::unwell(state, group, host));
    // Only the host itself knows if its last event is over.
    let is_last =
        matches!(*part.stage, Stage::Started { .. }) && event == Some(LifecycleEvent::ValidateService);
    let check = group.and_then(|group| group.group.health.as_ref()).filter(|_| is_last);
    let checked = check.map(|check| {
        format!("its script, or its health check, which has {} s to pass", check.grace.as_secs())
    });
    let deferral = state.deferral(rollout.submission.deployment, host);
    let waits = deferral.map(|deferral| {
        format!("it waits with its start {}", super::health_words::deferred(deferral, state))
    });
    let short = state.shortage(rollout.submission.deployment, host);
    let short = short.map(|short| super::health_words::short_words(host, short, &part.stage, rollout, state));
    let down = part.down.map(|since| format!("Down since {}", written(since)));
    let view = TurnView {
        who: names.named(host),
        zone: known.map(|host| host.record.zone.clone()).unwrap_or_default(),
        status: String::new(),
        event: None,
        error_code: None,
        message: down.or(short).or(waits).or(unwell).or(checked),
        script: None,
        log: None,
        started_at: started_at.map(written),
        finished_at: finished_at.map(written),
        wave: part.wave.map(|wave| wave_name(&wave.kind)),
    };
    let mut view = with_stage(view, part, rollout, state.removed(host).is_some(), event);
    if let Some(event) = part.interrupted {
        let anew = format!("the turn began anew: its agent was killed or stopped while {event} ran");
        view.message =
            Some(view.message.map_or_else(|| anew.clone(), |message| format!("{message}; {anew}")));
    }
    view
}

fn with_stage(
    view: TurnView,
    part: &Part<'_>,
    rollout: &Rollout,
    removed: bool,
    event: Option<LifecycleEvent>,
) -> TurnView {
    let event = event.map(|event| event.name().to_string());
    let policy = &rollout.submission.policy;
    let lost_after = policy.lost_after.as_secs();
    match &*part.stage {
        Stage::NotTargeted | Stage::Pending => TurnView { status: "Pending".into(), ..view },
        Stage::Leased { .. } => {
            let within = policy.lost_after.min(policy.start_timeout).as_secs();
            let down = match removed {
                true => {
                    format!("it was taken out of the mesh: its turn counts as failed in {within} s at most")
                }
                false => format!("it is Down: its turn counts as failed if it is not back within {within} s"),
            };
            let message = part.down.map(|_| down).or(view.message.clone());
            TurnView { status: "InProgress".into(), message, ..view }
        }
        // No host can know what an unreachable host does.
        Stage::Started { .. } if part.down.is_some() => {
            let message = format!(
                "it went Down in its turn, which counts as failed if it is not back within {lost_after} s"
            );
            TurnView { status: "Unknown".into(), event, message: Some(message), ..view }
        }
        Stage::Started { .. } => TurnView { status: "InProgress".into(), event, ..view },
        Stage::Ended { outcome: TurnOutcome::Succeeded, .. } => {
            TurnView { status: "Succeeded".into(), ..view }
        }
        Stage::Ended { outcome: TurnOutcome::Failed(failure), .. } => TurnView {
            status: "Failed".into(),
            event: failure
                .event
                .map(|event| event.name().into())
                // The host's own progress says more than a failure by a timer.
                .or(event.filter(|_| failure.code.is_of_a_timer())),
            error_code: Some(failure.code.name().into()),
            message: said(&failure.message).or_else(|| Some(beyond(failure.code))),
            script: said(&failure.script),
            log: said(&failure.log),
            ..view
        },
        Stage::Skipped => {
            let message = match (&rollout.verdict, rollout.status().is_over()) {
                (Some(Verdict::Stopped(_)), _) => "the deployment was stopped before its turn",
                (_, true) => "the deployment ended before its turn",
                (_, false) => "the deployment ends before its turn",
            };
            TurnView { status: "Skipped".into(), message: Some(message.into()), ..view }
        }
    }
}

/// Describes the failure of a host after so many others that its message was not kept.
fn beyond(code: ErrorCode) -> String {
    format!("{code}; {FAILURES_TOLD} hosts had failed before it, so its words are on the host alone")
}

fn said(text: &str) -> Option<String> {
    (!text.is_empty()).then(|| text.to_string())
}

//! The mesh, its hosts and its groups, as users see them.

use std::collections::BTreeMap;

use proto::id::{GroupName, HostId};
use proto::node::{MeshView, Node, is_clock_off};
use proto::rollout::Health;
use proto::state::{GroupState, Host, State};
use serde::{Deserialize, Serialize};

use super::behind::{self, BehindView};
use super::deployment_view::running;
use super::names::{Named, Names};
use super::recovery_view::{RecoveredView, recoveries};
use super::service::{OutOfServiceView, in_service, in_turn, is_unknown, out_of_service};
use super::{AlarmView, DeploymentView, FreezeView, TriggerView, Why, written};
use crate::group_file::GroupFile;

/// An agent's view of its mesh.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct StatusView {
    /// The id of the host that answers.
    pub(crate) host: String,
    pub(crate) name: String,
    /// The agent's version.
    pub(crate) version: String,
    pub(crate) mesh: String,
    /// The addresses at which this host can be dialled.
    pub(crate) addresses: Vec<String>,
    pub(crate) data_dir: String,
    /// The number of ledger entries that this host has folded. `hash` is their hash.
    pub(crate) index: u64,
    pub(crate) hash: String,
    pub(crate) leader: Option<String>,
    pub(crate) voters: Vec<String>,
    /// The hosts that voted before, while the voters change: until that is done, nothing can
    /// be committed without most of them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) outgoing_voters: Vec<String>,
    pub(crate) hosts: MeshCounts,
    pub(crate) groups: Vec<GroupView>,
    /// Hosts whose clocks are off, each with the difference.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) clocks_off: Vec<String>,
    /// The problem with the disk of this host's data directory.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) disk: Option<String>,
    /// The number of times since the agent's start that a leader claimed that this host's log
    /// holds more than it does. Each claim was refused.
    #[serde(default)]
    pub(crate) beyond_log: u64,
    /// The deployments in progress, without their hosts.
    pub(crate) running: Vec<DeploymentView>,
    /// Hosts whose key two agents use at the same time.
    #[serde(default)]
    pub(crate) twins: Vec<TwinView>,
    /// Names that more than one host has.
    #[serde(default)]
    pub(crate) shared_names: Vec<String>,
    /// The last recovery of the mesh; `None` if there was none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) recovered: Option<RecoveredView>,
    /// Hosts in reach that go by another recovery of the same epoch.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) contradicting: Vec<String>,
    /// The time at which this host was removed from the mesh;
    /// all else is as of then. `None` if it is a member.
    #[serde(default)]
    pub(crate) removed_at: Option<String>,
}

/// Two agents with one key. Neither does anything.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct TwinView {
    #[serde(flatten)]
    pub(crate) who: Named,
    /// The addresses of the agent that spoke last.
    pub(crate) addresses: Vec<String>,
    pub(crate) other_addresses: Vec<String>,
    pub(crate) since: String,
}

impl TwinView {
    fn all(state: &State) -> Vec<Self> {
        let names = Names::of(state);
        let twin = |host: &Host| {
            let twin = host.twin.as_ref()?;
            Some(TwinView {
                who: names.named(host.record.host),
                addresses: host.record.addresses.clone(),
                other_addresses: twin.addresses.clone(),
                since: written(twin.since),
            })
        };
        state.hosts().values().filter_map(twin).collect()
    }

    /// Describes what happened and what to do.
    pub(crate) fn line(&self) -> String {
        format!(
            "two agents run with the key of {}, at {} and at {}, since {}: a data directory was copied; stop \
             one of them, then start the other again",
            self.who.label(),
            self.addresses.join(" "),
            self.other_addresses.join(" "),
            self.since
        )
    }
}

/// The number of hosts in each state.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct MeshCounts {
    pub(crate) total: usize,
    pub(crate) up: usize,
    pub(crate) down: usize,
    /// Hosts that are not Down, but that are heard neither by this host nor by any host that it
    /// hears.
    #[serde(default)]
    pub(crate) unknown: usize,
    /// Hosts that this one is connected to and hears, itself excluded.
    pub(crate) connected: usize,
}

/// A host of the mesh.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct HostView {
    #[serde(flatten)]
    pub(crate) who: Named,
    pub(crate) zone: String,
    pub(crate) tags: Vec<String>,
    pub(crate) addresses: Vec<String>,
    /// Up, Suspect, Down, or Unknown: no reachable host hears it.
    pub(crate) status: String,
    pub(crate) down_since: Option<String>,
    pub(crate) joined_at: String,
    pub(crate) is_voter: bool,
    /// True if it is the host that answers.
    pub(crate) is_self: bool,
    /// The lead of its clock over the ledger's, in milliseconds;
    /// negative if it is behind, `None` if the host is not heard.
    #[serde(default)]
    pub(crate) clock_ahead_ms: Option<i64>,
    /// The state of each group on the host.
    pub(crate) groups: BTreeMap<String, StandingView>,
}

/// The state of one group on one host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct StandingView {
    /// Healthy, Unhealthy, or Unknown before its first turn.
    pub(crate) health: String,
    pub(crate) revision: Option<String>,
    /// The deployment in which its turn runs, which takes it out of service.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) in_turn: Option<String>,
    /// The state of its catch-up, if it is not at the group's last good revision.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) behind: Option<BehindView>,
    /// The time since which the group's health check gives this result;
    /// `None` if the host was never unhealthy since its last turn.
    #[serde(default)]
    pub(crate) since: Option<String>,
    /// The reason why the check fails.
    #[serde(default)]
    pub(crate) error: Option<String>,
    /// The reason why the host may stay unhealthy although the check passes again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) held_back: Option<String>,
}

/// A host that its group's health check finds unhealthy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct UnhealthyView {
    #[serde(flatten)]
    pub(crate) who: Named,
    pub(crate) since: String,
    pub(crate) error: String,
    /// The reason why it may stay unhealthy although the check passes again.
    #[serde(default)]
    pub(crate) held_back: Option<String>,
}

/// A group and the state of its hosts, as JSON.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct GroupView {
    pub(crate) group: String,
    pub(crate) application: String,
    pub(crate) name: String,
    pub(crate) config: String,
    /// The number of hosts that have its tags.
    pub(crate) hosts: usize,
    /// The number of those in service: the last turn succeeded, the health
    /// check passes, and the host is not Down, in a turn, or unknown.
    pub(crate) healthy: usize,
    /// The number of those that are not Down but that no reachable host hears.
    #[serde(default)]
    pub(crate) unknown: usize,
    /// Those that the group's health check finds unhealthy.
    #[serde(default)]
    pub(crate) unhealthy: Vec<UnhealthyView>,
    /// Those that are out of service for another reason than their turn.
    #[serde(default)]
    pub(crate) out_of_service: Vec<OutOfServiceView>,
    /// The revision of its last successful deployment.
    pub(crate) revision: Option<String>,
    /// The number of hosts with another revision, left
    /// there by a deployment that failed or was stopped.
    #[serde(default)]
    pub(crate) elsewhere: usize,
    pub(crate) origin: Option<String>,
    pub(crate) running: Option<String>,
    pub(crate) queued: Option<String>,
    /// The deployment that is now bringing hosts that were behind to its revision.
    pub(crate) catching_up: Option<String>,
    /// Hosts that are not at its revision, each with the state of its catch-up.
    pub(crate) behind: Vec<BehindView>,
    /// The newest deployment that a person requested. `last_status` is its status.
    pub(crate) last_deployment: Option<String>,
    pub(crate) last_status: Option<String>,
    /// The freeze in which nothing new begins in the group, if there is one.
    pub(crate) frozen: Option<FreezeView>,
    pub(crate) alarms: Vec<AlarmView>,
    pub(crate) triggers: Vec<TriggerView>,
    /// The reason why no deployment of it could run at present.
    #[serde(default)]
    pub(crate) impossible: Option<Why>,
    /// The content of its group file.
    pub(crate) definition: GroupFile,
}

// The definition contains no value that differs from itself, such as NaN.
impl Eq for GroupView {}

/// Returns this agent's view of the mesh. Its addresses are those that it listens on now:
/// the ledger may hold an older record, and there may be no majority to commit a newer one.
pub(crate) fn status(node: &Node, addresses: Vec<String>, data_dir: &str) -> StatusView {
    let (state, mesh, config) = (node.state(), node.mesh(), node.config());
    StatusView {
        host: node.host().to_string(),
        name: config.name.clone(),
        version: env!("CARGO_PKG_VERSION").into(),
        mesh: config.mesh.to_string(),
        addresses,
        data_dir: data_dir.into(),
        index: state.index(),
        hash: data_encoding::HEXLOWER.encode(&mesh.hash),
        leader: mesh.leader.map(|leader| name_of(state, leader)),
        voters: mesh.voters.iter().map(|voter| name_of(state, *voter)).collect(),
        outgoing_voters: mesh.outgoing.iter().map(|voter| name_of(state, *voter)).collect(),
        hosts: MeshCounts::of(state, &mesh),
        groups: groups(node),
        clocks_off: clocks_off(&mesh, state),
        disk: None,
        beyond_log: mesh.beyond_log,
        running: running(node),
        twins: TwinView::all(state),
        shared_names: Names::of(state).shared(),
        recovered: recoveries(state).pop(),
        contradicting: node.contradicting().iter().map(|host| name_of(state, *host)).collect(),
        removed_at: node.removed().map(|removed| written(removed.at)),
    }
}

/// Returns the hosts whose clocks differ from the ledger's by more than half a minute.
fn clocks_off(mesh: &MeshView, state: &State) -> Vec<String> {
    let off = mesh.clocks_ahead.iter().filter_map(|(host, ahead)| Some((host, clock_off(*ahead)?)));
    let mut off: Vec<String> = off.map(|(host, off)| format!("{} {off}", name_of(state, *host))).collect();
    off.sort();
    off
}

/// Describes the difference of a clock; none if it is small.
pub(crate) fn clock_off(ahead_ms: i64) -> Option<String> {
    is_clock_off(ahead_ms).then(|| clock_words(ahead_ms))
}

fn clock_words(ahead_ms: i64) -> String {
    let by = humantime::format_duration(std::time::Duration::from_secs(ahead_ms.unsigned_abs() / 1_000));
    let way = if ahead_ms < 0 { "behind" } else { "ahead" };
    format!("{by} {way}")
}

/// Returns the hosts of the mesh, or of one group, sorted by name.
pub(crate) fn hosts(node: &Node, group: Option<&GroupName>) -> Vec<HostView> {
    let (state, mesh) = (node.state(), node.mesh());
    let mut hosts: Vec<&Host> = match group {
        Some(name) => state.group(name).map(|known| state.members_of(&known.group)).unwrap_or_default(),
        None => state.hosts().values().collect(),
    };
    hosts.sort_by(|a, b| (&a.record.name, a.record.host).cmp(&(&b.record.name, b.record.host)));
    let names = Names::of(state);
    hosts.into_iter().map(|host| host_view(host, &names, &mesh, node.host())).collect()
}

pub(super) fn host_view(host: &Host, names: &Names<'_>, mesh: &MeshView, own: HostId) -> HostView {
    let (record, state) = (&host.record, names.state);
    let status = match host.down {
        Some(_) => "Down",
        None if mesh.unheard.contains(&record.host) => "Unknown",
        None if mesh.suspects.contains(&record.host) => "Suspect",
        None => "Up",
    };
    let of_host = |known: &&GroupState| known.group.tags.matches(&record.tags);
    let groups = state.groups().values().filter(of_host);
    HostView {
        who: names.named(record.host),
        zone: record.zone.clone(),
        tags: record.tags.iter().map(ToString::to_string).collect(),
        addresses: record.addresses.clone(),
        status: status.into(),
        down_since: host.down.map(written),
        joined_at: written(host.joined_at),
        is_voter: mesh.voters.contains(&record.host),
        is_self: record.host == own,
        clock_ahead_ms: mesh.clocks_ahead.get(&record.host).copied(),
        groups: groups
            .map(|known| (known.group.name.to_string(), standing(names, known, record.host)))
            .collect(),
    }
}

fn standing(names: &Names<'_>, known: &GroupState, host: HostId) -> StandingView {
    let state = names.state;
    let standing = known.standing.get(&host);
    let checked = state.checks().of(&known.group.name).get(host);
    let ailing = checked.and_then(|checked| checked.ailing.as_ref());
    let health = match standing.map(|standing| standing.health) {
        Some(Health::Healthy) if ailing.is_none() => "Healthy",
        Some(Health::Healthy | Health::Unhealthy) => "Unhealthy",
        None => "Unknown",
    };
    let revision = standing.and_then(|standing| standing.revision);
    let since = ailing.map(|ailing| ailing.since).or(checked.and_then(|checked| checked.well_since));
    StandingView {
        health: health.into(),
        revision: revision.map(|digest| digest.to_string()),
        in_turn: in_turn(state, known, host).map(|deployment| deployment.to_string()),
        behind: behind::of_host(names, known, host),
        since: since.map(written),
        error: ailing.map(|ailing| ailing.error.clone()),
        held_back: super::health_words::held_back(state, known, host),
    }
}

/// Returns all groups, sorted by name.
pub(crate) fn groups(node: &Node) -> Vec<GroupView> {
    let names = Names::seen(node);
    let seen = |known: &GroupState| group_view(&names, known).seen_by(node);
    node.state().groups().values().map(seen).collect()
}

/// Returns the group with the given name.
pub(crate) fn group(node: &Node, name: &GroupName) -> Option<GroupView> {
    let known = node.state().group(name)?;
    Some(group_view(&Names::seen(node), known).seen_by(node))
}

pub(super) fn group_view(names: &Names<'_>, known: &GroupState) -> GroupView {
    let state = names.state;
    let members = state.members_of(&known.group);
    let good = known.good.last();
    let is_elsewhere = |host: &&&Host| {
        let has = known.standing.get(&host.record.host).and_then(|standing| standing.revision);
        good.zip(has).is_some_and(|(good, has)| good.revision.digest != has)
    };
    let mut newest_first = known.deployments.iter().rev().filter_map(|id| state.rollout(*id));
    let last = newest_first.find(|rollout| rollout.traits().counts_as_newest);
    GroupView {
        group: known.group.name.to_string(),
        application: known.group.name.application().into(),
        name: known.group.name.group().into(),
        config: match &known.group.config {
            Some(name) => name.to_string(),
            None => known.group.policy.to_string(),
        },
        hosts: members.len(),
        healthy: in_service(state, known, &members, &names.unheard),
        unknown: members.iter().filter(|host| is_unknown(host, &names.unheard)).count(),
        unhealthy: members.iter().filter_map(|host| unhealthy(names, known, host)).collect(),
        out_of_service: out_of_service(names, known, &members),
        revision: good.map(|good| good.revision.digest.to_string()),
        elsewhere: members.iter().filter(is_elsewhere).count(),
        origin: good.map(|good| good.revision.origin.clone()),
        running: known.running.map(|id| id.to_string()),
        queued: known.queued.map(|id| id.to_string()),
        catching_up: known.catching_up.map(|id| id.to_string()),
        behind: behind::behind(names, known),
        last_deployment: last.map(|rollout| rollout.submission.deployment.to_string()),
        last_status: last.map(|rollout| rollout.status().name().to_string()),
        frozen: state.freezes().of(&known.group.name).map(FreezeView::of),
        alarms: super::alarms(state, known),
        triggers: super::watch_views::triggers(state, known),
        impossible: impossible(state, known),
        definition: GroupFile::of(&known.group),
    }
}

/// Returns the reason why the policy leaves the group's hosts no turn; `None` if it leaves some.
pub(super) fn impossible(state: &State, known: &GroupState) -> Option<Why> {
    let policy = state.policy_of(&known.group).ok()?;
    state.check_policy(&known.group.name, &policy).err().as_ref().map(Why::of_refusal)
}

fn unhealthy(names: &Names<'_>, known: &GroupState, host: &Host) -> Option<UnhealthyView> {
    let ailing = names.state.checks().ailing(&known.group.name, host.record.host)?;
    Some(UnhealthyView {
        who: names.named(host.record.host),
        since: written(ailing.since),
        error: ailing.error.clone(),
        held_back: super::health_words::held_back(names.state, known, host.record.host),
    })
}

/// Returns a host's name, even after its removal; without a name, the end of its id.
pub(crate) fn name_of(state: &State, host: HostId) -> String {
    let of_member = state.host(host).map(|known| &known.record.name);
    let name = of_member.or_else(|| Some(&state.removed(host)?.name));
    name.filter(|name| !name.is_empty()).cloned().unwrap_or_else(|| host.short())
}

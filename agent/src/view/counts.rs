//! Counts for metrics, without lists of the items.

use std::collections::BTreeSet;

use proto::id::HostId;
use proto::node::{MeshView, Node};
use proto::state::{GroupState, Host, State};

use super::service::{in_service, is_unknown};
use super::{Freshness, MeshCounts};

/// The counts of one agent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct AgentCounts {
    pub(crate) hosts: MeshCounts,
    /// The number of ledger entries that this host has folded.
    pub(crate) index: u64,
    pub(crate) voters: usize,
    pub(crate) has_leader: bool,
    /// The number of times a leader claimed more of this host's log than there is.
    pub(crate) beyond_log: u64,
    /// The number of deployments that are not over.
    pub(crate) running: usize,
    pub(crate) groups: Vec<GroupCounts>,
    /// Says if the counts are current.
    pub(crate) freshness: Freshness,
}

/// The counts of one group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct GroupCounts {
    pub(crate) group: String,
    /// The number of hosts that have the group's tags.
    pub(crate) hosts: usize,
    /// The number of those in service: the last turn succeeded, the health
    /// check passes, and the host is not Down, in a turn, or unknown.
    pub(crate) healthy: usize,
    /// The number of those that the group's health check finds unhealthy.
    pub(crate) unhealthy: usize,
}

/// Returns this agent's counts.
pub(crate) fn counts(node: &Node) -> AgentCounts {
    let (state, mesh) = (node.state(), node.mesh());
    AgentCounts {
        hosts: MeshCounts::of(state, &mesh),
        index: state.index(),
        voters: mesh.voters.len(),
        has_leader: mesh.leader.is_some(),
        beyond_log: mesh.beyond_log,
        running: state.rollouts().values().filter(|rollout| !rollout.status().is_over()).count(),
        groups: state.groups().values().map(|known| GroupCounts::of(state, known, &mesh.unheard)).collect(),
        freshness: Freshness::of(node),
    }
}

impl MeshCounts {
    pub(super) fn of(state: &State, mesh: &MeshView) -> Self {
        let total = state.hosts().len();
        let down = state.hosts().values().filter(|host| host.down.is_some()).count();
        let unknown = state.hosts().values().filter(|host| is_unknown(host, &mesh.unheard)).count();
        let connected = mesh.connected.difference(&mesh.lost).count();
        MeshCounts { total, up: total - down - unknown, down, unknown, connected }
    }
}

impl GroupCounts {
    pub(super) fn of(state: &State, known: &GroupState, unheard: &BTreeSet<HostId>) -> Self {
        let is_member = |host: &&Host| known.group.tags.matches(&host.record.tags);
        let members: Vec<&Host> = state.hosts().values().filter(is_member).collect();
        let checks = state.checks().of(&known.group.name);
        GroupCounts {
            group: known.group.name.to_string(),
            hosts: members.len(),
            healthy: in_service(state, known, &members, unheard),
            unhealthy: members.iter().filter(|host| checks.ailing(host.record.host).is_some()).count(),
        }
    }
}

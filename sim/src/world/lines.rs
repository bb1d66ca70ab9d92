//! Describes each host in one line, below a counterexample.

use std::collections::BTreeSet;

use proto::id::HostId;

use super::World;
use crate::host::{HostNo, SimHost};

impl World {
    /// Returns one line for each host: its index, the hosts that it sees, and
    /// what blocks it.
    pub fn host_lines(&self) -> Vec<String> {
        self.hosts.iter().map(|host| self.host_line(host)).collect()
    }

    fn host_line(&self, host: &SimHost) -> String {
        let Some(node) = host.node() else { return format!("{} is down", host.no) };
        let mesh = node.mesh();
        let names = |ids: &BTreeSet<HostId>| {
            let names = ids.iter().filter_map(|id| self.numbers.get(id)).map(HostNo::to_string);
            names.collect::<Vec<_>>().join(",")
        };
        let leader = mesh.leader.and_then(|leader| self.numbers.get(&leader));
        let blockers: Vec<String> = node
            .state()
            .running()
            .map(|rollout| rollout.submission.deployment)
            .map(|id| format!("{} {:?}", self.story.deployment(id), node.blockers(id)))
            .collect();
        format!(
            "{} at {} of {}, leader {}, voters {}, connected {}, suspects {}, runs {}; {}",
            host.no,
            node.state().index(),
            mesh.newest_heard,
            leader.map_or("unknown".into(), HostNo::to_string),
            names(&mesh.voters),
            names(&mesh.connected),
            names(&mesh.suspects),
            host.hooks.running().map(|run| run.event.name()).collect::<Vec<_>>().join(","),
            blockers.join("; ")
        )
    }
}

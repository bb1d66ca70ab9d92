//! Events that come due by the ledger's clock alone.

use proto::entry::ErrorCode;
use proto::id::{DeploymentId, HostId};
use proto::rollout::DeploymentStatus;

use super::{Due, Millis, Model, Stage};

impl Model {
    pub(super) fn due(&self) -> Option<Due> {
        let mut due = Vec::new();
        for (id, deployment) in &self.deployments {
            if !deployment.is_running() {
                continue;
            }
            let policy = &deployment.submission.policy;
            let after = |since: Millis, timeout: std::time::Duration| {
                since + u64::try_from(timeout.as_millis()).expect("a short timeout")
            };
            for turn in deployment.turns.iter() {
                if let Some(fails_at) = turn.relapse_fails_at {
                    due.push((fails_at, Due::Relapsed(*id, turn.host)));
                }
                match turn.stage {
                    Stage::Leased { at, deferred_at } => {
                        let from = deferred_at.unwrap_or(at);
                        due.push((after(from, policy.start_timeout), Due::DidNotStart(*id, turn.host)));
                    }
                    Stage::Started { at } => {
                        due.push((after(at, policy.turn_timeout), Due::TurnTooLong(*id, turn.host)));
                    }
                    Stage::NotTargeted
                    | Stage::Pending
                    | Stage::Succeeded
                    | Stage::Failed
                    | Stage::Skipped => {}
                }
                if let Some(since) = turn.lost_since {
                    due.push((after(since, policy.lost_after), Due::Lost(*id, turn.host)));
                }
            }
            if let Some(until) = deployment.bake_until.filter(|_| !deployment.is_unsure()) {
                due.push((until, Due::BakeOver(*id)));
            }
            if !deployment.timed_out {
                let at = after(deployment.began_at, policy.deployment_timeout);
                due.push((at, Due::DeploymentTooLong(*id)));
            }
        }
        let thaws = self.groups.values().filter_map(|group| group.watches.frozen_until);
        due.extend(thaws.map(|until| (until, Due::Thaw)));
        let down = self.hosts.values().filter(|host| host.down);
        due.extend(down.filter_map(|host| Some((self.given_up_at(host)?, Due::Forget(host.record.host)))));
        due.sort();
        // The last host is never removed, Down or not.
        due.retain(|(_, due)| !matches!(due, Due::Forget(_)) || self.hosts.len() > 1);
        due.first().filter(|(at, _)| *at <= self.clock).map(|(_, due)| *due)
    }

    pub(super) fn come_due(&mut self, due: Due) {
        self.came_due.push(due);
        match due {
            Due::DidNotStart(deployment, host) => {
                self.end(deployment, host, Some(ErrorCode::DidNotStart));
            }
            Due::Lost(deployment, host) => self.lost(deployment, host),
            Due::TurnTooLong(deployment, host) => {
                self.end(deployment, host, Some(ErrorCode::TurnTimedOut));
            }
            Due::Relapsed(id, host) => self.fail_relapsed(id, host),
            Due::Thaw => self.thaw_all(),
            Due::Forget(host) => self.leave(host),
            Due::BakeOver(id) => {
                let clock = self.clock;
                self.deployments.get_mut(&id).expect("it came due").advance(clock);
            }
            Due::DeploymentTooLong(id) => {
                let deployment = self.deployments.get_mut(&id).expect("it came due");
                deployment.timed_out = true;
                deployment.conclude(DeploymentStatus::Failed);
                for host in deployment.in_flight() {
                    self.end(id, host, Some(ErrorCode::TurnTimedOut));
                    // The host stays unhealthy: it is not known what its turn left
                    // behind.
                }
            }
        }
    }

    /// Handles a host that was Down for too long in its turn, or in the bake
    /// after it.
    fn lost(&mut self, id: DeploymentId, host: HostId) {
        let clock = self.clock;
        let deployment = self.deployments.get_mut(&id).expect("it came due");
        let turn = deployment.turn_mut(host).expect("it came due");
        if turn.is_in_flight() {
            return self.end(id, host, Some(ErrorCode::HostLost));
        }
        turn.healthy = false;
        turn.stage = Stage::Failed;
        deployment.advance(clock);
        let name = deployment.submission.group.clone();
        let group = self.groups.get_mut(&name).expect("its group is there while it runs");
        if let Some(standing) = group.standing.get_mut(&host) {
            standing.healthy = false;
        }
    }
}

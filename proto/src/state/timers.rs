//! The ledger's clock: what ends when its time has come.
//!
//! The timers are part of the state, so that every host fires them at the same entry.

use super::react::Happened;
use super::{State, Timer};
use crate::entry::{ErrorCode, FAILURE_MESSAGE_MAX, Failure};
use crate::id::{DeploymentId, HostId};
use crate::rollout::{Health, Member, Stage};
use crate::statement::one_line;
use crate::time::LedgerTime;

impl State {
    pub(super) fn fire_timers(&mut self) {
        while let Some(timer) = self.timers.due(self.clock) {
            match timer {
                Timer::Start(deployment, host) => {
                    self.fail_turn(
                        deployment,
                        host,
                        ErrorCode::DidNotStart,
                        self.did_not_start(deployment, host),
                    );
                }
                Timer::Lost(deployment, host) => {
                    let message = self.lost(deployment, host);
                    self.fail_turn(deployment, host, ErrorCode::HostLost, message.clone());
                    self.lose(deployment, host, message);
                }
                Timer::Turn(deployment, host) => {
                    let limit = self.rollouts.get(&deployment).map(|r| r.submission.policy.turn_timeout);
                    let message =
                        format!("its turn took longer than {} s", limit.unwrap_or_default().as_secs());
                    self.fail_turn(deployment, host, ErrorCode::TurnTimedOut, message);
                }
                Timer::Deployment(deployment) => self.time_out(deployment),
                Timer::Relapsed(deployment, host) => self.fail_relapsed(deployment, host),
                Timer::Bake(deployment) => self.wake(deployment),
                Timer::Thaw => {
                    let happened = self.freezes.end_due(self.clock);
                    self.react_to(happened);
                }
                Timer::Forget(host) => self.forget_host(host),
            }
        }
    }

    /// Folds that a host became unwell in a deployment, or is no longer so.
    pub(super) fn set_ailing(&mut self, deployment: DeploymentId, host: HostId, ailing: Option<LedgerTime>) {
        let at = self.clock;
        let Some(rollout) = self.rollouts.get_mut(&deployment) else { return };
        let changed = rollout.set_ailing(host, ailing, at);
        self.timers.clear(Timer::Relapsed(deployment, host));
        self.clear_timers_if_idle(deployment, host);
        self.set_timers(deployment, &changed);
    }

    /// Fails the turn of an updated host that has been unwell for too long.
    fn fail_relapsed(&mut self, deployment: DeploymentId, host: HostId) {
        let at = self.clock;
        let Some(rollout) = self.rollouts.get_mut(&deployment) else { return };
        let name = &rollout.submission.group;
        let Some(ailing) = self.checks.ailing(name, host) else { return };
        let message = format!(
            "its health check had passed, but has failed for {} s while the deployment went on: {}",
            at.since(ailing.since).as_secs(),
            ailing.error
        );
        let message = one_line(&message, FAILURE_MESSAGE_MAX);
        let failure = Failure::new(None, ErrorCode::HealthCheckFailed, message);
        let has_relapsed = rollout.verdict.is_none() && rollout.has_relapsed(host);
        let granted = rollout.fail_relapsed(host, failure, at);
        self.set_timers(deployment, &granted);
        if has_relapsed {
            self.react(Happened::TurnFailedLater { deployment, host });
        }
    }

    /// Goes on with a deployment whose bake is over.
    fn wake(&mut self, deployment: DeploymentId) {
        let at = self.clock;
        let Some(rollout) = self.rollouts.get_mut(&deployment) else { return };
        let granted = rollout.wake(at);
        self.set_timers(deployment, &granted);
    }

    /// Fails a host that went Down in a bake and did not come back. The group
    /// counts it as unhealthy from now on.
    fn lose(&mut self, deployment: DeploymentId, host: HostId, message: String) {
        let at = self.clock;
        let Some(rollout) = self.rollouts.get_mut(&deployment) else { return };
        let failure = Failure::new(None, ErrorCode::HostLost, message);
        let Some(granted) = rollout.lose(host, failure, at) else { return };
        let group = self.groups.get_mut(&rollout.submission.group);
        if let Some(standing) = group.and_then(|group| group.standing.get_mut(&host)) {
            standing.health = Health::Unhealthy;
        }
        self.set_timers(deployment, &granted);
        self.react(Happened::TurnFailedLater { deployment, host });
    }

    /// Ends a deployment that took too long: every turn under way has failed. A
    /// lease that was not used has changed nothing on its host.
    fn time_out(&mut self, deployment: DeploymentId) {
        let Some(rollout) = self.rollouts.get_mut(&deployment) else { return };
        let (in_flight, limit) = (rollout.in_flight(), rollout.submission.policy.deployment_timeout);
        rollout.time_out();
        self.timers.clear(Timer::Bake(deployment));
        let message = format!("the whole deployment took longer than {} s", limit.as_secs());
        for host in in_flight {
            self.clear_timers(deployment, host);
            self.fail_turn(deployment, host, ErrorCode::TurnTimedOut, message.clone());
        }
    }

    fn did_not_start(&self, deployment: DeploymentId, host: HostId) -> String {
        let limit = self.rollouts.get(&deployment).map(|r| r.submission.policy.start_timeout);
        let known = self.hosts.get(host);
        let seconds = limit.unwrap_or_default().as_secs();
        match (known.and_then(|known| known.down), self.shortage(deployment, host)) {
            (Some(_), _) => "the host is Down: it did not come back in time for its turn".into(),
            (None, Some(short)) => {
                let name = known.map_or("the host", |known| &known.record.name);
                format!(
                    "disk full on {name}: {}. It did not start its turn within {seconds} s: free some space there, \
                     then deploy again",
                    short.shortage
                )
            }
            (None, None) => format!("the host did not start its turn within {seconds} s"),
        }
    }

    fn lost(&self, deployment: DeploymentId, host: HostId) -> String {
        let limit = self.rollouts.get(&deployment).map(|r| r.submission.policy.lost_after);
        let was = match self.rollouts.get(&deployment).and_then(|r| r.members().get(&host)).map(|m| &m.stage)
        {
            Some(Stage::Started { .. }) => "went Down in its turn",
            Some(Stage::Ended { .. }) => "went Down after its turn, while its wave was watched,",
            Some(_) | None => "was Down when its turn came",
        };
        format!("the host {was} and did not come back within {} s", limit.unwrap_or_default().as_secs())
    }

    /// Sets the timers of a rollout after leases have changed. Hosts that got a
    /// lease must start, those that lost it need not, and a bake must end.
    pub(super) fn set_timers(&mut self, deployment: DeploymentId, changed: &[HostId]) {
        let Some(rollout) = self.rollouts.get(&deployment) else { return };
        match rollout.bakes_until().filter(|until| *until > self.clock) {
            Some(until) => self.timers.set(Timer::Bake(deployment), until),
            None => self.timers.clear(Timer::Bake(deployment)),
        }
        let due = self.clock + rollout.submission.policy.start_timeout;
        for host in changed {
            if self.rollouts[&deployment].may_start(*host) {
                self.timers.set(Timer::Start(deployment, *host), due);
                self.set_lost_timer(deployment, *host);
            } else {
                self.clear_timers(deployment, *host);
            }
        }
    }

    /// Sets the timer of a host that is Down while it has a lease, is in its turn,
    /// or is watched after it.
    pub(super) fn set_lost_timer(&mut self, deployment: DeploymentId, host: HostId) {
        let lost = Timer::Lost(deployment, host);
        self.timers.clear(lost);
        let Some(rollout) = self.rollouts.get(&deployment) else { return };
        let Some(member) = rollout.members().get(&host) else { return };
        if member.down.is_some() && (member.is_in_flight() || rollout.watches(host)) {
            self.timers.set(lost, self.clock + rollout.submission.policy.lost_after);
        }
    }

    /// Clears the timers of a host that has no lease and is in no turn. A host that
    /// is Down in the bake after its turn keeps its timer: whatever is heard of it
    /// meanwhile, it must come back.
    pub(super) fn clear_timers_if_idle(&mut self, deployment: DeploymentId, host: HostId) {
        let rollout = self.rollouts.get(&deployment);
        let member = rollout.and_then(|rollout| rollout.members().get(&host));
        if member.is_some_and(Member::is_in_flight) {
            return;
        }
        let is_watched = rollout.is_some_and(|rollout| rollout.watches(host));
        self.timers.clear(Timer::Start(deployment, host));
        self.timers.clear(Timer::Turn(deployment, host));
        if !is_watched {
            self.timers.clear(Timer::Lost(deployment, host));
        }
    }

    pub(super) fn clear_timers(&mut self, deployment: DeploymentId, host: HostId) {
        self.timers.clear(Timer::Start(deployment, host));
        self.timers.clear(Timer::Lost(deployment, host));
        self.timers.clear(Timer::Turn(deployment, host));
    }

    pub(super) fn clear_start_timers(&mut self, deployment: DeploymentId, hosts: &[HostId]) {
        hosts.iter().for_each(|host| self.timers.clear(Timer::Start(deployment, *host)));
    }
}

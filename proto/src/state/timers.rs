//! The ledger's clock: what ends when its time has come.
//!
//! The timers are part of the state, so that every host fires them at the same entry.

use super::react::Happened;
use super::{State, Timer};
use crate::entry::{ErrorCode, FAILURE_MESSAGE_MAX, Failure};
use crate::id::{DeploymentId, HostId};
use crate::rollout::{Member, Stage};
use crate::statement::one_line;

impl State {
    /// Fires the timers that are due.
    pub(super) fn fire_timers(&mut self) {
        while let Some(timer) = self.timers.due(self.clock) {
            let happened = self.fire(timer);
            self.react_to(happened);
        }
    }

    fn fire(&mut self, timer: Timer) -> Vec<Happened> {
        let at = self.clock;
        let policy = |id| self.rollouts.get(id).map(|rollout| &rollout.submission.policy);
        match timer {
            Timer::Start(deployment, host) => {
                let message = self.did_not_start(deployment, host);
                self.rollouts.fail_turn(deployment, host, ErrorCode::DidNotStart, message, at)
            }
            Timer::Lost(deployment, host) => {
                let message = self.lost(deployment, host);
                let code = ErrorCode::HostLost;
                let mut happened = self.rollouts.fail_turn(deployment, host, code, message.clone(), at);
                happened.extend(self.rollouts.lose(deployment, host, message, at));
                happened
            }
            Timer::Turn(deployment, host) => {
                let limit = policy(deployment).map(|policy| policy.turn_timeout).unwrap_or_default();
                let message = format!("its turn took longer than {} s", limit.as_secs());
                self.rollouts.fail_turn(deployment, host, ErrorCode::TurnTimedOut, message, at)
            }
            Timer::Deployment(deployment) => {
                self.timers.clear(Timer::Bake(deployment));
                self.rollouts.time_out(deployment, at)
            }
            Timer::Relapsed(deployment, host) => self.fail_relapsed(deployment, host),
            Timer::Bake(deployment) => self.rollouts.wake(deployment, at),
            Timer::Thaw => self.freezes.end_due(at),
            Timer::Forget(host) => self.forget_host(host),
        }
    }

    /// Fails the turn of an updated host that has been unwell for too long.
    fn fail_relapsed(&mut self, deployment: DeploymentId, host: HostId) -> Vec<Happened> {
        let at = self.clock;
        let Some(rollout) = self.rollouts.get(deployment) else { return Vec::new() };
        let Some(ailing) = self.checks.ailing(&rollout.submission.group, host) else { return Vec::new() };
        let message = format!(
            "its health check had passed, but has failed for {} s while the deployment went on: {}",
            at.since(ailing.since).as_secs(),
            ailing.error
        );
        let message = one_line(&message, FAILURE_MESSAGE_MAX);
        let failure = Failure::new(None, ErrorCode::HealthCheckFailed, message);
        self.rollouts.fail_relapsed(deployment, host, failure, at)
    }

    fn did_not_start(&self, deployment: DeploymentId, host: HostId) -> String {
        let limit = self.rollouts.get(deployment).map(|r| r.submission.policy.start_timeout);
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
        let limit = self.rollouts.get(deployment).map(|r| r.submission.policy.lost_after);
        let was = match self.rollouts.member(deployment, host).map(|member| &member.stage) {
            Some(Stage::Started { .. }) => "went Down in its turn",
            Some(Stage::Ended { .. }) => "went Down after its turn, while its wave was watched,",
            Some(_) | None => "was Down when its turn came",
        };
        format!("the host {was} and did not come back within {} s", limit.unwrap_or_default().as_secs())
    }

    /// Sets the timers of a rollout after leases have changed. Hosts that got a
    /// lease must start, those that lost it need not, and a bake must end.
    pub(super) fn set_timers(&mut self, deployment: DeploymentId, changed: &[HostId]) {
        let Some(rollout) = self.rollouts.get(deployment) else { return };
        match rollout.bakes_until().filter(|until| *until > self.clock) {
            Some(until) => self.timers.set(Timer::Bake(deployment), until),
            None => self.timers.clear(Timer::Bake(deployment)),
        }
        let due = self.clock + rollout.submission.policy.start_timeout;
        for host in changed {
            if self.rollouts.get(deployment).is_some_and(|rollout| rollout.may_start(*host)) {
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
        let Some(rollout) = self.rollouts.get(deployment) else { return };
        let Some(member) = rollout.members().get(&host) else { return };
        if member.down.is_some() && (member.is_in_flight() || rollout.watches(host)) {
            self.timers.set(lost, self.clock + rollout.submission.policy.lost_after);
        }
    }

    /// Clears the timers of a host that has no lease and is in no turn. A host that
    /// is Down in the bake after its turn keeps its timer: whatever is heard of it
    /// meanwhile, it must come back.
    pub(super) fn clear_timers_if_idle(&mut self, deployment: DeploymentId, host: HostId) {
        let rollout = self.rollouts.get(deployment);
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

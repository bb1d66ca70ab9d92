//! The deployments that are kept: those in line, under way and over.
//!
//! Each change of a rollout may grant leases to some hosts, or take them back. These hosts
//! are returned or told by [`Happened::LeasesChanged`], because their timers follow.

use std::collections::BTreeMap;

use super::groups::{ATTEMPTS_MAX, Good, Outcome, Tried};
use super::react::Happened;
use crate::deployment_kind::DeploymentKind;
use crate::entry::{ErrorCode, Failure, Submission, TurnOutcome};
use crate::id::{DeploymentId, GroupName, HostId};
use crate::io::Refusal;
use crate::lifecycle::LifecycleEvent;
use crate::rollout::{AlarmGate, DeploymentStatus, Entrant, Member, Part, Rollout, Roster, Stage};
use crate::time::LedgerTime;

/// The deployments, and the hosts that those refer to which are over.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub(super) struct Rollouts {
    by_id: BTreeMap<DeploymentId, Rollout>,
    /// The hosts that a group's past deployments refer to.
    rosters: BTreeMap<GroupName, Roster>,
}

impl Rollouts {
    /// Puts back the deployments that a snapshot holds.
    pub(super) fn restore(by_id: BTreeMap<DeploymentId, Rollout>) -> Self {
        Rollouts { by_id, rosters: BTreeMap::new() }
    }

    /// Puts back the hosts of a group that its past deployments refer to.
    pub(super) fn restore_roster(&mut self, group: &GroupName, roster: Roster) {
        self.rosters.insert(group.clone(), roster);
    }

    pub(super) fn roster(&self, group: &GroupName) -> Option<&Roster> {
        self.rosters.get(group)
    }

    pub(super) fn all(&self) -> &BTreeMap<DeploymentId, Rollout> {
        &self.by_id
    }

    pub(super) fn get(&self, id: DeploymentId) -> Option<&Rollout> {
        self.by_id.get(&id)
    }

    pub(super) fn contains(&self, id: DeploymentId) -> bool {
        self.by_id.contains_key(&id)
    }

    /// Returns a host of a deployment that is under way.
    pub(super) fn member(&self, id: DeploymentId, host: HostId) -> Option<&Member> {
        self.get(id)?.members().get(&host)
    }

    /// Returns when the host got the lease that it has not used.
    pub(super) fn leased_at(&self, id: DeploymentId, host: HostId) -> Option<LedgerTime> {
        match self.member(id, host)?.stage {
            Stage::Leased { at } => Some(at),
            Stage::NotTargeted
            | Stage::Pending
            | Stage::Started { .. }
            | Stage::Ended { .. }
            | Stage::Skipped => None,
        }
    }

    /// Returns true if the host's turn is still to begin.
    pub(super) fn is_to_begin(&self, id: DeploymentId, host: HostId) -> bool {
        let is_over = self.get(id).is_none_or(|rollout| rollout.status().is_over());
        match self.member(id, host).map(|member| &member.stage) {
            Some(Stage::Pending | Stage::Leased { .. }) => !is_over,
            Some(Stage::NotTargeted | Stage::Started { .. } | Stage::Ended { .. } | Stage::Skipped)
            | None => false,
        }
    }

    /// Returns the part of every host in a deployment.
    pub(super) fn parts(&self, id: DeploymentId) -> BTreeMap<HostId, Part<'_>> {
        let rollout = self.get(id);
        let roster = rollout.and_then(|rollout| self.roster(&rollout.submission.group));
        rollout.zip(roster).map(|(rollout, roster)| rollout.parts(roster)).unwrap_or_default()
    }

    /// Returns the part of one host in a deployment; `None` if it had none.
    pub(super) fn part(&self, id: DeploymentId, host: HostId) -> Option<Part<'_>> {
        let rollout = self.get(id)?;
        rollout.part(host, self.roster(&rollout.submission.group)?)
    }

    /// Returns the hosts whose application a deployment touched.
    pub(super) fn touched(&self, rollout: &Rollout) -> Vec<HostId> {
        self.roster(&rollout.submission.group).map(|roster| rollout.touched(roster)).unwrap_or_default()
    }

    pub(super) fn check_stop(&self, id: DeploymentId) -> Result<(), Refusal> {
        let rollout = self.get(id).ok_or(Refusal::UnknownDeployment(id))?;
        if rollout.status().is_over() {
            return Err(Refusal::AlreadyOver(id, rollout.status().name()));
        }
        Ok(())
    }

    /// Adds a deployment that has not begun.
    pub(super) fn submit(&mut self, submission: &Submission, at: LedgerTime) {
        let id = submission.deployment;
        if let Some(undone) = submission.rollback_of.and_then(|undone| self.by_id.get_mut(&undone)) {
            undone.rolled_back_by = Some(id);
        }
        self.by_id.insert(id, Rollout::queued(submission.clone(), at));
    }

    /// Begins a deployment. The gate is set first, so that the deployment does not find it
    /// open.
    pub(super) fn begin(
        &mut self,
        id: DeploymentId,
        entrants: &[Entrant],
        gate: AlarmGate,
        at: LedgerTime,
    ) -> Vec<Happened> {
        let Some(rollout) = self.by_id.get_mut(&id) else { return Vec::new() };
        rollout.alarms = gate;
        let hosts = rollout.begin(entrants, at);
        vec![Happened::LeasesChanged { deployment: id, hosts }, Happened::DeploymentBegun(id)]
    }

    /// Adds a catch-up, and begins it. `total` is the number of the group's hosts.
    pub(super) fn begin_catch_up(
        &mut self,
        submission: &Submission,
        (entrants, total): (&[Entrant], u32),
        beside: bool,
        at: LedgerTime,
    ) -> Vec<Happened> {
        let id = submission.deployment;
        let mut rollout = Rollout::queued(submission.clone(), at);
        let hosts = rollout.begin_catch_up(entrants, total, beside, at);
        self.by_id.insert(id, rollout);
        vec![Happened::LeasesChanged { deployment: id, hosts }, Happened::DeploymentBegun(id)]
    }

    /// Folds that a host begins its turn.
    pub(super) fn start_turn(&mut self, id: DeploymentId, host: HostId, at: LedgerTime) -> Vec<Happened> {
        let counts = self.by_id.get_mut(&id).is_some_and(|rollout| rollout.start_turn(host, at));
        counts.then_some(Happened::TurnStarted { deployment: id, host }).into_iter().collect()
    }

    /// Folds that a turn begins anew.
    pub(super) fn begin_anew(&mut self, id: DeploymentId, host: HostId, event: LifecycleEvent, attempt: u8) {
        if let Some(rollout) = self.by_id.get_mut(&id) {
            rollout.begin_anew(host, event, attempt);
        }
    }

    /// Folds the end of a turn.
    pub(super) fn end_turn(
        &mut self,
        id: DeploymentId,
        host: HostId,
        outcome: TurnOutcome,
        at: LedgerTime,
    ) -> Vec<Happened> {
        let started = matches!(self.member(id, host).map(|m| &m.stage), Some(Stage::Started { .. }));
        let Some(rollout) = self.by_id.get_mut(&id) else { return Vec::new() };
        let failed = match &outcome {
            TurnOutcome::Succeeded => None,
            TurnOutcome::Failed(failure) => Some(failure.code),
        };
        let Some(hosts) = rollout.end_turn(host, outcome, at) else { return Vec::new() };
        let ended = Happened::TurnEnded { deployment: id, host, started, failed };
        vec![ended, Happened::LeasesChanged { deployment: id, hosts }]
    }

    /// Ends a turn that has failed by what the ledger says.
    pub(super) fn fail_turn(
        &mut self,
        id: DeploymentId,
        host: HostId,
        code: ErrorCode,
        message: String,
        at: LedgerTime,
    ) -> Vec<Happened> {
        self.end_turn(id, host, TurnOutcome::Failed(Failure::new(None, code, message)), at)
    }

    /// Stops a deployment by a person's word. One that never began is over now, because
    /// there is no turn to wait for.
    pub(super) fn stop(
        &mut self,
        id: DeploymentId,
        (rollback, now): (bool, bool),
        by: &str,
        at: LedgerTime,
    ) -> Vec<Happened> {
        let Some(rollout) = self.by_id.get_mut(&id) else { return Vec::new() };
        let was_queued = rollout.status() == DeploymentStatus::Queued;
        let mut happened = Vec::new();
        if rollout.kind() == DeploymentKind::CatchUp {
            let tried = Tried {
                revision: rollout.submission.revision.digest,
                attempts: ATTEMPTS_MAX,
                deployment: id,
            };
            let is_to_begin = |member: &Member| matches!(member.stage, Stage::Pending | Stage::Leased { .. });
            let hosts = rollout.members().iter().filter(|(_, member)| is_to_begin(member));
            let hosts = hosts.map(|(host, _)| *host).collect();
            happened.push(Happened::CatchUpStopped { group: rollout.submission.group.clone(), hosts, tried });
        }
        let in_flight = rollout.in_flight();
        rollout.stop(rollback, now, at);
        rollout.note_stop_by(by);
        happened.push(Happened::DeploymentStopped { deployment: id, in_flight });
        if was_queued {
            rollout.finish(at);
            let group = rollout.submission.group.clone();
            happened.push(Happened::QueueLeft { group, deployment: id });
        }
        happened
    }

    /// Ends a catch-up early, because something newer goes first. Returns the hosts that
    /// had a lease or were in their turn.
    pub(super) fn supersede(&mut self, id: DeploymentId, at: LedgerTime) -> Vec<HostId> {
        let Some(rollout) = self.by_id.get_mut(&id) else { return Vec::new() };
        let in_flight = rollout.in_flight();
        rollout.supersede(at);
        in_flight
    }

    /// Folds the end of a deployment, and shortens its record.
    pub(super) fn finish(&mut self, id: DeploymentId, at: LedgerTime) -> Vec<Happened> {
        let Some(rollout) = self.by_id.get_mut(&id) else { return Vec::new() };
        if !rollout.finish(at) {
            return Vec::new();
        }
        let group = rollout.submission.group.clone();
        let not_reached = not_reached(rollout);
        let roster = self.rosters.entry(group.clone()).or_default();
        rollout.shorten(roster);
        let (succeeded, traits) = (rollout.status() == DeploymentStatus::Succeeded, rollout.traits());
        let good = (succeeded && traits.makes_good).then(|| Good {
            revision: rollout.submission.revision.clone(),
            deployment: id,
            at,
        });
        let undone_by_mesh = rollout.wants_rollback() && traits.undone_by == Some(DeploymentKind::Rollback);
        vec![Happened::DeploymentFinished(Box::new(Outcome {
            deployment: id,
            group,
            slot: traits.slot,
            succeeded,
            good,
            rolls_back: !succeeded && undone_by_mesh,
            touched: rollout.touched(roster),
            not_reached,
        }))]
    }

    /// Ends a deployment that took too long: every turn under way has failed. A
    /// lease that was not used has changed nothing on its host.
    pub(super) fn time_out(&mut self, id: DeploymentId, at: LedgerTime) -> Vec<Happened> {
        let Some(rollout) = self.by_id.get_mut(&id) else { return Vec::new() };
        let (in_flight, limit) = (rollout.in_flight(), rollout.submission.policy.deployment_timeout);
        rollout.time_out();
        let message = format!("the whole deployment took longer than {} s", limit.as_secs());
        let fail = |host| self.fail_turn(id, host, ErrorCode::TurnTimedOut, message.clone(), at);
        in_flight.into_iter().flat_map(fail).collect()
    }

    /// Goes on with a deployment whose bake is over.
    pub(super) fn wake(&mut self, id: DeploymentId, at: LedgerTime) -> Vec<Happened> {
        let Some(rollout) = self.by_id.get_mut(&id) else { return Vec::new() };
        vec![Happened::LeasesChanged { deployment: id, hosts: rollout.wake(at) }]
    }

    /// Fails a host that went Down in a bake and did not come back.
    pub(super) fn lose(
        &mut self,
        id: DeploymentId,
        host: HostId,
        message: String,
        at: LedgerTime,
    ) -> Vec<Happened> {
        let failure = Failure::new(None, ErrorCode::HostLost, message);
        let hosts = self.by_id.get_mut(&id).and_then(|rollout| rollout.lose(host, failure, at));
        let Some(hosts) = hosts else { return Vec::new() };
        let lost = Happened::HostLostInBake { deployment: id, host };
        vec![lost, Happened::LeasesChanged { deployment: id, hosts }]
    }

    /// Fails the turn of an updated host whose check has failed for too long.
    pub(super) fn fail_relapsed(
        &mut self,
        id: DeploymentId,
        host: HostId,
        failure: Failure,
        at: LedgerTime,
    ) -> Vec<Happened> {
        let Some(rollout) = self.by_id.get_mut(&id) else { return Vec::new() };
        let has_relapsed = rollout.verdict.is_none() && rollout.has_relapsed(host);
        let hosts = rollout.fail_relapsed(host, failure, at);
        let leases = Happened::LeasesChanged { deployment: id, hosts };
        let failed = has_relapsed.then_some(Happened::TurnFailedLater { deployment: id, host });
        [leases].into_iter().chain(failed).collect()
    }

    /// Applies the group's alarms: stops the deployment, or lets it begin if all were read.
    pub(super) fn heed_alarms(
        &mut self,
        id: DeploymentId,
        gate: AlarmGate,
        stopped_by: Option<crate::alarm::StoppedBy>,
        at: LedgerTime,
    ) -> Vec<Happened> {
        let Some(rollout) = self.by_id.get_mut(&id) else { return Vec::new() };
        if !gate.is_active {
            let hosts = rollout.set_alarm_gate(gate, at);
            return vec![Happened::LeasesChanged { deployment: id, hosts }];
        }
        let Some(stopped_by) = stopped_by else { return Vec::new() };
        let in_flight = rollout.in_flight();
        rollout.alarms = gate;
        rollout.stop_on_alarm(stopped_by);
        vec![Happened::DeploymentStopped { deployment: id, in_flight }]
    }

    /// Folds that a host is Down since then, or up. Returns the hosts whose leases changed.
    pub(super) fn set_down(
        &mut self,
        id: DeploymentId,
        host: HostId,
        since: Option<LedgerTime>,
        at: LedgerTime,
    ) -> Option<Vec<HostId>> {
        self.by_id.get_mut(&id).map(|rollout| rollout.set_down(host, since, at))
    }

    /// Folds that a host's check fails since then, or no longer. Returns the hosts whose
    /// leases changed.
    pub(super) fn set_ailing(
        &mut self,
        id: DeploymentId,
        host: HostId,
        ailing: Option<LedgerTime>,
        at: LedgerTime,
    ) -> Option<Vec<HostId>> {
        self.by_id.get_mut(&id).map(|rollout| rollout.set_ailing(host, ailing, at))
    }

    /// Folds that a host was taken out of the mesh. Returns the hosts whose leases changed.
    pub(super) fn leave(&mut self, id: DeploymentId, host: HostId, at: LedgerTime) -> Option<Vec<HostId>> {
        self.by_id.get_mut(&id).map(|rollout| rollout.leave(host, at))
    }

    /// Folds that a host whose turn is to come lacks disk space. Returns the hosts whose
    /// leases changed.
    pub(super) fn lack_room(&mut self, id: DeploymentId, host: HostId, at: LedgerTime) -> Vec<HostId> {
        self.by_id.get_mut(&id).map(|rollout| rollout.lack_room(host, at)).unwrap_or_default()
    }

    /// Folds that a host has disk space again, unlike `others`. Returns the hosts whose
    /// leases changed.
    pub(super) fn have_room(
        &mut self,
        id: DeploymentId,
        host: HostId,
        others: &[HostId],
        at: LedgerTime,
    ) -> Vec<HostId> {
        self.by_id.get_mut(&id).map(|rollout| rollout.have_room(host, others, at)).unwrap_or_default()
    }

    /// Makes room for the past of a new group.
    pub(super) fn define_group(&mut self, group: &GroupName) {
        self.rosters.entry(group.clone()).or_default();
    }

    /// Forgets a group that was deleted, and its deployments.
    pub(super) fn forget_group(&mut self, group: &GroupName, deployments: &[DeploymentId]) {
        self.rosters.remove(group);
        for id in deployments {
            self.by_id.remove(id);
        }
    }

    /// Forgets old deployments of a group. `kept` are its others.
    pub(super) fn forget(&mut self, group: &GroupName, old: &[DeploymentId], kept: &[DeploymentId]) {
        for id in old {
            self.by_id.remove(id);
        }
        if let Some(roster) = self.rosters.get_mut(group).filter(|_| !old.is_empty()) {
            roster.keep(kept.iter().filter_map(|id| self.by_id.get(id)));
        }
    }
}

/// Returns the hosts that a failed deployment did not reach and that fall behind
/// by that.
fn not_reached(rollout: &Rollout) -> Vec<HostId> {
    if !rollout.traits().leaves_behind || rollout.status() != DeploymentStatus::Failed {
        return Vec::new();
    }
    let skipped = rollout.members().iter().filter(|(_, member)| member.stage == Stage::Skipped);
    skipped.map(|(host, _)| *host).collect()
}

#[cfg(test)]
impl Rollouts {
    pub(super) fn any_mut(&mut self) -> &mut Rollout {
        self.by_id.values_mut().next().expect("a rollout")
    }
}

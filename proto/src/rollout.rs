//! A rollout: how far one deployment has come, folded from the ledger.
//!
//! Every host folds the same entries, and so finds the same answer to the one
//! question that matters: whose turn is it now? No host hands out turns; each host
//! derives its own from the ledger. (The better-known design, an elected scheduler
//! that sends commands, needs agreement on who is elected.)
//!
//! Invariants, checked after every change: the counters equal a fresh count. No
//! more turns are in flight than the policy's cap. No lease is granted that would
//! leave fewer hosts than the minimum available, in the group or in the host's
//! zone, and no such lease stays unused.

mod ailing;
mod alarm_gate;
mod blocker;
mod catch_up_turns;
pub mod forecast;
#[path = "form/v4/rollouts.rs"]
pub(crate) mod form_v4;
mod lease;
mod leaving;
mod member;
mod past;
mod short;
mod sums;
mod turn;
mod verdict;
mod wave;

use std::collections::{BTreeMap, BTreeSet};

use crate::alarm::StoppedBy;
use crate::entry::{Failure, Submission, TurnOutcome};
use crate::id::{DeploymentId, HostId};
use crate::lifecycle::LifecycleEvent;
use crate::policy::Bounds;
use crate::time::LedgerTime;

pub use crate::service::Health;
pub use alarm_gate::AlarmGate;
pub use blocker::Blocker;
pub use member::{Counts, Installed, Member, Stage, Standing};
use past::Past;
pub use past::{FAILURES_TOLD, Part, Roster};
pub use turn::Turn;
pub use verdict::{DeploymentStatus, Reason, ReasonCode, Verdict, ZoneReason};
use wave::Waves;
pub use wave::{Wave, WaveKind, Zone};

/// One deployment, as far as it has come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rollout {
    /// The deployment as submitted.
    pub submission: Submission,
    /// The time of submission.
    pub created_at: LedgerTime,
    /// The time at which it began; `None` while it is queued.
    pub started_at: Option<LedgerTime>,
    /// The time at which it was over; `None` before.
    pub finished_at: Option<LedgerTime>,
    /// M and the cap on turns.
    pub bounds: Bounds,
    /// The result, once it is decided; `None` before.
    pub verdict: Option<Verdict>,
    /// The deployment that undoes this one.
    pub rolled_back_by: Option<DeploymentId>,
    /// True if a person asked for a rollback when stopping it.
    pub rollback_asked: bool,
    /// The smallest number of hosts in service at any time during the deployment.
    pub lowest_available: u32,
    status: DeploymentStatus,
    /// Empty before the deployment begins, and after it is over: then there is
    /// `past`.
    members: BTreeMap<HostId, Member>,
    past: Option<Past>,
    counts: Counts,
    /// The hosts whose turn is still to come, in the order of their turns: wave,
    /// rank, and place among equals.
    queue: BTreeSet<(u32, u8, u32, HostId)>,
    waves: Waves,
    zones: Vec<Zone>,
    /// Those hosts of the queue that are out of service now.
    repairs: BTreeSet<Repair>,
    /// The zones whose minimum can no longer be kept.
    unsatisfiable: BTreeSet<u32>,
    /// True if events under way are to be interrupted.
    stops_now: bool,
    /// The group's alarms, as far as they hold back turns.
    pub alarms: AlarmGate,
    /// The alarm that stopped it.
    pub stopped_by: Option<StoppedBy>,
    /// The person who stopped it; empty if it was not stopped by a person.
    pub stop_by: String,
}

/// The sort key of a host that is out of service and whose turn is still to come:
/// whether it is Down, its zone, its wave, its place among equals, its id.
type Repair = (bool, u32, u32, u32, HostId);

/// A host of the group as it is when a rollout begins.
#[derive(Clone, Debug)]
pub struct Entrant {
    /// The id of the host.
    pub host: HostId,
    /// The host's standing before; `None` if it never had a turn.
    pub standing: Option<Standing>,
    /// The time at which the mesh counted it Down; `None` if it is up.
    pub down: Option<LedgerTime>,
    /// The time at which its check found it unwell; `None` if it is well.
    pub ailing: Option<LedgerTime>,
    /// True if the deployment is for this host.
    pub target: bool,
    /// The zone that the host stands in; empty if not given.
    pub zone: String,
}

impl Rollout {
    /// Makes a deployment that waits for its group to be free.
    pub fn queued(submission: Submission, at: LedgerTime) -> Self {
        Rollout {
            submission,
            created_at: at,
            started_at: None,
            finished_at: None,
            bounds: Bounds { minimum: 0, turns_max: 1 },
            verdict: None,
            rolled_back_by: None,
            rollback_asked: false,
            lowest_available: 0,
            status: DeploymentStatus::Queued,
            members: BTreeMap::new(),
            past: None,
            counts: Counts::default(),
            queue: BTreeSet::new(),
            waves: Waves::default(),
            zones: Vec::new(),
            repairs: BTreeSet::new(),
            unsatisfiable: BTreeSet::new(),
            stops_now: false,
            alarms: AlarmGate::default(),
            stopped_by: None,
            stop_by: String::new(),
        }
    }

    /// Begins the deployment with the group's hosts, in the order of their names.
    /// Grants the first leases, and returns the hosts that got one.
    pub fn begin(&mut self, entrants: &[Entrant], at: LedgerTime) -> Vec<HostId> {
        let total = u32::try_from(entrants.len()).expect("fewer hosts than 2^32");
        let bounds = self.submission.policy.bounds(total);
        self.enter(entrants, bounds, at);
        if self.counts.pending == 0 {
            self.conclude(Verdict::Failed(self.reason(ReasonCode::NoInstances)));
        } else if let Some(reason) = self.impossible() {
            self.conclude(Verdict::Failed(reason));
        }
        self.advance(at)
    }

    fn enter(&mut self, entrants: &[Entrant], bounds: Bounds, at: LedgerTime) {
        assert_eq!(self.status, DeploymentStatus::Queued, "a deployment begins once");
        self.bounds = bounds;
        self.started_at = Some(at);
        self.status = DeploymentStatus::InProgress;
        let admitted = (0..).zip(entrants).map(|(position, entrant)| self.admit(entrant, position));
        let members: Vec<Member> = admitted.collect();
        let division = wave::divide(&self.submission.policy, entrants, &members);
        (self.waves.list, self.zones) = (division.waves, division.zones);
        let placed = entrants.iter().zip(members).zip(division.places);
        let placed =
            placed.map(|((entrant, member), (wave, zone))| (entrant.host, Member { wave, zone, ..member }));
        self.members = placed.collect();
        self.count();
        self.lowest_available = self.counts.available;
    }

    /// Returns the reason why the deployment can never be done: the minimum of the
    /// group, or of a zone with a turn to come, includes all hosts there.
    fn impossible(&self) -> Option<Reason> {
        let reason = self.reason(ReasonCode::HealthConstraintsInvalid);
        if self.bounds.minimum >= self.present() {
            return Some(reason);
        }
        let zone = self.zones.iter().find(|zone| zone.counts.pending > 0 && zone.minimum >= zone.total)?;
        Some(Reason { zone: Some(ZoneReason::of(zone)), ..reason })
    }

    fn admit(&self, entrant: &Entrant, position: u32) -> Member {
        let digest = self.submission.revision.digest;
        let (health, installed) = match entrant.standing {
            None => (Health::Unhealthy, Installed::Unknown),
            Some(Standing { health, revision: None }) => (health, Installed::Unknown),
            Some(Standing { health, revision: Some(revision) }) if revision == digest => {
                (health, Installed::Current)
            }
            Some(Standing { health, revision: Some(_) }) => (health, Installed::Old),
        };
        let stage = if entrant.target { Stage::Pending } else { Stage::NotTargeted };
        let (down, ailing) = (entrant.down, entrant.ailing);
        Member {
            stage,
            health,
            installed,
            down,
            position,
            ailing,
            wave: 0,
            zone: 0,
            attempt: 1,
            interrupted: None,
            gone: false,
        }
    }

    /// Folds `TurnStarted`. Returns true if the start counts.
    pub fn start_turn(&mut self, host: HostId, at: LedgerTime) -> bool {
        let counts = self.may_start(host);
        if counts {
            self.change(host, |member| {
                member.stage = Stage::Started { at };
                // What the check said was about the revision that is now being
                // replaced.
                member.ailing = None;
            });
        }
        counts
    }

    /// Folds that a turn begins again, because the host's agent was killed or
    /// stopped in an event. The turn's timeout continues to run.
    pub(crate) fn begin_anew(&mut self, host: HostId, event: LifecycleEvent, attempt: u8) {
        let is_next = self.members.get(&host).is_some_and(|member| member.may_begin_anew(attempt));
        if is_next && attempt <= self.submission.policy.attempts {
            self.change(host, |member| {
                member.attempt = attempt;
                member.interrupted = Some(event);
            });
        }
    }

    /// Folds the end of a turn, reported by the host or by a timer. Returns the
    /// hosts that got a lease because of it; `None` if the end does not count.
    pub fn end_turn(&mut self, host: HostId, outcome: TurnOutcome, at: LedgerTime) -> Option<Vec<HostId>> {
        let started = match self.members.get(&host)?.stage {
            Stage::Leased { .. } => None,
            Stage::Started { at } => Some(at),
            Stage::NotTargeted | Stage::Pending | Stage::Ended { .. } | Stage::Skipped => return None,
        };
        let outcome = self.kept(outcome);
        self.change(host, |member| {
            member.health = match outcome {
                TurnOutcome::Succeeded => Health::Healthy,
                TurnOutcome::Failed(_) => Health::Unhealthy,
            };
            member.stage = Stage::Ended { started, at, outcome };
        });
        Some(self.advance(at))
    }

    /// Folds that the mesh lost or found a host. A host that is lost before it has
    /// used its lease gives way to others. Returns the hosts that got or lost a
    /// lease because of it.
    pub fn set_down(&mut self, host: HostId, down: Option<LedgerTime>, at: LedgerTime) -> Vec<HostId> {
        if !self.members.contains_key(&host) || self.status != DeploymentStatus::InProgress {
            return Vec::new();
        }
        let gives_way = down.is_some() && self.may_start(host);
        self.change(host, |member| {
            member.down = down;
            if gives_way {
                member.stage = Stage::Pending;
            }
        });
        if down.is_none() {
            self.reconsider_lease(host);
        }
        let mut changed: Vec<HostId> = gives_way.then_some(host).into_iter().collect();
        changed.extend(self.go_on(at));
        changed
    }

    /// Continues after a host came into service or left it other than by a turn.
    /// Returns the hosts that got or lost a lease because of it.
    fn go_on(&mut self, at: LedgerTime) -> Vec<HostId> {
        let mut changed = self.take_back();
        changed.extend(self.advance(at));
        changed
    }

    /// Folds that a host has been Down for too long after its turn, while its wave
    /// was still watched: the turn has failed after all. Returns the hosts that got
    /// a lease because of it; `None` if the host is no longer watched.
    pub fn lose(&mut self, host: HostId, failure: Failure, at: LedgerTime) -> Option<Vec<HostId>> {
        if !self.watches(host) {
            return None;
        }
        self.fail_after_all(host, failure);
        Some(self.advance(at))
    }

    /// Fails a turn that had succeeded, because of something that happened since.
    fn fail_after_all(&mut self, host: HostId, failure: Failure) {
        let failed = self.kept(TurnOutcome::Failed(failure));
        self.change(host, |member| {
            if let Stage::Ended { outcome, .. } = &mut member.stage {
                *outcome = failed;
            }
            member.health = Health::Unhealthy;
        });
    }

    /// Continues if a bake is over by now. Returns the hosts that got a lease
    /// because of it.
    pub fn wake(&mut self, at: LedgerTime) -> Vec<HostId> {
        self.advance(at)
    }

    /// Folds a person's request to stop. Turns under way end before their next
    /// event, or in the middle of an event if `now` is true.
    pub fn stop(&mut self, rollback: bool, now: bool, at: LedgerTime) {
        self.rollback_asked |= rollback;
        self.stops_now |= now;
        if self.status == DeploymentStatus::Queued {
            self.status = DeploymentStatus::InProgress;
            self.started_at = Some(at);
        }
        self.conclude(Verdict::Stopped(self.reason(ReasonCode::ManualStop)));
    }

    /// Records the person who was the first to ask that it be stopped.
    pub(crate) fn note_stop_by(&mut self, by: &str) {
        let is_manual = match &self.verdict {
            Some(Verdict::Stopped(reason)) => reason.code == ReasonCode::ManualStop,
            Some(Verdict::Succeeded | Verdict::Failed(_)) | None => false,
        };
        if self.stop_by.is_empty() && is_manual {
            by.clone_into(&mut self.stop_by);
        }
    }

    /// Folds that the whole deployment took too long. The caller must end the turns
    /// under way.
    pub fn time_out(&mut self) {
        self.conclude(Verdict::Failed(self.reason(ReasonCode::Timeout)));
    }

    /// Folds `Finished`. Returns true if it counts: a deployment is over only if it
    /// has a verdict and no turn is under way.
    pub fn finish(&mut self, at: LedgerTime) -> bool {
        if self.status.is_over() || !self.is_decided() {
            return false;
        }
        self.status = match self.verdict {
            Some(Verdict::Succeeded) => DeploymentStatus::Succeeded,
            Some(Verdict::Failed(_)) | None => DeploymentStatus::Failed,
            Some(Verdict::Stopped(_)) => DeploymentStatus::Stopped,
        };
        self.finished_at = Some(at);
        self.queue.clear();
        self.repairs.clear();
        true
    }

    /// Returns true if only the entry is missing that says that the deployment is
    /// over.
    pub fn is_decided(&self) -> bool {
        self.verdict.is_some() && self.counts.in_flight == 0 && !self.status.is_over()
    }

    /// Returns true if the verdict asks for a rollback.
    pub fn wants_rollback(&self) -> bool {
        let on = self.submission.policy.rollback;
        match self.verdict {
            None | Some(Verdict::Succeeded) => false,
            Some(Verdict::Failed(_)) => on.failure || self.rollback_asked,
            Some(Verdict::Stopped(Reason { code: ReasonCode::AlarmActive, .. })) => {
                on.alarm || self.rollback_asked
            }
            Some(Verdict::Stopped(_)) => on.stop || self.rollback_asked,
        }
    }

    /// Returns the hosts that have a lease, used or not.
    pub fn in_flight(&self) -> Vec<HostId> {
        self.members.iter().filter(|(_, member)| member.is_in_flight()).map(|(host, _)| *host).collect()
    }

    /// Returns the status, in CodeDeploy's words.
    pub fn status(&self) -> DeploymentStatus {
        match self.waves.bake_until {
            Some(_) => DeploymentStatus::Baking,
            None => self.status,
        }
    }

    /// Returns true if the events under way are to be interrupted.
    pub fn stops_now(&self) -> bool {
        self.stops_now
    }

    /// Returns the group's hosts as they were when the deployment began, including
    /// those not targeted. Empty before it begins and when it is over; then
    /// [`Rollout::parts`] says what became of them.
    pub fn members(&self) -> &BTreeMap<HostId, Member> {
        &self.members
    }

    /// Returns the sums over the hosts.
    pub fn counts(&self) -> &Counts {
        &self.counts
    }

    /// Returns N: the number of hosts in the group when the deployment began.
    pub fn total(&self) -> u32 {
        let hosts = self.past.as_ref().map_or(self.members.len(), Past::total);
        u32::try_from(hosts).expect("fewer hosts than 2^32")
    }

    /// Returns the number of those hosts that are still in the mesh. Known only
    /// while the deployment runs.
    pub(super) fn present(&self) -> u32 {
        self.total() - self.counts.gone
    }

    /// Returns the host whose turn is next, or why no host may go.
    pub fn turn(&self) -> Turn {
        turn::next(self)
    }

    fn reason(&self, code: ReasonCode) -> Reason {
        Reason { code, counts: self.counts, minimum: self.bounds.minimum, total: self.present(), zone: None }
    }

    /// Grants every lease that may be granted, or works out how the deployment
    /// ends.
    fn advance(&mut self, at: LedgerTime) -> Vec<HostId> {
        let mut granted = Vec::new();
        while self.verdict.is_none() && self.status == DeploymentStatus::InProgress {
            let lost = turn::unsatisfiable(self);
            if lost.is_none() && self.waves.go_on(at) {
                continue;
            }
            match turn::next(self) {
                Turn::Of(host) => {
                    self.change(host, |member| member.stage = Stage::Leased { at });
                    granted.push(host);
                }
                Turn::Blocked(_) => break,
                Turn::Over(verdict) => {
                    self.conclude(verdict);
                    granted.clear();
                }
            }
        }
        self.lowest_available = self.lowest_available.min(self.counts.available);
        self.invariants();
        granted
    }

    /// Decides how the deployment ends, once. Unused leases are taken back, and no
    /// more turns come.
    fn conclude(&mut self, verdict: Verdict) {
        if self.verdict.is_some() {
            return;
        }
        self.verdict = Some(verdict);
        self.waves.bake_until = None;
        let unstarted: Vec<HostId> = self
            .members
            .iter()
            .filter(|(_, member)| matches!(member.stage, Stage::Pending | Stage::Leased { .. }))
            .map(|(host, _)| *host)
            .collect();
        for host in unstarted {
            self.change(host, |member| member.stage = Stage::Skipped);
        }
    }

    fn invariants(&self) {
        assert!(self.counts.in_flight <= self.bounds.turns_max, "more turns in flight than the cap");
        #[cfg(test)]
        {
            assert!(self.is_counted_right(), "counted anew it is the same");
            assert!(self.leases_may_be_used(), "a lease is kept that may not be used");
        }
    }
}

#[cfg(test)]
mod tests;

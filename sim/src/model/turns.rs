//! One deployment as a list of turns, counted anew for every question.

use proto::entry::{Creator, Submission};
use proto::id::{Digest, HostId};
use proto::rollout::DeploymentStatus;

use super::{Millis, Standing};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    NotTargeted,
    Pending,
    Leased { at: Millis },
    Started { at: Millis },
    Succeeded,
    Failed,
    Skipped,
}

#[derive(Clone, Debug)]
pub struct Turn {
    pub host: HostId,
    pub stage: Stage,
    pub healthy: bool,
    pub down: bool,
    /// Unknown 1, another revision 2, the one that is deployed 3.
    pub installed: u8,
    /// Since when it has been both Down and in its turn.
    pub lost_since: Option<Millis>,
    /// Whether its start was ever committed while it held its lease.
    pub was_started: bool,
    /// Unwell by the group's check now, and when its turn was to begin.
    pub ailing: bool,
    pub was_ailing: bool,
    /// Its turn went well, it is unwell, and then it has failed after all.
    pub relapse_fails_at: Option<Millis>,
}

#[derive(Clone, Debug)]
pub struct Deployment {
    pub submission: Submission,
    pub status: DeploymentStatus,
    /// How it will end, once nobody is in a turn.
    pub ends_as: Option<DeploymentStatus>,
    pub began_at: Millis,
    pub timed_out: bool,
    pub rollback_asked: bool,
    pub minimum: u32,
    pub turns_max: u32,
    /// In the order of the hosts' names.
    pub turns: Vec<Turn>,
}

impl Turn {
    pub fn new(
        host: HostId,
        standing: Option<Standing>,
        down: bool,
        is_target: bool,
        digest: Digest,
    ) -> Self {
        let installed = match standing.and_then(|standing| standing.revision) {
            None => 1,
            Some(revision) if revision != digest => 2,
            Some(_) => 3,
        };
        Turn {
            host,
            stage: if is_target { Stage::Pending } else { Stage::NotTargeted },
            healthy: standing.is_some_and(|standing| standing.healthy),
            down,
            installed,
            lost_since: None,
            was_started: false,
            ailing: false,
            was_ailing: false,
            relapse_fails_at: None,
        }
    }

    pub fn is_in_flight(&self) -> bool {
        matches!(self.stage, Stage::Leased { .. } | Stage::Started { .. })
    }

    pub fn is_available(&self) -> bool {
        self.healthy && !self.down && !self.ailing && !self.is_in_flight()
    }

    fn rank(&self) -> u8 {
        if self.healthy && !self.down && !self.ailing { self.installed } else { 0 }
    }
}

impl Deployment {
    pub fn queued(submission: Submission) -> Self {
        Deployment {
            submission,
            status: DeploymentStatus::Queued,
            ends_as: None,
            began_at: 0,
            timed_out: false,
            rollback_asked: false,
            minimum: 0,
            turns_max: 1,
            turns: Vec::new(),
        }
    }

    pub fn turn(&self, host: HostId) -> Option<&Turn> {
        self.turns.iter().find(|turn| turn.host == host)
    }

    pub fn turn_mut(&mut self, host: HostId) -> Option<&mut Turn> {
        self.turns.iter_mut().find(|turn| turn.host == host)
    }

    pub fn in_flight(&self) -> Vec<HostId> {
        self.turns.iter().filter(|turn| turn.is_in_flight()).map(|turn| turn.host).collect()
    }

    /// Whose application was touched.
    pub fn touched(&self) -> Vec<HostId> {
        self.turns.iter().filter(|turn| turn.was_started).map(|turn| turn.host).collect()
    }

    pub fn available(&self) -> u32 {
        self.count(Turn::is_available)
    }

    pub fn begin(&mut self, turns: Vec<Turn>, at: Millis) {
        self.turns = turns;
        self.status = DeploymentStatus::InProgress;
        self.began_at = at;
        let total = self.count(|_| true);
        let bounds = self.submission.policy.minimum.bounds(total);
        self.minimum = bounds.minimum;
        self.turns_max = bounds.turns_max;
        if self.count(|turn| turn.stage == Stage::Pending) == 0 || self.minimum >= total {
            self.conclude(DeploymentStatus::Failed);
        }
        self.advance(at);
    }

    /// One beside another deployment has nobody but its own hosts.
    pub fn begin_catch_up(&mut self, turns: Vec<Turn>, total: u32, is_beside: bool, at: Millis) {
        self.turns = turns;
        self.status = DeploymentStatus::InProgress;
        self.began_at = at;
        let bounds = self.submission.policy.minimum.bounds(total);
        self.minimum = if is_beside { 0 } else { bounds.minimum };
        self.turns_max = bounds.turns_max;
        self.advance(at);
    }

    fn is_catch_up(&self) -> bool {
        self.submission.creator == Creator::Autoscale
    }

    /// Ends a turn. Returns whether it had started; none if it was no turn.
    pub fn end(&mut self, host: HostId, succeeded: bool) -> Option<bool> {
        let turn = self.turn_mut(host).filter(|turn| turn.is_in_flight())?;
        turn.stage = if succeeded { Stage::Succeeded } else { Stage::Failed };
        turn.healthy = succeeded;
        Some(turn.was_started)
    }

    pub fn conclude(&mut self, ends_as: DeploymentStatus) {
        if self.ends_as.is_some() {
            return;
        }
        self.ends_as = Some(ends_as);
        for turn in &mut self.turns {
            if let Stage::Pending | Stage::Leased { .. } = turn.stage {
                turn.stage = Stage::Skipped;
            }
        }
    }

    /// Returns whether it is over now and was not before.
    pub fn finish(&mut self) -> bool {
        let Some(ends_as) = self.ends_as else { return false };
        if self.status.is_over() || !self.in_flight().is_empty() {
            return false;
        }
        self.status = ends_as;
        true
    }

    pub fn wants_rollback(&self) -> bool {
        let on = self.submission.policy.rollback;
        let wanted = match self.status {
            DeploymentStatus::Failed => on.failure || self.rollback_asked,
            DeploymentStatus::Stopped => on.stop || self.rollback_asked,
            DeploymentStatus::Succeeded
            | DeploymentStatus::Created
            | DeploymentStatus::Queued
            | DeploymentStatus::InProgress => false,
        };
        // A rollback that fails is never rolled back: it would go round for ever.
        wanted && !self.touched().is_empty() && self.submission.creator == Creator::User
    }

    /// Grants what may be granted, or works out how it ends.
    pub fn advance(&mut self, at: Millis) {
        while self.status == DeploymentStatus::InProgress && self.ends_as.is_none() {
            let pending = self.count(|turn| turn.stage == Stage::Pending);
            let in_flight = self.count(Turn::is_in_flight);
            if self.is_catch_up() {
                // Each host for itself: the minimum spares some, it ends nothing.
                if let Some(next) = self.next() {
                    self.turns[next].stage = Stage::Leased { at };
                } else if in_flight == 0 {
                    let failed = self.count(|turn| turn.stage == Stage::Failed);
                    let ends_as = [DeploymentStatus::Failed, DeploymentStatus::Succeeded];
                    self.conclude(ends_as[usize::from(failed == 0)]);
                } else {
                    break;
                }
            } else if self.is_hopeless() {
                self.conclude(DeploymentStatus::Failed);
            } else if pending == 0 && in_flight == 0 {
                if self.count(|turn| turn.ailing && turn.stage == Stage::Succeeded) > 0 {
                    break;
                }
                let succeeded = self.count(|turn| turn.stage == Stage::Succeeded);
                let is_well = self.count(|turn| turn.healthy) >= self.minimum && succeeded >= 1;
                self.conclude(if is_well { DeploymentStatus::Succeeded } else { DeploymentStatus::Failed });
            } else if let Some(next) = self.next() {
                self.turns[next].stage = Stage::Leased { at };
            } else {
                break;
            }
        }
        for turn in &mut self.turns {
            let is_lost = turn.down && turn.is_in_flight();
            turn.lost_since = is_lost.then(|| turn.lost_since.unwrap_or(at));
        }
    }

    /// Even if every unhealthy host with a turn to come heals in it, the
    /// minimum cannot be kept.
    fn is_hopeless(&self) -> bool {
        let has_turn = |turn: &Turn| turn.stage == Stage::Pending || turn.is_in_flight();
        let best = self.count(|turn| turn.healthy || has_turn(turn));
        let healthy_to_come = self.count(|turn| turn.healthy && turn.stage == Stage::Pending);
        if healthy_to_come > 0 {
            best <= self.minimum
        } else {
            self.count(has_turn) > 0 && best < self.minimum
        }
    }

    fn next(&self) -> Option<usize> {
        let pending = (0..self.turns.len()).filter(|at| self.turns[*at].stage == Stage::Pending);
        let next = pending.min_by_key(|at| (self.turns[*at].rank(), *at))?;
        let has_room = self.count(Turn::is_in_flight) < self.turns_max;
        let is_spared = !self.turns[next].is_available() || self.available() > self.minimum;
        (has_room && is_spared).then_some(next)
    }

    fn count(&self, is_counted: impl Fn(&Turn) -> bool) -> u32 {
        u32::try_from(self.turns.iter().filter(|turn| is_counted(turn)).count()).expect("few hosts")
    }
}

//! One deployment as a list of turns, counted again for every question.

use proto::entry::{Creator, Submission};
use proto::id::HostId;
use proto::rollout::DeploymentStatus;

use super::{Millis, Stage, Turn};

/// Hosts that go together, and how long they are watched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wave {
    pub is_canary: bool,
    pub bake: Millis,
}

#[derive(Clone, Debug)]
pub struct Deployment {
    pub submission: Submission,
    pub status: DeploymentStatus,
    /// The status with which the deployment will end, once no turn is under way.
    pub ends_as: Option<DeploymentStatus>,
    pub began_at: Millis,
    pub timed_out: bool,
    pub rollback_asked: bool,
    pub stopped_by_alarm: bool,
    /// True while alarms let no turn begin.
    pub is_held: bool,
    pub minimum: u32,
    pub turns_max: u32,
    /// In the order of the hosts' names.
    pub turns: Vec<Turn>,
    pub waves: Vec<Wave>,
    /// The index of the current wave.
    pub wave: usize,
    pub bake_until: Option<Millis>,
    /// True if the last wave was watched to its end.
    pub is_baked: bool,
    /// The fewest hosts in service at any moment of the deployment.
    pub lowest: u32,
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
            stopped_by_alarm: false,
            is_held: false,
            minimum: 0,
            turns_max: 1,
            turns: Vec::new(),
            waves: Vec::new(),
            wave: 0,
            bake_until: None,
            is_baked: false,
            lowest: 0,
        }
    }

    pub fn is_running(&self) -> bool {
        matches!(self.status, DeploymentStatus::InProgress | DeploymentStatus::Baking)
    }

    /// Returns the number of hosts of a zone that must stay healthy; None if zones do not
    /// matter.
    pub fn zone_minimum(&self, zone: &str) -> Option<u32> {
        let zonal = self.submission.policy.zonal.as_ref()?;
        Some(zonal.minimum.of(self.count(|turn| turn.zone == zone && !turn.gone)))
    }

    /// Removes a host from the group's count: the minimum is now that of the other hosts.
    pub fn leave(&mut self, host: HostId) {
        let Some(turn) = self.turn_mut(host) else { return };
        turn.gone = true;
        if let Stage::Pending | Stage::Leased { .. } = turn.stage {
            turn.stage = Stage::Skipped;
        }
        if self.ends_as.is_some() {
            return;
        }
        let left = self.count(|turn| !turn.gone);
        self.minimum = self.minimum.min(self.submission.policy.bounds(left).minimum);
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

    /// Returns the hosts whose application was touched.
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
        self.lowest = self.available();
        let total = self.count(|_| true);
        let bounds = self.submission.policy.bounds(total);
        self.minimum = bounds.minimum;
        self.turns_max = bounds.turns_max;
        self.divide();
        let is_stuck = |turn: &Turn| {
            let all = self.count(|other| other.zone == turn.zone);
            turn.stage == Stage::Pending && self.zone_minimum(&turn.zone).is_some_and(|needed| needed >= all)
        };
        let pending = self.count(|turn| turn.stage == Stage::Pending);
        if pending == 0 || self.minimum >= total || self.count(is_stuck) > 0 {
            self.conclude(DeploymentStatus::Failed);
        }
        self.advance(at);
    }

    /// Begins a catch-up. Beside another deployment, the group consists of its own hosts alone.
    pub fn begin_catch_up(&mut self, turns: Vec<Turn>, total: u32, is_beside: bool, at: Millis) {
        self.turns = turns;
        self.status = DeploymentStatus::InProgress;
        self.began_at = at;
        self.lowest = self.available();
        let bounds = self.submission.policy.bounds(total);
        self.minimum = if is_beside { 0 } else { bounds.minimum };
        self.turns_max = bounds.turns_max;
        self.advance(at);
    }

    fn is_catch_up(&self) -> bool {
        self.submission.creator == Creator::Autoscale
    }

    /// Assigns every turn to its wave.
    fn divide(&mut self) {
        let policy = self.submission.policy.clone();
        let mut rest: Vec<usize> =
            (0..self.turns.len()).filter(|at| self.turns[*at].stage == Stage::Pending).collect();
        if let Some(canary) = policy.canary {
            let wanted = canary.hosts.of(self.count(|_| true)) as usize;
            if wanted < rest.len() {
                // A host that runs well shows most about a new revision.
                rest.sort_by_key(|at| {
                    let turn = &self.turns[*at];
                    (turn.down, !turn.healthy || turn.ailing, turn.rank(), *at)
                });
                rest.drain(..wanted).for_each(|at| self.turns[at].wave = 0);
                let bake = u64::try_from(canary.bake.as_millis()).expect("a short bake");
                self.waves.push(Wave { is_canary: true, bake });
            }
        }
        let zone =
            |at: &usize| if policy.zonal.is_some() { self.turns[*at].zone.clone() } else { String::new() };
        let mut zones: Vec<String> = rest.iter().map(zone).collect();
        if let Some(zonal) = &policy.zonal {
            zones.sort_by_key(|zone| {
                let place = zonal.order.iter().position(|ordered| ordered == zone);
                (place.unwrap_or(usize::MAX), zone.is_empty(), zone.clone())
            });
        }
        zones.dedup();
        for (nth, zone) in zones.iter().enumerate() {
            for at in &rest {
                if policy.zonal.is_none() || self.turns[*at].zone == *zone {
                    self.turns[*at].wave = self.waves.len();
                }
            }
            let bake = policy.zonal.as_ref().map_or(0, |zonal| zonal.bake_after(nth).as_millis());
            let bake = u64::try_from(bake).expect("a short bake");
            self.waves.push(Wave { is_canary: false, bake });
        }
        if let Some(last) = self.waves.last_mut() {
            last.bake = u64::try_from(policy.bake.as_millis()).expect("a short bake");
        }
    }

    /// Returns true if some hosts of the current wave succeeded, but are Down or unwell.
    pub fn is_unsure(&self) -> bool {
        self.turns.iter().any(|turn| turn.wave == self.wave && turn.is_unsure())
    }

    /// Ends a turn. Returns true if it had started; None if no turn was under way.
    pub fn end(&mut self, host: HostId, succeeded: bool) -> Option<bool> {
        let turn = self.turn_mut(host).filter(|turn| turn.is_in_flight())?;
        turn.stage = if succeeded { Stage::Succeeded } else { Stage::Failed };
        turn.healthy = succeeded;
        turn.lost_since = None;
        Some(turn.was_started)
    }

    pub fn conclude(&mut self, ends_as: DeploymentStatus) {
        if self.ends_as.is_some() {
            return;
        }
        self.ends_as = Some(ends_as);
        self.bake_until = None;
        if self.status == DeploymentStatus::Baking {
            self.status = DeploymentStatus::InProgress;
        }
        for turn in &mut self.turns {
            if !turn.is_in_flight() {
                turn.lost_since = None;
            }
            if let Stage::Pending | Stage::Leased { .. } = turn.stage {
                turn.stage = Stage::Skipped;
                turn.lost_since = None;
            }
        }
    }

    /// Returns true if the deployment is over now and was not before.
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
            DeploymentStatus::Stopped if self.stopped_by_alarm => on.alarm || self.rollback_asked,
            DeploymentStatus::Stopped => on.stop || self.rollback_asked,
            DeploymentStatus::Succeeded
            | DeploymentStatus::Created
            | DeploymentStatus::Queued
            | DeploymentStatus::InProgress
            | DeploymentStatus::Baking => false,
        };
        // A rollback that fails is never rolled back, or the mesh would never stop.
        wanted
            && !self.touched().is_empty()
            && self.submission.creator == Creator::User
            && self.submission.rollback_of.is_none()
    }

    /// Grants the leases that may be granted, or decides how the deployment ends.
    pub fn advance(&mut self, at: Millis) {
        while self.is_running() && self.ends_as.is_none() {
            let pending = self.count(|turn| turn.stage == Stage::Pending);
            let in_flight = self.count(Turn::is_in_flight);
            if self.is_catch_up() {
                // In a catch-up each host is on its own: the minimum spares some hosts, and ends nothing.
                if let Some(next) = self.next() {
                    self.turns[next].stage = Stage::Leased { at, deferred_at: None };
                } else if in_flight == 0 {
                    let failed = self.count(|turn| turn.stage == Stage::Failed);
                    let ends_as = [DeploymentStatus::Failed, DeploymentStatus::Succeeded];
                    self.conclude(ends_as[usize::from(failed == 0)]);
                } else {
                    break;
                }
            } else if self.is_unsatisfiable() {
                self.conclude(DeploymentStatus::Failed);
            } else if self.goes_on(at) {
                continue;
            } else if pending == 0 && in_flight == 0 {
                if self.bake_until.is_some() {
                    break;
                }
                if self.count(|turn| turn.ailing && turn.stage == Stage::Succeeded) > 0 {
                    break;
                }
                let succeeded = self.count(|turn| turn.stage == Stage::Succeeded);
                let is_well = self.count(Turn::is_well) >= self.minimum && succeeded >= 1;
                self.conclude(if is_well { DeploymentStatus::Succeeded } else { DeploymentStatus::Failed });
            } else if let Some(next) = self.next() {
                self.turns[next].stage = Stage::Leased { at, deferred_at: None };
            } else {
                break;
            }
        }
        self.lowest = self.lowest.min(self.available());
        let (wave, is_open) = (self.wave, self.is_running() && self.ends_as.is_none());
        let is_baked = self.is_baked;
        for turn in &mut self.turns {
            let bakes = self.waves.get(turn.wave).is_some_and(|wave| wave.bake > 0);
            let is_watched = is_open && bakes && !is_baked && turn.wave >= wave && turn.is_unsure();
            let is_lost = turn.down && (turn.is_in_flight() || is_watched);
            turn.lost_since = is_lost.then(|| turn.lost_since.unwrap_or(at));
        }
    }

    /// Takes leases back after a host left service. While too few hosts are in service, hosts that have
    /// not begun their turns stay in service, the last one first.
    pub fn take_back(&mut self) {
        while self.ends_as.is_none() {
            let lacks = |turn: &Turn| {
                let in_zone = self.count(|other| other.zone == turn.zone && other.is_available());
                self.available() < self.minimum
                    || self.zone_minimum(&turn.zone).is_some_and(|minimum| in_zone < minimum)
            };
            let is_needed = |at: &usize| {
                let turn = &self.turns[*at];
                matches!(turn.stage, Stage::Leased { .. }) && !turn.is_of_no_service() && lacks(turn)
            };
            let place = |at: &usize| {
                let turn = &self.turns[*at];
                (turn.wave, turn.rank(), turn.is_short, *at)
            };
            let Some(last) = (0..self.turns.len()).filter(is_needed).max_by_key(place) else { return };
            self.turns[last].stage = Stage::Pending;
        }
    }

    /// Begins the bake or the next wave. Returns true if it did.
    fn goes_on(&mut self, at: Millis) -> bool {
        let has_turns = self
            .turns
            .iter()
            .any(|turn| turn.wave == self.wave && (turn.stage == Stage::Pending || turn.is_in_flight()));
        let is_last = self.wave + 1 >= self.waves.len();
        let is_watched = |wave: &Wave| wave.bake > 0 && !self.is_baked;
        if has_turns || (is_last && !self.waves.get(self.wave).is_some_and(is_watched)) {
            return false;
        }
        let bake = self.waves[self.wave].bake;
        let until = self.bake_until.unwrap_or(at + bake);
        if until <= at && (bake == 0 || !self.is_unsure()) {
            self.wave += usize::from(!is_last);
            self.is_baked = is_last;
            self.bake_until = None;
            self.status = DeploymentStatus::InProgress;
            return true;
        }
        self.status = DeploymentStatus::Baking;
        self.bake_until.replace(until).is_none()
    }

    /// Returns true if a canary failed, or if a minimum cannot be kept even when every unhealthy host
    /// that still has a turn becomes healthy in it.
    fn is_unsatisfiable(&self) -> bool {
        let is_tried = |turn: &Turn| matches!(turn.stage, Stage::Succeeded | Stage::Failed);
        let is_canary = self.waves.get(self.wave).is_some_and(|wave| wave.is_canary);
        if is_canary && self.count(|turn| turn.wave == self.wave && is_tried(turn) && !turn.healthy) > 0 {
            return true;
        }
        let has_turn = |turn: &Turn| turn.stage == Stage::Pending || turn.is_in_flight();
        let is_lost = |among: &dyn Fn(&Turn) -> bool, minimum: u32, had_turns: bool| {
            let best = self.count(|turn| among(turn) && (turn.is_well() || has_turn(turn) && !turn.gone));
            let healthy_to_come =
                self.count(|turn| among(turn) && !turn.is_of_no_service() && turn.stage == Stage::Pending);
            if healthy_to_come > 0 { best <= minimum } else { had_turns && best < minimum }
        };
        let of_zone = |turn: &Turn| {
            let Some(minimum) = self.zone_minimum(&turn.zone) else { return false };
            let among = |other: &Turn| other.zone == turn.zone;
            is_lost(&among, minimum, has_turn(turn) || is_tried(turn))
        };
        // While the last wave is watched no host becomes healthy, but some may still fail.
        let may_change = self.count(has_turn) > 0 || self.bake_until.is_some();
        is_lost(&|_| true, self.minimum, may_change) || self.turns.iter().any(of_zone)
    }

    /// Handles a host that is in service again. If it held a lease because it was out of service, it
    /// keeps the lease only if any host in its place could go.
    pub fn reconsider(&mut self, host: HostId) {
        let Some(at) = self.turns.iter().position(|turn| turn.host == host) else { return };
        let before = self.turns[at].stage;
        if let Stage::Leased { .. } = before {
            self.turns[at].stage = Stage::Pending;
            if self.may_go(at) {
                self.turns[at].stage = before;
            }
        }
    }

    fn next(&self) -> Option<usize> {
        let pending: Vec<usize> =
            (0..self.turns.len()).filter(|at| self.turns[*at].stage == Stage::Pending).collect();
        let next = *pending.iter().min_by_key(|at| {
            let turn = &self.turns[**at];
            (turn.wave, turn.rank(), turn.is_short, **at)
        })?;
        if self.may_go(next) {
            return Some(next);
        }
        if !self.has_room(next) {
            return None;
        }
        // No host may go, unless one that is out of service goes first. A rollback waits for hosts that
        // are Down.
        let waits = self.submission.rollback_of.is_some();
        let zone_spares = self.zone_spares(next);
        let may_help = |at: &&usize| {
            let other = &self.turns[**at];
            let is_there = !other.down || !waits;
            other.is_of_no_service() && is_there && (zone_spares || other.zone == self.turns[next].zone)
        };
        let place = |at: &&usize| {
            let other = &self.turns[**at];
            let zone = self.submission.policy.zonal.as_ref().map(|zonal| zonal.place(&other.zone));
            (other.down, zone, other.wave, other.is_short, **at)
        };
        let nobody_goes = self.count(Turn::is_in_flight) == 0;
        pending.iter().filter(may_help).min_by_key(place).filter(|_| nobody_goes).copied()
    }

    /// Returns true if the host may leave service now.
    fn may_go(&self, at: usize) -> bool {
        let spares = || self.zone_spares(at) && self.available() > self.minimum;
        self.has_room(at) && (!self.turns[at].is_available() || spares())
    }

    /// Returns true if the host's wave is current and not too many turns are under way.
    fn has_room(&self, at: usize) -> bool {
        let turn = &self.turns[at];
        if self.is_held || turn.wave != self.wave || self.bake_until.is_some() {
            return false;
        }
        let in_zone = |other: &Turn| other.zone == turn.zone && !other.gone;
        let zone_has_room = self.zone_minimum(&turn.zone).is_none_or(|minimum| {
            let at_once = self.count(in_zone).saturating_sub(minimum).max(1);
            self.count(|other| in_zone(other) && other.is_in_flight()) < at_once
        });
        self.count(Turn::is_in_flight) < self.turns_max && zone_has_room
    }

    fn zone_spares(&self, at: usize) -> bool {
        let zone = &self.turns[at].zone;
        let in_service = self.count(|other| other.zone == *zone && other.is_available());
        self.zone_minimum(zone).is_none_or(|minimum| in_service > minimum)
    }

    fn count(&self, is_counted: impl Fn(&Turn) -> bool) -> u32 {
        u32::try_from(self.turns.iter().filter(|turn| is_counted(turn)).count()).expect("few hosts")
    }
}

//! Waves: the hosts of a rollout in the order in which they are risked.
//!
//! The idea is a tide rather than a tap: the next wave comes only when the one
//! before has run out, and after a bake, in which it is watched. Without canary
//! and zones everything is one wave.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{Counts, Entrant, Health, Member, Rollout, Stage};
use crate::entry::TurnOutcome;
use crate::id::HostId;
use crate::policy::Policy;
use crate::time::LedgerTime;

/// Which hosts go together.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum WaveKind {
    /// All that are left.
    Rest,
    /// Those on which the revision is tried first.
    Canary,
    /// Those of one zone; empty for hosts that name none.
    Zone(String),
}

/// Hosts that go together.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Wave {
    /// Which.
    pub kind: WaveKind,
    /// How long it is watched before the next one goes, or, after the last, before the
    /// deployment has succeeded.
    pub bake: Duration,
    /// How far its hosts are.
    pub counts: Counts,
    /// Of those whose turn is over, how many are not healthy.
    pub spoiled: u32,
    /// Of those whose turn went well, how many are unwell now by the group's
    /// health check, or Down, so that nobody knows how they are.
    pub unsure: u32,
}

/// All waves of a rollout, and which one it is in.
#[derive(Clone, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(super) struct Waves {
    pub(super) list: Vec<Wave>,
    pub(super) current: u32,
    /// Until when the current one is watched, once its turns are over.
    pub(super) bake_until: Option<LedgerTime>,
    /// Whether the last one was watched to the end.
    pub(super) is_baked: bool,
}

/// One zone of the group, in a deployment that goes zone by zone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Zone {
    /// Its name; empty for hosts that name none.
    pub name: String,
    /// N of the zone.
    pub total: u32,
    /// M of the zone.
    pub minimum: u32,
    /// At most so many of it are in their turn at a time.
    pub turns_max: u32,
    /// How far its hosts are.
    pub counts: Counts,
}

impl Wave {
    fn new(kind: WaveKind, bake: Duration) -> Self {
        Wave { kind, bake, counts: Counts::default(), spoiled: 0, unsure: 0 }
    }

    /// Whether all its turns are over.
    pub fn is_through(&self) -> bool {
        self.counts.pending == 0 && self.counts.in_flight == 0
    }

    pub(super) fn forget_counts(&mut self) {
        (self.counts, self.spoiled, self.unsure) = (Counts::default(), 0, 0);
    }

    pub(super) fn add(&mut self, member: &Member) {
        self.counts.add(member);
        self.spoiled += u32::from(is_spoiled(member));
        self.unsure += u32::from(is_unsure(member));
    }

    pub(super) fn remove(&mut self, member: &Member) {
        self.counts.remove(member);
        self.spoiled -= u32::from(is_spoiled(member));
        self.unsure -= u32::from(is_unsure(member));
    }
}

fn is_spoiled(member: &Member) -> bool {
    matches!(member.stage, Stage::Ended { .. }) && member.health == Health::Unhealthy
}

fn is_unsure(member: &Member) -> bool {
    let went_well = matches!(member.stage, Stage::Ended { outcome: TurnOutcome::Succeeded, .. });
    went_well && (member.down.is_some() || member.ailing.is_some())
}

impl Waves {
    /// The wave that the rollout is in; none before it begins.
    pub(super) fn current(&self) -> Option<&Wave> {
        self.list.get(self.current as usize)
    }

    pub(super) fn has_next(&self) -> bool {
        (self.current as usize) + 1 < self.list.len()
    }

    /// Goes on to the bake, or to the next wave, if it is time. Returns whether
    /// anything changed.
    pub(super) fn go_on(&mut self, at: LedgerTime) -> bool {
        let Some(wave) = self.current() else { return false };
        let has_next = self.has_next();
        if !wave.is_through() || (!has_next && (wave.bake.is_zero() || self.is_baked)) {
            return false;
        }
        let until = self.bake_until.unwrap_or(at + wave.bake);
        let is_over = until <= at && (wave.bake.is_zero() || wave.unsure == 0);
        if is_over {
            self.current += u32::from(has_next);
            self.is_baked = !has_next;
            self.bake_until = None;
        } else if self.bake_until.is_none() {
            self.bake_until = Some(until);
        } else {
            return false;
        }
        true
    }
}

impl Zone {
    /// Its minimum is lost, or will be with the next host: at M and not below
    /// it, as for the whole group.
    pub(super) fn is_hopeless(&self) -> bool {
        let counts = &self.counts;
        let best = counts.healthy + counts.hopeful;
        let turns = counts.pending + counts.in_flight + counts.succeeded + counts.failed;
        (counts.pending_available > 0 && best <= self.minimum) || (turns > 0 && best < self.minimum)
    }

    /// Fewer of it are in service than must be.
    pub(super) fn lacks(&self) -> bool {
        self.counts.available < self.minimum
    }
}

impl Rollout {
    /// The waves, in their order; none before it begins.
    pub fn waves(&self) -> &[Wave] {
        &self.waves.list
    }

    /// The place of the wave that it is in, from 0.
    pub fn wave(&self) -> usize {
        self.waves.current as usize
    }

    /// Until when the current wave is watched before the next one goes.
    pub fn bakes_until(&self) -> Option<LedgerTime> {
        self.waves.bake_until
    }

    /// The zones, if it goes zone by zone, in their order.
    pub fn zones(&self) -> &[Zone] {
        &self.zones
    }

    /// The zone of a host, if it goes zone by zone.
    pub fn zone_of(&self, host: HostId) -> Option<&Zone> {
        self.zones.get(self.members.get(&host)?.zone as usize)
    }

    /// The wave of a host.
    pub fn wave_of(&self, host: HostId) -> Option<&Wave> {
        let member = self.members.get(&host).filter(|member| member.stage != Stage::NotTargeted)?;
        self.waves.list.get(member.wave as usize)
    }

    /// Whether a host whose turn went well is watched still, because its wave
    /// will be, and is Down: if it stays so, it counts as failed.
    pub fn watches(&self, host: HostId) -> bool {
        let Some(member) = self.members.get(&host) else { return false };
        let wave = self.waves.list.get(member.wave as usize);
        let is_to_bake = member.wave >= self.waves.current && wave.is_some_and(|wave| !wave.bake.is_zero());
        self.verdict.is_none()
            && is_to_bake
            && !self.waves.is_baked
            && member.down.is_some()
            && is_unsure(member)
    }
}

/// Where the hosts of a rollout belong.
pub(super) struct Division {
    pub(super) waves: Vec<Wave>,
    pub(super) zones: Vec<Zone>,
    /// For each entrant, its wave and its zone.
    pub(super) places: Vec<(u32, u32)>,
}

/// Divides the group's hosts into waves and zones. `members` are the
/// entrants' sides of the rollout, in the same order.
pub(super) fn divide(policy: &Policy, entrants: &[Entrant], members: &[Member]) -> Division {
    let mut zones = zones_of(policy, entrants);
    let place: BTreeMap<&str, u32> = (0..).zip(&zones).map(|(at, zone)| (zone.name.as_str(), at)).collect();
    let zone_of = |entrant: &Entrant| if place.is_empty() { 0 } else { place[entrant.zone.as_str()] };
    let zone_places: Vec<u32> = entrants.iter().map(zone_of).collect();
    for at in &zone_places {
        if let Some(zone) = zones.get_mut(*at as usize) {
            zone.total += 1;
        }
    }
    if let Some(zonal) = &policy.zonal {
        for zone in &mut zones {
            let bounds = zonal.bounds(zone.total);
            (zone.minimum, zone.turns_max) = (bounds.minimum, bounds.turns_max);
        }
    }
    let canaries = canaries(policy, members);
    let mut waves = Vec::new();
    let mut wave_of_zone: BTreeMap<u32, u32> = BTreeMap::new();
    if let Some(canary) = policy.canary.filter(|_| !canaries.is_empty()) {
        waves.push(Wave::new(WaveKind::Canary, canary.bake));
    }
    let is_follower = |at: usize| members[at].stage == Stage::Pending && !canaries.contains(&at);
    let mut with_followers: Vec<u32> =
        (0..members.len()).filter(|at| is_follower(*at)).map(|at| zone_places[at]).collect();
    with_followers.sort_unstable();
    with_followers.dedup();
    for (nth, zone) in with_followers.into_iter().enumerate() {
        wave_of_zone.insert(zone, u32::try_from(waves.len()).expect("fewer waves than hosts"));
        waves.push(match &policy.zonal {
            Some(zonal) => {
                Wave::new(WaveKind::Zone(zones[zone as usize].name.clone()), zonal.bake_after(nth))
            }
            None => Wave::new(WaveKind::Rest, Duration::ZERO),
        });
    }
    if let Some(last) = waves.last_mut() {
        last.bake = policy.bake;
    }
    let places = (0..members.len())
        .map(|at| {
            let wave = if is_follower(at) { wave_of_zone[&zone_places[at]] } else { 0 };
            (wave, zone_places[at])
        })
        .collect();
    Division { waves, zones, places }
}

/// The zones of a group's hosts, in the order in which they go; none if the
/// policy does not ask for it.
fn zones_of(policy: &Policy, entrants: &[Entrant]) -> Vec<Zone> {
    let Some(zonal) = &policy.zonal else { return Vec::new() };
    let mut names: Vec<&str> = entrants.iter().map(|entrant| entrant.zone.as_str()).collect();
    names.sort_unstable_by_key(|name| zonal.place(name));
    names.dedup();
    let empty = |name: &&str| Zone {
        name: (*name).into(),
        total: 0,
        minimum: 0,
        turns_max: 1,
        counts: Counts::default(),
    };
    names.iter().map(empty).collect()
}

/// The places of the canaries: hosts in service if there are enough, because on
/// a host that was broken before a failure says nothing of the revision. None
/// if nobody would follow them: that is no canary.
fn canaries(policy: &Policy, members: &[Member]) -> std::collections::BTreeSet<usize> {
    let Some(canary) = &policy.canary else { return Default::default() };
    let total = u32::try_from(members.len()).expect("fewer hosts than 2^32");
    let wanted = canary.hosts.of(total) as usize;
    let mut targets: Vec<usize> =
        (0..members.len()).filter(|at| members[*at].stage == Stage::Pending).collect();
    if wanted >= targets.len() {
        return Default::default();
    }
    let order = |at: &usize| {
        let member = &members[*at];
        let is_unwell = member.health == Health::Unhealthy || member.ailing.is_some();
        (member.down.is_some(), is_unwell, member.rank(), member.position)
    };
    targets.sort_unstable_by_key(order);
    targets.into_iter().take(wanted).collect()
}

//! Waves: the hosts of a rollout, in the order in which they are risked.
//!
//! The next wave begins only when all turns of the wave before are over, and after
//! a bake, in which that wave is watched. Without canary and zones there is only
//! one wave.
//!
//! # Decisions
//!
//! - All canaries must succeed, whatever the minimum is. With AllAtOnce, the rule
//!   alone would let nine hosts follow a canary that failed. A canary that no other
//!   host would follow is refused.
//! - Canaries are hosts in service, if there are enough. On a broken host a failure
//!   says nothing about the revision, and a host that is gone for good would make
//!   every canary fail.
//! - A bake does not end while a host is Down, until the host is back or has failed
//!   after `lost_after`. AWS watches only alarms.

use std::collections::BTreeMap;
use std::time::Duration;

use super::{Counts, Entrant, Health, Member, Rollout, Stage};
use crate::entry::TurnOutcome;
use crate::id::HostId;
use crate::policy::Policy;
use crate::time::LedgerTime;

/// The kind of a wave: which hosts it consists of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WaveKind {
    /// All hosts that are left.
    Rest,
    /// The hosts on which the revision is tried first.
    Canary,
    /// The hosts of one zone; its name is empty for hosts without a zone.
    Zone(String),
}

/// Hosts that are risked together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wave {
    /// The kind of the wave.
    pub kind: WaveKind,
    /// The time for which the wave is watched before the next one goes. After the
    /// last wave: before the deployment succeeds.
    pub bake: Duration,
    /// The sums over its hosts.
    pub counts: Counts,
    /// The number of its hosts whose turn is over and that are not healthy.
    pub ended_unhealthy: u32,
    /// The number of its hosts whose turn succeeded and that are now unwell by the
    /// group's health check, or Down and so in an unknown state.
    pub unsure: u32,
}

/// All waves of a rollout, and the current one.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub(super) struct Waves {
    pub(super) list: Vec<Wave>,
    pub(super) current: u32,
    /// The end of the current wave's bake; `None` while its turns are not over.
    pub(super) bake_until: Option<LedgerTime>,
    /// True if the last wave was watched to the end.
    pub(super) is_baked: bool,
}

/// One zone of the group, in a deployment that goes zone by zone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Zone {
    /// The name of the zone; empty for hosts without a zone.
    pub name: String,
    /// N: the hosts of the zone.
    pub total: u32,
    /// M: the hosts of the zone that must stay healthy.
    pub minimum: u32,
    /// The most turns at a time in the zone.
    pub turns_max: u32,
    /// The sums over its hosts.
    pub counts: Counts,
}

impl Wave {
    fn new(kind: WaveKind, bake: Duration) -> Self {
        Wave { kind, bake, counts: Counts::default(), ended_unhealthy: 0, unsure: 0 }
    }

    /// Returns true if all its turns are over.
    pub fn is_through(&self) -> bool {
        self.counts.pending == 0 && self.counts.in_flight == 0
    }

    pub(super) fn forget_counts(&mut self) {
        (self.counts, self.ended_unhealthy, self.unsure) = (Counts::default(), 0, 0);
    }

    pub(super) fn add(&mut self, member: &Member) {
        self.counts.add(member);
        self.ended_unhealthy += u32::from(is_ended_unhealthy(member));
        self.unsure += u32::from(is_unsure(member));
    }

    pub(super) fn remove(&mut self, member: &Member) {
        self.counts.remove(member);
        self.ended_unhealthy -= u32::from(is_ended_unhealthy(member));
        self.unsure -= u32::from(is_unsure(member));
    }
}

fn is_ended_unhealthy(member: &Member) -> bool {
    matches!(member.stage, Stage::Ended { .. }) && member.health == Health::Unhealthy
}

fn is_unsure(member: &Member) -> bool {
    let went_well = matches!(member.stage, Stage::Ended { outcome: TurnOutcome::Succeeded, .. });
    went_well && (member.down.is_some() || member.ailing.is_some())
}

impl Waves {
    /// Returns the wave that the rollout is in; `None` before it begins.
    pub(super) fn current(&self) -> Option<&Wave> {
        self.list.get(self.current as usize)
    }

    pub(super) fn has_next(&self) -> bool {
        (self.current as usize) + 1 < self.list.len()
    }

    /// Moves on to the bake or to the next wave, if it is time. Returns true if
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
    /// Returns true if the zone's minimum is lost, or would be lost with the next
    /// host. As for the whole group, this is at M and not below it.
    pub(super) fn is_unsatisfiable(&self) -> bool {
        let counts = &self.counts;
        let best = counts.healthy + counts.hopeful;
        let turns = counts.pending + counts.in_flight + counts.succeeded + counts.failed;
        (counts.pending_available > 0 && best <= self.minimum) || (turns > 0 && best < self.minimum)
    }

    /// Returns true if fewer of its hosts are in service than must be.
    pub(super) fn lacks(&self) -> bool {
        self.counts.available < self.minimum
    }
}

impl Rollout {
    /// Returns the waves in their order; none before the rollout begins.
    pub fn waves(&self) -> &[Wave] {
        &self.waves.list
    }

    /// Returns the place of the current wave, from 0.
    pub fn wave(&self) -> usize {
        self.waves.current as usize
    }

    /// Returns the end of the current wave's bake; `None` while it does not bake.
    pub fn bakes_until(&self) -> Option<LedgerTime> {
        self.waves.bake_until
    }

    /// Returns the zones in their order, if the rollout goes zone by zone.
    pub fn zones(&self) -> &[Zone] {
        &self.zones
    }

    /// Returns the zone of a host, if the rollout goes zone by zone.
    pub fn zone_of(&self, host: HostId) -> Option<&Zone> {
        self.zones.get(self.members.get(&host)?.zone as usize)
    }

    /// Returns the wave of a host; `None` if the host is not targeted.
    pub fn wave_of(&self, host: HostId) -> Option<&Wave> {
        let member = self.members.get(&host).filter(|member| member.stage != Stage::NotTargeted)?;
        self.waves.list.get(member.wave as usize)
    }

    /// Returns true if the host's turn succeeded, its wave bakes now or later, and
    /// the host is Down. If it stays Down, its turn counts as failed.
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

/// The waves and zones that the hosts of a rollout are divided into.
pub(super) struct Division {
    pub(super) waves: Vec<Wave>,
    pub(super) zones: Vec<Zone>,
    /// For each entrant, the place of its wave and of its zone.
    pub(super) places: Vec<(u32, u32)>,
}

/// Divides the group's hosts into waves and zones. `members` are the entrants as
/// members of the rollout, in the same order.
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

/// Returns the zones of the group's hosts, in the order in which they go; none if
/// the policy does not go zone by zone.
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

/// Returns the places of the canaries in `members`. Hosts in service come first: on
/// a host that was broken before, a failure says nothing about the revision.
/// Returns none if every target would be a canary, because then no host would
/// follow.
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

//! Turns a seed into a plan: a mesh, its network, its work, and its faults.
//!
//! Everything is decided here, before the run begins. So a person can read a
//! plan, or leave a part of it out, without a change to the rest.

mod aimed;
mod disasters;
mod full_disks;
mod harder;
mod liars;
mod releases;
mod troubles;
mod work;

use std::collections::BTreeSet;
use std::time::Duration;

use proto::config::Overlay;
use proto::group::Tag;

use crate::chance::Chance;
use crate::clock::Moment;
use crate::hooks::Bundle;
use crate::host::{Profile, Tuning};
use crate::network::Quality;
use crate::watches::{self, Spell};
use crate::world::{Asked, Fault, World};

#[derive(Debug)]
pub struct Plan {
    pub seed: u64,
    /// Each host, with the time of its first start.
    pub hosts: Vec<(Profile, Moment)>,
    pub tuning: Tuning,
    pub quality: Quality,
    /// For each host, how many microseconds its clock is ahead, and what it
    /// gains in ppm.
    pub clocks: Vec<(i64, i64)>,
    pub bundles: Vec<Bundle>,
    pub wishes: Vec<(Moment, Asked)>,
    pub faults: Vec<(Moment, Fault)>,
    pub spells: Vec<Spell>,
    /// The time that a cancelled script takes to end.
    pub cancels_take: Duration,
    pub ends_twice_percent: u32,
    /// The time at which all faults are over.
    pub heal_at: Moment,
}

/// The number of hosts of a large mesh, more than there are voters. A few seeds
/// get one.
const LARGE: u64 = 30;

/// The most connections of one host in an overlay of bounded degree.
const DEGREE: u8 = 20;

/// A mesh of few zones with many hosts in each. With three zones of one or two
/// hosts, no zone could keep a minimum, and a group that asks for one would be
/// refused.
struct Wide {
    hosts: u64,
    zones: u64,
}

impl Wide {
    fn new(dice: &mut Chance) -> Option<Self> {
        dice.percent(25).then(|| Wide { hosts: dice.between(8, 16), zones: dice.between(1, 2) })
    }

    /// Assigns zones in turn, so that no zone is small.
    fn zoned(&self, hosts: Vec<(Profile, Moment)>) -> Vec<(Profile, Moment)> {
        let zoned = |(no, (profile, start)): (u64, (Profile, Moment))| {
            (Profile { zone: format!("z{}", no % self.zones), ..profile }, start)
        };
        (0..).zip(hosts).map(zoned).collect()
    }
}

impl Plan {
    /// Returns the plan of a seed. `hosts` overrides the number of hosts.
    pub fn new(seed: u64, hosts: Option<u32>) -> Self {
        let chance = Chance::new(seed).fork("plan");
        let mut dice = chance.fork("mesh");
        let drawn = if dice.percent(4) { LARGE } else { dice.between(1, 9) };
        let wide = Wide::new(&mut chance.fork("wide"));
        let count = hosts.map_or(wide.as_ref().map_or(drawn, |wide| wide.hosts), u64::from);
        let lasts = Duration::from_secs(dice.between(20, 150));
        let heal_at = Moment::START + lasts;
        let hosts: Vec<(Profile, Moment)> =
            (0..count).map(|no| (profile(&mut dice, no), first_start(&mut dice, no, heal_at))).collect();
        let hosts = match wide {
            Some(wide) => wide.zoned(hosts),
            None => hosts,
        };
        let clocks = (0..count).map(|_| clock(&mut dice)).collect();
        let bundles = work::bundles(&mut chance.fork("bundles"), count);
        let mut wishes = work::wishes(&mut chance.fork("work"), count, &bundles, heal_at);
        wishes.extend(work::comings(&mut chance.fork("comings"), count, heal_at));
        let mut faults = troubles::faults(&mut chance.fork("faults"), count, heal_at);
        faults.extend(troubles::of_posts(&mut chance.fork("posts"), heal_at));
        let mut quality = troubles::quality(&mut chance.fork("network"));
        let mut tuning = Tuning::default();
        if let Some(harder) = harder::harder(&mut chance.fork("harder"), count, heal_at, &mut quality) {
            tuning = harder.tuning;
            wishes.extend(harder.wishes);
            faults.extend(harder.faults);
        }
        faults.extend(disasters::faults(&mut chance.fork("disasters"), count, heal_at));
        faults.extend(liars::faults(&mut chance.fork("liars"), count, heal_at));
        faults.extend(full_disks::faults(&mut chance.fork("full disks"), count, heal_at));
        let groups = work::GROUPS.map(|(name, _)| name);
        let mut spells = watches::spells(&mut chance.fork("outside"), &groups, heal_at);
        spells.extend(watches::late_spell(&mut chance.fork("late spell"), &groups, heal_at));
        let cancels_take = troubles::cancels_take(&mut chance.fork("cancels"));
        let ends_twice_percent = troubles::ends_twice_percent(&mut chance.fork("ends twice"));
        let mut plan = Plan {
            seed,
            hosts,
            tuning,
            quality,
            clocks,
            bundles,
            wishes,
            faults,
            spells,
            cancels_take,
            ends_twice_percent,
            heal_at,
        };
        // Drawn last, from a stream of its own: a plan that aims at nothing stays
        // what it was.
        aimed::aim(&mut chance.fork("aimed"), &mut plan);
        plan
    }

    /// Returns the plan of a seed for either overlay.
    pub fn drawn(seed: u64, hosts: Option<u32>, is_bounded: bool) -> Self {
        if is_bounded { Plan::bounded(seed, hosts) } else { Plan::new(seed, hosts) }
    }

    /// Returns the plan of a seed in which each host is connected to at most [`DEGREE`] others.
    /// No member lies in it: one that relays could write frames in the name of others, and
    /// frames are not signed.
    fn bounded(seed: u64, hosts: Option<u32>) -> Self {
        let mut dice = Chance::new(seed).fork("overlay");
        let drawn = if dice.percent(10) { dice.between(41, 100) } else { dice.between(22, 40) };
        let drawn = u32::try_from(drawn).expect("few hosts");
        let mut plan = Plan::new(seed, hosts.or(Some(drawn)));
        plan.tuning.overlay = Overlay::Bounded { degree: DEGREE };
        plan.faults.retain(|(_, fault)| !matches!(fault, Fault::Liar { .. }));
        plan
    }

    /// Returns the plan of a seed, but begun with agents of the previous release.
    pub fn of_two_releases(seed: u64, hosts: Option<u32>) -> Self {
        let mut plan = Plan::new(seed, hosts);
        releases::mix(&mut Chance::new(seed).fork("two releases"), &mut plan);
        plan
    }

    /// Builds the world of this plan.
    pub fn world(&self) -> World {
        let mut world = World::new(self.seed, self.quality.clone());
        for (at, (profile, start)) in self.hosts.iter().enumerate() {
            let no = world.add_host(profile.clone());
            let (ahead_micros, drift) = self.clocks[at];
            world.set_clock(no, ahead_micros, drift);
            world.start_at(no, *start);
        }
        world.tune(self.tuning);
        world.set_cancels_take(self.cancels_take);
        world.set_ends_twice(self.ends_twice_percent);
        self.bundles.iter().for_each(|bundle| world.add_bundle(bundle.clone()));
        self.wishes.iter().for_each(|(at, asked)| world.ask_at(asked.clone(), *at));
        world.expect_spells(self.spells.clone());
        self.faults.iter().for_each(|(at, fault)| world.fault_at(fault.clone(), *at));
        world
    }
}

fn profile(dice: &mut Chance, no: u64) -> Profile {
    let mut tags = BTreeSet::new();
    // The first host is in both groups, so that no group is ever empty.
    let (web, db) = match dice.below(4) {
        _ if no == 0 => (true, true),
        0 => (false, true),
        1 => (true, true),
        _ => (true, false),
    };
    for (is_it, tag) in [(web, "role=web"), (db, "role=db")] {
        if is_it {
            tags.insert(Tag::parse(tag).expect("a tag"));
        }
    }
    Profile { tags, zone: format!("z{}", dice.below(3)), ..Profile::default() }
}

/// Draws when a host first starts. Most hosts start at the beginning, some join
/// later.
fn first_start(dice: &mut Chance, no: u64, heal_at: Moment) -> Moment {
    match no {
        0 => Moment::START,
        _ if dice.percent(20) => Moment::from_micros(dice.below(heal_at.as_micros())),
        _ => Moment::from_micros(dice.below(3_000_000)),
    }
}

/// Draws a clock's offset and drift. Most clocks are right to a second and keep
/// time to 100 ppm; a few are minutes off, or run up to a twentieth too fast or
/// too slow.
fn clock(dice: &mut Chance) -> (i64, i64) {
    let signed = |dice: &mut Chance, most: u64| {
        let number = i64::try_from(dice.below(2 * most + 1)).expect("small");
        number - i64::try_from(most).expect("small")
    };
    let ahead = if dice.percent(5) { signed(dice, 120_000_000) } else { signed(dice, 1_000_000) };
    let drift = if dice.percent(5) { signed(dice, 50_000) } else { signed(dice, 100) };
    (ahead, drift)
}

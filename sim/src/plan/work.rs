//! The requests of a run: two groups, and deployments of all kinds.

use std::collections::BTreeSet;
use std::time::Duration;

use proto::group::{Group, TagFilter, TagSets};
use proto::health::{HealthCheck, Probe, Viewpoint};
use proto::id::GroupName;
use proto::lifecycle::{Course, LifecycleEvent};
use proto::policy::{Canary, Minimum, Mode, Policy, RollbackOn, Share, Zonal};

use crate::chance::Chance;
use crate::clock::Moment;
use crate::hooks::{Bundle, HookFault, How, Sickness};
use crate::host::HostNo;
use crate::watches;
use crate::world::{Asked, Wish};

/// The name and the tag of each group.
pub(super) const GROUPS: [(&str, &str); 2] = [("web/prod", "role=web"), ("db/prod", "role=db")];

/// The number of bundles. The first one is good; some of the others fail on
/// some hosts.
const BUNDLES: u64 = 6;

pub(super) fn bundles(dice: &mut Chance, hosts: u64) -> Vec<Bundle> {
    let all = (1..=BUNDLES).map(|number| {
        let least = Duration::from_millis(dice.between(1, 50));
        let most = least + Duration::from_millis(dice.between(1, 2_000));
        let mut bundle = Bundle::new(&format!("v{number}"), (least, most));
        if number > 1 && dice.percent(45) {
            bundle.faults.push(fault(dice, hosts));
        }
        if number > 1 && dice.percent(50) {
            bundle.sickness = Some(sickness(dice, hosts));
        }
        bundle
    });
    all.collect()
}

/// Draws all hosts (None) or some of them.
fn some(dice: &mut Chance, hosts: u64) -> Option<BTreeSet<HostNo>> {
    let some = (0..hosts).filter(|_| dice.percent(40)).map(|no| HostNo(u32::try_from(no).expect("few")));
    let some = some.collect();
    if dice.percent(50) { None } else { Some(some) }
}

/// Draws a sickness, from an application that is never well to one that becomes
/// unwell only later and flaps.
fn sickness(dice: &mut Chance, hosts: u64) -> Sickness {
    let seconds = |dice: &mut Chance, most: u64| Duration::from_millis(dice.between(100, most * 1_000));
    let most = *dice.pick(&[1, 10, 60]);
    Sickness {
        hosts: some(dice, hosts),
        after: if dice.percent(30) { Duration::ZERO } else { seconds(dice, most) },
        flaps: dice.percent(60).then(|| seconds(dice, 30)),
        is_silent: dice.percent(30),
    }
}

/// Draws a health check. Most groups have one.
fn health(dice: &mut Chance) -> Option<HealthCheck> {
    if dice.percent(30) {
        return None;
    }
    let (every, rise) = (Duration::from_secs(dice.between(1, 4)), number(dice, 3));
    let probe = match dice.below(2) {
        0 => Probe::Http("http://127.0.0.1:8080/health".into()),
        _ => Probe::Tcp("localhost:8080".into()),
    };
    Some(HealthCheck {
        every,
        timeout: every.min(Duration::from_millis(dice.between(300, 2_000))),
        rise,
        fall: number(dice, 3),
        grace: every * rise + Duration::from_secs(dice.between(1, 20)),
        from: if dice.percent(40) { Viewpoint::Observers } else { Viewpoint::Host },
        ..HealthCheck::new(probe)
    })
}

fn number(dice: &mut Chance, most: u64) -> u32 {
    u32::try_from(dice.between(1, most)).expect("small")
}

fn fault(dice: &mut Chance, hosts: u64) -> HookFault {
    let events: Vec<LifecycleEvent> = Course::InPlace.events().collect();
    let hosts = some(dice, hosts);
    let how = *dice.pick(&[How::Fails, How::Fails, How::Hangs, How::Lies]);
    HookFault { event: *dice.pick(&events), hosts, how }
}

pub(super) fn wishes(
    dice: &mut Chance,
    hosts: u64,
    bundles: &[Bundle],
    until: Moment,
) -> Vec<(Moment, Asked)> {
    let mut wishes = Vec::new();
    let groups = GROUPS;
    for (name, tag) in groups {
        let at = Moment::from_micros(dice.between(500_000, 6_000_000));
        let wish = Wish::SetGroup(watched(group(name, tag, policy(dice, hosts), health(dice)), dice));
        wishes.push((at, Asked { at: any_host(dice, hosts), wish, insists: true }));
    }
    let mut at = Moment::from_micros(dice.between(2_000_000, 9_000_000));
    // The first deployments are of a good bundle, so that a rollback has
    // something to return to.
    let mut is_first = 2;
    while at < until {
        let (name, _) = groups[usize::try_from(dice.below(2)).expect("0 or 1")];
        let group: GroupName = name.parse().expect("a name");
        let wish = match dice.below(10) {
            _ if is_first > 0 => {
                is_first -= 1;
                deploy(dice, group, &bundles[..1], hosts)
            }
            0 => Wish::Stop { group, rollback: dice.percent(50), now: dice.percent(50) },
            1 => Wish::Rollback { group, to: None },
            3 if dice.percent(50) => {
                let policy = Policy { mode: Mode::Restart, outdated_only: false, ..policy(dice, hosts) };
                Wish::Restart { group, policy }
            }
            2 => {
                let tag = groups.iter().find(|g| g.0 == name).expect("it").1;
                Wish::SetGroup(watched(self::group(name, tag, policy(dice, hosts), health(dice)), dice))
            }
            4 => by_hand(dice, group),
            _ => deploy(dice, group, bundles, hosts),
        };
        wishes.push((at, Asked { at: any_host(dice, hosts), wish, insists: dice.percent(60) }));
        at = at + dice.duration(Duration::from_millis(200), Duration::from_secs(25));
    }
    wishes
}

/// Draws an alarm that is set or cleared by hand, or a freeze. Each freeze runs
/// out by itself.
fn by_hand(dice: &mut Chance, group: GroupName) -> Wish {
    match dice.below(5) {
        0 | 1 => Wish::SetAlarm { group, alarm: watches::BY_HAND.into(), active: true },
        2 => Wish::SetAlarm { group, alarm: watches::BY_HAND.into(), active: false },
        3 => Wish::Freeze { group, lasts: Duration::from_secs(dice.between(1, 60)) },
        _ => Wish::Unfreeze { group },
    }
}

fn watched(mut group: Group, dice: &mut Chance) -> Group {
    watches::equip(&mut group, dice);
    group
}

/// Removes hosts, voters and leaders among them, and changes the members of
/// groups, while deployments run.
pub(super) fn comings(dice: &mut Chance, hosts: u64, until: Moment) -> Vec<(Moment, Asked)> {
    let mut wishes = Vec::new();
    if dice.percent(40) {
        return wishes;
    }
    let mut at = Moment::from_micros(dice.between(8_000_000, 20_000_000));
    while at < until {
        let (name, tag) = *dice.pick(&GROUPS);
        let wish = match dice.below(4) {
            0 => Wish::SetGroup(watched(group(name, tag, policy(dice, hosts), health(dice)), dice)),
            2 => Wish::TakeOut(any_host(dice, hosts)),
            _ => {
                let group = group(name, tag, policy(dice, hosts), health(dice));
                Wish::SetGroup(watched(of_all_hosts(group), dice))
            }
        };
        wishes.push((at, Asked { at: any_host(dice, hosts), wish, insists: dice.percent(60) }));
        at = at + dice.duration(Duration::from_secs(2), Duration::from_secs(40));
    }
    wishes
}

fn deploy(dice: &mut Chance, group: GroupName, bundles: &[Bundle], hosts: u64) -> Wish {
    let policy = dice.percent(20).then(|| policy(dice, hosts));
    let digest = dice.pick(bundles).revision.digest;
    Wish::Deploy { group, digest, policy, queue: dice.percent(40) }
}

fn any_host(dice: &mut Chance, hosts: u64) -> HostNo {
    HostNo(u32::try_from(dice.below(hosts)).expect("few hosts"))
}

pub(super) fn group(name: &str, tag: &str, policy: Policy, health: Option<HealthCheck>) -> Group {
    let filter = TagFilter::parse(tag).expect("a filter");
    let (name, tags) = (name.parse().expect("a name"), TagSets(vec![vec![filter]]));
    Group { health, ..Group::new(name, tags, policy) }
}

/// Makes all hosts members of the group. Hosts that were not members join it in
/// the middle of the run.
fn of_all_hosts(group: Group) -> Group {
    let filters = ["role=web", "role=db"].map(|tag| TagFilter::parse(tag).expect("a filter"));
    Group { tags: TagSets(vec![filters.to_vec()]), ..group }
}

/// Draws a policy. Timeouts are short, so that runs reach them.
fn policy(dice: &mut Chance, hosts: u64) -> Policy {
    let minimum = match dice.below(8) {
        0..=2 => Minimum::OneAtATime,
        3 => Minimum::HalfAtATime,
        4 => Minimum::AllAtOnce,
        5 => Minimum::HostCount(u32::try_from(dice.below(hosts + 1)).expect("few hosts")),
        _ => Minimum::FleetPercent(u8::try_from(dice.below(100)).expect("below 100")),
    };
    let (turns_max, canary, zonal) = (cap(dice), canary(dice), zonal(dice, hosts));
    let outdated_only = dice.percent(10);
    let mut seconds = |least, most| Duration::from_secs(dice.between(least, most));
    let (start_timeout, lost_after) = (seconds(10, 60), seconds(5, 40));
    let (turn_timeout, deployment_timeout) = (seconds(30, 200), seconds(60, 900));
    Policy {
        minimum,
        ignore_application_stop_failures: dice.percent(50),
        rollback: RollbackOn { failure: dice.percent(70), alarm: true, stop: dice.percent(30) },
        start_timeout,
        lost_after,
        turn_timeout,
        deployment_timeout,
        turns_max,
        canary,
        zonal,
        outdated_only,
        attempts: if dice.percent(70) { 2 } else { 1 },
        bake: if dice.percent(15) { bake(dice) } else { Duration::ZERO },
        ..Policy::default()
    }
}

fn cap(dice: &mut Chance) -> Option<u32> {
    dice.percent(20).then(|| u32::try_from(dice.between(1, 4)).expect("small"))
}

fn canary(dice: &mut Chance) -> Option<Canary> {
    let hosts = match dice.below(3) {
        0 => Share::Percent(u8::try_from(dice.between(1, 50)).expect("a percentage")),
        _ => Share::Hosts(u32::try_from(dice.between(1, 2)).expect("few hosts")),
    };
    dice.percent(25).then(|| Canary { hosts, bake: bake(dice) })
}

/// Draws zone rules. The zones are z0, z1 and z2; some of them may have no
/// hosts.
fn zonal(dice: &mut Chance, hosts: u64) -> Option<Zonal> {
    // In a small mesh a zone has hardly more than two hosts.
    let most = if hosts < 8 { 2 } else { hosts / 4 };
    let minimum = match dice.below(3) {
        0 => Share::Percent(u8::try_from(dice.below(80)).expect("a percentage")),
        1 => Share::Hosts(u32::try_from(dice.below(most)).expect("few hosts")),
        _ => Share::Percent(0),
    };
    let order = if dice.percent(20) { vec!["z1".into()] } else { Vec::new() };
    let first_bake = dice.percent(30).then(|| bake(dice));
    dice.percent(30).then(|| Zonal { minimum, bake: bake(dice), first_bake, order })
}

/// Draws a bake time. It is often 0, and seldom longer than a host may be lost.
fn bake(dice: &mut Chance) -> Duration {
    if dice.percent(30) { Duration::ZERO } else { Duration::from_secs(dice.between(1, 20)) }
}

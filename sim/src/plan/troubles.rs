//! The faults of a run: how bad the network is, and what breaks when.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::chance::Chance;
use crate::clock::Moment;
use crate::disk::Crash;
use crate::hooks::CANCEL_TAKES;
use crate::host::HostNo;
use crate::network::Quality;
use crate::watches::{READ, TRIGGER};
use crate::world::{Fault, Who};

pub(super) fn quality(dice: &mut Chance) -> Quality {
    let micros = Duration::from_micros;
    // The latency of a rack, of a region, or of hosts all over the world.
    let (latency, jitter) = match dice.below(4) {
        0 | 1 => ((micros(100), micros(1_000)), micros(300)),
        2 => ((micros(500), micros(15_000)), micros(3_000)),
        _ => ((micros(5_000), micros(120_000)), micros(20_000)),
    };
    let loss_per_million = match dice.below(6) {
        0..=2 => 0,
        3 => 1_000,
        4 => 20_000,
        _ => u32::try_from(dice.between(20_000, 250_000)).expect("below a million"),
    };
    Quality {
        latency,
        jitter,
        loss_per_million,
        duplicates_per_million: if dice.percent(40) { 20_000 } else { 0 },
        reorders: dice.percent(40),
        relays: *dice.pick(&[1, 1, 2, 3]),
        silent_replacement_percent: if dice.percent(50) { 30 } else { 0 },
        ..Quality::default()
    }
}

/// The kinds of faults. A run has some of them, so that each is also seen
/// alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Kill,
    PowerLoss,
    Leave,
    KillLeader,
    KillInTurn,
    Stall,
    Cut,
    Partition,
    SlowDisk,
    Drift,
    Skew,
    Wipe,
    AllDown,
}

const KINDS: [Kind; 13] = [
    Kind::Kill,
    Kind::PowerLoss,
    Kind::Leave,
    Kind::KillLeader,
    Kind::KillInTurn,
    Kind::Stall,
    Kind::Cut,
    Kind::Partition,
    Kind::SlowDisk,
    Kind::Drift,
    Kind::Skew,
    Kind::Wipe,
    Kind::AllDown,
];

pub(super) fn faults(dice: &mut Chance, hosts: u64, until: Moment) -> Vec<(Moment, Fault)> {
    let kinds: Vec<Kind> = KINDS.into_iter().filter(|_| dice.percent(40)).collect();
    let most_seconds = *dice.pick(&[3, 8, 20, 60]);
    let mut faults = Vec::new();
    if kinds.is_empty() {
        return faults;
    }
    let mut at = Moment::from_micros(dice.between(1_000_000, 12_000_000));
    while at < until {
        let kind = *dice.pick(&kinds);
        faults.extend(fault(dice, kind, hosts).into_iter().map(|fault| (at, fault)));
        at = at + dice.duration(Duration::from_millis(50), Duration::from_secs(most_seconds));
    }
    faults
}

/// Takes down hosts that read an alarm or tell a receiver, so that the next
/// host in line takes over.
pub(super) fn of_posts(dice: &mut Chance, until: Moment) -> Vec<(Moment, Fault)> {
    let mut faults = Vec::new();
    if dice.percent(70) {
        return faults;
    }
    let mut at = Moment::from_micros(dice.between(3_000_000, 30_000_000));
    while at < until {
        let who = if dice.percent(50) { Who::Reader(READ.into()) } else { Who::Teller(TRIGGER.into()) };
        let how = if dice.percent(50) { Crash::Process } else { Crash::Power };
        let back_after = Some(dice.duration(Duration::from_millis(20), Duration::from_secs(20)));
        faults.push((at, Fault::Down { who, how, back_after }));
        at = at + dice.duration(Duration::from_secs(1), Duration::from_secs(60));
    }
    faults
}

fn fault(dice: &mut Chance, kind: Kind, hosts: u64) -> Vec<Fault> {
    let host = HostNo(u32::try_from(dice.below(hosts)).expect("few hosts"));
    let all = || (0..hosts).map(|no| HostNo(u32::try_from(no).expect("few hosts")));
    // Often much shorter than any timeout, often longer than most of them.
    let most = *dice.pick(&[1, 5, 20, 60]);
    let lasts = dice.duration(Duration::from_millis(20), Duration::from_secs(most));
    let back_after = Some(lasts);
    let crash = if dice.percent(50) { Crash::Process } else { Crash::Power };
    let down = |who, how| vec![Fault::Down { who, how, back_after }];
    match kind {
        Kind::Kill => down(Who::Host(host), Crash::Process),
        Kind::PowerLoss => down(Who::Host(host), Crash::Power),
        Kind::Leave => vec![Fault::Leave { who: Who::Host(host), back_after }],
        Kind::KillLeader => down(Who::Leader, crash),
        Kind::KillInTurn => down(Who::InTurn, crash),
        Kind::Stall => vec![Fault::Stall { who: Who::Host(host), lasts }],
        Kind::Cut => {
            let to = all().filter(|_| dice.percent(50)).collect();
            let both_ways = dice.percent(50);
            vec![Fault::Cut { from: BTreeSet::from([host]), to, both_ways, lasts: back_after }]
        }
        Kind::Partition => {
            let (from, to) = all().partition(|_| dice.percent(50));
            vec![Fault::Cut { from, to, both_ways: dice.percent(80), lasts: back_after }]
        }
        Kind::SlowDisk => {
            let times = u32::try_from(dice.between(2, 300)).expect("small");
            vec![Fault::SlowDisk { host, times: if dice.percent(30) { 0 } else { times } }]
        }
        Kind::Drift => {
            let parts_per_million = i64::try_from(dice.below(100_001)).expect("small") - 50_000;
            vec![Fault::Drift { host, parts_per_million }]
        }
        Kind::Skew => {
            let ahead_micros = i64::try_from(dice.below(20_000_001)).expect("small") - 10_000_000;
            vec![Fault::Skew { host, ahead_micros }]
        }
        Kind::Wipe => vec![Fault::Wipe { host, back_after: lasts }],
        Kind::AllDown => all()
            .map(|host| {
                let back_after = Some(lasts + dice.duration(Duration::ZERO, Duration::from_secs(3)));
                Fault::Down { who: Who::Host(host), how: crash, back_after }
            })
            .collect(),
    }
}

/// Returns the percentage of tasks whose end is reported twice: in a third of all
/// runs every fifth, otherwise none.
pub(super) fn ends_twice_percent(dice: &mut Chance) -> u32 {
    if dice.percent(33) { 20 } else { 0 }
}

/// Returns the time that scripts take to end when they are cancelled. Most end at once.
/// In some runs they resist, for as long as the agent lets them.
pub(super) fn cancels_take(dice: &mut Chance) -> Duration {
    let most = Duration::from_secs(10);
    if dice.percent(30) { dice.duration(CANCEL_TAKES, most) } else { CANCEL_TAKES }
}

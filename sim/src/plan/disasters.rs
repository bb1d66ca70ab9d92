//! Optional parts of a run: disks that hang, fail, or lose power between a
//! write and its sync; clocks that are hours off; hosts that sleep or move.
//! They are drawn from their own random stream, so that plans without them do
//! not change.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::chance::Chance;
use crate::clock::Moment;
use crate::disk::Crash;
use crate::host::HostNo;
use crate::world::{AtWrite, Fault, Who};

/// The percentage of runs that have them.
const DISASTERS_PERCENT: u32 = 40;

/// The longest time that a host waits for a synced write in which to lose power.
/// Some hosts write nothing for minutes.
const GAP_WITHIN: Duration = Duration::from_secs(10);

const HOUR_MICROS: i64 = 3_600_000_000;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// A host goes down between a write and its sync.
    Gap,
    /// All hosts go down, each at its next write.
    GapOfAll,
    /// A disk completes no write for a while.
    HungDisk,
    /// A write fails, which ends the agent.
    DiskError,
    /// A clock is set hours ahead or behind.
    Hours,
    /// A host sleeps for minutes and is unreachable.
    Suspend,
    /// A host starts at another address.
    Move,
    /// One disk after another is lost.
    Wipes,
    /// A disk loses what it had reported synced.
    Forget,
    /// A host hears of a ledger that is not its own.
    FalseHead,
}

const KINDS: [Kind; 10] = [
    Kind::Gap,
    Kind::GapOfAll,
    Kind::HungDisk,
    Kind::DiskError,
    Kind::Hours,
    Kind::Suspend,
    Kind::Move,
    Kind::Wipes,
    Kind::FalseHead,
    Kind::Forget,
];

pub(super) fn faults(dice: &mut Chance, hosts: u64, until: Moment) -> Vec<(Moment, Fault)> {
    if !dice.percent(DISASTERS_PERCENT) {
        return Vec::new();
    }
    let kinds: Vec<Kind> = KINDS.into_iter().filter(|_| dice.percent(40)).collect();
    let mut faults = Vec::new();
    if kinds.is_empty() {
        return faults;
    }
    let most_seconds = *dice.pick(&[5, 15, 40]);
    let mut at = Moment::from_micros(dice.between(500_000, 12_000_000));
    while at < until {
        let kind = *dice.pick(&kinds);
        faults.extend(disaster(dice, kind, hosts, at));
        at = at + dice.duration(Duration::from_millis(500), Duration::from_secs(most_seconds));
    }
    faults
}

fn disaster(dice: &mut Chance, kind: Kind, hosts: u64, at: Moment) -> Vec<(Moment, Fault)> {
    let host = any_host(dice, hosts);
    let most = *dice.pick(&[1, 5, 20]);
    let back_after = dice.duration(Duration::from_millis(5), Duration::from_secs(most));
    let gap = |who: Who, how: Crash, back_after: Duration| Fault::AtWrite {
        who,
        what: AtWrite::Crash(how),
        back_after,
        until: at + GAP_WITHIN,
    };
    match kind {
        Kind::Gap => {
            let who = dice.pick(&[Who::Leader, Who::Voter(host), Who::Voter(host), Who::Host(host)]).clone();
            let how = if dice.percent(75) { Crash::Power } else { Crash::Process };
            vec![(at, gap(who, how, back_after))]
        }
        Kind::GapOfAll => {
            let mut one = |no: u64| {
                let back_after = back_after + dice.duration(Duration::ZERO, Duration::from_secs(1));
                (at, gap(Who::Host(number(no)), Crash::Power, back_after))
            };
            (0..hosts).map(&mut one).collect()
        }
        Kind::HungDisk => {
            let lasts = dice.duration(Duration::from_secs(10), Duration::from_secs(60));
            let who = dice.pick(&[Who::Leader, Who::Voter(host), Who::Host(host)]).clone();
            vec![(at, Fault::HangDisk { who, lasts })]
        }
        Kind::DiskError => {
            let who = dice.pick(&[Who::Leader, Who::Host(host), Who::InTurn]).clone();
            let until = at + GAP_WITHIN;
            vec![(at, Fault::AtWrite { who, what: AtWrite::Fails, back_after, until })]
        }
        Kind::Hours => {
            let ahead_micros = (i64::try_from(dice.below(24)).expect("small") - 12) * HOUR_MICROS;
            let (who, how) = (Who::Host(host), Crash::Process);
            vec![
                (at, Fault::Skew { host, ahead_micros }),
                (at, Fault::Down { who, how, back_after: Some(back_after) }),
            ]
        }
        Kind::Suspend => {
            let lasts = dice.duration(Duration::from_secs(30), Duration::from_secs(120));
            let from = BTreeSet::from([host]);
            let to = (0..hosts).map(number).filter(|other| *other != host).collect();
            vec![
                (at, Fault::Stall { who: Who::Host(host), lasts }),
                (at, Fault::Cut { from, to, both_ways: true, lasts: Some(lasts) }),
            ]
        }
        Kind::Move => vec![(at, Fault::Move { host, back_after })],
        Kind::Wipes => vec![(at, Fault::Wipe { host, back_after })],
        Kind::Forget => {
            let writes = usize::try_from(dice.between(1, 32)).expect("small");
            vec![(at, Fault::Forget { host, writes, back_after })]
        }
        Kind::FalseHead => vec![(at, Fault::FalseHead { host })],
    }
}

fn number(no: u64) -> HostNo {
    HostNo(u32::try_from(no).expect("few hosts"))
}

fn any_host(dice: &mut Chance, hosts: u64) -> HostNo {
    number(dice.below(hosts))
}

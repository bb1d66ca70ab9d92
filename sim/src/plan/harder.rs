//! Optional parts of a run that are rare in practice and hard on consensus.
//! They are drawn from their own random stream, so that plans without them do
//! not change.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::chance::Chance;
use crate::clock::Moment;
use crate::disk::Crash;
use crate::host::{HostNo, Tuning};
use crate::network::Quality;
use crate::world::{Asked, Fault, Who, Wish};

/// The percentage of runs that have them.
const HARDER_PERCENT: u32 = 40;

#[derive(Debug)]
pub(super) struct Harder {
    pub(super) tuning: Tuning,
    pub(super) wishes: Vec<(Moment, Asked)>,
    pub(super) faults: Vec<(Moment, Fault)>,
}

/// Returns None if the run has none of them.
pub(super) fn harder(dice: &mut Chance, hosts: u64, until: Moment, quality: &mut Quality) -> Option<Harder> {
    if !dice.percent(HARDER_PERCENT) {
        return None;
    }
    // With a log of a few entries, a host that was away for a moment needs a
    // snapshot. (With even fewer, the log would be truncated as it is folded,
    // before a checker sees the entries.)
    let log_kept = *dice.pick(&[8, 8, 16, 64, 4_096]);
    let voters_max = *dice.pick(&[5, 5, 3, 1, 7]);
    if dice.percent(30) {
        quality.duplicates_per_million = 200_000;
    }
    if dice.percent(30) {
        quality.strays_per_million = 10_000;
        quality.stray = dice.duration(Duration::from_millis(100), Duration::from_secs(8));
        quality.reorders = true;
    }
    let (wishes, faults) = (leavings(dice, hosts, until), faults(dice, hosts, until));
    Some(Harder { tuning: Tuning { voters_max, log_kept, ..Tuning::default() }, wishes, faults })
}

/// Removes several hosts at almost the same time.
fn leavings(dice: &mut Chance, hosts: u64, until: Moment) -> Vec<(Moment, Asked)> {
    let mut wishes = Vec::new();
    let mut at = moment(dice, until);
    for _ in 0..dice.below(4) {
        let wish = Wish::TakeOut(any_host(dice, hosts));
        wishes.push((at, Asked { at: any_host(dice, hosts), wish, insists: true }));
        let most = *dice.pick(&[1, 1, 10]);
        at = at + dice.duration(Duration::ZERO, Duration::from_secs(most));
    }
    wishes
}

#[derive(Clone, Copy, Debug)]
enum Kind {
    /// A process dies, and soon after its restart the power fails.
    KillThenPower,
    /// The voters lose power almost together, several times.
    Blackouts,
    /// The others do not hear the leader, or the leader does not hear them.
    DeafOrMuteLeader,
    /// All hosts reach one of them, and no other.
    Hub,
    /// Each host reaches only its neighbours by number.
    Chain,
    /// A fault occurs while the voters change.
    InTheChange,
}

const KINDS: [Kind; 6] =
    [Kind::KillThenPower, Kind::Blackouts, Kind::DeafOrMuteLeader, Kind::Hub, Kind::Chain, Kind::InTheChange];

fn faults(dice: &mut Chance, hosts: u64, until: Moment) -> Vec<(Moment, Fault)> {
    let kinds: Vec<Kind> = KINDS.into_iter().filter(|_| dice.percent(50)).collect();
    let mut faults = Vec::new();
    if kinds.is_empty() {
        return faults;
    }
    let mut at = Moment::from_micros(dice.between(500_000, 12_000_000));
    while at < until {
        let kind = *dice.pick(&kinds);
        faults.extend(troubles(dice, kind, hosts, at, until));
        at = at + dice.duration(Duration::from_secs(1), Duration::from_secs(30));
    }
    faults
}

fn troubles(dice: &mut Chance, kind: Kind, hosts: u64, at: Moment, until: Moment) -> Vec<(Moment, Fault)> {
    let host = any_host(dice, hosts);
    let most = *dice.pick(&[2, 5, 20]);
    let lasts = dice.duration(Duration::from_millis(200), Duration::from_secs(most));
    match kind {
        Kind::KillThenPower => {
            let who = who(dice, host);
            let back = dice.duration(Duration::from_millis(5), Duration::from_millis(500));
            let later = dice.duration(Duration::ZERO, Duration::from_secs(4));
            vec![
                (at, down(who, Crash::Process, back)),
                (at + back + later, down(Who::Host(host), Crash::Power, lasts)),
            ]
        }
        Kind::Blackouts => {
            let mut all = Vec::new();
            for no in 0..hosts {
                let late = dice.duration(Duration::ZERO, Duration::from_millis(50));
                let back = lasts + dice.duration(Duration::ZERO, Duration::from_millis(2_000));
                all.push((at + late, down(Who::Host(number(no)), Crash::Power, back)));
            }
            all
        }
        Kind::DeafOrMuteLeader => {
            vec![(at, Fault::Isolate { who: Who::Leader, hears: dice.percent(50), lasts })]
        }
        Kind::Hub => cuts(hosts, at, lasts, |a, b| a != host && b != host),
        Kind::Chain => cuts(hosts, at, lasts, |a, b| a.0.abs_diff(b.0) > 1),
        Kind::InTheChange => {
            let how = if dice.percent(60) { Crash::Power } else { Crash::Process };
            let fault = match dice.below(4) {
                0 => Fault::Isolate { who: Who::Leader, hears: dice.percent(50), lasts },
                1 => Fault::Stall { who: who(dice, host), lasts },
                _ => down(who(dice, host), how, lasts),
            };
            let late = dice.duration(Duration::ZERO, Duration::from_millis(40));
            let until = until.min(at + Duration::from_secs(20));
            vec![(at + late, Fault::WhenVotersChange { fault: Box::new(fault), until })]
        }
    }
}

fn who(dice: &mut Chance, host: HostNo) -> Who {
    dice.pick(&[Who::Leader, Who::Voter(host), Who::Host(host)]).clone()
}

fn down(who: Who, how: Crash, back_after: Duration) -> Fault {
    Fault::Down { who, how, back_after: Some(back_after) }
}

/// Returns one cut for each host, from the hosts that it must not reach.
fn cuts(
    hosts: u64,
    at: Moment,
    lasts: Duration,
    is_cut: impl Fn(HostNo, HostNo) -> bool,
) -> Vec<(Moment, Fault)> {
    let mut cuts = Vec::new();
    for from in (0..hosts).map(number) {
        let to: BTreeSet<HostNo> =
            (0..hosts).map(number).filter(|to| *to != from && is_cut(from, *to)).collect();
        if !to.is_empty() {
            let from = BTreeSet::from([from]);
            cuts.push((at, Fault::Cut { from, to, both_ways: false, lasts: Some(lasts) }));
        }
    }
    cuts
}

fn number(no: u64) -> HostNo {
    HostNo(u32::try_from(no).expect("few hosts"))
}

fn any_host(dice: &mut Chance, hosts: u64) -> HostNo {
    number(dice.below(hosts))
}

fn moment(dice: &mut Chance, until: Moment) -> Moment {
    Moment::from_micros(dice.between(3_000_000, until.as_micros().max(3_000_001)))
}

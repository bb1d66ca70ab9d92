//! Disks that something else fills for a while. Drawn from a stream of its own, so that a
//! plan without them stays what it was.

use std::time::Duration;

use crate::chance::Chance;
use crate::clock::Moment;
use crate::host::HostNo;
use crate::world::Fault;

/// The percentage of runs in which disks fill.
const FULL_PERCENT: u32 = 20;

/// Draws hosts whose disks are full, some for less than a turn may wait for room and some
/// for longer. All have room again when the run heals.
pub(super) fn faults(dice: &mut Chance, hosts: u64, until: Moment) -> Vec<(Moment, Fault)> {
    let mut faults = Vec::new();
    if !dice.percent(FULL_PERCENT) {
        return faults;
    }
    let most_seconds = *dice.pick(&[5, 30, 90]);
    let mut at = Moment::from_micros(dice.between(500_000, 15_000_000));
    while at < until {
        let host = HostNo(u32::try_from(dice.below(hosts)).expect("few hosts"));
        let lasts = dice.duration(Duration::from_millis(200), Duration::from_secs(most_seconds));
        faults.push((at, Fault::Room { host, free: 0 }));
        faults.push(((at + lasts).min(until), Fault::Room { host, free: u64::MAX }));
        at = at + dice.duration(Duration::from_millis(500), Duration::from_secs(20));
    }
    faults
}

//! A run may have one member that lies now and then. Drawn from a stream of its own,
//! so that a plan without it stays what it was.

use std::time::Duration;

use crate::chance::Chance;
use crate::clock::Moment;
use crate::host::HostNo;
use crate::world::Fault;

/// The percentage of runs that have a liar.
const LIARS_PERCENT: u32 = 20;

pub(super) fn faults(dice: &mut Chance, hosts: u64, until: Moment) -> Vec<(Moment, Fault)> {
    let mut faults = Vec::new();
    if hosts < 2 || !dice.percent(LIARS_PERCENT) {
        return faults;
    }
    let host = HostNo(u32::try_from(dice.below(hosts)).expect("few hosts"));
    let mut at = Moment::from_micros(dice.between(2_000_000, 15_000_000));
    while at < until {
        let lasts = dice.duration(Duration::from_secs(3), Duration::from_secs(30));
        faults.push((at, Fault::Liar { host, lasts }));
        at = at + lasts + dice.duration(Duration::from_secs(1), Duration::from_secs(30));
    }
    faults
}

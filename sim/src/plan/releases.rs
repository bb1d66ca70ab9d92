//! Agents of two releases in one mesh: a mesh that the previous release founded is
//! upgraded host by host, and some host is downgraded by mistake.

use std::time::Duration;

use super::Plan;
use crate::chance::Chance;
use crate::clock::Moment;
use crate::host::{HostNo, WIRE_BEFORE};
use crate::world::Fault;
use proto::wire::WIRE;

/// The percentage of hosts that are downgraded for a while.
const DOWNGRADED_PERCENT: u32 = 25;

/// Lets the run begin with the previous release. All hosts are upgraded before the faults
/// end, some of them more than once.
pub(super) fn mix(dice: &mut Chance, plan: &mut Plan) {
    let until = plan.heal_at.as_micros();
    for (no, (profile, _)) in plan.hosts.iter_mut().enumerate() {
        let host = HostNo::from_index(no);
        // Some hosts have the new release from the beginning, but not the founder.
        if no > 0 && dice.percent(20) {
            continue;
        }
        profile.wire = WIRE_BEFORE;
        let mut at = dice.between(until / 10, until / 2);
        plan.faults.push(install(dice, host, WIRE, at));
        if dice.percent(DOWNGRADED_PERCENT) {
            at = dice.between(at, until * 3 / 4);
            plan.faults.push(install(dice, host, WIRE_BEFORE, at));
            at = dice.between(at, until * 9 / 10);
            plan.faults.push(install(dice, host, WIRE, at));
        }
    }
}

fn install(dice: &mut Chance, host: HostNo, wire: u16, micros: u64) -> (Moment, Fault) {
    let back_after = dice.duration(Duration::from_millis(100), Duration::from_secs(3));
    (Moment::from_micros(micros), Fault::Install { host, wire, back_after })
}

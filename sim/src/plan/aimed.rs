//! Runs that aim at one situation.
//!
//! Chance alone makes some situations so seldom that thousands of seeds meet none
//! of them, and then nothing would notice if the guard against them were gone. So
//! some runs are made for one: what they need is added to a plan that is drawn as
//! usual.

use std::collections::BTreeSet;
use std::time::Duration;

use proto::id::GroupName;
use proto::lifecycle::LifecycleEvent;
use proto::policy::{DeploymentConfig, Minimum, Policy, RollbackOn};

use super::{Plan, work};
use crate::chance::Chance;
use crate::clock::Moment;
use crate::hooks::{Bundle, HookFault, How};
use crate::host::HostNo;
use crate::watches;
use crate::world::{Asked, AtWrite, Fault, Who, Wish};

/// The percentage of runs for each aim.
const EACH_PERCENT: u64 = 6;

/// A voter that was away gets a snapshot only from leaders that keep a short log.
const LOG_KEPT: usize = 8;
/// The entries that are added while a voter is away: more than the log then keeps.
const ENTRIES_MISSED: u32 = 30;
/// The fewest hosts of which one can be away while the others continue.
const HOSTS_MIN: usize = 3;

pub(super) fn aim(dice: &mut Chance, plan: &mut Plan) {
    let aims = [turns_given_up, repeated_proposals, snapshots_under_way];
    let drawn = usize::try_from(dice.below(100) / EACH_PERCENT).expect("below 100");
    if let Some(aim) = aims.get(drawn) {
        aim(dice, plan);
    }
}

/// Turns time out while a script hangs, and the script takes its time to end. The
/// rollback then begins with the same host.
fn turns_given_up(dice: &mut Chance, plan: &mut Plan) {
    let mut stuck = Bundle::new("stuck", (Duration::from_millis(1), Duration::from_millis(200)));
    let events =
        [LifecycleEvent::BeforeInstall, LifecycleEvent::AfterInstall, LifecycleEvent::ValidateService];
    stuck.faults.push(HookFault { event: *dice.pick(&events), hosts: None, how: How::Hangs });
    let digest = stuck.revision.digest;
    plan.bundles.push(stuck);
    plan.cancels_take = dice.duration(Duration::from_secs(2), Duration::from_secs(10));
    let mut at = Moment::from_micros(dice.between(12_000_000, 25_000_000));
    while at < plan.heal_at {
        let turn_timeout = dice.duration(Duration::from_secs(4), Duration::from_secs(12));
        let policy = Policy { turn_timeout, ..one_at_a_time() };
        let wish = Wish::Deploy { group: any_group(dice), digest, policy: Some(policy), queue: true };
        plan.wishes.push((at, Asked { at: any_host(dice, plan), wish, insists: true }));
        at = at + dice.duration(Duration::from_secs(10), Duration::from_secs(40));
    }
}

/// Proposals arrive at the leader once more, after a person has asked for the
/// opposite.
fn repeated_proposals(dice: &mut Chance, plan: &mut Plan) {
    plan.quality.echoes_per_million = 200_000;
    plan.quality.echo = dice.duration(Duration::from_secs(1), Duration::from_secs(6));
    let mut at = Moment::from_micros(dice.between(7_000_000, 12_000_000));
    while at < plan.heal_at {
        let group = any_group(dice);
        let alarm = |active| Wish::SetAlarm { group: group.clone(), alarm: watches::BY_HAND.into(), active };
        let wishes = match dice.below(2) {
            0 => [alarm(true), alarm(false)],
            _ => [configuration(dice), configuration(dice)],
        };
        let between = dice.duration(Duration::from_millis(200), Duration::from_secs(2));
        for (no, wish) in (0..).zip(wishes) {
            plan.wishes.push((at + between * no, Asked { at: any_host(dice, plan), wish, insists: false }));
        }
        at = at + dice.duration(Duration::from_secs(3), Duration::from_secs(12));
    }
}

/// Plans a voter that was away: it gets a snapshot, and loses all others again
/// before its disk has it.
fn snapshots_under_way(dice: &mut Chance, plan: &mut Plan) {
    if plan.hosts.len() < HOSTS_MIN {
        return;
    }
    plan.tuning.log_kept = LOG_KEPT;
    let mut at = Moment::from_micros(dice.between(8_000_000, 15_000_000));
    while at < plan.heal_at {
        let host = any_host(dice, plan);
        let away = dice.duration(Duration::from_secs(4), Duration::from_secs(9));
        let others = (0..plan.hosts.len()).map(HostNo::from_index).filter(|other| *other != host).collect();
        let cut = Fault::Cut { from: BTreeSet::from([host]), to: others, both_ways: true, lasts: Some(away) };
        let hangs = Fault::AtWrite {
            who: Who::Host(host),
            what: AtWrite::HangsOnSnapshot,
            back_after: dice.duration(Duration::from_secs(3), Duration::from_secs(8)),
            until: at + away + Duration::from_secs(10),
        };
        plan.faults.extend([(at, cut), (at + away, hangs)]);
        for no in 0..ENTRIES_MISSED {
            let asked = Asked { at: any_host(dice, plan), wish: configuration(dice), insists: false };
            plan.wishes.push((at + away * no / ENTRIES_MISSED, asked));
        }
        at = at + away + dice.duration(Duration::from_secs(15), Duration::from_secs(30));
    }
}

/// Returns a policy of one host after the other, with a rollback after a failure,
/// and long timeouts.
fn one_at_a_time() -> Policy {
    Policy {
        minimum: Minimum::OneAtATime,
        rollback: RollbackOn { failure: true, alarm: false, stop: false },
        ignore_application_stop_failures: true,
        ignore_alarms: true,
        ..Policy::default()
    }
}

/// Draws a configuration that no group uses: an entry that has no consequences.
fn configuration(dice: &mut Chance) -> Wish {
    let hosts = u32::try_from(dice.below(1_000)).expect("small");
    let name = "unused".parse().expect("a name");
    let minimum = Minimum::HostCount(hosts);
    Wish::SetConfig(DeploymentConfig { name, minimum, turns_max: None, canary: None, zonal: None })
}

fn any_group(dice: &mut Chance) -> GroupName {
    dice.pick(&work::GROUPS).0.parse().expect("a name")
}

fn any_host(dice: &mut Chance, plan: &Plan) -> HostNo {
    HostNo(u32::try_from(dice.below(plan.hosts.len() as u64)).expect("few hosts"))
}

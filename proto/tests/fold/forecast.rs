//! Tests that a forecast is what happens, if every turn succeeds.

use std::collections::BTreeSet;
use std::time::Duration;

use proptest::prelude::*;
use proto::entry::Submission;
use proto::id::{DeploymentId, HostId};
use proto::policy::{Canary, Minimum, Policy, Share, Zonal};
use proto::rollout::{ReasonCode, Verdict};
use proto::statement::{Finding, Intent, Report};
use proto::time::LedgerTime;

use super::fleet::{Fleet, host, submission};

/// Not a multiple of any timeout or bake, so nothing else happens at the same time.
const TURN: Duration = Duration::from_millis(7_001);

/// The hosts that got a lease at the same time, and how long after the beginning.
type Batches = Vec<(Duration, BTreeSet<HostId>)>;

/// A deployment in which every host begins as soon as it may, and every turn takes
/// the same time and succeeds.
struct Rolling {
    fleet: Fleet,
    deployment: DeploymentId,
    began: u64,
    /// The hosts in their turn, ordered by when it ends.
    flying: BTreeSet<(u64, HostId)>,
    batches: Batches,
}

impl Rolling {
    fn begin(mut fleet: Fleet, wish: Submission) -> Rolling {
        fleet.every = 0;
        let deployment = wish.deployment;
        fleet.say(0, Intent::Deploy(Box::new(wish)));
        let began = fleet.now;
        let mut rolling = Rolling { fleet, deployment, began, flying: BTreeSet::new(), batches: Vec::new() };
        rolling.take_off();
        rolling
    }

    /// Starts the turns of hosts that have a new lease; a host that is Down cannot
    /// start.
    fn take_off(&mut self) {
        let known: BTreeSet<HostId> = self.batches.iter().flat_map(|(_, hosts)| hosts).copied().collect();
        let rollout = self.fleet.rollout(self.deployment);
        let fresh: Vec<HostId> =
            rollout.in_flight().into_iter().filter(|host| !known.contains(host)).collect();
        let after = Duration::from_millis(self.fleet.now - self.began);
        for host in fresh {
            if self.fleet.state.host(host).is_some_and(|host| host.down.is_none()) {
                self.fleet.start(self.deployment, host);
                self.flying.insert((self.fleet.now + 7_001, host));
            }
            match self.batches.last_mut().filter(|(at, _)| *at == after) {
                Some((_, hosts)) => drop(hosts.insert(host)),
                None => self.batches.push((after, BTreeSet::from([host]))),
            }
        }
    }

    fn is_decided(&self) -> bool {
        self.fleet.rollout(self.deployment).verdict.is_some()
    }

    fn play_out(mut self) -> (Batches, Option<Verdict>) {
        while !self.is_decided() {
            let timer = self.fleet.state.next_timer().map(LedgerTime::as_millis);
            match self.flying.first().copied().filter(|(ends, _)| timer.is_none_or(|timer| *ends < timer)) {
                Some((now, _)) => {
                    self.fleet.now = now;
                    while let Some((_, host)) = self.flying.first().copied().filter(|(ends, _)| *ends == now)
                    {
                        self.flying.remove(&(now, host));
                        self.fleet.end(self.deployment, host, true);
                    }
                }
                None => {
                    self.fleet.now = timer.expect("something is waited for");
                    self.fleet.say(0, Finding::Tick);
                }
            }
            self.take_off();
        }
        (self.batches, self.fleet.rollout(self.deployment).verdict.clone())
    }
}

fn policies() -> impl Strategy<Value = Policy> {
    let minimum = prop_oneof![
        Just(Minimum::OneAtATime),
        Just(Minimum::HalfAtATime),
        Just(Minimum::AllAtOnce),
        (0_u32..25).prop_map(Minimum::HostCount),
    ];
    let zonal = (0_u32..3, 0_u64..2).prop_map(|(hosts, bake)| Zonal {
        minimum: Share::Hosts(hosts),
        bake: Duration::from_secs(30 * bake),
        ..Zonal::default()
    });
    let canary = (1_u32..4, 0_u64..2).prop_map(|(hosts, bake)| Canary {
        hosts: Share::Hosts(hosts),
        bake: Duration::from_secs(30 * bake),
    });
    let cap = prop::option::weighted(0.3, 1_u32..6);
    let outdated_only = prop::bool::weighted(0.2);
    let waves = (prop::option::of(zonal), prop::option::of(canary));
    (minimum, waves, cap, outdated_only).prop_map(|(minimum, (zonal, canary), turns_max, outdated_only)| {
        Policy { minimum, zonal, canary, turns_max, outdated_only, ..Policy::default() }
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_batches_of_a_plan_are_those_of_the_rollout(
        hosts in 1_u32..30,
        policy in policies(),
        unhealthy in prop::collection::vec(prop::bool::weighted(0.2), 30),
        down in prop::collection::vec(prop::bool::weighted(0.1), 30),
        updated in 0_u32..30,
    ) {
        let at = |list: &[bool], host: HostId| list[u32::from_be_bytes(host.public_key()[..4].try_into().expect("four")) as usize];
        let mut fleet = Fleet::new(hosts);
        let all_at_once = Policy { minimum: Minimum::AllAtOnce, ..Policy::default() };
        fleet.deploy("old", all_at_once.clone(), |host| at(&unhealthy, host));
        // Some hosts have the new revision already: a person stopped that
        // deployment before the others had it.
        let stopped = fleet.submit("new", Policy { turns_max: Some(1), ..all_at_once });
        for _ in 0..updated {
            let Some(next) = fleet.rollout(stopped).in_flight().first().copied() else { break };
            fleet.start(stopped, next);
            fleet.end(stopped, next, true);
        }
        fleet.say(0, Intent::Stop { deployment: stopped, rollback: false, now: false, by: String::new() });
        fleet.do_what_is_due();
        (1..hosts).filter(|number| down[*number as usize]).for_each(|number| {
            fleet.say(0, Report::HostDown { host: host(number), incarnation: 1 });
        });
        let wish = Submission { deployment: DeploymentId::derive(b"wish"), ..submission("new", policy) };
        prop_assume!(fleet.state.check_intent(&Intent::Deploy(Box::new(wish.clone()))).is_ok());
        let foretold = fleet.state.forecast(wish.clone(), TURN).expect("the group is there").play(|_| false);

        let (batches, verdict) = Rolling::begin(fleet, wish).play_out();
        let foretold_batches: Batches =
            foretold.batches.iter().map(|batch| (batch.after, batch.hosts.iter().copied().collect())).collect();
        prop_assert_eq!(foretold_batches, batches);
        // The deployment waits for a Down host that has no turn yet, until it times
        // out.
        let waits = !foretold.waits_for().is_empty();
        let is_timeout = matches!(&verdict, Some(Verdict::Failed(reason)) if reason.code == ReasonCode::Timeout);
        prop_assert_eq!(waits, is_timeout);
        prop_assert!(waits || foretold.rollout.verdict == verdict, "{:?}", foretold.rollout.verdict);
    }
}

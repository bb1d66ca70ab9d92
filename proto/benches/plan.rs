//! Measures how long it takes to forecast a deployment of 10,000 hosts: everything
//! that `skein plan` asks the fold.
//!
//! Run with `cargo bench -p skein-proto --bench plan`; the goal is 200 ms.

use std::hint::black_box;
use std::time::Duration;

use criterion::{Criterion, criterion_group, criterion_main};
use proto::policy::{Canary, Minimum, Policy, Share, Zonal};
use proto::statement::{Intent, Report};

#[path = "../tests/fold/fleet.rs"]
mod fleet;

use fleet::{Fleet, host, submission};

const HOSTS: u32 = 10_000;
const TURN: Duration = Duration::from_secs(40);
const SLOW: Duration = Duration::from_secs(90);

fn policy(minimum: Minimum) -> Policy {
    Policy { minimum, ..Policy::default() }
}

fn plan(criterion: &mut Criterion) {
    let mut fleet = Fleet::new(HOSTS);
    fleet.deploy("first", policy(Minimum::AllAtOnce), |_| false);
    for number in 0..HOSTS / 100 {
        fleet.say(1, Report::HostDown { host: host(2 + 50 * number), incarnation: 1 });
    }
    let bake = Duration::from_secs(300);
    let canary = Some(Canary { hosts: Share::Hosts(5), bake });
    let zonal = Some(Zonal { bake, ..Zonal::default() });
    let mut group = criterion.benchmark_group(format!("plan of {HOSTS} hosts, 100 of them Down"));
    group.sample_size(10);
    for (name, policy) in [
        ("one at a time: refused, with the smallest change", policy(Minimum::OneAtATime)),
        ("95 % stay healthy", policy(Minimum::FleetPercent(95))),
        ("all at once", policy(Minimum::AllAtOnce)),
        ("canary, then zone by zone", Policy { canary, zonal, ..policy(Minimum::FleetPercent(90)) }),
    ] {
        group.bench_function(name, |bencher| {
            bencher.iter(|| {
                let wish = submission("second", policy.clone());
                let refusal = fleet.state.check_intent(&Intent::Deploy(Box::new(wish.clone())));
                let forecast = fleet.state.forecast(wish, TURN).expect("the group is there");
                let outlook = forecast.outlook(Some(SLOW));
                let advice = (!outlook.well.ends_well()).then(|| forecast.largest_minimum());
                black_box((refusal, outlook, advice))
            });
        });
    }
    group.finish();
}

criterion_group!(benches, plan);
criterion_main!(benches);

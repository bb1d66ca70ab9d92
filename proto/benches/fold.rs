//! Measures how fast entries are folded, with 10,000 hosts in the group. Every host
//! folds every entry, so this bounds what a mesh can do.
//!
//! Run with `cargo bench -p skein-proto --bench fold`; the goal is 100,000 entries
//! a second. It also prints what a rollout costs the ledger, and how large a
//! snapshot becomes.

use std::hint::black_box;

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use proto::id::HostId;
use proto::policy::{Minimum, Policy};
use proto::state::{DEPLOYMENTS_KEPT, State};

#[path = "../tests/fold/fleet.rs"]
mod fleet;

use fleet::Fleet;

const HOSTS: u32 = 10_000;

fn policy(minimum: Minimum) -> Policy {
    Policy { minimum, ..Policy::default() }
}

fn fold(criterion: &mut Criterion) {
    let mut fleet = Fleet::new(HOSTS);
    fleet.deploy("first", policy(Minimum::AllAtOnce), |_| false);
    let mut group = criterion.benchmark_group(format!("fold of {HOSTS} hosts"));
    group.sample_size(10);
    for (name, minimum, fails) in [
        ("all at once", Minimum::AllAtOnce, false),
        ("90 % stay healthy", Minimum::FleetPercent(90), false),
        ("90 % stay healthy, one in 20 fails", Minimum::FleetPercent(90), true),
    ] {
        let mut after = fleet.clone();
        let from = after.entries.len();
        after.deploy("second", policy(minimum), |host| fails && host.public_key()[3] % 20 == 7);
        let entries = &after.entries[from..];
        println!(
            "{name}: {} entries for {HOSTS} hosts, {:.4} a host, ends as {:?}",
            entries.len(),
            entries.len() as f64 / f64::from(HOSTS),
            after.state.rollouts().values().map(|rollout| rollout.status()).collect::<Vec<_>>()
        );
        group.throughput(Throughput::Elements(entries.len() as u64));
        group.bench_function(name, |bencher| {
            bencher.iter_batched(
                || fleet.state.clone(),
                |mut state| {
                    for (index, entry) in (from as u64 + 1..).zip(entries) {
                        black_box(state.apply(index, entry)).expect("it was folded before");
                    }
                    state
                },
                BatchSize::PerIteration,
            );
        });
    }
    group.finish();
}

/// Measures joins, and hosts that go Down and come up again: the entries of a mesh
/// outside rollouts.
fn membership(criterion: &mut Criterion) {
    let fleet = Fleet::new(HOSTS);
    let mut group = criterion.benchmark_group(format!("membership of {HOSTS} hosts"));
    group.sample_size(10);
    group.throughput(Throughput::Elements(fleet.entries.len() as u64));
    group.bench_function("all join", |bencher| {
        bencher.iter(|| {
            let mut state = State::default();
            for (index, entry) in (1..).zip(&fleet.entries) {
                black_box(state.apply(index, entry)).expect("it was folded before");
            }
            state
        });
    });
    group.finish();
}

/// Measures the snapshot that a new host gets: all hosts, and fifty deployments
/// that are over. The longest frame is 64 MiB.
fn snapshot(criterion: &mut Criterion) {
    let mut fleet = Fleet::new(HOSTS);
    fleet.every = 35;
    for number in 0..DEPLOYMENTS_KEPT {
        let is_bad = |host: HostId| host.public_key()[2..4] == [0, number as u8];
        fleet.deploy(&format!("revision {number}"), policy(Minimum::FleetPercent(90)), is_bad);
    }
    let bytes = fleet.state.encode().len();
    println!("a snapshot of {HOSTS} hosts and {DEPLOYMENTS_KEPT} deployments: {:.1} MB", bytes as f64 / 1e6);
    let mut group = criterion.benchmark_group(format!("snapshot of {HOSTS} hosts"));
    group.sample_size(10);
    group.throughput(Throughput::Bytes(bytes as u64));
    group.bench_function("encode", |bencher| bencher.iter(|| black_box(fleet.state.encode())));
    group.finish();
}

criterion_group!(benches, fold, membership, snapshot);
criterion_main!(benches);

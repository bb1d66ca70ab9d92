//! Plays seeds that once found something, and the first few others.

use sim::swarm::run_seed;

/// Seeds that once found something: the number, then what it found, one per
/// line.
const SEEDS: &str = include_str!("../../seeds.txt");

/// Further seeds, so that the tests of every change meet some faults.
const FIRST: std::ops::RangeInclusive<u64> = 1..=20;

fn check(seed: u64, why: &str) {
    let report = run_seed(seed, None, false);
    if let Some(counterexample) = report.counterexample {
        panic!("skein-sim run --seed {seed} ({why}): {counterexample}");
    }
}

#[test]
fn seeds_that_found_something_are_clean() {
    for line in SEEDS.lines().filter(|line| !line.starts_with('#') && !line.trim().is_empty()) {
        let (seed, why) = line.split_once(' ').expect("a seed and why it is here");
        check(seed.parse().expect("a number"), why);
    }
}

#[test]
fn the_first_seeds_of_an_overlay_of_bounded_degree_are_clean() {
    for seed in 1..=3 {
        if let Some(counterexample) = run_seed(seed, None, true).counterexample {
            panic!("skein-sim run --seed {seed} --overlay bounded: {counterexample}");
        }
    }
}

#[test]
fn the_first_seeds_are_clean() {
    FIRST.for_each(|seed| check(seed, "one of the first"));
}

//! Plays many seeds on all cores. Each seed gives another mesh with other
//! faults.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::check::{Claim, Counterexample, Violation};
use crate::clock::Moment;
use crate::panics;
use crate::plan::Plan;
use crate::play::{RunSummary, play};

/// The number of seeds to play, or the time to play for.
#[derive(Clone, Copy, Debug)]
pub enum Extent {
    Seeds(u64),
    Time(Duration),
}

#[derive(Debug, Default)]
pub struct Totals {
    pub seeds: u64,
    /// The seeds that violated a claim.
    pub failed: Vec<u64>,
    pub host_seconds: f64,
    pub inputs: u64,
    pub entries: usize,
    pub took: Duration,
}

/// Plays one seed.
pub fn run_seed(seed: u64, hosts: Option<u32>, is_bounded: bool) -> RunSummary {
    let plan = Plan::drawn(seed, hosts, is_bounded);
    let mut world = plan.world();
    play(&plan, &mut world)
}

/// Plays seed after seed, and calls `each` with every report. If `only_first`
/// is true, it stops at the first seed that fails. If `is_bounded` is true, hosts are connected to
/// at most twenty others.
pub fn swarm(
    from: u64,
    extent: Extent,
    only_first: bool,
    is_bounded: bool,
    each: impl Fn(u64, &RunSummary) + Sync,
) -> Totals {
    let began = Instant::now();
    let next = AtomicU64::new(from);
    let totals = Mutex::new(Totals::default());
    let has_failed = AtomicBool::new(false);
    let goes_on = |seed: u64| {
        let is_within = match extent {
            Extent::Seeds(seeds) => seed < from + seeds,
            Extent::Time(time) => began.elapsed() < time,
        };
        is_within && !(only_first && has_failed.load(Ordering::Relaxed))
    };
    let work = || {
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if !goes_on(seed) {
                break;
            }
            let report =
                panics::guard(|| run_seed(seed, None, is_bounded)).unwrap_or_else(simulator_panicked);
            each(seed, &report);
            has_failed.fetch_or(report.counterexample.is_some(), Ordering::Relaxed);
            let mut totals = totals.lock().expect("no thread panics while it holds the totals");
            totals.add(seed, &report);
        }
    };
    let cores = thread::available_parallelism().map_or(1, usize::from);
    thread::scope(|scope| {
        (0..cores).for_each(|_| {
            scope.spawn(work);
        });
    });
    let mut totals = totals.into_inner().expect("no thread panics while it holds the totals");
    totals.failed.sort_unstable();
    totals.took = began.elapsed();
    totals
}

/// Returns the report of a seed on which the simulator itself panicked. It is
/// reported like any other counterexample, and the seeds that follow are still
/// played.
fn simulator_panicked(said: String) -> RunSummary {
    let what = format!("the simulator itself panicked: {said}");
    let violation = Violation::new(Claim::Alive, [], what);
    let counterexample = Counterexample { violation, at: Moment::START, last_entries: Vec::new() };
    RunSummary { counterexample: Some(counterexample), ..RunSummary::default() }
}

impl Totals {
    fn add(&mut self, seed: u64, report: &RunSummary) {
        self.seeds += 1;
        self.host_seconds += report.host_seconds();
        self.inputs += report.inputs;
        self.entries += report.entries;
        if report.counterexample.is_some() {
            self.failed.push(seed);
        }
    }
}

impl RunSummary {
    pub fn host_seconds(&self) -> f64 {
        Duration::from_micros(self.lasted.as_micros()).as_secs_f64() * self.hosts as f64
    }
}

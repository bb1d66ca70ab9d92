//! The runs: each builds a fleet, breaks it, and checks the claims.

use std::collections::BTreeSet;
use std::env;
use std::thread;
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use crate::faults::Fault;
use crate::fleet::Fleet;
use crate::prober::Prober;

/// The duration of the faults in the tests of every change, in seconds.
const CHAOS_SECONDS: u64 = 45;
/// The tests of every change always draw the same faults; nightly runs draw
/// others.
const CHAOS_SEED: u64 = 1;
/// The range of a fault's duration.
const FAULT_MILLIS: std::ops::Range<u64> = 300..7_000;
/// The most faults at once. Three of the five hosts, a majority, are always
/// left.
const FAULTS_MAX: usize = 2;
/// The number of bad releases in ten.
const BAD_OF_TEN: u32 = 3;
/// The most private memory that an agent may gain in a soak, in KiB, once it is warm: caches
/// that fill up to their limits, the log that is kept, and the allocator's slack.
const SOAK_GROWTH_MAX: u64 = 24 * 1024;

const ONE_AT_A_TIME: &str = "config = \"OneAtATime\"\nlost_after = \"5s\"\nstart_timeout = \"20s\"";

/// Returns a number from the environment, or the default.
fn setting(name: &str, usual: u64) -> u64 {
    env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(usual)
}

/// Returns five hosts that all serve a first version, with a prober that allows
/// one to be silent.
fn serving(group: &str) -> (Fleet, Prober) {
    let fleet = Fleet::of(5);
    fleet.group(group);
    let prober = Prober::start(&fleet.network, 5, 1);
    let first = fleet.submit(1, "v0", true, &["--override", "config=AllAtOnce"]).expect("acknowledged");
    fleet.wait("v0 is everywhere", |fleet| fleet.has_ended(1, &first) && all_serve(&prober, "v0"));
    (fleet, prober)
}

fn all_serve(prober: &Prober, version: &str) -> bool {
    prober.versions() == BTreeSet::from([Some(version.to_string())])
}

/// Checks that the prober notices too many hosts out of service. Otherwise it would prove
/// nothing.
pub(crate) fn negative_control() {
    let (fleet, prober) = serving(ONE_AT_A_TIME);
    let one_by_one = fleet.submit(2, "v1", true, &[]).expect("acknowledged");
    fleet.wait("v1 is everywhere", |fleet| fleet.has_ended(1, &one_by_one) && all_serve(&prober, "v1"));
    assert_eq!(prober.violations(), [] as [String; 0], "one at a time");
    assert_eq!(prober.most_silent(), 1, "the pause of each host was seen");

    let together = fleet.submit(3, "v2", true, &["--override", "config=AllAtOnce"]).expect("acknowledged");
    fleet.wait("v2 is everywhere", |fleet| fleet.has_ended(1, &together) && all_serve(&prober, "v2"));
    assert_ne!(prober.violations(), [] as [String; 0], "all at once");
}

/// Keeps a host that has not had its turn away for longer than `lost_after`, so that the
/// release fails or waits. Once the host is back, no host may keep a version whose release
/// failed.
pub(crate) fn rollback_waits() {
    let (mut fleet, prober) =
        serving("config = \"OneAtATime\"\nlost_after = \"3s\"\nstart_timeout = \"20s\"");
    let release = fleet.submit(1, "v1", true, &[]).expect("acknowledged");
    fleet.wait("the second host has it", |_| prober.serves(2).as_deref() == Some("v1"));
    let away = Fault::PowerOff(5);
    away.begin(&mut fleet, &prober);
    thread::sleep(Duration::from_secs(10));
    away.end(&mut fleet, &prober);
    fleet.wait("the release has ended", |fleet| fleet.has_ended(1, &release));
    let succeeded = fleet.status_of(1, &release).as_deref() == Some("Succeeded");
    let version = if succeeded { "v1" } else { "v0" };
    fleet.wait("all hosts serve one version that did not fail", |_| all_serve(&prober, version));
    assert_eq!(prober.violations(), [] as [String; 0]);
    fleet.wait_until_whole();
    fleet.check();
}

pub(crate) fn chaos() {
    let seconds = setting("CHAOS_SECONDS", CHAOS_SECONDS);
    let seed = setting("CHAOS_SEED", CHAOS_SEED);
    println!("chaos: {seconds} s, CHAOS_SEED={seed}");
    let (mut fleet, prober) = serving(ONE_AT_A_TIME);
    let mut rng = StdRng::seed_from_u64(seed);
    let mut work = Work { acknowledged: Vec::new(), submitted: 0, running: None };
    let mut faults: Vec<(Fault, Instant)> = Vec::new();
    let (begun, mut next_fault) = (Instant::now(), Instant::now());
    while begun.elapsed() < Duration::from_secs(seconds) {
        let now = Instant::now();
        for (fault, _) in faults.extract_if(.., |(_, until)| *until <= now) {
            println!("chaos: {:>5.1} s: over: {fault}", begun.elapsed().as_secs_f64());
            fault.end(&mut fleet, &prober);
        }
        if faults.len() < FAULTS_MAX && next_fault <= now {
            next_fault = now + Duration::from_millis(rng.random_range(500..4_000));
            let fault = Fault::draw(&mut rng, 5);
            // A host has only one fault at a time, because each fault is undone
            // on its own. There is one spare namespace, for one clone.
            let excludes = |other: Fault| {
                let are_clones = matches!((fault, other), (Fault::Clone(_), Fault::Clone(_)));
                are_clones || touches(other, fault.host()) || touches(fault, other.host())
            };
            if !faults.iter().any(|(other, _)| excludes(*other)) {
                println!("chaos: {:>5.1} s: {fault}", begun.elapsed().as_secs_f64());
                fault.begin(&mut fleet, &prober);
                faults.push((fault, Instant::now() + Duration::from_millis(rng.random_range(FAULT_MILLIS))));
            }
        }
        work.go_on(&fleet, &mut rng);
        hold(&fleet, &prober);
        thread::sleep(Duration::from_millis(100));
    }
    faults.into_iter().for_each(|(fault, _)| fault.end(&mut fleet, &prober));
    settle(&fleet, &prober, &work);
}

fn touches(fault: Fault, host: u8) -> bool {
    fault.host() == host || matches!(fault, Fault::CutPair(_, other) if other == host)
}

/// Releases, one after the other, from any host that answers.
struct Work {
    acknowledged: Vec<String>,
    submitted: u32,
    running: Option<String>,
}

impl Work {
    fn go_on(&mut self, fleet: &Fleet, rng: &mut StdRng) {
        let on = rng.random_range(fleet.hosts());
        if !fleet.is_running(on) {
            return;
        }
        if let Some(running) = &self.running {
            if fleet.has_ended(on, running) {
                self.running = None;
            }
            return;
        }
        self.submitted += 1;
        let is_good = rng.random_range(0..10) >= BAD_OF_TEN;
        let version = format!("v{}{}", self.submitted, if is_good { "" } else { "-bad" });
        // A host that is cut off or frozen refuses or does not answer. The next
        // try may ask another one.
        if let Some(id) = fleet.submit(on, &version, is_good, &["--queue"]) {
            self.running = Some(id.clone());
            self.acknowledged.push(id);
        }
    }
}

fn hold(fleet: &Fleet, prober: &Prober) {
    let violations = prober.violations();
    if !violations.is_empty() {
        fleet.tell();
        panic!("{}", violations.join("; "));
    }
}

/// Checks, once all faults are over, that every host knows every acknowledged
/// deployment, that each has ended, and that all hosts serve one version.
fn settle(fleet: &Fleet, prober: &Prober, work: &Work) {
    fleet.wait_until_whole();
    for id in &work.acknowledged {
        for host in fleet.hosts() {
            fleet.wait(&format!("{id} has ended on web-{host}"), |fleet| fleet.has_ended(host, id));
        }
    }
    fleet.wait("all hosts serve one good version", |_| {
        let versions = prober.versions();
        versions.len() == 1 && versions.iter().flatten().any(|version| !version.ends_with("-bad"))
    });
    let last = fleet.submit(1, "v-last", true, &["--queue"]).expect("a healed mesh takes a release");
    fleet.wait("the last release is everywhere", |fleet| {
        fleet.has_ended(1, &last) && all_serve(prober, "v-last")
    });
    hold(fleet, prober);
    fleet.check();
    println!("chaos: {} releases acknowledged of {} submitted", work.acknowledged.len(), work.submitted);
}

/// Runs a quiet mesh under trivial releases. It is skipped unless requested, because it proves
/// something only after many minutes.
pub(crate) fn soak() {
    let seconds = setting("CHAOS_SOAK_SECONDS", 0);
    if seconds == 0 {
        println!("chaos: skipped: needs CHAOS_SOAK_SECONDS");
        return;
    }
    let (fleet, prober) = serving("config = \"AllAtOnce\"");
    let begun = Instant::now();
    let (mut releases, mut warm) = (0_u32, None);
    while begun.elapsed() < Duration::from_secs(seconds) {
        releases += 1;
        let version = format!("v{}", releases % 2);
        let id = fleet.submit(1, &version, true, &[]).expect("acknowledged");
        fleet.wait("the release ends", |fleet| fleet.has_ended(1, &id));
        // The first quarter of the time fills the caches and the log.
        if warm.is_none() && begun.elapsed() > Duration::from_secs(seconds / 4) {
            warm = Some((releases, fleet.private_kib(1)));
        }
        prober.violations();
    }
    let (since, before) = warm.expect("some time has passed");
    let after = fleet.private_kib(1);
    println!("chaos: {before} KiB after {since} releases, {after} KiB after {releases}");
    assert!(after < before + SOAK_GROWTH_MAX, "the agent grew from {before} to {after} KiB");
    fleet.check();
}

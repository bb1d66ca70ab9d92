//! The simulator's command line.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow};
use clap::{Args, Parser, Subcommand, ValueEnum};
use sim::plan::Plan;
use sim::play::play;
use sim::record::read;
use sim::replay::{Replayed, replay};
use sim::report::{Heading, page};
use sim::scenario::{Scenario, perform};
use sim::soak::soak;
use sim::swarm::{Extent, swarm};
use sim::world::World;

/// Simulates whole fleets in virtual time, from one seed.
#[derive(Parser)]
#[command(name = "skein-sim", version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Plays one seed and tells its story.
    Run(Run),
    /// Plays many seeds; each failure is printed with the command that repeats it.
    Swarm(Swarm),
    /// Plays release after release, and fails if anything keeps growing in a
    /// node or its store.
    Soak(Soak),
    /// Feeds every node the recorded inputs of a run again, and compares what
    /// it does.
    Replay(Replay),
}

#[derive(Args)]
struct Soak {
    /// The number of releases.
    #[arg(long, default_value_t = 2_000)]
    releases: u32,
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

#[derive(Args)]
struct Replay {
    /// The file that `run --trace` wrote.
    trace: PathBuf,
}

#[derive(Args)]
struct Run {
    /// A scenario file (see sim/scenarios/README.md). Without one, the seed
    /// decides the mesh, its work and its faults.
    file: Option<PathBuf>,
    /// The seed of all random numbers.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// The number of hosts, instead of the one that the seed gives.
    #[arg(long, conflicts_with = "file")]
    hosts: Option<u32>,
    /// The hosts that are connected: all with each other, or each with at most twenty others.
    #[arg(long, value_enum, default_value_t = OverlayName::Full, conflicts_with = "file")]
    overlay: OverlayName,
    /// Begins with agents of the previous release, which are upgraded one by one.
    #[arg(long, conflicts_with_all = ["file", "overlay"])]
    two_releases: bool,
    /// Writes every input to a file, so that the run can be replayed:
    /// `skein-sim replay OUT`.
    #[arg(long, value_name = "OUT")]
    trace: Option<PathBuf>,
    /// Writes every input and output as text, one line each.
    #[arg(long, value_name = "OUT", conflicts_with = "file")]
    log: Option<PathBuf>,
    /// Writes the run as an HTML page: each host over time, and the story.
    #[arg(long, value_name = "OUT.html")]
    report: Option<PathBuf>,
    /// Prints totals only.
    #[arg(short, long)]
    quiet: bool,
    /// Also prints each lifecycle event.
    #[arg(long)]
    events: bool,
}

#[derive(Args)]
struct Swarm {
    /// The number of seeds.
    #[arg(long, default_value_t = 100, conflicts_with = "minutes")]
    seeds: u64,
    /// The minutes to run, instead of a number of seeds.
    #[arg(long)]
    minutes: Option<u64>,
    /// The first seed.
    #[arg(long, default_value_t = 1, value_name = "SEED")]
    from: u64,
    /// Stops at the first seed that fails.
    #[arg(long)]
    only_first: bool,
    /// The hosts that are connected: all with each other, or each with at most twenty others.
    #[arg(long, value_enum, default_value_t = OverlayName::Full)]
    overlay: OverlayName,
}

/// The rule by which hosts are connected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum OverlayName {
    Full,
    Bounded,
}

fn main() -> ExitCode {
    let result = match Cli::parse().command {
        Command::Run(run) => match run.file.clone() {
            Some(file) => run_scenario(&file, &run),
            None => run_one(&run),
        },
        Command::Swarm(args) => Ok(run_swarm(&args)),
        Command::Soak(args) => Ok(run_soak(&args)),
        Command::Replay(args) => run_replay(&args),
    };
    match result {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(EXPECTED_OTHERWISE),
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// The exit code if a claim was violated, or if an `expect` line of a scenario
/// did not hold.
const EXPECTED_OTHERWISE: u8 = 4;

/// Returns true if every `expect` line held.
fn run_scenario(file: &Path, run: &Run) -> Result<bool> {
    let name = file.display().to_string();
    let text = std::fs::read_to_string(file).with_context(|| format!("cannot read {name}"))?;
    let scenario = Scenario::parse(&name, &text).map_err(|mistakes| {
        let lines: Vec<String> = mistakes.iter().map(ToString::to_string).collect();
        anyhow!("{name} is no scenario:\n{}", lines.join("\n"))
    })?;
    let mut performance = perform(&scenario, run.seed, |world| prepare(world, run));
    print!("{}", performance.text);
    if let Some(path) = &run.report {
        let heading = Heading {
            title: &scenario.title,
            holds: performance.holds,
            tables: &performance.tables,
            zero: performance.zero,
        };
        write(path, page(&heading, &performance.world).as_bytes())?;
    }
    keep(&mut performance.world, run)?;
    Ok(performance.holds)
}

fn prepare(world: &mut World, run: &Run) {
    if run.events {
        world.story_mut().tell_events();
    }
    if run.trace.is_some() {
        world.keep_record();
    }
}

fn keep(world: &mut World, run: &Run) -> Result<()> {
    match &run.trace {
        Some(path) => write(path, world.trace_mut().recorded()),
        None => Ok(()),
    }
}

/// Returns true if the nodes did the same again.
fn run_replay(args: &Replay) -> Result<bool> {
    let name = args.trace.display();
    let bytes = std::fs::read(&args.trace).with_context(|| format!("cannot read {name}"))?;
    let again = || -> Result<Replayed> { Ok(replay(read(&bytes)?)?) };
    let replayed = again().with_context(|| format!("cannot replay {name}"))?;
    for (at, line) in replayed.story.lines().iter().filter(|(at, _)| *at >= replayed.zero) {
        println!("{:>7}  {line}", at.since(replayed.zero));
    }
    match &replayed.difference {
        None => println!("{} inputs, and every node did the same again, to the last byte.", replayed.inputs),
        Some(difference) => println!("It goes otherwise: {difference}."),
    }
    Ok(replayed.difference.is_none())
}

fn write(path: &Path, bytes: &[u8]) -> Result<()> {
    std::fs::write(path, bytes).with_context(|| format!("cannot write {}", path.display()))
}

/// The number of hosts that are described below a counterexample: in a large mesh, the
/// first few say enough.
const HOSTS_SHOWN: usize = 12;

/// Returns true if all claims held.
fn run_one(run: &Run) -> Result<bool> {
    let plan = if run.two_releases {
        Plan::of_two_releases(run.seed, run.hosts)
    } else {
        Plan::drawn(run.seed, run.hosts, run.overlay == OverlayName::Bounded)
    };
    let mut world = plan.world();
    if run.log.is_some() {
        world.trace_mut().keep_lines();
    }
    prepare(&mut world, run);
    let began = Instant::now();
    let report = play(&plan, &mut world);
    let took = began.elapsed();
    if !run.quiet {
        for (at, line) in world.story().lines() {
            println!("{:>11} {line}", at.to_string());
        }
    }
    if let Some(path) = &run.log {
        write(path, world.trace().lines().join("\n").as_bytes())?;
    }
    keep(&mut world, run)?;
    println!(
        "seed {}: {} hosts, {} entries, {} inputs, {:.1} virtual s",
        run.seed,
        report.hosts,
        report.entries,
        report.inputs,
        Duration::from_micros(report.lasted.as_micros()).as_secs_f64()
    );
    println!("trace {}", report.trace);
    eprintln!(
        "{:.0} simulated host-seconds per second ({:.2} s)",
        report.host_seconds() / took.as_secs_f64(),
        took.as_secs_f64()
    );
    if let Some(counterexample) = &report.counterexample {
        print!("\n{counterexample}");
        world.host_lines().iter().take(HOSTS_SHOWN).for_each(|line| println!("  {line}"));
    }
    Ok(report.counterexample.is_none())
}

/// Returns true if nothing grew and all claims held.
fn run_soak(args: &Soak) -> bool {
    let soak = soak(args.seed, args.releases);
    println!("{:<28} {:>12} {:>12} {:>12}", "most that any host held, of", "first third", "second", "last");
    for (name, [first, second, last]) in &soak.parts {
        println!("{name:<28} {first:>12} {second:>12} {last:>12}");
    }
    println!("{} releases in {} virtual s", soak.releases, soak.lasted.as_secs());
    if let Some(counterexample) = &soak.counterexample {
        print!("\n{counterexample}");
    }
    let grown: Vec<&str> = soak.grown().map(|(name, _)| *name).collect();
    if !grown.is_empty() {
        println!("still growing in the last third: {}", grown.join(", "));
    }
    soak.counterexample.is_none() && grown.is_empty() && soak.releases == args.releases
}

/// Returns true if all claims held.
fn run_swarm(args: &Swarm) -> bool {
    let extent = match args.minutes {
        Some(minutes) => Extent::Time(Duration::from_secs(minutes * 60)),
        None => Extent::Seeds(args.seeds),
    };
    let is_bounded = args.overlay == OverlayName::Bounded;
    let option = if is_bounded { " --overlay bounded" } else { "" };
    let totals = swarm(args.from, extent, args.only_first, is_bounded, |seed, report| {
        if let Some(counterexample) = &report.counterexample {
            let violation = &counterexample.violation;
            println!(
                "skein-sim run --seed {seed}{option}  # {}, at {}: {}",
                violation.claim, counterexample.at, violation.what
            );
        }
    });
    println!(
        "{} seeds, {} failed; {:.0} simulated host-seconds, {} entries, {} inputs in {:.1} s: {:.0} host-seconds \
         per second",
        totals.seeds,
        totals.failed.len(),
        totals.host_seconds,
        totals.entries,
        totals.inputs,
        totals.took.as_secs_f64(),
        totals.host_seconds / totals.took.as_secs_f64()
    );
    totals.failed.is_empty()
}

//! Tests that need whole runs.

#[path = "sim/determinism.rs"]
mod determinism;
#[path = "sim/replays.rs"]
mod replays;
#[path = "sim/scenarios.rs"]
mod scenarios;
#[path = "sim/seeds.rs"]
mod seeds;

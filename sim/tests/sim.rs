//! What only whole runs can show.

#[path = "sim/determinism.rs"]
mod determinism;
#[path = "sim/seeds.rs"]
mod seeds;

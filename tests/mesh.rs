//! Real agents as processes on loopback: only what the simulator cannot know.
//!
//! Every test has a mesh of its own: own directories, own loopback addresses,
//! own trace of what its hooks did.

#[path = "mesh/agent.rs"]
mod agent;
#[path = "mesh/bundle.rs"]
mod bundle;
#[path = "mesh/kills.rs"]
mod kills;
#[path = "mesh/rolling.rs"]
mod rolling;
#[path = "mesh/trace.rs"]
mod trace;
#[path = "mesh/world.rs"]
mod world;

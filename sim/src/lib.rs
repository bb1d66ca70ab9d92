//! Simulates whole fleets in virtual time, from one seed.
//!
//! A [`world::World`] holds the hosts, each with a real `proto::Node`. It
//! simulates everything around them: the network, the disks, the clocks and the
//! scripts. All random numbers come from one seed, so a run can be repeated to
//! the last byte. While it runs, the checkers of [`check`] compare what the
//! nodes do with what they have promised.
//!
//! Reading order: `clock` and `chance`, `disk`, `network`, `hooks`, `host`,
//! `world`; then `check` and `model`; then `plan` (turns a seed into a mesh,
//! its faults and its work), `swarm`, and `scenario`.

pub mod chance;
pub mod check;
pub mod chronicle;
pub mod clock;
pub mod disk;
pub mod hooks;
pub mod host;
pub mod model;
pub mod network;
mod panics;
pub mod plan;
pub mod play;
pub mod record;
pub mod replay;
pub mod report;
pub mod scenario;
pub mod soak;
pub mod story;
pub mod swarm;
pub mod trace;
pub mod watches;
pub mod world;

#[cfg(test)]
mod testing;

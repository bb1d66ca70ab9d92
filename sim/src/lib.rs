//! Whole fleets in virtual time, from one seed.
//!
//! A [`world::World`] holds the hosts, and in each of them a real
//! `proto::Node`. It plays everything that surrounds them: the network, the
//! disks, the clocks, the scripts. All chance comes from one seed, so a run can
//! be had again, to the last byte. While it runs, the checkers of [`check`]
//! compare what the nodes do with what they have promised.
//!
//! Reading order: `clock` and `chance`, `disk`, `network`, `hooks`, `host`,
//! `world`; then `check` and `model`; then `plan` (a seed becomes a mesh, its
//! faults and its work), `swarm`, and `scenario`.

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

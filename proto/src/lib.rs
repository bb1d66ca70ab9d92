//! What Skein decides, and nothing that it does.
//!
//! Without IO, async, clock, thread, or randomness but a seed.
#![warn(missing_docs)]

pub mod alarm;
pub mod appspec;
pub mod config;
mod deadlines;
pub mod entry;
pub mod group;
pub mod health;
pub mod id;
pub mod io;
mod ledger;
pub mod lifecycle;
mod mesh;
pub mod node;
pub mod origin;
pub mod policy;
pub mod promise;
pub mod revision;
pub mod rollout;
mod run;
pub mod state;
pub mod suggest;
pub mod time;
pub mod trigger;
pub mod wire;

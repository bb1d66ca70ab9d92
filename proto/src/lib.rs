//! What Skein decides, and nothing that it does.
//!
//! Without IO, async, clock, thread, or randomness but a seed.
#![warn(missing_docs)]

pub mod appspec;
mod deadlines;
pub mod entry;
pub mod group;
pub mod id;
pub mod io;
pub mod lifecycle;
pub mod policy;
pub mod revision;
pub mod time;

//! The decisions of Skein: everything that is decided, and none of the work.
//!
//! This crate has no IO, no async code, no clock and no threads. Its only source of
//! randomness is a seed.
#![warn(missing_docs)]

pub mod alarm;
pub mod appspec;
pub mod config;
mod deadlines;
pub mod deployment_kind;
pub mod entry;
pub mod form;
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
pub mod recovery;
pub mod revision;
pub mod rollout;
mod run;
pub mod service;
pub mod state;
pub mod statement;
pub mod suggest;
pub mod task;
pub mod time;
pub mod trigger;
pub mod wire;

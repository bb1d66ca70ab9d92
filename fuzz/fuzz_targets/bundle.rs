//! The part of the agent that is fuzzed: it is a program and no library, so its
//! modules are named here, and `bundle/` is a link to where they lie.

#![expect(dead_code, reason = "the agent uses more of it")]

pub(crate) mod cache;
mod kind;
pub(crate) mod pack;
pub(crate) mod unpack;

pub(crate) use kind::Kind;

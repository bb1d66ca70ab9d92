//! The forms of version 4, that of the previous release. Nothing here ever changes.
//!
//! The forms of deployments and of the folded state are children of `rollout` and `state`,
//! so that the fields there stay private; their files lie here.

pub(crate) mod bodies;
pub(crate) mod frames;
pub(crate) mod groups;
pub(crate) mod records;
pub(crate) mod values;

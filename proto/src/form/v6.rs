//! The forms of version 6, as far as they differ from those of version 5: the mesh has a
//! version, below which no agent takes part. Version 6 is not released, so these forms may
//! still change.

pub(crate) mod bodies;
pub(crate) mod frames;

//! The forms of version 5, as far as they differ from those of version 4: a host may report
//! that its disk lacks room for its turn. Nothing here ever changes.

pub(crate) mod bodies;
pub(crate) mod frames;

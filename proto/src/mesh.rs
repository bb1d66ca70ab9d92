//! The mesh as one host sees it: who is there, who is lost, and to whom.
//!
//! [`liveness`] is where the rings will go. Until then every host holds a
//! connection to every other and watches all of them: each host has K = N − 1
//! observers, which is what K rings come to in a mesh of up to K + 1 hosts.

pub(crate) mod liveness;

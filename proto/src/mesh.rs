//! The mesh as one host sees it: which hosts are there, and which hosts have lost
//! which.
//!
//! [`liveness`] is where the rings will go. Until then every host is connected to
//! every other and watches all of them. So each host has K = N − 1 observers, as
//! with K rings in a mesh of up to K + 1 hosts.

pub(crate) mod liveness;

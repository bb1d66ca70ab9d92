//! Downloads bundles from real sources with the shipped `skein`: S3 servers,
//! web servers, and GitHub's protocol.

#[path = "sources/bundle.rs"]
mod bundle;
#[path = "sources/cut.rs"]
mod cut;
#[path = "sources/fleet.rs"]
mod fleet;
#[path = "sources/github.rs"]
mod github;
#[path = "sources/host.rs"]
mod host;
#[path = "sources/https.rs"]
mod https;
#[path = "sources/moto.rs"]
mod moto;
#[path = "sources/object_store.rs"]
mod object_store;
#[path = "sources/packed.rs"]
mod packed;
#[path = "sources/s3.rs"]
mod s3;
#[path = "sources/versions.rs"]
mod versions;
#[path = "sources/web.rs"]
mod web;

//! Bundles from where they really lie: S3 servers, web servers, GitHub's
//! protocol, and the `skein` that is shipped.

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

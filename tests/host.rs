//! Tests the host side as a process: `skein local`, as people and scripts call
//! it.

#[path = "host/altered.rs"]
mod altered;
#[path = "host/check.rs"]
mod check;
#[path = "host/codedeploy_local.rs"]
mod codedeploy_local;
#[path = "host/full_disk.rs"]
mod full_disk;
#[path = "host/kills.rs"]
mod kills;
#[path = "host/mounts.rs"]
mod mounts;
#[path = "host/services.rs"]
mod services;
#[path = "host/steps.rs"]
mod steps;
#[path = "host/stop_failures.rs"]
mod stop_failures;
#[path = "host/swaps.rs"]
mod swaps;
#[path = "host/world.rs"]
mod world;

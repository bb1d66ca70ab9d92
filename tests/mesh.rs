//! Tests real agents as processes on loopback: only what the simulator cannot
//! cover.
//!
//! Every test has a mesh of its own, with its own directories, its own loopback
//! addresses, and its own trace of what its hooks did.

#[path = "hostile/after_admission.rs"]
mod after_admission;
#[path = "mesh/agent.rs"]
mod agent;
#[path = "mesh/alarms.rs"]
mod alarms;
#[path = "hostile/before_admission.rs"]
mod before_admission;
#[path = "mesh/bundle.rs"]
mod bundle;
#[path = "mesh/catch_up.rs"]
mod catch_up;
#[path = "mesh/cloned.rs"]
mod cloned;
#[path = "mesh/command_line.rs"]
mod command_line;
#[path = "mesh/cut_off.rs"]
mod cut_off;
#[path = "mesh/disk.rs"]
mod disk;
#[path = "mesh/fold_fails.rs"]
mod fold_fails;
#[path = "mesh/frozen.rs"]
mod frozen;
#[path = "mesh/health.rs"]
mod health;
#[path = "mesh/installs.rs"]
mod installs;
#[path = "hostile/intruder.rs"]
mod intruder;
#[path = "mesh/kills.rs"]
mod kills;
#[path = "mesh/old_view.rs"]
mod old_view;
#[path = "mesh/prometheus.rs"]
mod prometheus;
#[path = "mesh/recovered.rs"]
mod recovered;
#[path = "mesh/refused.rs"]
mod refused;
#[path = "mesh/replaced.rs"]
mod replaced;
#[path = "mesh/restarts.rs"]
mod restarts;
#[path = "mesh/rolling.rs"]
mod rolling;
#[path = "mesh/side_by_side.rs"]
mod side_by_side;
#[path = "mesh/tokens.rs"]
mod tokens;
#[path = "mesh/trace.rs"]
mod trace;
#[path = "mesh/upgraded.rs"]
mod upgraded;
#[path = "mesh/waves.rs"]
mod waves;
#[path = "mesh/world.rs"]
mod world;

mod ask;
mod bundle;
mod clock;
mod command;
mod daemon;
mod effects;
mod hooks;
mod host_side;
mod identity;
mod install;
mod mesh_key;
mod secret_file;
mod store;
mod telemetry;
mod transport;

fn main() {}

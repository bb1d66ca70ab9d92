mod bundle;
mod hooks;
mod host_side;
mod install;

fn main() {}

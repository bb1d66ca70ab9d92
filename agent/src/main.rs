mod bundle;
mod hooks;
mod install;

fn main() {}

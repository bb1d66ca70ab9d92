mod bundle;
mod install;

fn main() {}

mod clock;
mod identity;
mod mesh_key;
mod secret_file;
mod store;
mod transport;

fn main() {}

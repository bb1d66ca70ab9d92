mod bundle;

fn main() {}

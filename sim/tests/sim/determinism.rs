//! The same seed gives the same run in every process. This test guards
//! determinism better than any review.

use std::process::Command;

fn trace(arguments: &[&str]) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_skein-sim"))
        .args(["run", "--quiet"])
        .args(arguments)
        .output()
        .expect("the simulator starts");
    let text = String::from_utf8(output.stdout).expect("it prints text");
    let trace = text.lines().find(|line| line.starts_with("trace "));
    trace.unwrap_or_else(|| panic!("no trace in {text}")).to_string()
}

#[test]
fn two_processes_play_one_seed_alike() {
    for seed in ["1", "2", "3"] {
        assert_eq!(trace(&["--seed", seed]), trace(&["--seed", seed]), "seed {seed}");
    }
    assert_ne!(trace(&["--seed", "1"]), trace(&["--seed", "2"]));
}

#[test]
fn a_large_mesh_is_played_alike_too() {
    let large = ["--seed", "1", "--hosts", "40"];
    assert_eq!(trace(&large), trace(&large));
}

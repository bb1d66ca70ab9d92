//! Breaks a mesh of real agents while applications are asked from outside.
//!
//! Every host is a network namespace on one bridge. A prober in the bridge's
//! own namespace asks each application, several times a second, which version
//! it serves; nothing that the agents say of themselves is believed. Agents are
//! killed, stopped, frozen, cut off, slowed by packet loss and cloned while
//! releases run, a bad one now and then. Held to account:
//!
//! - never more hosts out of service at once than the group allows, except those
//!   that a fault took out;
//! - every acknowledged deployment is known to every host, and ends;
//! - once the faults end, all hosts serve one good version.
//!
//! Needs root, `ip`, `nft` and `nsenter`, and says so if it has them not.
//! `CHAOS_SECONDS` and `CHAOS_SEED` make it longer and repeat it;
//! `CHAOS_SOAK_SECONDS` adds a quiet mesh under releases, whose memory is bounded.

#[path = "chaos/application.rs"]
mod application;
#[path = "chaos/faults.rs"]
mod faults;
#[path = "chaos/fleet.rs"]
mod fleet;
#[path = "chaos/namespaces.rs"]
mod namespaces;
#[path = "chaos/prober.rs"]
mod prober;
#[path = "chaos/runs.rs"]
mod runs;

use std::panic::{self, AssertUnwindSafe};
use std::process::ExitCode;

/// A run's name as it is printed and filtered by, and what it does.
const RUNS: [(&str, fn()); 4] = [
    ("the_prober_notices_a_release_of_all_at_once", runs::negative_control),
    ("a_host_that_was_away_does_not_leave_a_failed_release_in_service", runs::rollback_waits),
    ("releases_go_on_while_hosts_break", runs::chaos),
    ("memory_is_bounded_in_a_quiet_mesh", runs::soak),
];

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["serve", address, version] => return application::serve(address, version),
        ["ask", address, version] => return application::ask(address, version),
        ["probe", addresses @ ..] => return prober::probe(addresses),
        _ => {}
    }
    if words.contains(&"--list") {
        return ExitCode::SUCCESS;
    }
    if let Some(lack) = namespaces::lack() {
        println!("chaos: skipped: needs {lack}");
        return ExitCode::SUCCESS;
    }
    let filters: Vec<&str> = words.into_iter().filter(|word| !word.starts_with('-')).collect();
    let (mut passed, mut failed) = (0, 0);
    for (name, run) in RUNS {
        if !filters.is_empty() && !filters.iter().any(|filter| name.contains(filter)) {
            continue;
        }
        println!("chaos: {name} ...");
        match panic::catch_unwind(AssertUnwindSafe(run)) {
            Ok(()) => passed += 1,
            Err(_) => failed += 1,
        }
    }
    println!("chaos: {passed} passed, {failed} failed");
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

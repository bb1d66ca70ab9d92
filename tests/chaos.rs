//! Breaks a mesh of real agents while a prober asks the applications from
//! outside.
//!
//! Every host is a network namespace on one bridge. A prober in the bridge's
//! own namespace asks each application, several times a second, for the version
//! that it serves; the test trusts nothing that the agents report of
//! themselves. While releases run, some of them bad, agents are killed,
//! stopped, frozen, cut off, cloned, and slowed by packet loss. The test checks
//! these claims:
//!
//! - at no time are more hosts out of service than the group allows, except for
//!   hosts that a fault took out;
//! - every host knows every acknowledged deployment, and each of them ends;
//! - once the faults end, all hosts serve one good version.
//!
//! The test needs root, `ip`, `nft` and `nsenter`; without them it says so and
//! is skipped. `CHAOS_SECONDS` makes it longer, and `CHAOS_SEED` repeats a run.
//! `CHAOS_SOAK_SECONDS` adds a quiet mesh under releases, whose memory must
//! stay bounded.

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

/// For each run, the name by which it is printed and filtered, and its
/// function.
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

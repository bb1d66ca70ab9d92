//! The folded state, as snapshots hold it.
//!
//! The state comes from a fixed history. In a mesh in which old and new agents run beside
//! each other, all of them must fold the same entries to the same bytes, or their seals
//! contradict each other.

use super::history::states;
use super::{Golden, check, golden};
use crate::state::State;

#[test]
fn states_of_version_4_are_read_and_written_and_folded_to_the_same_bytes() {
    let files = [
        ("v4/golden/state/owing", include_str!("../v4/golden/state/owing.hex")),
        ("v4/golden/state/unwell", include_str!("../v4/golden/state/unwell.hex")),
        ("v4/golden/state/baking", include_str!("../v4/golden/state/baking.hex")),
        ("v4/golden/state/busy", include_str!("../v4/golden/state/busy.hex")),
    ];
    let states = states();
    assert_eq!(states.len(), files.len());
    let indexes: Vec<_> = states.iter().map(State::index).collect();
    let all: Vec<Golden<State>> =
        files.into_iter().zip(states).map(|((file, hex), value)| Golden { file, hex, value }).collect();
    let decode = |bytes: &[u8]| {
        indexes
            .iter()
            .find_map(|index| State::decode(bytes, *index, crate::form::Version::NEWEST).ok())
            .ok_or(())
    };
    check(&all, State::encode, decode);
}

/// Without this, an empty state would be as good.
#[test]
fn the_state_of_the_history_leaves_nothing_out() {
    let shown = format!("{:?}", states());
    let parts = [
        "Started {",
        "Leased {",
        "Ended {",
        "Pending",
        "NotTargeted",
        "Skipped",
        "twin: Some",
        "down: Some",
        "ailing: Some",
        "canary: Some",
        "Canary",
        "Zone(",
        "Rest",
        "bake_until: Some",
        "past: Some",
        "interrupted: Some",
        "Failed(Reason",
        "Stopped(Reason",
        "queued: Some",
        "running: Some",
        "owes_rollback_of: Some",
        "rolled_back_by: Some",
        "rollback_of: Some",
        "Freeze {",
        "Deferrals { by_turn: {(",
        "retired: [(",
        "recoveries: [Recovered",
        "removed: {",
        "waiting: [Happening",
        "last_given_up: [GivenUp",
        "read_in: Some",
        "stopped_by: Some",
        "stop_by: \"ops\"",
        "Joined",
        "tried: Some",
        "unwell_at: [",
        "well_since: Some",
        "Turn(",
        "Start(",
        "Lost(",
        "Deployment(",
        "Bake(",
        "Relapsed(",
        "Thaw",
        "Forget(",
        "repairs: {(",
        "unsatisfiable: {",
        "anew: {",
        "told: {",
    ];
    let missing: Vec<&str> = parts.into_iter().filter(|part| !shown.contains(part)).collect();
    assert!(missing.is_empty(), "{missing:?}\n{shown}");
}

#[test]
fn states_of_version_6_are_read_and_written() {
    let mut state = states().pop().expect("a state");
    state.move_to(6);
    let all = golden!(State { "v6/golden/state/moved", _ => state.clone(); });
    check(&all, State::encode, |bytes| State::decode(bytes, state.index(), crate::form::Version::NEWEST));
}

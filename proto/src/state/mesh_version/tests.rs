use super::*;
use crate::entry::HostRecord;
use crate::form::Version;
use crate::state::testing::{Ledger, host, record};
use crate::statement::{Finding, Intent, Report};
use crate::wire::WIRE;

const BEFORE: u16 = MESH_VERSION_SINCE - 1;

/// A ledger in which hosts from 0 on speak these versions.
fn mesh(versions: &[u16]) -> Ledger {
    let mut ledger = Ledger { state: State::founding(), millis: 1_000 };
    for (number, version) in (0..).zip(versions) {
        assert_eq!(speaks(&mut ledger, number, 1, *version), Ok(()));
    }
    ledger
}

/// Lets the host say that its agent has started, and which version it speaks.
fn speaks(ledger: &mut Ledger, number: u8, incarnation: u64, wire: u16) -> Result<(), Refusal> {
    let start = incarnation;
    ledger.put(Report::HostJoined(HostRecord { wire, incarnation, start, ..record(number, 1, "role=web") }))
}

fn moves_to(ledger: &mut Ledger, version: u16) -> Result<(), Refusal> {
    ledger.put(Finding::MeshVersion(version))
}

#[test]
fn the_mesh_moves_only_once_every_member_speaks_the_version() {
    let mut ledger = mesh(&[WIRE, BEFORE, BEFORE]);
    assert_eq!((ledger.state.due(), ledger.state.mesh_version()), (vec![], BEFORE));
    assert_eq!(moves_to(&mut ledger, WIRE), Err(Refusal::NotDue));
    assert_eq!(speaks(&mut ledger, 1, 2, WIRE), Ok(()));
    ledger.down(2);
    assert_eq!(moves_to(&mut ledger, WIRE), Err(Refusal::NotDue), "a host that is Down comes back");
    assert_eq!(speaks(&mut ledger, 2, 2, WIRE), Ok(()));
    assert_eq!(ledger.state.due(), [Finding::MeshVersion(WIRE)]);
    for version in [0, 4, BEFORE, WIRE + 1] {
        assert_eq!(moves_to(&mut ledger, version), Err(Refusal::NotDue), "{version}");
    }
    assert_eq!(moves_to(&mut ledger, WIRE), Ok(()));
    assert_eq!((ledger.state.due(), ledger.state.mesh_version()), (vec![], WIRE));
    assert_eq!(moves_to(&mut ledger, WIRE), Err(Refusal::NotDue), "once is enough");
}

#[test]
fn a_mesh_that_the_last_older_host_leaves_moves_on() {
    let mut ledger = mesh(&[WIRE, BEFORE]);
    ledger.say(Intent::RemoveHost(host(1)));
    assert_eq!(ledger.state.due(), [Finding::MeshVersion(WIRE)]);
}

#[test]
fn an_older_agent_is_refused_from_then_on_and_changes_nothing() {
    let mut ledger = mesh(&[WIRE, WIRE]);
    assert_eq!(speaks(&mut ledger, 1, 2, BEFORE), Ok(()), "before that it may");
    assert_eq!(speaks(&mut ledger, 1, 3, WIRE), Ok(()));
    assert_eq!(moves_to(&mut ledger, WIRE), Ok(()));
    let hosts = ledger.state.hosts().clone();
    let refusal = Refusal::MeshIsNewer { mesh: WIRE, agent: BEFORE };
    assert_eq!(speaks(&mut ledger, 1, 4, BEFORE), Err(refusal.clone()), "a member that was downgraded");
    assert_eq!(speaks(&mut ledger, 2, 1, BEFORE), Err(refusal.clone()), "a host that is new");
    assert_eq!((ledger.state.hosts(), ledger.state.mesh_version()), (&hosts, WIRE));
    let text = refusal.to_string();
    assert!(text.contains("moved to version 6, and this agent speaks up to 5: install the newer"), "{text}");
    assert_eq!(speaks(&mut ledger, 1, 5, WIRE + 1), Ok(()), "a newer one may join");
}

#[test]
fn a_state_is_written_in_the_new_form_only_once_the_mesh_has_moved() {
    let mut ledger = mesh(&[WIRE, WIRE]);
    let version = |state: &State| crate::form::Versioned::version(state);
    assert_eq!(version(&ledger.state), Version::V4);
    assert_eq!(moves_to(&mut ledger, WIRE), Ok(()));
    assert_eq!(version(&ledger.state), Version::V6);
    let read = State::decode(&ledger.state.encode(), ledger.state.index(), Version::NEWEST);
    assert_eq!(read, Ok(ledger.state));
    assert_eq!(State::founded_by(BEFORE), State::founding());
    assert_eq!(State::founded_by(WIRE).mesh_version(), WIRE);
}

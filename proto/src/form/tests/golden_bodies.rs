//! Entries, one for each kind of body.

use super::samples::{
    at, config, config_name, deployment, failure, given_up, group, group_name, host, proposal, record,
    signed_recovery, submission,
};
use super::{Golden, check, golden};
use crate::alarm::AlarmState;
use crate::entry::{Body, Creator, Entry, HostRecord, Shortage, Submission, TurnOutcome};
use crate::form::{Version, decode_entry, encode_entry};
use crate::lifecycle::LifecycleEvent;

fn bodies() -> Vec<Golden<Body>> {
    let (group_of, deployment, host) = (group_name, deployment(1), host(1));
    golden!(Body {
        "v4/golden/entry/tick", Body::Tick => Body::Tick;
        "v4/golden/entry/host-joined", Body::HostJoined(_) => {
            Body::HostJoined(HostRecord { replaces: "web-9".into(), ..record(1) })
        };
        "v4/golden/entry/host-left", Body::HostLeft { .. } => Body::HostLeft { host };
        "v4/golden/entry/host-down", Body::HostDown { .. } => Body::HostDown { host, incarnation: 300 };
        "v4/golden/entry/host-up", Body::HostUp { .. } => Body::HostUp { host, incarnation: 300 };
        "v4/golden/entry/group-set", Body::GroupSet(_) => Body::GroupSet(group());
        "v4/golden/entry/group-deleted", Body::GroupDeleted(_) => Body::GroupDeleted(group_of());
        "v4/golden/entry/submitted", Body::Submitted(_) => Body::Submitted(Box::new(Submission {
            creator: Creator::Rollback,
            rollback_of: Some(super::samples::deployment(2)),
            ..submission(1)
        }));
        "v4/golden/entry/turn-started", Body::TurnStarted { .. } => Body::TurnStarted { deployment, host };
        "v4/golden/entry/turn-ended", Body::TurnEnded { .. } => {
            Body::TurnEnded { deployment, host, outcome: TurnOutcome::Failed(failure()) }
        };
        "v4/golden/entry/stop-requested", Body::StopRequested { .. } => {
            Body::StopRequested { deployment, rollback: true, now: false, by: "ops".into() }
        };
        "v4/golden/entry/finished", Body::Finished { .. } => Body::Finished { deployment };
        "v4/golden/entry/health-changed", Body::HealthChanged { .. } => Body::HealthChanged {
            group: group_of(),
            host,
            healthy: false,
            error: "status 503".into(),
            as_of: 70_000,
        };
        "v4/golden/entry/config-set", Body::ConfigSet(_) => Body::ConfigSet(config());
        "v4/golden/entry/config-deleted", Body::ConfigDeleted(_) => Body::ConfigDeleted(config_name());
        "v4/golden/entry/alarm-read", Body::AlarmRead { .. } => Body::AlarmRead {
            group: group_of(),
            deployment,
            alarm: "prometheus".into(),
            state: AlarmState::Unreadable,
            detail: "no answer".into(),
        };
        "v4/golden/entry/alarm-set", Body::AlarmSet { .. } => Body::AlarmSet {
            group: group_of(),
            alarm: "by-hand".into(),
            active: true,
            reason: "looks bad".into(),
        };
        "v4/golden/entry/triggers-delivered", Body::TriggersDelivered { .. } => Body::TriggersDelivered {
            group: group_of(),
            trigger: "chat".into(),
            up_to: 300,
            given_up: vec![given_up()],
        };
        "v4/golden/entry/frozen", Body::Frozen { .. } => Body::Frozen {
            group: group_of(),
            until: at(9_000_000),
            reason: "holidays".into(),
            by: "ops".into(),
        };
        "v4/golden/entry/unfrozen", Body::Unfrozen { .. } => Body::Unfrozen { group: group_of() };
        "v4/golden/entry/turn-deferred", Body::TurnDeferred { .. } => {
            Body::TurnDeferred { deployment, host, suspects: vec![super::samples::host(2)] }
        };
        "v4/golden/entry/turn-begun-anew", Body::TurnBegunAnew { .. } => {
            Body::TurnBegunAnew { deployment, host, event: LifecycleEvent::Install, attempt: 2 }
        };
        "v4/golden/entry/mesh-recovered", Body::MeshRecovered(_) => Body::MeshRecovered(Box::new(signed_recovery()));
        "v5/golden/entry/room-reported", Body::RoomReported { .. } => {
            Body::RoomReported { deployment, host, shortage: Some(Shortage { needed: 70_000, free: 300 }) }
        };
        "v6/golden/entry/mesh-version", Body::MeshVersion(_) => Body::MeshVersion(6);
    })
}

#[test]
fn entries_of_each_version_are_read_and_written() {
    let entry =
        |body: Body| Entry { at: at(1_700_000_000_000), proposal: proposal(), statement: body.into() };
    let all: Vec<Golden<Entry>> = bodies()
        .into_iter()
        .map(|Golden { file, hex, value }| Golden { file, hex, value: entry(value) })
        .collect();
    check(&all, encode_entry, |bytes| decode_entry(bytes, Version::NEWEST));
}

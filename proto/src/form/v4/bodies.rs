//! Entries of the ledger.

use serde::Serializer;

use crate::form::v4::groups::{DeploymentConfig, Group, Policy};
use crate::form::v4::values::{
    AlarmState, Creator, GivenUp, LifecycleEvent, ProposalId, Revision, TurnOutcome,
};
use crate::form::written::{Formed, form};
use crate::group::Tag;
use crate::id::{ConfigName, DeploymentId, GroupName, HostId, MeshId, VoterId};
use crate::statement::Statement;
use crate::time::LedgerTime;
use crate::{entry, recovery};

form! {
    struct HostRecord = entry::HostRecord {
        host: HostId,
        voter: VoterId,
        name: String,
        tags: Vec<Tag>,
        zone: String,
        addresses: Vec<String>,
        incarnation: u64,
        wire: u16,
        replaces: String,
        start: u64,
    }

    struct Submission = entry::Submission {
        deployment: DeploymentId,
        group: GroupName,
        revision: Revision,
        policy: Policy,
        creator: Creator,
        rollback_of: Option<DeploymentId>,
        description: String,
        holders: Vec<HostId>,
        queue: bool,
        by: String,
    }

    struct Recovery = recovery::Recovery {
        mesh: MeshId,
        epoch: u64,
        committed: u64,
        base: u64,
        hash: [u8; 32],
        tail: Vec<[u8; 32]>,
        host: HostId,
        voter: VoterId,
        gone: Vec<HostId>,
        at: LedgerTime,
        by: String,
    }

    struct SignedRecovery = recovery::SignedRecovery {
        recovery: Recovery,
        key: [u8; 32],
        signature: [[u8; 32]; 2],
    }

    enum Body without RoomReported, MeshVersion = entry::Body {
        Tick,
        HostJoined(it: HostRecord),
        HostLeft { host: HostId },
        HostDown { host: HostId, incarnation: u64 },
        HostUp { host: HostId, incarnation: u64 },
        GroupSet(it: Group),
        GroupDeleted(it: GroupName),
        Submitted(it: Box<Submission>),
        TurnStarted { deployment: DeploymentId, host: HostId },
        TurnEnded { deployment: DeploymentId, host: HostId, outcome: TurnOutcome },
        StopRequested { deployment: DeploymentId, rollback: bool, now: bool, by: String },
        Finished { deployment: DeploymentId },
        HealthChanged { group: GroupName, host: HostId, healthy: bool, error: String, as_of: u64 },
        ConfigSet(it: DeploymentConfig),
        ConfigDeleted(it: ConfigName),
        AlarmRead {
            group: GroupName,
            deployment: DeploymentId,
            alarm: String,
            state: AlarmState,
            detail: String,
        },
        AlarmSet { group: GroupName, alarm: String, active: bool, reason: String },
        TriggersDelivered { group: GroupName, trigger: String, up_to: u64, given_up: Vec<GivenUp> },
        Frozen { group: GroupName, until: LedgerTime, reason: String, by: String },
        Unfrozen { group: GroupName },
        TurnDeferred { deployment: DeploymentId, host: HostId, suspects: Vec<HostId> },
        TurnBegunAnew { deployment: DeploymentId, host: HostId, event: LifecycleEvent, attempt: u8 },
        MeshRecovered(it: Box<SignedRecovery>),
    }
}

impl Formed<Body> for Statement {
    fn write<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        Formed::<Body>::write(&entry::Body::from(self.clone()), to)
    }

    fn read(form: Body) -> Self {
        entry::Body::read(form).into()
    }
}

form! {
    struct Entry = entry::Entry {
        at: LedgerTime,
        proposal: ProposalId,
        statement: Body,
    }
}

//! Entries of the ledger.

use serde::Serializer;

use crate::entry;
use crate::form::v4::bodies::{HostRecord, SignedRecovery, Submission};
use crate::form::v4::groups::{DeploymentConfig, Group};
use crate::form::v4::values::{AlarmState, GivenUp, LifecycleEvent, ProposalId, TurnOutcome};
use crate::form::v5::bodies::Shortage;
use crate::form::written::{Formed, form};
use crate::id::{ConfigName, DeploymentId, GroupName, HostId};
use crate::statement::Statement;
use crate::time::LedgerTime;

form! {
    enum Body = entry::Body {
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
        RoomReported { deployment: DeploymentId, host: HostId, shortage: Option<Shortage> },
        MeshVersion(it: u16),
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

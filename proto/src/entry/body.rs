//! The stored and sent form of a [`Statement`], version 4: one flat list of kinds.
//!
//! A deployment of the mesh itself is spelled out in it, and told apart from a person's by
//! its creator alone.

use serde::{Deserialize, Serialize};

use crate::alarm::AlarmState;
use crate::entry::{HostRecord, Index, Shortage, Submission, TurnOutcome};
use crate::group::Group;
use crate::id::{ConfigName, DeploymentId, GroupName, HostId};
use crate::lifecycle::LifecycleEvent;
use crate::policy::DeploymentConfig;
use crate::recovery::SignedRecovery;
use crate::statement::{Finding, Intent, Report, Statement};
use crate::time::LedgerTime;
use crate::trigger::GivenUp;

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[expect(clippy::large_enum_variant, reason = "held one at a time: the log keeps bytes")]
pub(crate) enum Body {
    Tick,
    HostJoined(HostRecord),
    HostLeft { host: HostId },
    HostDown { host: HostId, incarnation: u64 },
    HostUp { host: HostId, incarnation: u64 },
    GroupSet(Group),
    GroupDeleted(GroupName),
    Submitted(Box<Submission>),
    TurnStarted { deployment: DeploymentId, host: HostId },
    TurnEnded { deployment: DeploymentId, host: HostId, outcome: TurnOutcome },
    StopRequested { deployment: DeploymentId, rollback: bool, now: bool, by: String },
    Finished { deployment: DeploymentId },
    HealthChanged { group: GroupName, host: HostId, healthy: bool, error: String, as_of: Index },
    ConfigSet(DeploymentConfig),
    ConfigDeleted(ConfigName),
    AlarmRead { group: GroupName, deployment: DeploymentId, alarm: String, state: AlarmState, detail: String },
    AlarmSet { group: GroupName, alarm: String, active: bool, reason: String },
    TriggersDelivered { group: GroupName, trigger: String, up_to: u64, given_up: Vec<GivenUp> },
    Frozen { group: GroupName, until: LedgerTime, reason: String, by: String },
    Unfrozen { group: GroupName },
    TurnDeferred { deployment: DeploymentId, host: HostId, suspects: Vec<HostId> },
    TurnBegunAnew { deployment: DeploymentId, host: HostId, event: LifecycleEvent, attempt: u8 },
    MeshRecovered(Box<SignedRecovery>),
    RoomReported { deployment: DeploymentId, host: HostId, shortage: Option<Shortage> },
    MeshVersion(u16),
}

impl From<Statement> for Body {
    fn from(statement: Statement) -> Self {
        match statement {
            Statement::Intent(intent) => intent.into(),
            Statement::Report(report) => report.into(),
            Statement::Finding(finding) => match finding {
                Finding::Tick => Body::Tick,
                Finding::Finished { deployment } => Body::Finished { deployment },
                Finding::Spelled(submission) => Body::Submitted(submission),
                Finding::MeshVersion(version) => Body::MeshVersion(version),
            },
        }
    }
}

impl From<Intent> for Body {
    fn from(intent: Intent) -> Self {
        match intent {
            Intent::SetGroup(group) => Body::GroupSet(group),
            Intent::DeleteGroup(name) => Body::GroupDeleted(name),
            Intent::Deploy(submission) => Body::Submitted(submission),
            Intent::Stop { deployment, rollback, now, by } => {
                Body::StopRequested { deployment, rollback, now, by }
            }
            Intent::RemoveHost(host) => Body::HostLeft { host },
            Intent::SetConfig(config) => Body::ConfigSet(config),
            Intent::DeleteConfig(name) => Body::ConfigDeleted(name),
            Intent::SetAlarm { group, alarm, active, reason } => {
                Body::AlarmSet { group, alarm, active, reason }
            }
            Intent::Freeze { group, until, reason, by } => Body::Frozen { group, until, reason, by },
            Intent::Unfreeze(group) => Body::Unfrozen { group },
            Intent::Recover(signed) => Body::MeshRecovered(signed),
        }
    }
}

impl From<Report> for Body {
    fn from(report: Report) -> Self {
        match report {
            Report::HostJoined(record) => Body::HostJoined(record),
            Report::HostDown { host, incarnation } => Body::HostDown { host, incarnation },
            Report::HostUp { host, incarnation } => Body::HostUp { host, incarnation },
            Report::TurnStarted { deployment, host } => Body::TurnStarted { deployment, host },
            Report::TurnEnded { deployment, host, outcome } => Body::TurnEnded { deployment, host, outcome },
            Report::TurnDeferred { deployment, host, suspects } => {
                Body::TurnDeferred { deployment, host, suspects }
            }
            Report::TurnBegunAnew { deployment, host, event, attempt } => {
                Body::TurnBegunAnew { deployment, host, event, attempt }
            }
            Report::RoomReported { deployment, host, shortage } => {
                Body::RoomReported { deployment, host, shortage }
            }
            Report::HealthChanged { group, host, healthy, error, as_of } => {
                Body::HealthChanged { group, host, healthy, error, as_of }
            }
            Report::AlarmRead { group, deployment, alarm, state, detail } => {
                Body::AlarmRead { group, deployment, alarm, state, detail }
            }
            Report::TriggersDelivered { group, trigger, up_to, given_up } => {
                Body::TriggersDelivered { group, trigger, up_to, given_up }
            }
        }
    }
}

impl From<Body> for Statement {
    fn from(body: Body) -> Self {
        match body {
            Body::Tick => Finding::Tick.into(),
            Body::Finished { deployment } => Finding::Finished { deployment }.into(),
            Body::MeshVersion(version) => Finding::MeshVersion(version).into(),
            Body::Submitted(submission) if submission.kind().is_by_mesh() => {
                Finding::Spelled(submission).into()
            }
            Body::Submitted(submission) => Intent::Deploy(submission).into(),
            Body::GroupSet(group) => Intent::SetGroup(group).into(),
            Body::GroupDeleted(name) => Intent::DeleteGroup(name).into(),
            Body::StopRequested { deployment, rollback, now, by } => {
                Intent::Stop { deployment, rollback, now, by }.into()
            }
            Body::HostLeft { host } => Intent::RemoveHost(host).into(),
            Body::ConfigSet(config) => Intent::SetConfig(config).into(),
            Body::ConfigDeleted(name) => Intent::DeleteConfig(name).into(),
            Body::AlarmSet { group, alarm, active, reason } => {
                Intent::SetAlarm { group, alarm, active, reason }.into()
            }
            Body::Frozen { group, until, reason, by } => Intent::Freeze { group, until, reason, by }.into(),
            Body::Unfrozen { group } => Intent::Unfreeze(group).into(),
            Body::MeshRecovered(signed) => Intent::Recover(signed).into(),
            Body::HostJoined(record) => Report::HostJoined(record).into(),
            Body::HostDown { host, incarnation } => Report::HostDown { host, incarnation }.into(),
            Body::HostUp { host, incarnation } => Report::HostUp { host, incarnation }.into(),
            Body::TurnStarted { deployment, host } => Report::TurnStarted { deployment, host }.into(),
            Body::TurnEnded { deployment, host, outcome } => {
                Report::TurnEnded { deployment, host, outcome }.into()
            }
            Body::TurnDeferred { deployment, host, suspects } => {
                Report::TurnDeferred { deployment, host, suspects }.into()
            }
            Body::TurnBegunAnew { deployment, host, event, attempt } => {
                Report::TurnBegunAnew { deployment, host, event, attempt }.into()
            }
            Body::RoomReported { deployment, host, shortage } => {
                Report::RoomReported { deployment, host, shortage }.into()
            }
            Body::HealthChanged { group, host, healthy, error, as_of } => {
                Report::HealthChanged { group, host, healthy, error, as_of }.into()
            }
            Body::AlarmRead { group, deployment, alarm, state, detail } => {
                Report::AlarmRead { group, deployment, alarm, state, detail }.into()
            }
            Body::TriggersDelivered { group, trigger, up_to, given_up } => {
                Report::TriggersDelivered { group, trigger, up_to, given_up }.into()
            }
        }
    }
}

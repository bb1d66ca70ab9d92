//! Intents: the statements that say what an operator wants.

use serde::{Deserialize, Serialize};

use super::bounds::{BY_BYTES_MAX, InvalidEntry, line, one_line};
use super::{Row, Statement};
use crate::alarm::DETAIL_MAX;
use crate::entry::Submission;
use crate::group::Group;
use crate::id::{ConfigName, DeploymentId, GroupName, HostId};
use crate::policy::DeploymentConfig;
use crate::recovery::SignedRecovery;
use crate::time::LedgerTime;

/// An intent of an operator, complete: with every id, policy and time filled in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Statement", into = "Statement")]
#[expect(clippy::large_enum_variant, reason = "held one at a time: the log keeps bytes")]
pub enum Intent {
    /// Define a group, or replace its definition.
    SetGroup(Group),
    /// Delete a group, and its deployments with it.
    DeleteGroup(GroupName),
    /// Deploy.
    Deploy(Box<Submission>),
    /// Stop a deployment.
    Stop {
        /// The deployment to stop.
        deployment: DeploymentId,
        /// True to roll back afterwards, whatever the policy says.
        rollback: bool,
        /// True to also interrupt the events under way.
        now: bool,
        /// The person who asks, as the agent knows that person.
        by: String,
    },
    /// Take a host out of the mesh for good.
    RemoveHost(HostId),
    /// Define or redefine a named deployment configuration. Deployments that run or wait
    /// keep what they were submitted with.
    SetConfig(DeploymentConfig),
    /// Delete a named deployment configuration.
    DeleteConfig(ConfigName),
    /// Set or clear an alarm by hand.
    SetAlarm {
        /// The group that has the alarm.
        group: GroupName,
        /// The name of the alarm.
        alarm: String,
        /// True to set the alarm, false to clear it.
        active: bool,
        /// The reason, and the person who gave it.
        reason: String,
    },
    /// Let no new deployment of a group begin for a while.
    Freeze {
        /// The group to freeze.
        group: GroupName,
        /// The end of the freeze, by the ledger's clock.
        until: LedgerTime,
        /// The reason; may be empty.
        reason: String,
        /// The person who asks, by the name that they gave.
        by: String,
    },
    /// End the freeze of a group early.
    Unfreeze(GroupName),
    /// Continue the mesh from one host without most of its voters. Only the recovering
    /// host writes this entry; it cannot be proposed.
    Recover(Box<SignedRecovery>),
}

impl Intent {
    pub(super) fn row(&self) -> Row<'_> {
        match self {
            Intent::SetGroup(group) => Row::new("GroupSet").group(&group.name).undoes(),
            Intent::DeleteGroup(name) => Row::new("GroupDeleted").group(name).undoes(),
            Intent::Deploy(it) => Row::new("Submitted").group(&it.group).deployment(it.deployment),
            Intent::Stop { deployment, .. } => Row::new("StopRequested").deployment(*deployment),
            Intent::RemoveHost(host) => Row::new("HostLeft").host(*host),
            Intent::SetConfig(_) => Row::new("ConfigSet").undoes(),
            Intent::DeleteConfig(_) => Row::new("ConfigDeleted").undoes(),
            Intent::SetAlarm { group, .. } => Row::new("AlarmSet").group(group).undoes(),
            Intent::Freeze { group, .. } => Row::new("Frozen").group(group).undoes(),
            Intent::Unfreeze(group) => Row::new("Unfrozen").group(group).undoes(),
            Intent::Recover(signed) => Row::new("MeshRecovered").by_host(signed.recovery().host),
        }
    }

    /// Returns the intent with the texts that people and programs wrote cut to size. They
    /// are shown in tables, and must not make an entry too long.
    #[must_use]
    pub(crate) fn fitted(self) -> Self {
        match self {
            Intent::Deploy(mut submission) => {
                submission.by = one_line(&submission.by, BY_BYTES_MAX);
                Intent::Deploy(submission)
            }
            Intent::Stop { deployment, rollback, now, by } => {
                Intent::Stop { deployment, rollback, now, by: one_line(&by, BY_BYTES_MAX) }
            }
            Intent::SetAlarm { group, alarm, active, reason } => {
                Intent::SetAlarm { group, alarm, active, reason: one_line(&reason, DETAIL_MAX) }
            }
            Intent::Freeze { group, until, reason, by } => {
                let (reason, by) = (one_line(&reason, DETAIL_MAX), one_line(&by, DETAIL_MAX));
                Intent::Freeze { group, until, reason, by }
            }
            Intent::SetGroup(_)
            | Intent::DeleteGroup(_)
            | Intent::RemoveHost(_)
            | Intent::SetConfig(_)
            | Intent::DeleteConfig(_)
            | Intent::Unfreeze(_)
            | Intent::Recover(_) => self,
        }
    }

    /// Checks the values, without a look at the mesh.
    /// # Errors
    /// The first value that is out of its bounds.
    pub fn check_values(&self) -> Result<(), InvalidEntry> {
        match self {
            Intent::SetGroup(group) => {
                group.validate()?;
                Ok(group.policy.validate()?)
            }
            Intent::Deploy(submission) => submission.check_values(),
            Intent::SetConfig(config) => Ok(config.validate()?),
            Intent::SetAlarm { reason, .. } => line("the reason", reason, DETAIL_MAX),
            Intent::Freeze { reason, by, .. } => {
                line("the reason", reason, DETAIL_MAX)?;
                line("the name of who asks", by, DETAIL_MAX)
            }
            Intent::Stop { by, .. } => line("the name of who asks", by, BY_BYTES_MAX),
            // Names alone, which their types check. A recovery is bounded before its
            // signature is verified.
            Intent::DeleteGroup(_)
            | Intent::RemoveHost(_)
            | Intent::DeleteConfig(_)
            | Intent::Unfreeze(_)
            | Intent::Recover(_) => Ok(()),
        }
    }
}

impl TryFrom<Statement> for Intent {
    type Error = &'static str;

    fn try_from(statement: Statement) -> Result<Self, Self::Error> {
        match statement {
            Statement::Intent(intent) => Ok(intent),
            Statement::Report(_) | Statement::Finding(_) => Err("the statement is not an intent"),
        }
    }
}

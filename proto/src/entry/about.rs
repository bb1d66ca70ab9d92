//! The group, deployment and host that each entry is about, in one table for all
//! bodies. A new body gets its row here.

use super::{Body, Submission};
use crate::id::{DeploymentId, GroupName, HostId};

/// The group, deployment and host that an entry names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct About<'a> {
    /// The group, if the entry itself names it. An entry that names a deployment
    /// may leave this out.
    pub group: Option<&'a GroupName>,
    /// The deployment, if the entry names one.
    pub deployment: Option<DeploymentId>,
    /// The host, if the entry names one.
    pub host: Option<HostId>,
}

const NOTHING: About<'static> = About { group: None, deployment: None, host: None };

fn host<'a>(host: HostId) -> About<'a> {
    About { host: Some(host), ..NOTHING }
}

fn group(group: &GroupName) -> About<'_> {
    About { group: Some(group), ..NOTHING }
}

fn deployment<'a>(deployment: DeploymentId) -> About<'a> {
    About { deployment: Some(deployment), ..NOTHING }
}

impl Body {
    /// The name of the body's kind, and what it is about.
    #[rustfmt::skip]
    fn row(&self) -> (&'static str, About<'_>) {
        match self {
            Body::Tick => ("Tick", NOTHING),
            Body::HostJoined(record) => ("HostJoined", host(record.host)),
            Body::HostLeft { host: it } => ("HostLeft", host(*it)),
            Body::HostDown { host: it, .. } => ("HostDown", host(*it)),
            Body::HostUp { host: it, .. } => ("HostUp", host(*it)),
            Body::GroupSet(it) => ("GroupSet", group(&it.name)),
            Body::GroupDeleted(name) => ("GroupDeleted", group(name)),
            Body::Submitted(it) => ("Submitted", About { deployment: Some(it.deployment), ..group(&it.group) }),
            Body::TurnStarted { deployment: of, host } => ("TurnStarted", About { host: Some(*host), ..deployment(*of) }),
            Body::TurnEnded { deployment: of, host, .. } => ("TurnEnded", About { host: Some(*host), ..deployment(*of) }),
            Body::StopRequested { deployment: of, .. } => ("StopRequested", deployment(*of)),
            Body::Finished { deployment: of } => ("Finished", deployment(*of)),
            Body::HealthChanged { group: of, host, .. } => ("HealthChanged", About { host: Some(*host), ..group(of) }),
            Body::ConfigSet(_) => ("ConfigSet", NOTHING),
            Body::ConfigDeleted(_) => ("ConfigDeleted", NOTHING),
            Body::AlarmRead { group: of, deployment, .. } => ("AlarmRead", About { deployment: Some(*deployment), ..group(of) }),
            Body::AlarmSet { group: of, .. } => ("AlarmSet", group(of)),
            Body::TriggersDelivered { group: of, .. } => ("TriggersDelivered", group(of)),
            Body::Frozen { group: of, .. } => ("Frozen", group(of)),
            Body::Unfrozen { group: of } => ("Unfrozen", group(of)),
            Body::TurnDeferred { deployment: of, host, .. } => ("TurnDeferred", About { host: Some(*host), ..deployment(*of) }),
            Body::TurnBegunAnew { deployment: of, host, .. } => ("TurnBegunAnew", About { host: Some(*host), ..deployment(*of) }),
            Body::MeshRecovered(signed) => ("MeshRecovered", host(signed.recovery().host)),
            Body::RoomReported { deployment: of, host, .. } => ("RoomReported", About { host: Some(*host), ..deployment(*of) }),
        }
    }

    /// Returns the only host that may propose this, because the body is about that
    /// host itself; `None` if any member may propose it.
    pub fn author(&self) -> Option<HostId> {
        match self {
            Body::HostJoined(record) => Some(record.host),
            Body::TurnStarted { host, .. }
            | Body::TurnEnded { host, .. }
            | Body::TurnDeferred { host, .. }
            | Body::TurnBegunAnew { host, .. }
            | Body::RoomReported { host, .. }
            | Body::HealthChanged { host, .. } => Some(*host),
            Body::MeshRecovered(signed) => Some(signed.recovery().host),
            Body::Tick
            | Body::HostLeft { .. }
            | Body::HostDown { .. }
            | Body::HostUp { .. }
            | Body::GroupSet(_)
            | Body::GroupDeleted(_)
            | Body::Submitted(_)
            | Body::StopRequested { .. }
            | Body::Finished { .. }
            | Body::ConfigSet(_)
            | Body::ConfigDeleted(_)
            | Body::AlarmRead { .. }
            | Body::AlarmSet { .. }
            | Body::TriggersDelivered { .. }
            | Body::Frozen { .. }
            | Body::Unfrozen { .. } => None,
        }
    }

    /// Returns true if folding this body once more could undo a later entry. Any
    /// other body changes nothing when it is folded again.
    pub(crate) fn may_undo(&self) -> bool {
        match self {
            Body::HostDown { .. }
            | Body::HostUp { .. }
            | Body::GroupSet(_)
            | Body::GroupDeleted(_)
            | Body::ConfigSet(_)
            | Body::ConfigDeleted(_)
            | Body::AlarmRead { .. }
            | Body::AlarmSet { .. }
            | Body::RoomReported { .. }
            | Body::Frozen { .. }
            | Body::Unfrozen { .. } => true,
            Body::Tick
            | Body::HostJoined(_)
            | Body::HostLeft { .. }
            | Body::Submitted(_)
            | Body::TurnStarted { .. }
            | Body::TurnEnded { .. }
            | Body::StopRequested { .. }
            | Body::Finished { .. }
            | Body::HealthChanged { .. }
            | Body::TriggersDelivered { .. }
            | Body::TurnDeferred { .. }
            | Body::TurnBegunAnew { .. }
            | Body::MeshRecovered(_) => false,
        }
    }

    /// Returns the name of the body's kind, as the history shows it.
    pub fn kind(&self) -> &'static str {
        self.row().0
    }

    /// Returns the group, deployment and host that the body names.
    pub fn about(&self) -> About<'_> {
        self.row().1
    }

    /// Returns the submission, if this is one.
    pub fn submission(&self) -> Option<&Submission> {
        if let Body::Submitted(submission) = self { Some(submission) } else { None }
    }
}

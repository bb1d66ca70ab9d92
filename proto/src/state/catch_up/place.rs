//! The next step for a host that is behind, for people to read.

use std::fmt;

use crate::id::{DeploymentId, HostId};
use crate::state::rollback::rollback_id;
use crate::state::{Cause, GroupState, State};
use crate::time::LedgerTime;

/// The next step for a host that is behind. `status` prints it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CatchUp {
    /// This deployment brings it up to date.
    UnderWay(DeploymentId),
    /// Its deployment is about to be submitted.
    Due,
    /// This deployment goes first.
    After(DeploymentId),
    /// The group has no good revision that the host could get.
    NoRevision,
    /// The host is Down.
    Down,
    /// The host is in service, and one host less would break the minimum.
    TooFewHealthy {
        /// The hosts in service now.
        available: u32,
        /// M: the hosts that must stay in service.
        minimum: u32,
        /// N: the hosts of the group.
        total: u32,
    },
    /// The group is frozen, so nothing new begins.
    Frozen {
        /// The end of the freeze.
        until: LedgerTime,
    },
    /// All attempts are used.
    GivenUp {
        /// The deployment of the last attempt.
        deployment: DeploymentId,
        /// The number of used attempts, of [`crate::state::ATTEMPTS_MAX`]. A failure that
        /// is the revision's own uses all at once.
        attempts: u8,
    },
    /// Its turn failed in this deployment of a person's.
    LeftAlone(Option<DeploymentId>),
}

impl fmt::Display for CatchUp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            CatchUp::UnderWay(by) => write!(f, "{by} brings it to the last good revision"),
            CatchUp::Due => f.write_str("it is about to be brought to the last good revision"),
            CatchUp::After(first) => write!(f, "{first} goes first; then it gets what is good then"),
            CatchUp::NoRevision => f.write_str("the group has no good revision yet that it could get"),
            CatchUp::Down => f.write_str("it is Down; it gets the last good revision when it is back"),
            CatchUp::TooFewHealthy { available, minimum, total } => write!(
                f,
                "it serves with an older revision, {available} of {total} hosts are in service and {minimum} must \
                 stay so: it follows as soon as there is room"
            ),
            CatchUp::Frozen { until } => {
                write!(f, "the group is frozen until {until}; then it gets the last good revision")
            }
            CatchUp::GivenUp { .. } => f.write_str(
                "it is not tried again by itself: deploy again (the same revision will do), or roll the group back",
            ),
            CatchUp::LeftAlone(Some(deployment)) => {
                write!(
                    f,
                    "its turn in {deployment} failed, so it stays as it is until the next deployment, or until it has been away and is back"
                )
            }
            CatchUp::LeftAlone(None) => {
                f.write_str("its turn failed, so it stays as it is until the next deployment, or until it has been away and is back")
            }
        }
    }
}

impl State {
    /// Returns what happens next with a host that is behind the group's last good
    /// revision; `None` if it is not behind.
    pub fn catch_up(&self, group: &GroupState, host: HostId) -> Option<CatchUp> {
        let behind = group.behind.get(&host)?;
        let known = self.hosts.get(host)?;
        if group.is_current(host) || !group.group.tags.matches(&known.record.tags) {
            return None;
        }
        if let Some(beside) = group.catching_up.filter(|id| self.has_turn_to_come(*id, host)) {
            return Some(CatchUp::UnderWay(beside));
        }
        if let Some(running) = group.running.filter(|id| self.is_member(*id, host)) {
            let has_failed_in_it = behind.cause == Cause::Failed
                && behind.tried.is_some_and(|tried| tried.deployment == running);
            return Some(match has_failed_in_it {
                true => CatchUp::LeftAlone(Some(running)),
                false => CatchUp::After(running),
            });
        }
        let Some(good) = group.good.last() else {
            return Some(group.running.map_or(CatchUp::NoRevision, CatchUp::After));
        };
        if let Some(tried) = behind.used_up(good) {
            return Some(CatchUp::GivenUp { deployment: tried.deployment, attempts: tried.attempts });
        }
        if behind.cause == Cause::Failed {
            return Some(CatchUp::LeftAlone(behind.tried.map(|tried| tried.deployment)));
        }
        if known.down.is_some() {
            return Some(CatchUp::Down);
        }
        let first = group.owes_rollback_of.map(rollback_id).or(group.catching_up);
        if let Some(first) = first {
            return Some(CatchUp::After(first));
        }
        if let Some(freeze) = self.freezes.of(&group.group.name) {
            return Some(CatchUp::Frozen { until: freeze.until });
        }
        // Counting the group's hosts comes last, because this runs for each host
        // that is behind.
        let takes_away =
            group.running.is_none() && self.in_service(group).condition(known).serves_but_for_turn();
        let room = takes_away.then(|| self.room(group)).filter(|room| room.available <= room.minimum);
        Some(room.map_or(CatchUp::Due, |super::Room { available, minimum, total }| CatchUp::TooFewHealthy {
            available,
            minimum,
            total,
        }))
    }
}

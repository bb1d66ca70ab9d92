//! The history of each host and each deployment, entry by entry, by the naive
//! model. Tables and pictures are made from it.

use std::collections::BTreeMap;

use proto::id::{DeploymentId, Digest, GroupName, HostId};
use proto::service::Service;

use crate::clock::Moment;
use crate::model::{Model, Stage, Turn};

/// It is kept only on request, because each entry costs a look at every host.
#[derive(Clone, Debug, Default)]
pub struct Chronicle {
    is_kept: bool,
    changes: Vec<Change>,
    seen: BTreeMap<(GroupName, HostId), Seen>,
    courses: BTreeMap<DeploymentId, Course>,
}

/// A host's new state from this moment on.
#[derive(Clone, Debug)]
pub struct Change {
    pub at: Moment,
    pub group: GroupName,
    pub host: HostId,
    pub seen: Seen,
}

/// The state of one host in one group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seen {
    pub service: Service,
    /// The revision that the host is known to run.
    pub revision: Option<Digest>,
}

/// The course of one deployment.
#[derive(Clone, Debug, Default)]
pub struct Course {
    pub began: Option<Moment>,
    pub over: Option<Moment>,
    /// In the order in which the hosts got their leases.
    pub turns: Vec<Passed>,
    /// The largest number of turns that were under way at once.
    pub most_in_flight: u32,
    /// The smallest number of hosts that were in service.
    pub lowest: Option<u32>,
}

/// One host's turn, with the times of its steps.
#[derive(Clone, Debug)]
pub struct Passed {
    pub host: HostId,
    pub leased: Moment,
    pub started: Option<Moment>,
    pub ended: Option<Moment>,
}

impl Chronicle {
    pub fn keep(&mut self) {
        self.is_kept = true;
    }

    pub fn changes(&self) -> &[Change] {
        &self.changes
    }

    pub fn course(&self, deployment: DeploymentId) -> Option<&Course> {
        self.courses.get(&deployment)
    }

    /// Notes the changes of an entry that was committed and that the model has
    /// folded.
    pub(crate) fn entry(&mut self, now: Moment, model: &Model) {
        if !self.is_kept {
            return;
        }
        for (name, group) in model.groups() {
            for host in model.members(&group.group) {
                let id = host.record.host;
                let turns = [group.catching_up, group.running].into_iter().flatten();
                let turn = turns.filter_map(|running| model.deployment(running)?.turn(id));
                let turn = turn.max_by_key(|turn| turn.is_in_flight());
                let standing = group.standing.get(&id);
                let is_in_turn = turn.is_some_and(Turn::is_in_flight);
                let service = group.condition(host, is_in_turn).service();
                let seen = Seen { service, revision: standing.and_then(|standing| standing.revision) };
                if self.seen.insert((name.clone(), id), seen) != Some(seen) {
                    self.changes.push(Change { at: now, group: name.clone(), host: id, seen });
                }
            }
        }
        for (id, deployment) in model.deployments() {
            let course = self.courses.entry(*id).or_default();
            if course.over.is_none() && !deployment.turns.is_empty() {
                course.began.get_or_insert(now);
                course.over = deployment.status.is_over().then_some(now);
                deployment.turns.iter().for_each(|turn| course.turn(now, turn));
                let in_flight = u32::try_from(deployment.in_flight().len()).expect("few hosts");
                course.most_in_flight = course.most_in_flight.max(in_flight);
                let available = deployment.available();
                course.lowest = Some(course.lowest.map_or(available, |lowest| lowest.min(available)));
            }
        }
    }
}

impl Course {
    /// Returns the hosts whose turns began, in the order of their leases. The order
    /// of their starts would say little, because hosts with leases at the same time
    /// start in any order.
    pub fn begun(&self) -> Vec<HostId> {
        self.turns.iter().filter(|passed| passed.started.is_some()).map(|passed| passed.host).collect()
    }

    fn turn(&mut self, now: Moment, turn: &Turn) {
        let open = self.turns.iter_mut().rfind(|passed| passed.host == turn.host && passed.ended.is_none());
        match (open, turn.is_in_flight()) {
            (None, true) => {
                self.turns.push(Passed { host: turn.host, leased: now, started: None, ended: None });
            }
            (Some(passed), true) => {
                if let Stage::Started { .. } = turn.stage {
                    passed.started.get_or_insert(now);
                }
            }
            (Some(passed), false) => passed.ended = Some(now),
            (None, false) => {}
        }
    }
}

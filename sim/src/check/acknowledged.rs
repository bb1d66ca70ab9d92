//! Nothing that was acknowledged is lost: a host that answers with Ok has it in
//! its own ledger, and in the end every host has it.

use std::collections::{BTreeMap, BTreeSet};

use proto::entry::Index;
use proto::id::{DeploymentId, GroupName, HostId};
use proto::io::{Accepted, Reply, Request};
use proto::state::{DEPLOYMENTS_KEPT, State};
use proto::statement::{Intent, Statement};

use super::{Claim, Line, Verdict, Violation};
use crate::host::HostNo;

#[derive(Debug, Default)]
pub struct Acknowledged {
    /// Each deployment with its group, as the host that answered knew it.
    deployments: BTreeMap<DeploymentId, Option<GroupName>>,
    stopped: BTreeSet<DeploymentId>,
    groups: BTreeSet<GroupName>,
    removed: BTreeSet<HostId>,
    /// The highest index of any host that answered, at the time of its answer.
    index: Index,
    /// For each acknowledged request, the host that answered.
    told: Vec<(HostNo, Request)>,
}

impl Acknowledged {
    /// Handles a reply. The host itself must know what it acknowledges, but
    /// perhaps not yet what others have acknowledged.
    pub fn replied(&mut self, host: HostNo, request: &Request, reply: &Reply, state: &State) -> Verdict {
        let Ok(accepted) = reply else { return Ok(()) };
        let own = Acknowledged::of(accepted, request, state);
        if let Request::Intent(Intent::DeleteGroup(name)) = request {
            self.groups.remove(name);
            self.deployments.retain(|_, group| group.as_ref() != Some(name));
        }
        self.told.push((host, request.clone()));
        let verdict = own.kept(host, state);
        self.index = self.index.max(own.index);
        self.deployments.extend(own.deployments);
        self.stopped.extend(own.stopped);
        self.groups.extend(own.groups);
        self.removed.extend(own.removed);
        verdict
    }

    fn of(accepted: &Accepted, request: &Request, state: &State) -> Self {
        let mut own = Acknowledged { index: state.index(), ..Acknowledged::default() };
        match (accepted, request) {
            (Accepted::Deployment(id), _) => {
                let group = state.rollout(*id).map(|rollout| rollout.submission.group.clone());
                own.deployments.insert(*id, group);
            }
            (Accepted::Done, Request::Intent(Intent::SetGroup(group))) => {
                own.groups.insert(group.name.clone());
            }
            (Accepted::Done, Request::Intent(Intent::Stop { deployment, .. })) => {
                own.stopped.insert(*deployment);
            }
            (Accepted::Done, Request::Intent(Intent::RemoveHost(host))) => {
                own.removed.insert(*host);
            }
            (Accepted::Done, Request::Intent(_) | Request::Deploy(_) | Request::Rollback { .. })
            | (Accepted::Done, Request::Freeze { .. } | Request::Recover(_)) => {}
        }
        own
    }

    /// Checks that for everything acknowledged an entry was committed that does
    /// the same.
    pub fn committed(&self, lines: &BTreeMap<Index, Line>) -> Verdict {
        let says = |request: &Request| {
            let mut entries = lines.values().filter_map(|line| line.entry.as_ref());
            entries.any(|entry| is_asked_for(&entry.statement, request))
        };
        match self.told.iter().find(|(_, request)| !says(request)) {
            Some((host, request)) => {
                let what = format!("it says that {request:?} is done, and no entry does it");
                Err(Violation::new(Claim::Acknowledged, [*host], what))
            }
            None => Ok(()),
        }
    }

    /// Checks that this host's ledger has everything that was acknowledged so
    /// far.
    pub fn kept(&self, host: HostNo, state: &State) -> Verdict {
        let lost = |what: String| Err(Violation::new(Claim::Acknowledged, [host], what));
        if state.index() < self.index {
            return lost(format!("{host} has {} entries of {} acknowledged", state.index(), self.index));
        }
        if let Some(group) = self.groups.iter().find(|group| state.group(group).is_none()) {
            return lost(format!("{host} does not know group {group}"));
        }
        if let Some(removed) = self.removed.iter().find(|removed| state.removed(**removed).is_none()) {
            return lost(format!("{host} does not know that {removed:?} was taken out"));
        }
        let is_lost = |(id, group): &(&DeploymentId, &Option<GroupName>)| {
            state.rollout(**id).is_none() && group.as_ref().is_none_or(|group| keeps_all(state, group))
        };
        if let Some((id, _)) = self.deployments.iter().find(is_lost) {
            return lost(format!("{host} does not know deployment {id}"));
        }
        let goes_on =
            |id: &&DeploymentId| state.rollout(**id).is_some_and(|rollout| rollout.verdict.is_none());
        match self.stopped.iter().find(goes_on) {
            Some(id) => lost(format!("{host} goes on with {id}, which was stopped")),
            None => Ok(()),
        }
    }
}

/// Returns true if the entry does what was requested. (Deployments are not
/// compared here: they are looked up by their ids.)
fn is_asked_for(statement: &Statement, request: &Request) -> bool {
    let Statement::Intent(intent) = statement else { return false };
    match request {
        Request::Intent(asked) => intent == asked,
        Request::Deploy(_) | Request::Rollback { .. } => true,
        Request::Freeze { group: asked, .. } => {
            matches!(intent, Intent::Freeze { group, .. } if group == asked)
        }
        Request::Recover(asked) => matches!(intent, Intent::Recover(signed) if signed == asked),
    }
}

/// Returns true if the group still has all of its deployments. The ledger drops
/// the oldest of many, and all deployments of a deleted group.
fn keeps_all(state: &State, group: &GroupName) -> bool {
    state.group(group).is_some_and(|group| group.deployments.len() < DEPLOYMENTS_KEPT)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing;

    const A: HostNo = HostNo(0);

    fn state(entries: usize) -> State {
        let mut state = State::default();
        for (index, entry) in (1..).zip(testing::deployed_to(2).iter().take(entries)) {
            assert_eq!(state.apply(index, entry), Ok(()));
        }
        state
    }

    #[test]
    fn a_lost_deployment_is_found() {
        let mut acknowledged = Acknowledged::default();
        let whole = state(usize::MAX);
        let id = *whole.rollouts().first_key_value().expect("one").0;
        let request =
            Request::Intent(Intent::Stop { deployment: id, rollback: false, now: false, by: String::new() });
        let reply = Ok(Accepted::Deployment(id));
        assert_eq!(acknowledged.replied(A, &request, &reply, &whole), Ok(()));
        let violation = acknowledged.kept(A, &state(3)).expect_err("it is lost");
        assert_eq!(violation.claim, Claim::Acknowledged);
    }

    #[test]
    fn an_answer_that_comes_before_the_entry_is_found() {
        let id = DeploymentId::derive(b"never committed");
        let request =
            Request::Intent(Intent::Stop { deployment: id, rollback: false, now: false, by: String::new() });
        let verdict = Acknowledged::default().replied(A, &request, &Ok(Accepted::Deployment(id)), &state(3));
        assert!(verdict.is_err());
    }

    #[test]
    fn an_answer_for_which_no_entry_was_committed_is_found() {
        let mut acknowledged = Acknowledged::default();
        let host = testing::host(1).record.host;
        acknowledged.told.push((A, Request::Intent(Intent::RemoveHost(host))));
        let mut lines = BTreeMap::new();
        let violation = acknowledged.committed(&lines).expect_err("no entry says so");
        assert_eq!((violation.claim, violation.hosts), (Claim::Acknowledged, vec![A]));
        let entry = Some(testing::entry(9_000, Intent::RemoveHost(host)));
        lines.insert(7, Line { hash: [0; 32], entry, first: A });
        assert_eq!(acknowledged.committed(&lines), Ok(()));
    }

    #[test]
    fn a_stop_that_does_not_stop_is_found() {
        let mut acknowledged = Acknowledged::default();
        let whole = state(usize::MAX);
        let id = *whole.rollouts().first_key_value().expect("one").0;
        let request =
            Request::Intent(Intent::Stop { deployment: id, rollback: false, now: false, by: String::new() });
        assert!(acknowledged.replied(A, &request, &Ok(Accepted::Done), &whole).is_err());
    }
}

//! A host that was removed from the mesh gets no further turn, stops voting
//! once it knows that it is not needed, and never comes back.

use std::collections::{BTreeMap, BTreeSet};

use proto::entry::Entry;
use proto::id::HostId;
use proto::io::{Reply, Request};
use proto::node::Node;
use proto::statement::{Intent, Report, Statement};

use super::{Claim, Verdict, Violation};
use crate::host::HostNo;
use crate::model::{Model, Stage};

#[derive(Debug, Default)]
pub struct Removal {
    /// Hosts that knew that they were removed, and had stopped voting.
    retired: BTreeSet<HostNo>,
}

impl Removal {
    /// Checks a committed entry that the model has folded.
    pub fn entry(&self, entry: &Entry, model: &Model, numbers: &BTreeMap<HostId, HostNo>) -> Verdict {
        let number = |host: &HostId| numbers.get(host).copied().into_iter().collect::<Vec<_>>();
        if let Some(back) = model.removed().iter().find(|host| model.hosts().contains_key(host)) {
            return violated(number(back), "it was taken out of the mesh, and is in it");
        }
        let Statement::Report(Report::TurnStarted { deployment, host }) = &entry.statement else {
            return Ok(());
        };
        let turns = model.deployment(*deployment).map(|deployment| &deployment.turns);
        let turn = turns.and_then(|turns| turns.iter().find(|turn| turn.host == *host));
        match turn.map(|turn| &turn.stage) {
            Some(Stage::Started { .. }) if model.removed().contains(host) => {
                violated(number(host), "it was taken out of the mesh, and a turn of it has started")
            }
            Some(_) | None => Ok(()),
        }
    }

    /// Checks a node that has processed an input.
    pub fn sees(&mut self, host: HostNo, node: &Node) -> Verdict {
        let Some(_) = node.removed() else { return Ok(()) };
        if !node.is_needed() {
            self.retired.insert(host);
        }
        if self.retired.contains(&host) && (node.is_needed() || node.is_voting()) {
            return violated(vec![host], "it knew that it was taken out and not needed, and votes again");
        }
        Ok(())
    }

    /// Forgets that the host had retired: after its next start it may have to
    /// learn that again.
    pub fn host_down(&mut self, host: HostNo) {
        self.retired.remove(&host);
    }

    /// Checks that the host of an event does not know that it was removed.
    pub fn event_begins(host: HostNo, node: &Node) -> Verdict {
        match node.removed() {
            Some(_) => {
                violated(vec![host], "it knows that it was taken out of the mesh, and begins an event")
            }
            None => Ok(()),
        }
    }

    /// Checks a removal that was acknowledged, because its reader may now switch
    /// the host off.
    pub fn replied(host: HostNo, request: &Request, reply: &Reply, node: &Node) -> Verdict {
        let (Request::Intent(Intent::RemoveHost(removed)), Ok(_)) = (request, reply) else { return Ok(()) };
        if node.mesh().voters.contains(removed) || node.state().removed(*removed).is_none() {
            return violated(vec![host], "it says that a host is out of the mesh, and counts on it");
        }
        Ok(())
    }
}

fn violated(hosts: Vec<HostNo>, what: &str) -> Verdict {
    Err(Violation::new(Claim::Removal, hosts, what))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing;
    use proto::id::DeploymentId;

    #[test]
    fn a_turn_of_a_host_that_was_taken_out_is_found() {
        let mut model = Model::default();
        testing::deployed_to(3).iter().for_each(|entry| model.apply(entry));
        let (deployment, host) = (model.unfinished()[0], testing::host(0).record.host);
        let numbers = BTreeMap::from([(host, HostNo(0))]);
        let check = |statement: Statement, model: &mut Model| {
            let entry = testing::entry(9_000, statement);
            model.apply(&entry);
            Removal::default().entry(&entry, model, &numbers)
        };
        assert_eq!(check(Report::TurnStarted { deployment, host }.into(), &mut model), Ok(()));
        assert_eq!(check(Intent::RemoveHost(host).into(), &mut model), Ok(()));
        // The model would not start such a turn, so the test starts it.
        let other = DeploymentId::derive(b"another");
        assert_eq!(check(Report::TurnStarted { deployment: other, host }.into(), &mut model), Ok(()));
        model.start_anew(deployment, host);
        let violation =
            check(Report::TurnStarted { deployment, host }.into(), &mut model).expect_err("it is out");
        assert_eq!((violation.claim, violation.hosts), (Claim::Removal, vec![HostNo(0)]));
    }
}

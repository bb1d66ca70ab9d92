//! Finds which hosts of a group are in service, and why each of the others is not.

use std::collections::BTreeSet;

use proto::id::{DeploymentId, HostId};
use proto::rollout::Member;
use proto::service::Service;
use proto::state::{GroupState, Host, State};
use serde::{Deserialize, Serialize};

use super::health_words::held_back;
use super::names::{Named, Names};
use super::written;

/// A host that is out of service for another reason than its turn.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct OutOfServiceView {
    #[serde(flatten)]
    pub(crate) who: Named,
    /// Down, Unknown (no reachable host hears it), Unhealthy (by
    /// the group's health check), or Failed (its last turn).
    pub(crate) why: String,
    /// The start of this state; `None` if it is not recorded.
    pub(crate) since: Option<String>,
    /// The reason why the check fails, and why the host may stay unhealthy although it passes again.
    pub(crate) message: Option<String>,
}

impl OutOfServiceView {
    /// Returns one line for people.
    pub(crate) fn line(&self) -> String {
        let since = self.since.as_ref().map(|since| format!(" since {since}")).unwrap_or_default();
        let message = self.message.as_ref().map(|message| format!(": {message}")).unwrap_or_default();
        match self.why.as_str() {
            "Failed" => format!("{}: its last turn did not succeed", self.who.label()),
            "Unknown" => format!("{} is Unknown{message}", self.who.label()),
            why => {
                format!(
                    "{} is {}{since}{message}",
                    self.who.label(),
                    if why == "Down" { why } else { "unhealthy" }
                )
            }
        }
    }
}

/// Counts the group's hosts in service. Hosts that no reachable host hears
/// do not count: the ledger's last record of them may be long out of date.
pub(super) fn in_service(
    state: &State,
    known: &GroupState,
    hosts: &[&Host],
    unheard: &BTreeSet<HostId>,
) -> usize {
    let in_service = state.in_service(known);
    let is_counted = |host: &&&Host| !is_unknown(host, unheard) && in_service.condition(host).serves();
    hosts.iter().filter(is_counted).count()
}

/// Returns true if the host's state is unknown: the ledger
/// does not say Down, but no reachable host hears it.
pub(super) fn is_unknown(host: &Host, unheard: &BTreeSet<HostId>) -> bool {
    host.down.is_none() && unheard.contains(&host.record.host)
}

/// Returns the deployment in which the host's turn runs: the group's deployment or its catch-up.
pub(super) fn in_turn(state: &State, known: &GroupState, host: HostId) -> Option<DeploymentId> {
    let is_its_turn = |id: &DeploymentId| {
        let member = state.rollout(*id).and_then(|rollout| rollout.members().get(&host));
        member.is_some_and(Member::is_in_flight)
    };
    [known.running, known.catching_up].into_iter().flatten().find(is_its_turn)
}

/// Returns the members that are out of service. Leaves out hosts in their turn,
/// which their deployment shows, and hosts that never had one, which are only new.
pub(super) fn out_of_service(
    names: &Names<'_>,
    known: &GroupState,
    members: &[&Host],
) -> Vec<OutOfServiceView> {
    members.iter().filter_map(|host| why_not(names, known, host)).collect()
}

fn why_not(names: &Names<'_>, known: &GroupState, host: &Host) -> Option<OutOfServiceView> {
    let (state, id) = (names.state, host.record.host);
    let (why, since, message) = if let Some(since) = host.down {
        let remove = format!("if it is gone for good: skein mesh remove {}", names.word(id));
        ("Down", Some(since), Some(remove))
    } else if names.unheard.contains(&id) {
        ("Unknown", None, Some("neither this host nor any host in its reach hears it".into()))
    } else if let Some(ailing) = state.checks().ailing(&known.group.name, id) {
        let held = held_back(state, known, id).map(|held| format!("; {held}")).unwrap_or_default();
        ("Unhealthy", Some(ailing.since), Some(format!("{}{held}", ailing.error)))
    } else {
        match state.in_service(known).condition(host).service() {
            Service::Serving | Service::InTurn | Service::Unknown => return None,
            Service::Unhealthy | Service::Down => ("Failed", None, None),
        }
    };
    Some(OutOfServiceView { who: names.named(id), why: why.into(), since: since.map(written), message })
}

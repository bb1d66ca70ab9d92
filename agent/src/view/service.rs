//! Finds which hosts of a group are in service, and why each of the others is not.

use std::collections::BTreeSet;

use proto::id::{DeploymentId, HostId};
use proto::rollout::{Health, Member};
use proto::state::{GroupState, Host, State};
use serde::{Deserialize, Serialize};

use super::health::held_back;
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
    let is_counted = |host: &&&Host| !is_unknown(host, unheard) && is_in_service(state, known, host);
    hosts.iter().filter(is_counted).count()
}

/// Returns true if the host's state is unknown: the ledger
/// does not say Down, but no reachable host hears it.
pub(super) fn is_unknown(host: &Host, unheard: &BTreeSet<HostId>) -> bool {
    host.down.is_none() && unheard.contains(&host.record.host)
}

/// Returns true if the host is up, its last turn succeeded, its check passes, and no turn of it runs.
fn is_in_service(state: &State, known: &GroupState, host: &Host) -> bool {
    let standing = known.standing.get(&host.record.host);
    host.down.is_none()
        && known.ailing(host.record.host).is_none()
        && standing.is_some_and(|standing| standing.health == Health::Healthy)
        && in_turn(state, known, host.record.host).is_none()
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
    } else if let Some(ailing) = known.ailing(id) {
        let held = held_back(state, known, id).map(|held| format!("; {held}")).unwrap_or_default();
        ("Unhealthy", Some(ailing.since), Some(format!("{}{held}", ailing.error)))
    } else if known.standing.get(&id)?.health == Health::Healthy || in_turn(state, known, id).is_some() {
        return None;
    } else {
        ("Failed", None, None)
    };
    Some(OutOfServiceView { who: names.named(id), why: why.into(), since: since.map(written), message })
}

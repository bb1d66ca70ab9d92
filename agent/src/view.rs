//! The JSON that users and their scripts read. Pure functions build
//! it from the node's state, and the command line parses it again.
//!
//! The keys are a contract: new ones may be added, but none may change. Status words are CodeDeploy's.
//! Every reason and every blocker has a code, numbers, and a sentence made of those numbers.

mod aftermath;
mod behind;
mod config_view;
mod counts;
pub(crate) mod deployment_view;
mod freshness;
mod health_words;
mod history_line;
mod mesh_view;
pub(crate) mod names;
pub(crate) mod plan_view;
mod recovery_view;
mod service;
mod watch_views;
mod why;

use std::collections::BTreeMap;
use std::time::{Duration, UNIX_EPOCH};

use proto::id::HostId;
use proto::state::State;
use proto::time::LedgerTime;
use serde::{Deserialize, Serialize};

pub(crate) use aftermath::STILL_THERE;
pub(crate) use behind::{BehindView, NoRevision, find_revision};
pub(crate) use config_view::{ConfigView, config, configs};
pub(crate) use counts::{AgentCounts, GroupCounts, counts};
pub(crate) use deployment_view::{DeploymentView, TurnView, WaveView, deployment, deployments, waiting_for};
pub(crate) use freshness::{Dated, Freshness};
pub(crate) use history_line::{HistoryLine, HistoryView, diverged, history, history_line, progress};
pub(crate) use mesh_view::{
    GroupView, HostView, MeshCounts, StatusView, clock_off, group, groups, hosts, name_of, status,
};
pub(crate) use plan_view::{PlanView, Planned, SecondsView};
pub(crate) use recovery_view::{OutOfReachView, RecoveryView, recovery};
pub(crate) use service::OutOfServiceView;
pub(crate) use watch_views::{AlarmView, FailingView, FreezeView, StoppedByView, TriggerView, alarms};

/// The reason why something is as it is: a code for scripts, numbers, and a message for people.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Why {
    pub(crate) code: String,
    pub(crate) message: String,
    pub(crate) numbers: BTreeMap<String, u64>,
}

/// Formats a time as RFC 3339 in UTC, with milliseconds.
pub(crate) fn written(at: LedgerTime) -> String {
    /// The end of the year 9999, the latest time that can be written.
    const LATEST: u64 = 253_402_300_799_999;
    let since_epoch = Duration::from_millis(at.as_millis().min(LATEST));
    humantime::format_rfc3339_millis(UNIX_EPOCH + since_epoch).to_string()
}

/// Finds the host that a user means by its id or the end of it, by its label,
/// or by its name if only one host has it. Also finds hosts that were removed
/// from the mesh. Otherwise returns the hosts that the text could mean.
pub(crate) fn find_host(state: &State, text: &str) -> Result<HostId, Vec<HostId>> {
    if let Ok(host) = text.parse() {
        return Ok(host);
    }
    let is_meant = |name: &str, host| {
        let rest = text.strip_prefix(name);
        rest.is_some_and(|rest| rest.is_empty() || names::label(name, host) == text)
    };
    let named = state.hosts().values().map(|host| &host.record);
    let named: Vec<HostId> =
        named.filter(|record| is_meant(&record.name, record.host)).map(|record| record.host).collect();
    let removed = state.all_removed().iter().filter(|(host, removed)| is_meant(&removed.name, **host));
    let removed: Vec<HostId> = removed.map(|(host, _)| *host).collect();
    match (&named[..], &removed[..]) {
        ([host], _) | ([], [host]) => Ok(*host),
        ([], []) => {
            let ids = state.hosts().keys().chain(state.all_removed().keys());
            let ending: Vec<HostId> = ids.filter(|host| host.short() == text).copied().collect();
            if let [host] = ending[..] { Ok(host) } else { Err(ending) }
        }
        ([..], _) => Err(named),
    }
}

#[cfg(test)]
mod tests;

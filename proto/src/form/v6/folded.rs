//! The folded state. A child of `state`, whose private fields it reads.

use super::form_v4::{Deadlines, Deferral, GroupState, Host, Proposer, Recovered, Removed, Taken};
use super::form_v5::Short;
use crate::form::v4::groups::DeploymentConfig;
use crate::form::written::form;
use crate::id::{ConfigName, DeploymentId, GroupName, HostId};
use crate::rollout::form_v4::Rollout;
use crate::time::LedgerTime;

form! {
    struct State = super::flat::FlatState<'_> {
        index: u64,
        clock: LedgerTime,
        hosts: Vec<(HostId, Host)>,
        groups: Vec<(GroupName, GroupState)>,
        rollouts: Vec<(DeploymentId, Rollout)>,
        timers: Deadlines,
        hosts_changed_at: u64,
        configs: Vec<(ConfigName, DeploymentConfig)>,
        removed: Vec<(HostId, Removed)>,
        proposers: Vec<(HostId, Proposer)>,
        deferrals: Vec<((DeploymentId, HostId), Deferral)>,
        taken: Taken,
        recoveries: Vec<Recovered>,
        shortages: Vec<((DeploymentId, HostId), Short)>,
        version: u16,
    }
}

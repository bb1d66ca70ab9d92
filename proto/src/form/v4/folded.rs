//! The folded state. A child of `state`, whose private fields it reads.

use crate::form::v4::bodies::HostRecord;
use crate::form::v4::groups::{DeploymentConfig, Group};
use crate::form::v4::values::{AlarmState, GivenUp, Revision, TriggerEvent};
use crate::form::written::form;
use crate::id::{ConfigName, DeploymentId, Digest, GroupName, HostId, VoterId};
use crate::rollout::form_v4::{Rollout, Roster, Standing};
use crate::time::LedgerTime;

form! {
    struct Host = super::Host {
        record: HostRecord,
        down: Option<LedgerTime>,
        joined_at: LedgerTime,
        store_since: LedgerTime,
        starts: Vec<u64>,
        twin: Option<Twin>,
    }

    struct Twin = super::Twin {
        addresses: Vec<String>,
        since: LedgerTime,
    }

    struct Removed = super::Removed {
        name: String,
        at: LedgerTime,
        voter: VoterId,
        addresses: Vec<String>,
    }

    struct Good = super::Good {
        revision: Revision,
        deployment: DeploymentId,
        at: LedgerTime,
    }

    struct Ailing = super::Ailing {
        since: LedgerTime,
        error: String,
    }

    struct Checked = super::Checked {
        ailing: Option<Ailing>,
        well_since: Option<LedgerTime>,
        changed_at: u64,
        unwell_at: Vec<LedgerTime>,
    }

    enum Cause = super::Cause {
        Joined,
        Returned,
        Replaced,
        Missed,
        Failed,
        NotRolledBack,
    }

    struct Tried = super::Tried {
        revision: Digest,
        attempts: u8,
        deployment: DeploymentId,
    }

    struct Behind = super::Behind {
        cause: Cause,
        since: LedgerTime,
        tried: Option<Tried>,
    }

    struct AlarmStanding = crate::alarm::AlarmStanding {
        state: AlarmState,
        since: LedgerTime,
        detail: String,
        read_in: Option<DeploymentId>,
    }

    struct Freeze = super::Freeze {
        until: LedgerTime,
        since: LedgerTime,
        reason: String,
        by: String,
    }

    struct Cursor = crate::trigger::Cursor {
        up_to: u64,
        given_up: u64,
        dropped: u64,
        last_given_up: Vec<GivenUp>,
    }

    struct Happening = crate::trigger::Happening {
        number: u64,
        index: u64,
        at: LedgerTime,
        event: TriggerEvent,
        deployment: DeploymentId,
        host: Option<HostId>,
    }

    struct GroupState = super::flat::FlatGroup<'_> {
        group: Group,
        standing: Vec<(HostId, Standing)>,
        running: Option<DeploymentId>,
        queued: Option<DeploymentId>,
        owes_rollback_of: Option<DeploymentId>,
        good: Vec<Good>,
        deployments: Vec<DeploymentId>,
        catching_up: Option<DeploymentId>,
        catch_ups: u64,
        behind: Vec<(HostId, Behind)>,
        checks: Vec<(HostId, Checked)>,
        alarms: Vec<(String, AlarmStanding)>,
        freeze: Option<Freeze>,
        cursors: Vec<(String, Cursor)>,
        roster: Roster,
        happenings: Vec<Happening>,
        last_happening: u64,
    }

    struct Proposer = super::repeats::Proposer {
        last: u64,
        starts: Vec<Start>,
    }

    struct Start = super::repeats::Start {
        name: (u64, u32),
        newest: u32,
        seen: u128,
    }

    struct Deferral = super::Deferral {
        leased: LedgerTime,
        since: LedgerTime,
        at: LedgerTime,
        suspects: Vec<HostId>,
    }

    struct Taken = super::hosts::Taken {
        by: Vec<(VoterId, HostId)>,
        retired: Vec<(VoterId, HostId)>,
    }

    struct Recovered = super::Recovered {
        epoch: u64,
        index: u64,
        at: LedgerTime,
        by: String,
        host: HostId,
        gone: Vec<HostId>,
        id: [u8; 32],
    }

    enum Timer = super::Timer {
        Start(deployment: DeploymentId, host: HostId),
        Lost(deployment: DeploymentId, host: HostId),
        Turn(deployment: DeploymentId, host: HostId),
        Deployment(it: DeploymentId),
        Relapsed(deployment: DeploymentId, host: HostId),
        Bake(it: DeploymentId),
        Thaw,
        Forget(it: HostId),
    }

    struct Deadlines = crate::deadlines::Deadlines<super::Timer, LedgerTime> {
        at: Vec<(Timer, LedgerTime)>,
        order: Vec<(LedgerTime, Timer)>,
    }

    struct State without shortages, version = super::flat::FlatState<'_> {
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
    }
}

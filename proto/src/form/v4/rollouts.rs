//! Deployments as they are folded. A child of `rollout`, whose private fields it reads.

use std::time::Duration;

use crate::form::v4::bodies::Submission;
use crate::form::v4::values::{ErrorCode, LifecycleEvent, StoppedBy, TurnOutcome};
use crate::form::written::form;
use crate::id::{DeploymentId, Digest, HostId};
use crate::time::LedgerTime;

form! {
    enum Health = super::Health {
        Healthy,
        Unhealthy,
    }

    enum Installed = super::Installed {
        Unknown,
        Old,
        Current,
    }

    struct Standing = super::Standing {
        health: Health,
        revision: Option<Digest>,
    }

    enum Stage = super::Stage {
        NotTargeted,
        Pending,
        Leased { at: LedgerTime },
        Started { at: LedgerTime },
        Ended { started: Option<LedgerTime>, at: LedgerTime, outcome: TurnOutcome },
        Skipped,
    }

    struct Member = super::Member {
        stage: Stage,
        health: Health,
        installed: Installed,
        down: Option<LedgerTime>,
        position: u32,
        ailing: Option<LedgerTime>,
        wave: u32,
        zone: u32,
        attempt: u8,
        interrupted: Option<LifecycleEvent>,
        gone: bool,
    }

    struct Counts = super::Counts {
        available: u32,
        healthy: u32,
        hopeful: u32,
        in_flight: u32,
        down: u32,
        pending_available: u32,
        pending: u32,
        succeeded: u32,
        failed: u32,
        skipped: u32,
        ailing: u32,
        relapsed: u32,
        gone: u32,
    }

    struct Bounds = crate::policy::Bounds {
        minimum: u32,
        turns_max: u32,
    }

    enum WaveKind = super::WaveKind {
        Rest,
        Canary,
        Zone(it: String),
    }

    struct Wave = super::Wave {
        kind: WaveKind,
        bake: Duration,
        counts: Counts,
        ended_unhealthy: u32,
        unsure: u32,
    }

    struct Waves = super::wave::Waves {
        list: Vec<Wave>,
        current: u32,
        bake_until: Option<LedgerTime>,
        is_baked: bool,
    }

    struct Zone = super::Zone {
        name: String,
        total: u32,
        minimum: u32,
        turns_max: u32,
        counts: Counts,
    }

    struct AlarmGate = super::AlarmGate {
        unread: u32,
        total: u32,
        is_active: bool,
    }

    enum DeploymentStatus = super::DeploymentStatus {
        Created,
        Queued,
        InProgress,
        Succeeded,
        Failed,
        Stopped,
        Baking,
    }

    enum ReasonCode = super::ReasonCode {
        HealthConstraints,
        HealthConstraintsInvalid,
        ManualStop,
        Timeout,
        NoInstances,
        Superseded,
        CatchUpFailed,
        CanaryFailed,
        AlarmActive,
    }

    struct ZoneReason = super::ZoneReason {
        name: String,
        healthy: u32,
        minimum: u32,
        total: u32,
    }

    struct Reason = super::Reason {
        code: ReasonCode,
        counts: Counts,
        minimum: u32,
        total: u32,
        zone: Option<ZoneReason>,
    }

    enum Verdict = super::Verdict {
        Succeeded,
        Failed(it: Reason),
        Stopped(it: Reason),
    }

    struct Roster(numbers: Vec<(HostId, u32)>) = super::Roster;

    struct Kind = super::past::Kind {
        wave: u32,
        started: bool,
        how: How,
    }

    enum How = super::past::How {
        NotTargeted,
        Skipped,
        Succeeded,
        Lost,
        Failed { event: Option<LifecycleEvent>, code: ErrorCode },
    }

    struct PastTurn = super::past::PastTurn {
        gap: u32,
        later: i64,
        took: u64,
    }

    struct Told = super::past::Told {
        script: String,
        message: String,
        log: String,
    }

    struct Past = super::past::Past {
        turns: Vec<(Kind, Vec<PastTurn>)>,
        told: Vec<(HostId, Told)>,
        anew: Vec<(HostId, LifecycleEvent)>,
    }

    struct Rollout = super::Rollout {
        submission: Submission,
        created_at: LedgerTime,
        started_at: Option<LedgerTime>,
        finished_at: Option<LedgerTime>,
        bounds: Bounds,
        verdict: Option<Verdict>,
        rolled_back_by: Option<DeploymentId>,
        rollback_asked: bool,
        lowest_available: u32,
        status: DeploymentStatus,
        members: Vec<(HostId, Member)>,
        past: Option<Past>,
        counts: Counts,
        queue: Vec<(u32, u8, u32, HostId)>,
        waves: Waves,
        zones: Vec<Zone>,
        repairs: Vec<(bool, u32, u32, u32, HostId)>,
        unsatisfiable: Vec<u32>,
        stops_now: bool,
        alarms: AlarmGate,
        stopped_by: Option<StoppedBy>,
        stop_by: String,
    }
}

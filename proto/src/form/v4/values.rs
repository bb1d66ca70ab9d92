//! Small values that entries, records and frames share.

use crate::form::written::form;
use crate::id::{DeploymentId, Digest, HostId};
use crate::time::LedgerTime;
use crate::{alarm, entry, lifecycle, revision, trigger};

form! {
    enum Creator = entry::Creator {
        User,
        Rollback,
        Autoscale,
    }

    enum ErrorCode = entry::ErrorCode {
        Success,
        ScriptMissing,
        ScriptNotExecutable,
        ScriptTimedOut,
        ScriptFailed,
        UnknownError,
        OutputsLeftOpen,
        FailedAfterRestart,
        DidNotStart,
        HostLost,
        TurnTimedOut,
        Stopped,
        HealthCheckFailed,
        AgentStopped,
    }

    enum LifecycleEvent = lifecycle::LifecycleEvent {
        BeforeBlockTraffic,
        BlockTraffic,
        AfterBlockTraffic,
        ApplicationStop,
        DownloadBundle,
        BeforeInstall,
        Install,
        AfterInstall,
        ApplicationStart,
        ValidateService,
        BeforeAllowTraffic,
        AllowTraffic,
        AfterAllowTraffic,
    }

    struct ProposalId = entry::ProposalId {
        host: HostId,
        incarnation: u64,
        number: u64,
    }

    struct Failure = entry::Failure {
        event: Option<LifecycleEvent>,
        code: ErrorCode,
        script: String,
        message: String,
        log: String,
    }

    enum TurnOutcome = entry::TurnOutcome {
        Succeeded,
        Failed(it: Failure),
    }

    struct Revision = revision::Revision {
        digest: Digest,
        size: u64,
        origin: String,
    }

    enum AlarmState = alarm::AlarmState {
        Ok,
        Active,
        Unreadable,
    }

    struct StoppedBy = alarm::StoppedBy {
        alarm: String,
        state: AlarmState,
        since: LedgerTime,
        detail: String,
    }

    enum TriggerEvent = trigger::TriggerEvent {
        DeploymentStart,
        DeploymentSuccess,
        DeploymentFailure,
        DeploymentStop,
        DeploymentRollback,
        DeploymentReady,
        InstanceStart,
        InstanceSuccess,
        InstanceFailure,
        InstanceReady,
    }

    struct GivenUp = trigger::GivenUp {
        number: u64,
        id: String,
        event: TriggerEvent,
        deployment: DeploymentId,
        why: String,
    }
}

//! Values that leave no field empty, so that each of their bytes means something.

use std::time::Duration;

use crate::alarm::{Alarm, AlarmSource, OnUnreadable};
use crate::entry::{Creator, ErrorCode, Failure, HostRecord, ProposalId, Submission};
use crate::group::{Group, Tag, TagFilter, TagSets};
use crate::health::{HealthCheck, Probe, Viewpoint};
use crate::id::{ConfigName, DeploymentId, Digest, GroupName, HostId, VoterId};
use crate::lifecycle::LifecycleEvent;
use crate::policy::{Canary, DeploymentConfig, FileExists, Minimum, Mode, Policy, RollbackOn, Share, Zonal};
use crate::recovery::{Recovery, RecoveryKey, SignedRecovery};
use crate::revision::Revision;
use crate::time::LedgerTime;
use crate::trigger::{GivenUp, Target, Trigger, TriggerEvent};

pub(super) fn host(number: u8) -> HostId {
    HostId::from_public_key([number; 32])
}

pub(super) fn deployment(number: u8) -> DeploymentId {
    DeploymentId::derive(&[number])
}

pub(super) fn at(millis: u64) -> LedgerTime {
    LedgerTime::from_millis(millis)
}

pub(super) fn group_name() -> GroupName {
    "web/prod".parse().expect("a name")
}

pub(super) fn config_name() -> ConfigName {
    "carefully".parse().expect("a name")
}

pub(super) fn proposal() -> ProposalId {
    ProposalId { host: host(1), incarnation: 2, number: 3 << 32 | 4 }
}

pub(super) fn record(number: u8) -> HostRecord {
    HostRecord {
        host: host(number),
        voter: VoterId(1_000 + u64::from(number)),
        name: format!("web-{number}"),
        tags: ["role=web", "stage=prod"].map(|tag| Tag::parse(tag).expect("a tag")).into(),
        zone: ["a", "b"][usize::from(number % 2)].into(),
        addresses: vec![format!("/ip4/10.0.0.{number}/tcp/4001")],
        incarnation: 1,
        wire: 4,
        replaces: String::new(),
        start: 70_000 + u64::from(number),
    }
}

pub(super) fn policy() -> Policy {
    Policy {
        minimum: Minimum::FleetPercent(25),
        file_exists: FileExists::Overwrite,
        ignore_application_stop_failures: true,
        rollback: RollbackOn { failure: true, alarm: false, stop: true },
        start_timeout: Duration::from_secs(300),
        lost_after: Duration::from_secs(600),
        turn_timeout: Duration::from_millis(3_600_500),
        deployment_timeout: Duration::from_secs(28_800),
        turns_max: Some(2),
        canary: Some(Canary { hosts: Share::Hosts(1), bake: Duration::from_secs(60) }),
        zonal: Some(Zonal {
            minimum: Share::Percent(10),
            bake: Duration::from_secs(30),
            first_bake: Some(Duration::from_secs(90)),
            order: vec!["b".into()],
        }),
        mode: Mode::Standard,
        outdated_only: false,
        ignore_alarms: false,
        ignore_freeze: false,
        attempts: 2,
        bake: Duration::from_secs(45),
        forget_down_after: Some(Duration::from_secs(86_400)),
    }
}

pub(super) fn config() -> DeploymentConfig {
    let Policy { minimum, turns_max, canary, zonal, .. } = policy();
    DeploymentConfig { name: config_name(), minimum, turns_max, canary, zonal }
}

pub(super) fn group() -> Group {
    let filters = ["role=web", "stage", "=prod"].map(|text| TagFilter::parse(text).expect("a filter"));
    let alarm = |name: &str, source, unreadable| Alarm {
        name: name.into(),
        source,
        every: Duration::from_secs(10),
        timeout: Duration::from_secs(5),
        unreadable,
    };
    let prometheus = AlarmSource::Prometheus { url: "http://prom:9090".into(), query: "up < 1".into() };
    Group {
        tags: TagSets(filters.map(|filter| vec![filter]).to_vec()),
        health: Some(HealthCheck {
            probe: Probe::Http("http://127.0.0.1:8080/health".into()),
            every: Duration::from_secs(10),
            timeout: Duration::from_secs(2),
            rise: 2,
            fall: 3,
            grace: Duration::from_secs(60),
            from: Viewpoint::Observers,
        }),
        config: Some(config_name()),
        alarms: vec![
            alarm("by-hand", AlarmSource::Manual, OnUnreadable::Stop),
            alarm("command", AlarmSource::Exec { command: "/bin/true".into() }, OnUnreadable::Ignore),
            alarm("prometheus", prometheus, OnUnreadable::Stop),
        ],
        triggers: vec![
            Trigger {
                name: "chat".into(),
                on: TriggerEvent::ALL.into(),
                target: Target::Webhook {
                    url: "https://chat/hook".into(),
                    secret_file: Some("/etc/skein/hook".into()),
                },
            },
            Trigger {
                name: "log".into(),
                on: [TriggerEvent::InstanceFailure].into(),
                target: Target::Exec { command: "/bin/log".into() },
            },
        ],
        ..Group::new(group_name(), TagSets(Vec::new()), policy())
    }
}

pub(super) fn revision(number: u8) -> Revision {
    Revision { digest: Digest([number; 32]), size: 70_000, origin: "s3://releases/web.tar".into() }
}

pub(super) fn submission(number: u8) -> Submission {
    Submission {
        deployment: deployment(number),
        group: group_name(),
        revision: revision(number),
        policy: policy(),
        creator: Creator::User,
        rollback_of: None,
        description: "release 1".into(),
        holders: vec![host(1), host(2)],
        queue: true,
        by: "ops".into(),
    }
}

pub(super) fn failure() -> Failure {
    Failure {
        event: Some(LifecycleEvent::ValidateService),
        code: ErrorCode::ScriptFailed,
        script: "scripts/validate.sh".into(),
        message: "exit code 1".into(),
        log: "no answer\n".into(),
    }
}

pub(super) fn given_up() -> GivenUp {
    GivenUp {
        number: 1,
        id: "e-00".into(),
        event: TriggerEvent::DeploymentStart,
        deployment: deployment(1),
        why: "status 500".into(),
    }
}

pub(super) fn signed_recovery() -> SignedRecovery {
    let key = RecoveryKey::from_secret(&[5; 32]);
    key.sign(Recovery {
        mesh: key.mesh(),
        epoch: 1,
        committed: 7,
        base: 9,
        hash: [9; 32],
        tail: vec![[8; 32], [9; 32]],
        host: host(1),
        voter: VoterId(77),
        gone: vec![host(2), host(3)],
        at: at(1_000_500),
        by: "ops".into(),
    })
}

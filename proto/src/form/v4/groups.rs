//! Groups and policies.

use std::time::Duration;

use serde::{Deserialize, Serializer};

use crate::form::v4::values::TriggerEvent;
use crate::form::written::{Formed, form};
use crate::group::Tag;
use crate::id::{ConfigName, GroupName};
use crate::{alarm, group, health, policy, trigger};

/// A percentage from 0 to 99.
#[derive(Deserialize)]
#[serde(try_from = "u8")]
pub(crate) struct Percent(u8);

impl TryFrom<u8> for Percent {
    type Error = &'static str;
    fn try_from(percent: u8) -> Result<Percent, &'static str> {
        if percent <= policy::PERCENT_MAX { Ok(Percent(percent)) } else { Err("a percentage above 99") }
    }
}

impl Formed<Percent> for u8 {
    fn write<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_u8(*self)
    }

    fn read(form: Percent) -> Self {
        form.0
    }
}

form! {
    enum FileExists = policy::FileExists {
        Disallow,
        Overwrite,
        Retain,
    }

    enum Mode = policy::Mode {
        Standard,
        Restart,
    }

    struct RollbackOn = policy::RollbackOn {
        failure: bool,
        alarm: bool,
        stop: bool,
    }

    enum Minimum = policy::Minimum {
        OneAtATime,
        HalfAtATime,
        AllAtOnce,
        HostCount(it: u32),
        FleetPercent(it: Percent),
    }

    enum Share = policy::Share {
        Hosts(it: u32),
        Percent(it: Percent),
    }

    struct Canary = policy::Canary {
        hosts: Share,
        bake: Duration,
    }

    struct Zonal = policy::Zonal {
        minimum: Share,
        bake: Duration,
        first_bake: Option<Duration>,
        order: Vec<String>,
    }

    struct Policy = policy::Policy {
        minimum: Minimum,
        file_exists: FileExists,
        ignore_application_stop_failures: bool,
        rollback: RollbackOn,
        start_timeout: Duration,
        lost_after: Duration,
        turn_timeout: Duration,
        deployment_timeout: Duration,
        turns_max: Option<u32>,
        canary: Option<Canary>,
        zonal: Option<Zonal>,
        mode: Mode,
        outdated_only: bool,
        ignore_alarms: bool,
        ignore_freeze: bool,
        attempts: u8,
        bake: Duration,
        forget_down_after: Option<Duration>,
    }

    struct DeploymentConfig = policy::DeploymentConfig {
        name: ConfigName,
        minimum: Minimum,
        turns_max: Option<u32>,
        canary: Option<Canary>,
        zonal: Option<Zonal>,
    }

    enum TagFilter = group::TagFilter {
        Both(it: Tag),
        Key(it: String),
        Value(it: String),
    }

    struct TagSets(sets: Vec<Vec<TagFilter>>) = group::TagSets;

    enum Probe = health::Probe {
        Http(it: String),
        Tcp(it: String),
        Exec(it: String),
    }

    enum Viewpoint = health::Viewpoint {
        Host,
        Observers,
    }

    struct HealthCheck = health::HealthCheck {
        probe: Probe,
        every: Duration,
        timeout: Duration,
        rise: u32,
        fall: u32,
        grace: Duration,
        from: Viewpoint,
    }

    enum AlarmSource = alarm::AlarmSource {
        Manual,
        Exec { command: String },
        Prometheus { url: String, query: String },
    }

    enum OnUnreadable = alarm::OnUnreadable {
        Stop,
        Ignore,
    }

    struct Alarm = alarm::Alarm {
        name: String,
        source: AlarmSource,
        every: Duration,
        timeout: Duration,
        unreadable: OnUnreadable,
    }

    enum Target = trigger::Target {
        Webhook { url: String, secret_file: Option<String> },
        Exec { command: String },
    }

    struct Trigger = trigger::Trigger {
        name: String,
        on: Vec<TriggerEvent>,
        target: Target,
    }

    struct Group = group::Group {
        name: GroupName,
        tags: TagSets,
        policy: Policy,
        health: Option<HealthCheck>,
        config: Option<ConfigName>,
        alarms: Vec<Alarm>,
        triggers: Vec<Trigger>,
    }
}

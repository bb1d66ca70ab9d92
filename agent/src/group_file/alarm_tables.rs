//! The sections `[[alarm]]` and `[[trigger]]` of a group file.

use std::time::Duration;

use proto::alarm::{Alarm, AlarmSource, EVERY, OnUnreadable, TIMEOUT};
use proto::trigger::{Target, Trigger, TriggerEvent};
use serde::{Deserialize, Serialize};

use super::GroupFileError;
use super::sections::{put_duration, with_unit};

/// An alarm as typed. With neither `exec` nor `prometheus` it is set by hand.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(super) struct AlarmSection {
    name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    exec: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    prometheus: Option<PrometheusSection>,
    #[serde(default, deserialize_with = "with_unit", skip_serializing_if = "Option::is_none")]
    every: Option<String>,
    #[serde(default, deserialize_with = "with_unit", skip_serializing_if = "Option::is_none")]
    timeout: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    unreadable: Option<UnreadableWord>,
}

#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct PrometheusSection {
    url: String,
    query: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
enum UnreadableWord {
    Stop,
    Ignore,
}

/// A trigger as typed.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(super) struct TriggerSection {
    name: String,
    on: Vec<EventWord>,
    #[serde(skip_serializing_if = "Option::is_none")]
    exec: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    webhook: Option<WebhookSection>,
}

#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct WebhookSection {
    url: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    secret_file: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
enum EventWord {
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

impl AlarmSection {
    pub(super) fn alarm(&self) -> Result<Alarm, GroupFileError> {
        let wrong =
            |problem: &str| GroupFileError::Alarm { name: self.name.clone(), problem: problem.into() };
        let source = match (&self.exec, &self.prometheus) {
            (None, None) => AlarmSource::Manual,
            (Some(command), None) => AlarmSource::Exec { command: command.clone() },
            (None, Some(PrometheusSection { url, query })) => {
                check_url(url).map_err(|problem| wrong(&problem))?;
                AlarmSource::Prometheus { url: url.clone(), query: query.clone() }
            }
            (Some(_), Some(_)) => return Err(wrong("exec and prometheus both say how to read it: keep one")),
        };
        let is_read = source != AlarmSource::Manual;
        if !is_read && (self.every.is_some() || self.timeout.is_some() || self.unreadable.is_some()) {
            return Err(wrong(
                "it is set by hand, so every, timeout and unreadable mean nothing: remove them",
            ));
        }
        let (mut every, mut timeout) = (EVERY, TIMEOUT);
        put_duration("every", self.every.as_deref(), &mut every)?;
        put_duration("timeout", self.timeout.as_deref(), &mut timeout)?;
        let unreadable = match self.unreadable {
            Some(UnreadableWord::Stop) | None => OnUnreadable::Stop,
            Some(UnreadableWord::Ignore) => OnUnreadable::Ignore,
        };
        Ok(Alarm { name: self.name.clone(), source, every, timeout, unreadable })
    }

    /// Converts an alarm, with every setting written out.
    pub(super) fn of(alarm: &Alarm) -> Self {
        let (exec, prometheus) = match &alarm.source {
            AlarmSource::Manual => (None, None),
            AlarmSource::Exec { command } => (Some(command.clone()), None),
            AlarmSource::Prometheus { url, query } => {
                (None, Some(PrometheusSection { url: url.clone(), query: query.clone() }))
            }
        };
        let written =
            |duration: Duration| alarm.is_read().then(|| humantime::format_duration(duration).to_string());
        let unreadable = match alarm.unreadable {
            OnUnreadable::Stop => UnreadableWord::Stop,
            OnUnreadable::Ignore => UnreadableWord::Ignore,
        };
        AlarmSection {
            name: alarm.name.clone(),
            exec,
            prometheus,
            every: written(alarm.every),
            timeout: written(alarm.timeout),
            unreadable: alarm.is_read().then_some(unreadable),
        }
    }
}

impl TriggerSection {
    pub(super) fn trigger(&self) -> Result<Trigger, GroupFileError> {
        let wrong = |problem: String| GroupFileError::Trigger { name: self.name.clone(), problem };
        let target = match (&self.exec, &self.webhook) {
            (Some(command), None) => Target::Exec { command: command.clone() },
            (None, Some(WebhookSection { url, secret_file })) => {
                check_url(url).map_err(wrong)?;
                if let Some(file) = secret_file.as_ref().filter(|file| !file.starts_with('/')) {
                    return Err(wrong(format!("secret_file = `{file}` is not an absolute path")));
                }
                Target::Webhook { url: url.clone(), secret_file: secret_file.clone() }
            }
            (Some(_), Some(_)) => {
                return Err(wrong("exec and webhook both say whom to tell: keep one".into()));
            }
            (None, None) => {
                let say = "say whom to tell: webhook = { url = \"https://…\" } or exec = \"…\"";
                return Err(wrong(say.into()));
            }
        };
        let on = self.on.iter().map(|word| word.meaning()).collect();
        Ok(Trigger { name: self.name.clone(), on, target })
    }

    pub(super) fn of(trigger: &Trigger) -> Self {
        let (exec, webhook) = match &trigger.target {
            Target::Exec { command } => (Some(command.clone()), None),
            Target::Webhook { url, secret_file } => {
                (None, Some(WebhookSection { url: url.clone(), secret_file: secret_file.clone() }))
            }
        };
        let on = trigger.on.iter().map(|event| EventWord::of(*event)).collect();
        TriggerSection { name: trigger.name.clone(), on, exec, webhook }
    }
}

impl EventWord {
    fn meaning(self) -> TriggerEvent {
        match self {
            EventWord::DeploymentStart => TriggerEvent::DeploymentStart,
            EventWord::DeploymentSuccess => TriggerEvent::DeploymentSuccess,
            EventWord::DeploymentFailure => TriggerEvent::DeploymentFailure,
            EventWord::DeploymentStop => TriggerEvent::DeploymentStop,
            EventWord::DeploymentRollback => TriggerEvent::DeploymentRollback,
            EventWord::DeploymentReady => TriggerEvent::DeploymentReady,
            EventWord::InstanceStart => TriggerEvent::InstanceStart,
            EventWord::InstanceSuccess => TriggerEvent::InstanceSuccess,
            EventWord::InstanceFailure => TriggerEvent::InstanceFailure,
            EventWord::InstanceReady => TriggerEvent::InstanceReady,
        }
    }

    fn of(event: TriggerEvent) -> Self {
        match event {
            TriggerEvent::DeploymentStart => EventWord::DeploymentStart,
            TriggerEvent::DeploymentSuccess => EventWord::DeploymentSuccess,
            TriggerEvent::DeploymentFailure => EventWord::DeploymentFailure,
            TriggerEvent::DeploymentStop => EventWord::DeploymentStop,
            TriggerEvent::DeploymentRollback => EventWord::DeploymentRollback,
            TriggerEvent::DeploymentReady => EventWord::DeploymentReady,
            TriggerEvent::InstanceStart => EventWord::InstanceStart,
            TriggerEvent::InstanceSuccess => EventWord::InstanceSuccess,
            TriggerEvent::InstanceFailure => EventWord::InstanceFailure,
            TriggerEvent::InstanceReady => EventWord::InstanceReady,
        }
    }
}

fn check_url(text: &str) -> Result<(), String> {
    let refused = || format!("url = `{text}` is not an http:// or https:// address");
    let url = reqwest::Url::parse(text).map_err(|_| refused())?;
    match url.scheme() {
        "http" | "https" => Ok(()),
        _ => Err(refused()),
    }
}

//! Reads an alarm from this host: runs a command, or queries Prometheus.
//!
//! Nothing is decided here: how often to read, on which host, and what a state
//! means for a deployment is decided in `proto`.

mod prometheus;

use proto::alarm::{Alarm, AlarmSource, AlarmState, Reading};
use proto::id::{DeploymentId, GroupName};
use tokio_util::sync::CancellationToken;

use crate::exec::{self, Ended, Exec};

/// An alarm to read, and the deployment that it is for.
#[derive(Clone, Debug)]
pub(crate) struct ToRead {
    pub(crate) group: GroupName,
    pub(crate) deployment: DeploymentId,
    pub(crate) alarm: Alarm,
}

/// Reads it once, within its timeout.
pub(crate) async fn read(http: &reqwest::Client, to_read: ToRead, cancel: CancellationToken) -> Reading {
    let ToRead { group, deployment, alarm } = &to_read;
    match &alarm.source {
        // The node does not ask for alarms that are set by hand.
        AlarmSource::Manual => Reading::new(AlarmState::Unreadable, "it is set by hand"),
        AlarmSource::Exec { command } => {
            let environment = vec![
                ("APPLICATION_NAME", group.application().to_string()),
                ("DEPLOYMENT_GROUP_NAME", group.group().to_string()),
                ("DEPLOYMENT_ID", deployment.to_string()),
                ("ALARM_NAME", alarm.name.clone()),
            ];
            let exec = Exec { command, environment, stdin: Vec::new(), timeout: alarm.timeout };
            match exec::run(exec, &cancel).await {
                Ok(ended) => of_exit(&ended),
                Err(error) => Reading::new(AlarmState::Unreadable, &error.to_string()),
            }
        }
        AlarmSource::Prometheus { url, query } => {
            let asked = prometheus::ask(http, url, query, alarm.timeout);
            tokio::select! {
                reading = asked => reading,
                () = cancel.cancelled() => Reading::new(AlarmState::Unreadable, "no longer needed"),
            }
        }
    }
}

fn of_exit(ended: &Ended) -> Reading {
    let Ended { code, said } = ended;
    match code {
        Some(0) => Reading::new(AlarmState::Ok, said),
        Some(1) => Reading::new(AlarmState::Active, said),
        Some(code) => {
            let detail = format!("exit code {code}, neither 0 (well) nor 1 (alarm): {said}");
            Reading::new(AlarmState::Unreadable, &detail)
        }
        None => Reading::new(AlarmState::Unreadable, said),
    }
}

#[cfg(test)]
mod tests;

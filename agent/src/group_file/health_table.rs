//! The section `[health]`: how the group's hosts are checked.

use std::time::Duration;

use proto::health::{HealthCheck, InvalidCheck, Probe, Viewpoint};
use serde::{Deserialize, Serialize};

use super::GroupFileError;
use super::sections::{put_duration, with_unit};

/// The section as typed.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(super) struct HealthSection {
    #[serde(skip_serializing_if = "Option::is_none")]
    http: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tcp: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    exec: Option<String>,
    #[serde(default, deserialize_with = "with_unit", skip_serializing_if = "Option::is_none")]
    every: Option<String>,
    #[serde(default, deserialize_with = "with_unit", skip_serializing_if = "Option::is_none")]
    timeout: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    rise: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    fall: Option<u32>,
    #[serde(default, deserialize_with = "with_unit", skip_serializing_if = "Option::is_none")]
    grace: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    from: Option<From>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
enum From {
    Host,
    Observers,
}

/// The reason why a `[health]` section does not describe a check.
#[derive(Debug, thiserror::Error)]
pub(crate) enum HealthSectionError {
    #[error("[health] names no probe: write http = \"http://…\", tcp = \"HOST:PORT\" or exec = \"SCRIPT\"")]
    NoProbe,
    #[error("[health] names several probes: keep one of http, tcp and exec")]
    SeveralProbes,
    #[error("[health] {0}")]
    Invalid(#[from] InvalidCheck),
}

impl HealthSection {
    /// Returns the check that the section describes.
    pub(super) fn check(&self) -> Result<HealthCheck, GroupFileError> {
        let probe = match (&self.http, &self.tcp, &self.exec) {
            (Some(url), None, None) => Probe::Http(url.clone()),
            (None, Some(address), None) => Probe::Tcp(address.clone()),
            (None, None, Some(script)) => Probe::Exec(script.clone()),
            (None, None, None) => return Err(HealthSectionError::NoProbe.into()),
            (_, _, _) => return Err(HealthSectionError::SeveralProbes.into()),
        };
        let mut check = HealthCheck::new(probe);
        put_duration("[health] every", self.every.as_deref(), &mut check.every)?;
        // An answer must not take longer than a period.
        check.timeout = check.timeout.min(check.every);
        put_duration("[health] timeout", self.timeout.as_deref(), &mut check.timeout)?;
        check.rise = self.rise.unwrap_or(check.rise);
        check.fall = self.fall.unwrap_or(check.fall);
        check.grace = HealthCheck::default_grace(check.every, check.rise);
        put_duration("[health] grace", self.grace.as_deref(), &mut check.grace)?;
        check.from = match self.from {
            Some(From::Host) | None => Viewpoint::Host,
            Some(From::Observers) => Viewpoint::Observers,
        };
        check.validate().map_err(HealthSectionError::Invalid)?;
        Ok(check)
    }

    /// Returns the section that describes the check, with every setting written out.
    pub(super) fn of(check: &HealthCheck) -> Self {
        let (http, tcp, exec) = match check.probe.clone() {
            Probe::Http(url) => (Some(url), None, None),
            Probe::Tcp(address) => (None, Some(address), None),
            Probe::Exec(script) => (None, None, Some(script)),
        };
        let written = |duration: Duration| Some(humantime::format_duration(duration).to_string());
        HealthSection {
            http,
            tcp,
            exec,
            every: written(check.every),
            timeout: written(check.timeout),
            rise: Some(check.rise),
            fall: Some(check.fall),
            grace: written(check.grace),
            from: Some(match check.from {
                Viewpoint::Host => From::Host,
                Viewpoint::Observers => From::Observers,
            }),
        }
    }
}

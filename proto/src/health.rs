//! The health check of a group: how to find out whether the application on a host
//! is well, and what counts as an answer.
//!
//! "Healthy" is fresh positive evidence, never the absence of bad news. A probe
//! without an answer has failed, and two successes that are further apart than
//! [`FRESH_PERIODS`] do not count as in a row.

pub(crate) mod monitor;
pub(crate) mod monitors;
pub(crate) mod observing;
mod target;

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

pub use monitors::{FLAP_WINDOW, HOLD_OFF_FIRST, HOLD_OFF_MAX, WORDS_PER_HOUR_MAX, hold_off};
pub use target::Endpoint;

/// The number of periods for which evidence is fresh.
pub const FRESH_PERIODS: u32 = 3;
/// The time after its timeout in which a probe may still report that it timed out.
pub const ANSWER_MARGIN: Duration = Duration::from_secs(1);
/// The shortest period. Checking more often would be a load of its own.
pub const EVERY_MIN: Duration = Duration::from_secs(1);
/// The longest period. Checking less often would say nothing about the present.
pub const EVERY_MAX: Duration = Duration::from_secs(3_600);
/// The most successes or failures in a row that a check may ask for.
pub const IN_A_ROW_MAX: u32 = 20;
/// The longest grace: see [`HealthCheck::grace`].
pub const GRACE_MAX: Duration = Duration::from_secs(3_600);
/// The grace, unless the group gives one.
pub const GRACE_DEFAULT: Duration = Duration::from_secs(60);
/// The longest text of a probe, in bytes.
pub const PROBE_TEXT_MAX: usize = 1_024;
/// The longest error of a probe that enters the ledger, in bytes.
pub const ERROR_BYTES_MAX: usize = 200;
/// The number of observers that are asked for each probe.
pub const OBSERVERS: usize = 3;

/// The way to ask whether an application is well.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Probe {
    /// `GET` of this URL. A status from 200 to 399 means well. Redirects are not
    /// followed.
    Http(String),
    /// A TCP connection to this `host:port`. An accepted connection means well.
    Tcp(String),
    /// A run of this script, whose path is absolute or in the installed bundle.
    /// Exit code 0 means well.
    Exec(String),
}

/// The place from which the probe is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum Viewpoint {
    /// The host itself.
    #[default]
    Host,
    /// The host itself and, over the network, up to [`OBSERVERS`] others. Most of
    /// those must confirm the result.
    Observers,
}

/// The health check of a group.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HealthCheck {
    /// The probe to make.
    pub probe: Probe,
    /// The time from one probe to the next.
    pub every: Duration,
    /// The most time that an answer may take.
    pub timeout: Duration,
    /// The number of successes in a row that make a host well.
    pub rise: u32,
    /// The number of failures in a row that make a host unwell.
    pub fall: u32,
    /// The time that a host waits at the end of its turn for its check to pass.
    /// Also the time that a host which was updated may then be unwell. After that,
    /// its turn counts as failed.
    pub grace: Duration,
    /// The place from which the probe is made.
    pub from: Viewpoint,
}

/// The reason why a health check is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidCheck {
    /// A URL that cannot be probed.
    #[error(
        "`{url}` cannot be probed: write http://HOST:PORT/PATH (for https, use exec with a script that runs \
         curl)"
    )]
    Url {
        /// The URL that was given, cut to 100 characters.
        url: String,
    },
    /// An address that cannot be probed.
    #[error("`{address}` cannot be probed: write HOST:PORT, for example 127.0.0.1:8080")]
    Address {
        /// The address that was given, cut to 100 characters.
        address: String,
    },
    /// A path that cannot be a script.
    #[error(
        "invalid script `{script}`: write a path in the bundle, such as scripts/check.sh, without `..`, or an \
         absolute one"
    )]
    Script {
        /// The path that was given, cut to 100 characters.
        script: String,
    },
    /// A duration that is too short or too long.
    #[error("{key} = {} is out of bounds: from {} to {}", seconds(.is), seconds(.least), seconds(.most))]
    Bounds {
        /// The key in the group file.
        key: &'static str,
        /// The duration that was given.
        is: Duration,
        /// The shortest duration that is allowed.
        least: Duration,
        /// The longest duration that is allowed.
        most: Duration,
    },
    /// A count that is zero, or above [`IN_A_ROW_MAX`].
    #[error("{key} = {is} is out of bounds: from 1 to {IN_A_ROW_MAX}")]
    InARow {
        /// The key in the group file.
        key: &'static str,
        /// The count that was given.
        is: u32,
    },
    /// A grace in which no host could pass the check.
    #[error(
        "no host could pass within grace = {}: {rise} successes in a row, {} apart, take at least {}",
        seconds(.grace), seconds(.every), seconds(&(*.every * (*.rise - 1) + *.timeout))
    )]
    Grace {
        /// The grace that was given.
        grace: Duration,
        /// The number of successes that the check needs.
        rise: u32,
        /// The time between two probes.
        every: Duration,
        /// The most time that the last probe may take.
        timeout: Duration,
    },
    /// A script that observers are to run: a script can only run on its own host.
    #[error("a script cannot be run from observers: use http or tcp, or from = \"host\"")]
    ExecFromObservers,
}

fn seconds(duration: &Duration) -> String {
    format!("{} s", duration.as_secs_f64())
}

impl HealthCheck {
    /// Makes a check with 5 s between probes, 2 s for an answer, 2 successes to
    /// rise and 3 failures to fall.
    pub fn new(probe: Probe) -> Self {
        HealthCheck {
            probe,
            every: Duration::from_secs(5),
            timeout: Duration::from_secs(2),
            rise: 2,
            fall: 3,
            grace: GRACE_DEFAULT,
            from: Viewpoint::Host,
        }
    }

    /// Returns the grace of a check that does not give one: the default, or more if
    /// the check could hardly pass in that time.
    pub fn default_grace(every: Duration, rise: u32) -> Duration {
        GRACE_DEFAULT.max(every.saturating_mul(rise.saturating_mul(2))).min(GRACE_MAX)
    }

    /// Checks everything that can be checked without making a probe.
    /// # Errors
    /// The first limit that is exceeded.
    pub fn validate(&self) -> Result<(), InvalidCheck> {
        self.probe.validate()?;
        let within = |key, is: Duration, least, most| match is >= least && is <= most {
            true => Ok(()),
            false => Err(InvalidCheck::Bounds { key, is, least, most }),
        };
        within("every", self.every, EVERY_MIN, EVERY_MAX)?;
        within("timeout", self.timeout, Duration::from_millis(100), self.every)?;
        within("grace", self.grace, EVERY_MIN, GRACE_MAX)?;
        for (key, is) in [("rise", self.rise), ("fall", self.fall)] {
            if is == 0 || is > IN_A_ROW_MAX {
                return Err(InvalidCheck::InARow { key, is });
            }
        }
        let &HealthCheck { grace, rise, every, timeout, .. } = self;
        if grace < every * (rise - 1) + timeout {
            return Err(InvalidCheck::Grace { grace, rise, every, timeout });
        }
        match (&self.probe, self.from) {
            (Probe::Exec(_), Viewpoint::Observers) => Err(InvalidCheck::ExecFromObservers),
            (Probe::Http(_) | Probe::Tcp(_), _) | (Probe::Exec(_), Viewpoint::Host) => Ok(()),
        }
    }

    /// Returns how long evidence stays fresh.
    pub fn fresh_for(&self) -> Duration {
        self.every * FRESH_PERIODS
    }

    /// Returns the time in which a probe that begins now must have answered.
    pub(crate) fn answers_within(&self) -> Duration {
        self.timeout + ANSWER_MARGIN
    }
}

impl Probe {
    fn validate(&self) -> Result<(), InvalidCheck> {
        let is_text = |text: &str| {
            !text.is_empty()
                && text.len() <= PROBE_TEXT_MAX
                && !text.chars().any(|c| c.is_control() || c.is_whitespace())
        };
        let shown = |text: &str| text.chars().take(100).collect::<String>();
        match self {
            Probe::Http(url) if is_text(url) && Endpoint::of_url(url).is_some() => Ok(()),
            Probe::Http(url) => Err(InvalidCheck::Url { url: shown(url) }),
            Probe::Tcp(address) if is_text(address) && Endpoint::of_address(address).is_some() => Ok(()),
            Probe::Tcp(address) => Err(InvalidCheck::Address { address: shown(address) }),
            Probe::Exec(script) => {
                let leaves = script.split('/').any(|part| part == "..");
                let is_path = !script.is_empty() && script.len() <= PROBE_TEXT_MAX && !script.contains('\0');
                match is_path && !leaves && !script.chars().any(char::is_control) {
                    true => Ok(()),
                    false => Err(InvalidCheck::Script { script: shown(script) }),
                }
            }
        }
    }

    /// Returns this probe as another host makes it over the network: an address
    /// that means "this host" is replaced by one of `addresses`, the multiaddresses
    /// that the mesh knows of the host. Returns `None` if none of them fits, or if
    /// the probe cannot be made from another host.
    pub fn seen_from_afar(&self, addresses: &[String]) -> Option<Probe> {
        match self {
            Probe::Http(url) => {
                let (endpoint, rest) = Endpoint::of_url(url)?;
                let there = endpoint.seen_from_afar(addresses)?;
                Some(Probe::Http(format!("http://{there}{rest}")))
            }
            Probe::Tcp(address) => {
                let there = Endpoint::of_address(address)?.seen_from_afar(addresses)?;
                Some(Probe::Tcp(there.to_string()))
            }
            Probe::Exec(_) => None,
        }
    }
}

impl fmt::Display for Probe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Probe::Http(url) => write!(f, "GET {url}"),
            Probe::Tcp(address) => write!(f, "connecting to {address}"),
            Probe::Exec(script) => write!(f, "script `{script}`"),
        }
    }
}

#[cfg(test)]
mod tests;

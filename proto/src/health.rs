//! The health check of a group: how it is asked whether the application on a
//! host is well, and what counts as an answer.
//!
//! "Healthy" is fresh positive evidence, never the absence of bad news: a probe
//! without an answer is a failed one, and successes further apart than
//! [`FRESH_PERIODS`] are not in a row.

pub(crate) mod monitor;
pub(crate) mod monitors;
pub(crate) mod observing;
mod target;

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

pub use monitors::{FLAP_WINDOW, HOLD_OFF_FIRST, HOLD_OFF_MAX, WORDS_PER_HOUR_MAX, hold_off};
pub use target::Endpoint;

/// Evidence is fresh for so many periods.
pub const FRESH_PERIODS: u32 = 3;
/// A probe that was cut off by its own timeout still has so long to say so.
pub const ANSWER_MARGIN: Duration = Duration::from_secs(1);
/// More often than this, and checking is work.
pub const EVERY_MIN: Duration = Duration::from_secs(1);
/// Less often, and it says nothing about now.
pub const EVERY_MAX: Duration = Duration::from_secs(3_600);
/// Successes or failures in a row that may be asked for.
pub const IN_A_ROW_MAX: u32 = 20;
/// How long a host may wait in its turn for its check to pass.
pub const GRACE_MAX: Duration = Duration::from_secs(3_600);
/// How long it may, unless the group says otherwise.
pub const GRACE_DEFAULT: Duration = Duration::from_secs(60);
/// Longest text of a probe, in bytes.
pub const PROBE_TEXT_MAX: usize = 1_024;
/// Longest error of a probe that enters the ledger, in bytes.
pub const ERROR_BYTES_MAX: usize = 200;
/// Observers that are asked for each probe.
pub const OBSERVERS: usize = 3;

/// What is asked.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Probe {
    /// `GET` of this URL; a status from 200 to 399 is well. Redirects are not
    /// followed.
    Http(String),
    /// Whether `host:port` takes a connection.
    Tcp(String),
    /// Whether this script ends with 0: absolute, or in the installed bundle.
    Exec(String),
}

/// From where it is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum Viewpoint {
    /// From the host itself.
    #[default]
    Host,
    /// From the host itself and, over the network, from up to [`OBSERVERS`]
    /// others, most of which must confirm it.
    Observers,
}

/// A group's health check.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HealthCheck {
    /// What is asked.
    pub probe: Probe,
    /// How often.
    pub every: Duration,
    /// How long an answer may take.
    pub timeout: Duration,
    /// So many successes in a row make a host well.
    pub rise: u32,
    /// So many failures in a row make it unwell.
    pub fall: u32,
    /// How long a host waits at the end of its turn for its check to pass, and
    /// how long one that was updated may then be unwell, before its turn counts
    /// as failed.
    pub grace: Duration,
    /// From where.
    pub from: Viewpoint,
}

/// Why a health check is none.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidCheck {
    /// No URL that can be asked.
    #[error(
        "`{url}` cannot be probed: write http://HOST:PORT/PATH (for https, use exec with a script that runs \
         curl)"
    )]
    Url {
        /// As typed.
        url: String,
    },
    /// No address.
    #[error("`{address}` cannot be probed: write HOST:PORT, for example 127.0.0.1:8080")]
    Address {
        /// As typed.
        address: String,
    },
    /// No script.
    #[error(
        "`{script}` is no script: write a path in the bundle, such as scripts/check.sh, without `..`, or an \
         absolute one"
    )]
    Script {
        /// As typed.
        script: String,
    },
    /// A duration out of bounds.
    #[error("{key} = {} is out of bounds: from {} to {}", seconds(.is), seconds(.least), seconds(.most))]
    Bounds {
        /// Which.
        key: &'static str,
        /// What it is.
        is: Duration,
        /// At least.
        least: Duration,
        /// At most.
        most: Duration,
    },
    /// A count out of bounds.
    #[error("{key} = {is} is out of bounds: from 1 to {IN_A_ROW_MAX}")]
    InARow {
        /// Which.
        key: &'static str,
        /// What it is.
        is: u32,
    },
    /// Nothing could ever pass.
    #[error(
        "no host could pass within grace = {}: {rise} successes in a row, {} apart, take at least {}",
        seconds(.grace), seconds(.every), seconds(&(*.every * (*.rise - 1) + *.timeout))
    )]
    Grace {
        /// The limit.
        grace: Duration,
        /// The successes that it takes.
        rise: u32,
        /// Their distance.
        every: Duration,
        /// What the last may take.
        timeout: Duration,
    },
    /// A script runs where it is.
    #[error("a script cannot be run from observers: use http or tcp, or from = \"host\"")]
    ExecFromObservers,
}

fn seconds(duration: &Duration) -> String {
    format!("{} s", duration.as_secs_f64())
}

impl HealthCheck {
    /// With 5 s between probes, 2 s for an answer, 2 to rise and 3 to fall.
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

    /// The grace of a check that does not say: the default, and never so little
    /// that the check could hardly pass.
    pub fn default_grace(every: Duration, rise: u32) -> Duration {
        GRACE_DEFAULT.max(every.saturating_mul(rise.saturating_mul(2))).min(GRACE_MAX)
    }

    /// Checks everything that can be checked without asking.
    /// # Errors
    /// The first bound that is broken.
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

    /// How old evidence may be.
    pub fn fresh_for(&self) -> Duration {
        self.every * FRESH_PERIODS
    }

    /// Until when a probe that begins now must have answered.
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

    /// The same, asked over the network from another host: what means "this
    /// host" becomes its address, as the mesh knows it (multiaddresses). None
    /// if there is none, or if it cannot be asked from there.
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

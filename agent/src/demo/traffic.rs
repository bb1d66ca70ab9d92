//! The users of the sample application, and the load balancer before it: sends
//! requests to the hosts in service in turn, all the time.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::task::AbortHandle;

use super::fleet::Fleet;
use super::request::ask;

/// A hundred requests a second: enough to hit every moment of a release.
const ASK_EVERY: Duration = Duration::from_millis(10);
/// The number of failures to describe; others are only counted.
const FAILURES_TOLD_MAX: usize = 5;

/// The results of the requests.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Tally {
    /// The number of answers by release.
    pub(super) answered: BTreeMap<String, u64>,
    pub(super) failed: u64,
    /// The first few failures, as text.
    pub(super) failures: Vec<String>,
}

/// Sends requests until it is dropped.
pub(super) struct Traffic {
    tally: Arc<Mutex<Tally>>,
    asking: AbortHandle,
}

struct Target {
    name: String,
    address: SocketAddr,
    /// The file that exists while the host is in service.
    mark: PathBuf,
}

impl Traffic {
    pub(super) fn start(fleet: &Fleet) -> Self {
        let target = |host: &super::fleet::Host| Target {
            name: host.name.clone(),
            address: host.application,
            mark: host.directory.join("in-service"),
        };
        let targets = fleet.hosts.iter().map(target).collect();
        let tally = Arc::new(Mutex::new(Tally::default()));
        let asking = tokio::spawn(ask_on(targets, tally.clone())).abort_handle();
        Traffic { tally, asking }
    }

    pub(super) fn tally(&self) -> Tally {
        self.tally.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Drop for Traffic {
    fn drop(&mut self) {
        self.asking.abort();
    }
}

async fn ask_on(targets: Vec<Target>, tally: Arc<Mutex<Tally>>) {
    let mut every = tokio::time::interval(ASK_EVERY);
    every.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut has_begun = false;
    let mut last = 0;
    loop {
        every.tick().await;
        let next = (1..=targets.len())
            .map(|step| (last + step) % targets.len())
            .find(|at| targets[*at].mark.exists());
        let answer = match next {
            Some(at) => {
                last = at;
                ask(targets[at].address).await.map_err(|problem| format!("{}: {problem}", targets[at].name))
            }
            // Before the first release no host serves yet.
            None if !has_begun => continue,
            None => Err("no host was in service".to_string()),
        };
        has_begun = true;
        count(&mut tally.lock().unwrap_or_else(PoisonError::into_inner), answer);
    }
}

fn count(tally: &mut Tally, answer: Result<String, String>) {
    match answer {
        Ok(release) => *tally.answered.entry(release).or_default() += 1,
        Err(failure) => {
            tally.failed += 1;
            if tally.failures.len() < FAILURES_TOLD_MAX {
                tally.failures.push(failure);
            }
        }
    }
}

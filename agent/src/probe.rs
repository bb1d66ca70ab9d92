//! Probes an application when the node asks for it: by one HTTP request, one connection, or one script.
//!
//! Nothing here decides what a result means for a deployment. A probe succeeds,
//! or fails with one line about the reason.

mod http_probe;
mod script_probe;

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use proto::entry::keep_start;
use proto::health::{ERROR_BYTES_MAX, Endpoint, Probe};
use proto::task::ProbeTask;
use tokio::net::TcpStream;
use tokio::time::timeout;

/// The reason why a probe failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ProbeError {
    #[error("no answer within {} s", .0.as_secs_f64())]
    TimedOut(Duration),
    #[error("cannot connect: {}", plain(.0))]
    Connect(#[source] io::Error),
    #[error("it does not answer in HTTP")]
    Http(#[source] hyper::Error),
    #[error("`{0}` cannot be asked")]
    Target(String),
    #[error("it answered {status}{}", after_colon(.said))]
    Status { status: hyper::StatusCode, said: String },
    #[error("no revision is installed whose script it could be")]
    NothingInstalled,
    #[error("cannot run it: {}", plain(.0))]
    Start(#[source] io::Error),
    #[error("it ended with {how}{}", after_colon(.said))]
    Ended { how: String, said: String },
}

/// Returns the error as `Connection refused`, without its number, which means the same.
fn plain(error: &io::Error) -> String {
    let text = error.to_string();
    text.split(" (os error").next().unwrap_or_default().to_owned()
}

fn after_colon(said: &str) -> String {
    if said.is_empty() { String::new() } else { format!(": {said}") }
}

/// Probes once, within the task's timeout. If dropped, a running script is killed.
pub(crate) async fn look(task: ProbeTask, deploy_root: PathBuf) -> Result<(), String> {
    let looking = async {
        match &task.probe {
            Probe::Http(url) => http_probe::get(url).await,
            Probe::Tcp(address) => connect(Endpoint::of_address(address), address).await.map(drop),
            Probe::Exec(script) => script_probe::run(script, &task.group, &deploy_root).await,
        }
    };
    let ended = timeout(task.timeout, looking).await.unwrap_or(Err(ProbeError::TimedOut(task.timeout)));
    ended.map_err(|error| keep_start(&format!("{}: {error}", task.probe), ERROR_BYTES_MAX).to_owned())
}

async fn connect(endpoint: Option<Endpoint>, text: &str) -> Result<TcpStream, ProbeError> {
    let endpoint = endpoint.ok_or_else(|| ProbeError::Target(text.to_owned()))?;
    TcpStream::connect((endpoint.host.as_str(), endpoint.port)).await.map_err(ProbeError::Connect)
}

/// Returns the last non-empty line, cut to `chars_max`.
fn last_line(text: &[u8], chars_max: usize) -> String {
    let text = String::from_utf8_lossy(text);
    let line = text.lines().rev().map(str::trim).find(|line| !line.is_empty());
    line.unwrap_or_default().chars().take(chars_max).collect()
}

#[cfg(test)]
mod tests;

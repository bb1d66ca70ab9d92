//! `skein logs`: prints the output of scripts.

use std::time::Duration;

use anyhow::bail;
use clap::Args;
use proto::id::DeploymentId;
use proto::lifecycle::LifecycleEvent;

use super::show::deployment_path;
use super::which::{self, OfGroup};
use super::{Exit, Session};
use crate::api::LogsView;
use crate::percent::encoded;
use crate::view::{DeploymentView, TurnView};

/// The interval between reads when following; people read no faster.
const LOOK_EVERY: Duration = Duration::from_millis(300);
/// The most hosts whose logs one command prints; more than a person reads at once.
const HOSTS_MAX: usize = 100;

#[derive(Args)]
pub(crate) struct LogsArgs {
    #[arg(help = which::WORDS)]
    deployment: String,
    /// The host's name or id
    #[arg(required_unless_present_any = ["failed", "all"])]
    host: Option<String>,
    /// The logs of all hosts whose turn failed
    #[arg(long, conflicts_with_all = ["host", "follow"])]
    failed: bool,
    /// The logs of all hosts that had their turn, or have it now
    #[arg(long, conflicts_with_all = ["host", "follow", "failed"])]
    all: bool,
    /// Only the lines of this lifecycle event
    #[arg(long)]
    event: Option<LifecycleEvent>,
    /// Keep printing until the host's turn is over
    #[arg(long, short)]
    follow: bool,
}

/// The log to read.
struct Log<'a> {
    session: &'a Session,
    deployment: DeploymentId,
    host: String,
    event: Option<LifecycleEvent>,
    follow: bool,
}

pub(super) async fn logs(session: &Session, args: LogsArgs) -> anyhow::Result<Exit> {
    let deployment = which::deployment(session, &args.deployment, OfGroup::Last).await?;
    let LogsArgs { event, follow, .. } = args;
    let log_of = |host: &str| Log { session, deployment, host: host.into(), event, follow };
    if let Some(host) = &args.host {
        return print_one(&log_of(host)).await;
    }
    let view: DeploymentView = session.client.get(&deployment_path(deployment)).await?;
    let chosen = chosen(&view, args.failed);
    if chosen.is_empty() {
        bail!("{deployment}: no host {}", if args.failed { "failed" } else { "has had its turn" });
    }
    let logs: Vec<Log<'_>> = chosen.iter().take(HOSTS_MAX).map(|host| log_of(&host.who.host)).collect();
    let exit = print_many(session, &logs, &chosen).await?;
    if chosen.len() > HOSTS_MAX {
        let more = chosen.len() - HOSTS_MAX;
        session.screen.note(&format!("… and {more} more hosts: skein logs {deployment} HOST"));
    }
    Ok(exit)
}

/// Returns the hosts whose logs were requested, by name.
fn chosen(view: &DeploymentView, only_failed: bool) -> Vec<&TurnView> {
    let is_meant = |host: &&TurnView| match only_failed {
        true => host.status == "Failed",
        false => host.started_at.is_some(),
    };
    view.hosts().iter().filter(is_meant).collect()
}

async fn print_one(log: &Log<'_>) -> anyhow::Result<Exit> {
    let session = log.session;
    let mut page = log.read(0).await?;
    if session.screen.is_json() {
        let page = log.whole(page).await?;
        session.answer(&page, String::new)?;
        return Ok(Exit::Done);
    }
    if let Some(banner) = session.client.freshness().banner() {
        session.screen.note(&banner);
    }
    loop {
        session.screen.text(&page.text);
        let from = page.next;
        let is_all = page.text.is_empty();
        if page.is_final || (is_all && !log.follow) {
            return Ok(Exit::Done);
        }
        if is_all {
            tokio::time::sleep(LOOK_EVERY).await;
        }
        page = log.read(from).await?;
    }
}

/// Prints logs one after the other. A host that cannot be asked does not hold back the logs of others.
async fn print_many(session: &Session, logs: &[Log<'_>], hosts: &[&TurnView]) -> anyhow::Result<Exit> {
    let (mut exit, mut pages) = (Exit::Done, Vec::new());
    for (log, host) in logs.iter().zip(hosts) {
        let read = match log.read(0).await {
            Ok(first) => log.whole(first).await,
            Err(error) => Err(error),
        };
        match read {
            Ok(page) if session.screen.is_json() => pages.push(page),
            Ok(page) => session.screen.text(&format!("==> {} <==\n{}\n", host.who.label(), page.text)),
            Err(error) => {
                session.screen.note(&format!("error: {}: {error:#}", host.who.label()));
                exit = Exit::Error;
            }
        }
    }
    if session.screen.is_json() {
        session.answer_list(&pages, String::new)?;
    }
    Ok(exit)
}

impl Log<'_> {
    /// Joins all pages into one; waits for the end of the turn when following.
    async fn whole(&self, first: LogsView) -> anyhow::Result<LogsView> {
        let mut all = first;
        loop {
            let page = self.read(all.next).await?;
            let is_all = page.text.is_empty();
            let text = all.text + &page.text;
            all = LogsView { text, ..page };
            if all.is_final || (is_all && !self.follow) {
                return Ok(all);
            }
            if is_all {
                tokio::time::sleep(LOOK_EVERY).await;
            }
        }
    }

    async fn read(&self, from: u64) -> anyhow::Result<LogsView> {
        let host = encoded(&self.host);
        let event = self.event.map(|event| format!("&event={event}")).unwrap_or_default();
        let path = format!("/v1/deployments/{}/hosts/{host}/logs?from={from}{event}", self.deployment);
        Ok(self.session.client.get_lines(&path).await?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::watch::tests::{deployment, host};

    #[test]
    fn the_logs_of_those_that_failed_or_began_are_chosen() {
        let at = Some("2026-01-01T00:00:00.000Z".to_string());
        let begun =
            |name: &str, status: &str| TurnView { started_at: at.clone(), ..host(name, status, None) };
        let hosts = vec![begun("a", "Succeeded"), begun("b", "Failed"), host("c", "Pending", None)];
        let view = deployment("InProgress", hosts);
        let names =
            |failed| chosen(&view, failed).iter().map(|host| host.who.name.clone()).collect::<Vec<_>>();
        assert_eq!(names(true), ["b"]);
        assert_eq!(names(false), ["a", "b"]);
    }
}
